// What the tracker keeps while it follows tables: who is charged with a record, which half an entry
// is of, when a root or a frame is let go, what it counts, and where it stops.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::test {
namespace {

using arch::Half;
using event::Event;
using event::Kind;

constexpr Frame kOutside{0x900000};

std::vector<Event> of_kind(const std::vector<Event>& events, Kind kind) {
  std::vector<Event> some;
  std::copy_if(events.begin(), events.end(), std::back_inserter(some),
               [&](const Event& event) { return event.kind == kind; });
  return some;
}

/// Memory some frames of which can't be read, and a tracker that nobody listens to but the test.
class Bare final : public model::EventSink, public arch::TableReader {
 public:
  explicit Bare(Arch which, std::uint64_t frames = 0x400)
      : arch(which), tracker(*this, {memory.ram.first, frames}, *this) {
    memory.ram.frames = frames;
  }
  void emit(const Event& event) override { events.push_back(event); }
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    return hidden.count(arch::frame_of(slot)) == 0 && memory.read_entry(slot, value);
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    return hidden.count(frame) == 0 && memory.read_table(frame, copy);
  }
  void put(Gpa slot, std::uint64_t value) {
    memory.tables[arch::frame_of(slot)][arch::slot_index(slot)] = value;
  }
  void store(Gpa slot, std::uint64_t value) {
    put(slot, value);
    tracker.stored({slot, 8, 8, 0, 1}, {});
  }
  [[nodiscard]] std::uint64_t link_to(Frame table) const { return table_entry(arch, table); }

  Arch arch;
  FakeMemory memory;
  std::set<Frame> hidden;
  std::vector<Event> events;
  model::TableTracker tracker;
};

class TableTrackerWatch : public testing::TestWithParam<Arch> {
 protected:
  /// Another format of the same architecture: no-execute off, or addresses of 39 bits.
  [[nodiscard]] arch::AnyFormat other_format() const {
    if (GetParam() == Arch::X86_64) {
      return arch::x86_64::format_from(
                 {.cr0 = 1ULL << 31, .cr3 = 0, .cr4 = 1ULL << 5, .efer = 0x400})
          .value();
    }
    return arch::arm64::format_from(
               {.tcr = 25 | (25ULL << 16) | (2ULL << 30), .ttbr0 = 0, .ttbr1 = 0, .sctlr = 1})
        .value();
  }
  /// The format whose tables the CPU marks by itself.
  [[nodiscard]] arch::AnyFormat marking_format() const {
    if (GetParam() == Arch::X86_64) return format_for(GetParam());
    constexpr std::uint64_t kHaHd = 3ULL << 39;
    return arch::arm64::format_from({.tcr = 16 | (16ULL << 16) | (2ULL << 30) | kHaHd,
                                     .ttbr0 = 0,
                                     .ttbr1 = 0,
                                     .sctlr = 1})
        .value();
  }
  /// The table that the entry of `level` at `gva` links.
  [[nodiscard]] Frame table_at(Frame root, Gva gva, unsigned level) {
    return arch::frame_of(guest.slot_at(root, gva, level));
  }

  FakeGuest guest{GetParam()};
  model::TableTracker& tracker = guest.tracker;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, TableTrackerWatch, testing::ValuesIn(arch::kAllArchs),
                         ArchName{});

