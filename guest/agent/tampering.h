// What one tampering of a campaign stores, and where: worked out before it is announced, so that
// nothing is left to do but to store.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/agent/facility.h"
#include "guest/agent/smaps.h"
#include "guest/agent/store_way.h"
#include "guest/agent/windows.h"
#include "guest/scenario/campaign.h"

namespace sealvisor::agent {

/// A populated page of a system mapping.
struct TargetPage {
  std::uint64_t gva = 0;
  std::uint64_t gpa = 0;
  bool code = false;
  /// The page behind it is code too, in the frame behind its own.
  bool code_goes_on = false;
};

/// One store of one instruction.
struct PlannedStore {
  const StoreWay* way = nullptr;  ///< nullptr: 8 bytes by write() to /dev/mem.
  std::uint64_t gpa = 0;
  std::array<std::uint8_t, 64> bytes{};
};

/// Up to two stores, in order.
struct PlannedStores {
  std::array<PlannedStore, 2> stores{};
  std::size_t count = 0;

  void add(const PlannedStore& store) { stores[count++] = store; }
  [[nodiscard]] std::span<const PlannedStore> all() const { return {stores.data(), count}; }
};

struct PlannedTampering {
  protocol::Tampering claim{};
  PlannedStores change;
  PlannedStores restore;
  PlannedStores alias;         ///< CodeByAlias: makes the second place, before `change`.
  PlannedStores unalias;       ///< Takes it away again.
  std::uint64_t new_root = 0;  ///< ReplaceRoot: gpa. 0: it stays.
  bool flush_after = false;    ///< The TLB may hold what is no more.
};

/// Pages of this process that stand in for tables, and for foreign frames.
struct Arena {
  static constexpr std::size_t kPages = 8;
  static constexpr std::size_t kForeign = 0;
  static constexpr std::size_t kRoot = entry::kRootLevel;  ///< The copy of a table of level n is n.
  static constexpr std::size_t kAlias = 4;  ///< Of the upper half: kAlias + level, 1 to 3.
  std::uintptr_t start = 0;
  std::array<std::uint64_t, kPages> gpas{};

  [[nodiscard]] std::uint64_t* page(std::size_t i) const {
    return reinterpret_cast<std::uint64_t*>(start + i * kPage);
  }
};

/// What tamperings are worked out from.
struct Ground {
  Windows* windows = nullptr;
  Facility::Places places;
  Arena arena;
  std::span<const TargetPage> pages;  ///< Those with code first.
  const MappingTable* mappings = nullptr;
  std::uint64_t other_root = 0;  ///< Of the other process.
  std::uint64_t ram_start = 0;   ///< Of the largest part of RAM.
  std::uint64_t ram_end = 0;
  bool emulated = false;  ///< Only stores that the lanes of KVM can do in a guest's stead.
};

/// Works out `choice`. Fills the arena where its pages are to be linked. Where no instruction of
/// this CPU can make the change, another edit takes its place, as the claim says. Nothing: it can't
/// be done at all, which is said on the console.
[[nodiscard]] std::optional<PlannedTampering> plan_tampering(const Ground& ground,
                                                             const scenario::Choice& choice);

}  // namespace sealvisor::agent
