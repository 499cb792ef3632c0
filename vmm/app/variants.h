// Variants of a guest: the same recipe on another CPU, or with other words for the kernel.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

struct Variant {
  std::string_view name;
  std::string_view description;
  std::optional<arch::Arch> only{};  ///< It exists on this architecture alone.
  std::string_view arguments{};      ///< For the kernel's command line.
  std::string_view cpu_model{};      ///< As QEMU's -cpu; empty: the usual one.
  /// x86-64: boot the bzImage, whose start-up code does what the PVH entry passes over.
  bool compressed_image = false;
  unsigned vcpus = 1;
  /// Where a kernel of its own is booted: RECIPE-NAME, with the name of the variant. Elsewhere the
  /// usual ones will do.
  std::span<const arch::Arch> own_kernel{};
  std::string_view refused{};  ///< Why it can't be run; empty: it can.
};

/// Every variant that there is a word for, those that are refused too.
[[nodiscard]] std::span<const Variant> all_variants();

/// Whether `variant` boots a kernel of its own on `arch`.
[[nodiscard]] bool has_own_kernel(const Variant& variant, arch::Arch arch);

/// The recipe whose kernel `variant` boots in the place of `recipe`.
[[nodiscard]] std::string recipe_of(const Variant& variant, const std::string& recipe,
                                    arch::Arch arch);

/// `recipe` without the variant that is behind its name, if it has a kernel of its own.
[[nodiscard]] std::string_view without_variant(std::string_view recipe);

/// What `words` (names, or "all") mean for guests of `archs`: each once, in the order of the table.
/// Errors (Usage): no such name, one that is refused (the message says why), or one that exists on
/// none of `archs`. "all" leaves out what is refused.
[[nodiscard]] Result<std::vector<const Variant*>> choose_variants(
    const std::vector<std::string>& words, const std::vector<arch::Arch>& archs);

/// One line for each, as `sealvisor verify --help` has no room for.
[[nodiscard]] std::string list_variants(std::size_t width);

}  // namespace sealvisor::app