TEST_P(TableTrackerWatch, ChargesEachRecordToTheStoreThatMadeIt) {
  const Frame root = guest.new_process();
  const Frame level3 = guest.new_table();
  const Gpa found = level3.slot(7);
  guest.store(found, 8);
  const Gpa slot = root.slot(9);
  const std::uint64_t entry = table_entry(GetParam(), level3);
  guest.secret_store(slot, entry);
  guest.events.clear();
  model::StoreSource source;
  source.pc = 0x401234;
  source.icount = 77;
  source.root = 0xabc000;
  source.user_instructions = 5;
  source.vcpu = 1;
  source.user_mode = true;
  tracker.stored({slot, 8, 8, 0, 1}, source);

  ASSERT_EQ(guest.events.size(), 3U);
  for (const Event& event : guest.events) {
    EXPECT_EQ(event.pc, 0x401234U);
    EXPECT_EQ(event.icount, 77U);
    EXPECT_EQ(event.root, 0xabc000U);
    EXPECT_EQ(event.vcpu, 1U);
  }
  const Event& write = guest.events[0];
  EXPECT_EQ(write.kind, Kind::SlotWrite);
  EXPECT_EQ(write.level, 4U);
  EXPECT_EQ(write.flags, event::kUserMode);
  EXPECT_EQ(write.aux, 5U);
  const Event& added = guest.events[1];
  EXPECT_EQ(added.kind, Kind::TableAdded);
  EXPECT_EQ(added.gpa, level3.gpa().value);
  EXPECT_EQ(added.level, 3U);
  EXPECT_EQ(added.new_value, 0U) << "of the lower half";
  const Event& held = guest.events[2];
  EXPECT_EQ(held.kind, Kind::EntryFound);
  EXPECT_EQ(held.gpa, found.value);
  EXPECT_EQ(held.level, 3U);
  EXPECT_EQ(held.flags, 0U);

  guest.events.clear();
  source.user_mode = false;
  tracker.stored({slot, 8, 8, 0, 1}, source);
  ASSERT_EQ(guest.events.size(), 1U) << "the same value again links nothing";
  EXPECT_EQ(guest.events[0].flags, 0U);
}

TEST_P(TableTrackerWatch, ChargesContentToTheStoreToo) {
  ASSERT_TRUE(tracker.watch_content(FakeGuest::kVdso));
  // It looks as if it linked a table.
  guest.secret_store(FakeGuest::kVdso.slot(3), table_entry(GetParam(), Frame{0x300}));
  model::StoreSource source;
  source.pc = 0x401234;
  source.icount = 77;
  source.root = 0xabc000;
  source.user_instructions = 5;
  source.user_mode = true;
  tracker.stored({FakeGuest::kVdso.slot(3), 8, 8, 0, 1}, source);
  ASSERT_EQ(guest.events.size(), 1U);
  const Event& write = guest.events[0];
  EXPECT_EQ(write.kind, Kind::ContentWrite);
  EXPECT_EQ(write.level, 0U);
  EXPECT_EQ(write.flags, event::kUserMode);
  EXPECT_EQ(write.pc, 0x401234U);
  EXPECT_EQ(write.icount, 77U);
  EXPECT_EQ(write.root, 0xabc000U);
  EXPECT_EQ(write.aux, 5U);
  EXPECT_FALSE(tracker.is_watched(Frame{0x300}));
}

TEST_P(TableTrackerWatch, FollowsWhatIsATableAlone) {
  const Frame root = guest.new_process();
  const std::size_t tables = tracker.tables();
  const bool x86 = GetParam() == Arch::X86_64;
  // A page of 2 MiB: PS; bit 1 clear.
  const std::uint64_t page = leaf_entry(GetParam(), Gpa{0x400000});
  guest.store(guest.slot_at(root, Gva{FakeGuest::kVdsoPlace.value - 0x40000000}, 2),
              x86 ? page | 0x80 : page & ~2ULL);
  EXPECT_EQ(tracker.tables(), tables + 1) << "the table that holds the page, not the page";
  EXPECT_FALSE(tracker.is_watched(Frame{0x400}));
  EXPECT_FALSE(tracker.is_watched(kOutside));
  EXPECT_FALSE(tracker.is_watched(Frame{0})) << "in front of RAM";
}

