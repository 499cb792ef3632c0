// What a run asked of its kernel's symbols, kept: an audit has no kernel.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/image/symbols.h"

namespace sealvisor::evidence {

/// Value of the member "schema".
inline constexpr const char* kNamesSchema = "sealvisor-symbols-1";

/// Names of code and places of symbols, as the run had them.
class RecordedSymbols final : public image::Symbols {
 public:
  /// Reads what render() wrote. Errors (Failed) name the member and what was expected.
  [[nodiscard]] static Result<RecordedSymbols> parse(std::string_view text);

  [[nodiscard]] std::optional<std::string> describe(std::uint64_t address) const override;
  [[nodiscard]] std::vector<std::optional<std::uint64_t>> addresses_of(
      std::span<const std::string_view> names) const override;

  /// JSON, in the order of addresses and names.
  [[nodiscard]] std::string render() const;

  /// Of code: "function+0x12".
  std::map<std::uint64_t, std::string> code;
  /// Of symbols that were asked for; nullopt: the kernel has none of that name.
  std::map<std::string, std::optional<std::uint64_t>, std::less<>> places;
};

/// Asks the symbols behind it, and keeps what they say.
class RecordingSymbols final : public image::Symbols {
 public:
  /// `symbols` must outlive it.
  explicit RecordingSymbols(const image::Symbols& symbols) : symbols_(symbols) {}

  [[nodiscard]] std::optional<std::string> describe(std::uint64_t address) const override;
  [[nodiscard]] std::vector<std::optional<std::uint64_t>> addresses_of(
      std::span<const std::string_view> names) const override;

  /// The kernel's code that `events` came from is to be named by recorded().
  void note(std::span<const event::Event> events);
  /// Everything that was asked for, and the names of all code that stored or loaded a root.
  [[nodiscard]] RecordedSymbols recorded() const;

 private:
  /// Most places in code that get a name. A kernel has some hundreds that store to tables; a guest
  /// that makes more of them up gets no more named.
  static constexpr std::size_t kMostPlaces = 65'536;

  const image::Symbols& symbols_;
  mutable std::unordered_set<std::uint64_t> code_;
  std::uint64_t last_ = 0;  ///< Added last: stores come in loops.
  mutable std::map<std::string, std::optional<std::uint64_t>, std::less<>> places_;
};

}  // namespace sealvisor::evidence
