// Changes that were undone before user mode could see them: recorded, and no violation.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "arch/any_format.h"
#include "vmm/model/mirror.h"
#include "vmm/model/space.h"

namespace sealvisor::model {

/// Follows, from one look at an address space to the next, the entries whose changes concern a page
/// of a system mapping.
class Transients {
 public:
  explicit Transients(const Mirror& mirror) : mirror_(mirror) {}

  /// One change, before or after the mirror has applied it. Past the bound it is left out.
  void note(const arch::AnyFormat& format, const MappingChange& change);
  /// User mode is about to run on `space`, and `look` is what it will see that it did not see
  /// before. The pages of which an entry was changed and holds again what it held at the last look,
  /// while nothing that shows has happened to the page: each once. What was noted of the space is
  /// settled.
  [[nodiscard]] std::vector<MappingPage> settle(std::uint64_t space, const Look& look);
  /// The space is no more.
  void forget(std::uint64_t space);

  /// A kernel that never lets user mode run gets no more of them followed.
  static constexpr std::size_t kMostFollowed = 65'536;

 private:
  struct Key {
    std::uint64_t space = 0;
    std::size_t mapping = 0;
    std::uint32_t page = 0;
    std::uint64_t slot = 0;
    // NOLINTNEXTLINE(modernize-use-nullptr): of the comparison that the compiler writes.
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Followed {
    std::uint64_t before = 0;  ///< What the entry held at the last look.
    std::uint64_t judged = 0;  ///< Its bits that the table walker leaves alone.
    bool changed = false;
  };
  [[nodiscard]] bool holds_again(std::uint64_t slot, const Followed& followed) const;

  const Mirror& mirror_;
  std::map<Key, Followed> followed_;
};

}  // namespace sealvisor::model