TEST_P(TableTrackerWatch, SaysWhichEntriesTranslateTheUpperHalf) {
  const bool x86 = GetParam() == Arch::X86_64;
  const Frame root = guest.new_process();
  const Frame upper3 = guest.new_table();
  const Frame upper2 = guest.new_table();
  const Frame linked = guest.new_table();
  guest.store(upper3.slot(2), table_entry(GetParam(), upper2));
  guest.store(upper2.slot(1), table_entry(GetParam(), linked));
  // Far up in a table of the lower half is the lower half still.
  const Frame lower3 = table_at(root, FakeGuest::kVdsoPlace, 3);
  guest.events.clear();
  guest.store(lower3.slot(300), table_entry(GetParam(), linked));
  EXPECT_EQ(guest.events.at(0).flags, 0U);
  EXPECT_EQ(of_kind(guest.events, Kind::TableAdded).at(0).new_value, 0U);

  Frame upper_root = root;
  guest.events.clear();
  if (x86) {
    guest.store(root.slot(300), table_entry(GetParam(), upper3));
  } else {
    upper_root = guest.new_table();
    guest.store(upper_root.slot(300), table_entry(GetParam(), upper3));
    guest.load_upper_root(upper_root);
  }
  // The root of arm64, then the tables below; the last one is a second time at another level.
  const std::vector<Event> added = of_kind(guest.events, Kind::TableAdded);
  ASSERT_EQ(added.size(), x86 ? 3U : 4U);
  for (const Event& event : added) EXPECT_EQ(event.new_value, 1U);
  const std::vector<Event> found = of_kind(guest.events, Kind::EntryFound);
  ASSERT_EQ(found.size(), x86 ? 2U : 3U);
  for (const Event& event : found) EXPECT_EQ(event.flags, event::kUpperHalf);
  if (x86) {
    EXPECT_EQ(guest.events.at(0).flags, event::kUpperHalf) << "the link itself";
  }

  guest.events.clear();
  guest.store(upper2.slot(5), 8);
  guest.store(lower3.slot(5), 8);
  guest.store(root.slot(5), 8);
  guest.store(linked.slot(5), 8);
  ASSERT_EQ(guest.events.size(), 4U);
  EXPECT_EQ(guest.events[0].flags, event::kUpperHalf);
  EXPECT_EQ(guest.events[0].level, 2U);
  EXPECT_EQ(guest.events[1].flags, 0U);
  EXPECT_EQ(guest.events[2].flags, 0U);
  EXPECT_EQ(guest.events[3].flags, event::kUpperHalf) << "linked in both";

  // A new root tells of both halves at once.
  if (x86) {
    const Frame next = guest.new_table();
    guest.store(next.slot(4), table_entry(GetParam(), linked));
    guest.store(next.slot(301), table_entry(GetParam(), upper3));
    guest.events.clear();
    guest.load_root(next);
    const std::vector<Event> entries = of_kind(guest.events, Kind::EntryFound);
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(entries[0].flags, 0U);
    EXPECT_EQ(entries[1].flags, event::kUpperHalf);
  }

  // Gone from one half it stays in the other, and the removals say of which half.
  guest.store(lower3.slot(300), 0);
  EXPECT_TRUE(tracker.is_watched(linked));
  guest.events.clear();
  guest.store(upper_root.slot(300), 0);
  if (x86) guest.store(Frame{guest.next_table - 1}.slot(301), 0);
  const std::vector<Event> removed = of_kind(guest.events, Kind::TableRemoved);
  ASSERT_EQ(removed.size(), 3U);
  for (const Event& event : removed) EXPECT_EQ(event.new_value, 1U);
}

TEST_P(TableTrackerWatch, TellsATableOnceForEachPlaceOfItsKind) {
  const Frame root = guest.new_process();
  const Frame level3 = table_at(root, FakeGuest::kVdsoPlace, 3);
  const Frame level2 = table_at(root, FakeGuest::kVdsoPlace, 2);
  const Frame level1 = guest.new_table();
  guest.store(level2.slot(5), table_entry(GetParam(), level1));
  guest.events.clear();
  guest.store(level3.slot(7), table_entry(GetParam(), level2));
  EXPECT_EQ(guest.events.size(), 1U) << "the same table at the same level and half";
  guest.store(level3.slot(8), table_entry(GetParam(), level1));
  ASSERT_EQ(of_kind(guest.events, Kind::TableAdded).size(), 1U) << "at level 2 it is another";
  EXPECT_EQ(of_kind(guest.events, Kind::TableAdded)[0].level, 2U);
  guest.events.clear();
  guest.store(level1.slot(9), 0);
  EXPECT_EQ(guest.events.at(0).level, 1U) << "the lowest one";
  // It stays at level 1 when it leaves level 2, and is let go with the last place of both.
  guest.store(level3.slot(8), 0);
  EXPECT_TRUE(tracker.is_watched(level1));
  guest.store(level3.slot(7), 0);
  EXPECT_TRUE(tracker.is_watched(level1));
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  EXPECT_FALSE(tracker.is_watched(level1));
  EXPECT_EQ(tracker.tables(), 1U);
  EXPECT_EQ(tracker.most_tables(), 6U);
}

TEST_P(TableTrackerWatch, MovesATableWithoutLettingItGo) {
  const Frame root = guest.new_process();
  const Frame level3 = table_at(root, FakeGuest::kVdsoPlace, 3);
  const Frame other = guest.new_table();
  const std::size_t index = (FakeGuest::kVdsoPlace.value >> 30) & 511;
  const std::uint64_t old_entry = guest.entry_at(level3.slot(index));
  const Frame level2 = table_at(root, FakeGuest::kVdsoPlace, 2);
  guest.events.clear();
  guest.store(level3.slot(index), old_entry | 0x20);
  EXPECT_EQ(guest.events.size(), 1U) << "the same table, marked";
  EXPECT_TRUE(tracker.is_watched(level2));
  guest.store(level3.slot(index), table_entry(GetParam(), other));
  EXPECT_FALSE(tracker.is_watched(level2));
  EXPECT_TRUE(tracker.is_watched(other));
}

TEST_P(TableTrackerWatch, KeepsCodeThatIsNoTableAnyMore) {
  const Frame root = guest.new_process();
  ASSERT_TRUE(tracker.watch_content(FakeGuest::kVdso));
  guest.store(root.slot(9), table_entry(GetParam(), FakeGuest::kVdso));
  guest.store(root.slot(9), 0);
  EXPECT_TRUE(tracker.is_watched(FakeGuest::kVdso));
  guest.events.clear();
  guest.store(FakeGuest::kVdso.slot(1), 1);
  EXPECT_EQ(guest.events.at(0).kind, Kind::ContentWrite);
  // The same of a table that becomes code.
  guest.store(root.slot(9), table_entry(GetParam(), FakeGuest::kOther));
  ASSERT_TRUE(tracker.watch_content(FakeGuest::kOther));
  guest.store(root.slot(9), 0);
  EXPECT_TRUE(tracker.is_watched(FakeGuest::kOther));
}

TEST_P(TableTrackerWatch, LoadsARootOncePerHalf) {
  Bare bare(GetParam());
  bare.tracker.set_format(format_for(GetParam()));
  const Frame first{0x110};
  const Frame second{0x111};
  const auto& tracker_of = bare.tracker;
  EXPECT_FALSE(bare.tracker.load_root(kOutside, Half::Lower, {})) << "no RAM there";
  EXPECT_FALSE(tracker_of.has_root(kOutside, Half::Lower));
  EXPECT_EQ(tracker_of.roots_seen(), 0U);

  EXPECT_FALSE(bare.tracker.load_root(first, Half::Lower, {})) << "nothing in it";
  EXPECT_TRUE(tracker_of.has_root(first, Half::Lower));
  EXPECT_FALSE(tracker_of.has_root(first, Half::Upper));
  EXPECT_FALSE(tracker_of.has_root(second, Half::Lower));
  EXPECT_FALSE(bare.tracker.load_root(first, Half::Upper, {}));
  EXPECT_TRUE(tracker_of.has_root(first, Half::Upper));
  EXPECT_EQ(tracker_of.roots_seen(), 2U);

  bare.store(first.slot(3), bare.link_to(Frame{0x120}));
  EXPECT_TRUE(bare.tracker.load_root(first, Half::Lower, {}));
  EXPECT_EQ(tracker_of.roots_seen(), 2U) << "the same again";
  bare.put(second.slot(3), bare.link_to(Frame{0x121}));
  EXPECT_TRUE(bare.tracker.load_root(second, Half::Lower, {}));
  EXPECT_EQ(tracker_of.roots_seen(), 3U);
}

TEST_P(TableTrackerWatch, LeavesARootThatIsEmpty) {
  Bare bare(GetParam());
  bare.tracker.set_format(format_for(GetParam()));
  const Frame empty{0x110};
  const Frame full{0x111};
  bare.tracker.leave(Half::Lower);
  // One frame as the root of both halves: leaving one leaves the other.
  bare.tracker.load_root(empty, Half::Upper, {});
  bare.tracker.load_root(empty, Half::Lower, {});
  bare.tracker.leave(Half::Lower);
  EXPECT_FALSE(bare.tracker.has_root(empty, Half::Lower));
  EXPECT_TRUE(bare.tracker.has_root(empty, Half::Upper));
  bare.tracker.leave(Half::Upper);
  EXPECT_FALSE(bare.tracker.has_root(empty, Half::Upper));
  EXPECT_FALSE(bare.tracker.is_watched(empty));

  // An empty one that another vCPU has loaded is not taken for the one that is left.
  model::StoreSource second;
  second.vcpu = 1;
  bare.tracker.load_root(empty, Half::Lower, second);
  bare.put(full.slot(3), bare.link_to(Frame{0x121}));
  bare.tracker.load_root(full, Half::Lower, {});
  bare.tracker.leave(Half::Lower, 0);
  EXPECT_TRUE(bare.tracker.has_root(full, Half::Lower)) << "something is in it";
  EXPECT_TRUE(bare.tracker.has_root(empty, Half::Lower)) << "loaded";
  bare.tracker.leave(Half::Lower, 1);
  EXPECT_FALSE(bare.tracker.has_root(empty, Half::Lower));
}

TEST_P(TableTrackerWatch, DropsARootThatNobodyHasLoadedWithItsLastUserEntry) {
  const Frame root = guest.new_process();
  const std::size_t used = FakeGuest::kVdsoPlace.value >> 39;
  const Gpa below = guest.slot_at(root, FakeGuest::kVdsoPlace, 3);
  guest.store(root.slot(9), 8);
  guest.new_process();
  ASSERT_TRUE(tracker.has_root(root, Half::Lower));
  // Neither another value, nor an entry of a table below, nor a zero for a zero counts.
  guest.store(root.slot(9), 16);
  guest.store(below, 0);
  guest.store(root.slot(10), 0);
  guest.store(root.slot(used), 0);
  EXPECT_TRUE(tracker.has_root(root, Half::Lower));
  guest.store(root.slot(9), 0);
  EXPECT_FALSE(tracker.has_root(root, Half::Lower));
  EXPECT_FALSE(tracker.is_watched(root));
}

// On arm64 a root is of one half.
TEST(TableTrackerOfX86, WhatARootHoldsForTheKernelDoesNotKeepIt) {
  FakeGuest guest{Arch::X86_64};
  const model::TableTracker& tracker = guest.tracker;
  const Frame root = guest.new_table();
  guest.store(root.slot(9), 8);
  guest.store(root.slot(300), 8);
  guest.load_root(root);
  guest.new_process();
  guest.store(root.slot(300), 0);
  EXPECT_TRUE(tracker.has_root(root, Half::Lower)) << "an entry of user mode is in it";
  guest.store(root.slot(300), 8);
  guest.store(root.slot(9), 0);
  EXPECT_FALSE(tracker.has_root(root, Half::Lower));
}

TEST_P(TableTrackerWatch, KeepsAnEmptyRootThatIsLoaded) {
  Bare bare(GetParam());
  bare.tracker.set_format(format_for(GetParam()));
  const Frame root{0x110};
  bare.tracker.load_root(root, Half::Lower, {});
  bare.store(root.slot(3), 8);
  bare.store(root.slot(3), 0);
  EXPECT_TRUE(bare.tracker.has_root(root, Half::Lower));
  bare.store(root.slot(4), 8);
  bare.tracker.load_root(Frame{0x111}, Half::Lower, {});
  EXPECT_TRUE(bare.tracker.has_root(root, Half::Lower)) << "something is in it again";
}

TEST_P(TableTrackerWatch, AStoreThatEndsItsOwnTableEndsThere) {
  const Frame root = guest.new_process();
  const std::size_t used = FakeGuest::kVdsoPlace.value >> 39;
  guest.new_process();
  guest.secret_store(root.slot(used), 0);
  guest.secret_store(root.slot(used + 1), 0);
  guest.events.clear();
  tracker.stored({root.slot(used), 16, 16, 0, 2}, guest.source());
  EXPECT_EQ(of_kind(guest.events, Kind::SlotWrite).size(), 1U);
  EXPECT_FALSE(tracker.is_watched(root));
}

TEST_P(TableTrackerWatch, LetsGoOfATableThatLinksItself) {
  const Frame root = guest.new_process();
  guest.store(root.slot(11), table_entry(GetParam(), root));
  guest.new_process();
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  EXPECT_TRUE(tracker.is_watched(root));
  guest.store(root.slot(11), 0);
  EXPECT_FALSE(tracker.is_watched(root));
  EXPECT_EQ(tracker.tables(), 4U) << "those of the other process";
}

TEST_P(TableTrackerWatch, StartsAnewWithAnotherFormat) {
  const Frame root = guest.new_process();
  const std::uint64_t changes = tracker.changes();
  const std::uint64_t upper_changes = tracker.upper_changes();
  tracker.set_format(guest.format);
  EXPECT_TRUE(tracker.has_root(root, Half::Lower)) << "the same format";
  EXPECT_EQ(tracker.changes(), changes);

  guest.events.clear();
  model::StoreSource source;
  source.pc = 0x1234;
  source.vcpu = 1;
  tracker.set_format(other_format(), source);
  EXPECT_EQ(*tracker.format(), other_format());
  EXPECT_FALSE(tracker.has_root(root, Half::Lower));
  EXPECT_EQ(tracker.tables(), 0U);
  EXPECT_EQ(tracker.changes(), changes + 1);
  EXPECT_EQ(tracker.upper_changes(), upper_changes + 1);
  ASSERT_EQ(guest.events.size(), 4U);
  for (const Event& event : guest.events) {
    EXPECT_EQ(event.kind, Kind::TableRemoved);
    EXPECT_EQ(event.pc, 0x1234U);
    EXPECT_EQ(event.vcpu, 1U);
  }
  // Nobody has it loaded any more, so that the second vCPU's leaving is enough.
  guest.secret_store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  tracker.load_root(root, Half::Lower, source);
  ASSERT_TRUE(tracker.has_root(root, Half::Lower));
  tracker.leave(Half::Lower, 1);
  EXPECT_FALSE(tracker.has_root(root, Half::Lower));
}

TEST_P(TableTrackerWatch, CountsWhatMakesCachedAddressesStale) {
  const Frame root = guest.new_process();
  const Frame level3 = guest.new_table();
  const Frame level2 = guest.new_table();
  guest.store(level3.slot(1), table_entry(GetParam(), level2));
  std::uint64_t changes = tracker.changes();
  std::uint64_t upper_changes = tracker.upper_changes();
  guest.store(guest.leaf_slot(root, FakeGuest::kVvarPlace), 0);
  EXPECT_EQ(tracker.changes(), changes + 1);
  EXPECT_EQ(tracker.upper_changes(), upper_changes) << "an entry of the lower half";
  changes = tracker.changes();
  guest.store(root.slot(9), table_entry(GetParam(), level3));
  EXPECT_EQ(tracker.changes(), changes + 3) << "the entry, and two tables";
  EXPECT_EQ(tracker.upper_changes(), upper_changes + 2) << "two tables";

  Frame upper = root;
  if (GetParam() == Arch::Arm64) {
    upper = guest.new_table();
    guest.load_upper_root(upper);
  }
  upper_changes = tracker.upper_changes();
  guest.store(upper.slot(300), 8);
  EXPECT_EQ(tracker.upper_changes(), upper_changes + 1);
  ASSERT_TRUE(tracker.watch_content(FakeGuest::kVdso));
  upper_changes = tracker.upper_changes();
  guest.store(FakeGuest::kVdso.slot(300), 8);
  EXPECT_EQ(tracker.upper_changes(), upper_changes) << "no table";
}

TEST_P(TableTrackerWatch, ComparesWithoutWhatTheCpuSetsByItself) {
  Bare bare(GetParam());
  const arch::AnyFormat format = marking_format();
  const Frame code{0x200};
  ASSERT_TRUE(bare.tracker.watch_content(code)) << "before there is any format";
  arch::Table now{};
  now[4] = arch::hardware_bits(format, 1);
  ASSERT_NE(now[4], 0U);
  EXPECT_EQ(bare.tracker.differing_slots(code, now), 1U) << "code has no such bits";
  EXPECT_EQ(bare.tracker.differing_slots(code, {}), 0U);
  now[5] = 1;
  EXPECT_EQ(bare.tracker.differing_slots(code, now), 2U);
  EXPECT_EQ(bare.tracker.differing_slots(Frame{0x201}, now), 0U) << "not watched";

  const Frame root{0x110};
  const Frame level3{0x111};
  bare.put(root.slot(0), bare.link_to(level3));
  bare.tracker.set_format(format);
  bare.tracker.load_root(root, Half::Lower, {});
  EXPECT_EQ(bare.tracker.differing_slots(level3, now), 1U) << "a table's bits are left out";
  // Whichever level it is a table of; only pages are marked as written.
  arch::Table marked{};
  marked[4] = arch::hardware_bits(format, 4);
  EXPECT_EQ(bare.tracker.differing_slots(code, now), 2U);
  bare.tracker.load_root(code, Half::Upper, {});
  EXPECT_EQ(bare.tracker.differing_slots(code, marked), 0U);
}

TEST_P(TableTrackerWatch, NeverTrustsWhatCantBeRead) {
  Bare bare(GetParam());
  bare.tracker.set_format(format_for(GetParam()));
  const Frame root{0x110};
  bare.hidden.insert(Frame{0x111});
  bare.put(root.slot(0), bare.link_to(Frame{0x111}));
  bare.tracker.load_root(root, Half::Lower, {});
  EXPECT_FALSE(bare.tracker.is_watched(Frame{0x111}));
  EXPECT_EQ(bare.tracker.tables(), 1U);
  EXPECT_FALSE(bare.tracker.watch_content(Frame{0x111}));
  bare.hidden.insert(root);
  bare.events.clear();
  bare.store(root.slot(1), 8);
  EXPECT_TRUE(bare.events.empty());
  ASSERT_NE(bare.tracker.shadow(root), nullptr);
  EXPECT_EQ((*bare.tracker.shadow(root))[1], 0U);
}

TEST_P(TableTrackerWatch, WatchesAsMuchContentAsIsPromised) {
  Bare bare(GetParam());
  const auto frame = [](std::uint64_t number) { return Frame{0x120 + number}; };
  ASSERT_TRUE(bare.tracker.watch_content(frame(0)));
  for (std::uint64_t i = 0; i < model::TableTracker::kMaxContent; ++i) {
    EXPECT_TRUE(bare.tracker.watch_content(frame(i))) << i;
  }
  EXPECT_FALSE(bare.tracker.watch_content(frame(model::TableTracker::kMaxContent)));
  EXPECT_TRUE(bare.tracker.watch_content(frame(1))) << "watched already";
}

TEST_P(TableTrackerWatch, SaysOnceThatThereAreMoreTablesThanItFollows) {
  Bare bare(GetParam(), 0x4000);
  bare.tracker.set_format(format_for(GetParam()));
  const Frame root{0x110};
  const Frame level3{0x111};
  // 17 tables of 512 tables each are more than the bound.
  const auto level2 = [](std::uint64_t i) { return Frame{0x120 + i}; };
  const auto level1 = [](std::uint64_t i, std::uint64_t j) { return Frame{0x200 + i * 512 + j}; };
  constexpr std::uint64_t kMany = 17;
  bare.put(root.slot(0), bare.link_to(level3));
  for (std::uint64_t i = 0; i < kMany; ++i) {
    bare.put(level3.slot(i), bare.link_to(level2(i)));
    for (std::uint64_t j = 0; j < 512; ++j) bare.put(level2(i).slot(j), bare.link_to(level1(i, j)));
  }
  model::StoreSource source;
  source.pc = 0x1234;
  source.icount = 9;
  source.root = root.gpa().value;
  source.vcpu = 1;
  EXPECT_TRUE(bare.tracker.load_root(root, Half::Lower, source));
  const std::size_t most = model::TableTracker::kMaxTables;
  EXPECT_EQ(bare.tracker.tables(), most);
  EXPECT_EQ(bare.tracker.most_tables(), most);
  const std::vector<Event> limits = of_kind(bare.events, Kind::Limit);
  ASSERT_EQ(limits.size(), 1U);
  EXPECT_EQ(limits[0].aux, static_cast<std::uint64_t>(event::Limit::TableFrames));
  EXPECT_EQ(limits[0].pc, 0x1234U);
  EXPECT_EQ(limits[0].icount, 9U);
  EXPECT_EQ(limits[0].root, root.gpa().value);
  EXPECT_EQ(limits[0].vcpu, 1U);
  const Frame past = arch::frame_of(Gpa{limits[0].gpa});
  EXPECT_FALSE(bare.tracker.is_watched(past));
  EXPECT_FALSE(bare.tracker.load_root(Frame{0x112}, Half::Lower, {})) << "no room for a root";

  // A table that is followed may be linked once more, and counts twice then.
  bare.store(level3.slot(400), bare.link_to(level2(0)));
  bare.store(level3.slot(0), 0);
  EXPECT_TRUE(bare.tracker.is_watched(level1(0, 0)));
  EXPECT_EQ(bare.tracker.tables(), most);
  // One whose tables were not all followed: only those that were are let go.
  ASSERT_TRUE(bare.tracker.is_watched(level2(15)));
  const auto followed = [&](std::uint64_t i) {
    std::size_t count = 0;
    for (std::uint64_t j = 0; j < 512; ++j) {
      if (bare.tracker.is_watched(level1(i, j))) ++count;
    }
    return count;
  };
  const std::size_t below = followed(15);
  ASSERT_GT(below, 0U);
  ASSERT_LT(below, 512U);
  ASSERT_FALSE(bare.tracker.is_watched(level1(15, 511)));
  ASSERT_TRUE(bare.tracker.watch_content(level1(15, 511)));
  bare.store(level3.slot(15), 0);
  EXPECT_EQ(bare.tracker.tables(), most - below - 1);
  bare.events.clear();
  bare.store(level1(15, 511).slot(0), 8);
  EXPECT_EQ(bare.events.at(0).kind, Kind::ContentWrite) << "it never was a table";
  // There is room again.
  bare.store(level2(1).slot(0), bare.link_to(past));
  EXPECT_TRUE(bare.tracker.is_watched(past));
  EXPECT_TRUE(of_kind(bare.events, Kind::Limit).empty());
  EXPECT_EQ(bare.tracker.most_tables(), most);
}

TEST_P(TableTrackerWatch, AnEntryThatLeadsOutOfRamIsNoTableThatThereIsNoRoomFor) {
  Bare bare(GetParam(), 0x4000);
  bare.tracker.set_format(format_for(GetParam()));
  const Frame root{0x110};
  const Frame level3{0x111};
  bare.put(root.slot(0), bare.link_to(level3));
  std::uint64_t next = 0x200;
  // Just as many as there may be: the root, level 3, 15 tables of 512 and one of 495.
  for (std::uint64_t i = 0; i < 16; ++i) {
    const Frame level2{0x120 + i};
    bare.put(level3.slot(i), bare.link_to(level2));
    const std::uint64_t count = i < 15 ? 512 : model::TableTracker::kMaxTables - 2 - 15 * 513 - 1;
    for (std::uint64_t j = 0; j < count; ++j) bare.put(level2.slot(j), bare.link_to(Frame{next++}));
  }
  bare.tracker.load_root(root, Half::Lower, {});
  ASSERT_EQ(bare.tracker.tables(), model::TableTracker::kMaxTables);
  bare.store(level3.slot(20), bare.link_to(kOutside));
  EXPECT_TRUE(of_kind(bare.events, Kind::Limit).empty());
}

}  // namespace
}  // namespace sealvisor::test
