// What is searched for where, when, and when not.
#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/space.h"

namespace sealvisor::test {
namespace {

const Gva kAlias{0x1000'0000};
const Gva kUpperPlace{0xffff'8000'0000'0000};

/// A process with both mappings, which user mode has run on. Its upper half is there too.
class SpaceSearch : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override {
    guest.learn_vdso();
    root = guest.new_process();
    upper = one_root() ? root : guest.new_table();
    guest.leaf_slot(upper, kUpperPlace);
    guest.leaf_slot(root, kAlias);
    if (!one_root()) guest.load_upper_root(upper);
    guest.enter_user(root);
  }
  [[nodiscard]] static bool one_root() { return GetParam() == Arch::X86_64; }
  [[nodiscard]] const model::AddressSpace& space() const { return *guest.spaces.find(root); }
  /// The addresses of what a look found anew.
  static std::vector<Gva> places(const std::vector<model::Elsewhere>& found) {
    std::vector<Gva> result;
    for (const model::Elsewhere& one : found) result.push_back(one.gva);
    return result;
  }
  std::vector<Gva> found() { return places(guest.enter_user(root).new_elsewhere); }
  [[nodiscard]] std::vector<Gva> known() const { return places(space().elsewhere); }
  /// A level-3 table that nobody knows: more ways lead through it than a search has a budget for,
  /// and nothing is at the end of them.
  Frame many_ways() {
    Frame below = guest.new_table();
    for (unsigned level = 2; level <= 3; ++level) {
      const Frame table = guest.new_table();
      guest.memory.tables[table].fill(table_entry(GetParam(), below));
      below = table;
    }
    return below;
  }
  /// The kernel's half has fewer levels than user mode's (arm64).
  void narrow_upper_half() {
    // T0SZ = 16, T1SZ = 25, TG0 = TG1 = 4 KiB.
    guest.format =
        arch::arm64::format_from(
            {.tcr = 16 | (25ULL << 16) | (2ULL << 30), .ttbr0 = 0, .ttbr1 = 0, .sctlr = 1})
            .value();
    guest.tracker.set_format(guest.format);
    guest.spaces.set_format(GetParam(), guest.format);
    root = guest.new_process();
    guest.enter_user(root);
  }

  FakeGuest guest{GetParam()};
  Frame root{};
  Frame upper{};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, SpaceSearch, testing::ValuesIn(arch::kAllArchs), ArchName{});

/// What a kernel does all the time must not cost a search of every address space.
TEST_P(SpaceSearch, WhatShowsNoSystemMappingIsNoReasonToSearch) {
  const std::uint64_t seen = space().seen_epoch;
  const Gpa slot = guest.leaf_slot(root, kAlias);
  guest.store(slot, leaf_entry(GetParam(), FakeGuest::kOther.gpa()));
  guest.store(slot, 0x1234'0000);  // swapped out
  guest.store(slot, 0);
  // A table of level 3 with two fresh ones below it, and an ordinary page.
  guest.map(root, Gva{0x1'0000'0000'0000 - 0x1000}, FakeGuest::kOther);
  const Frame table = guest.new_table();
  const Frame lower = guest.new_table();
  guest.memory.tables[table][1] = table_entry(GetParam(), lower);
  guest.memory.tables[lower][1] = leaf_entry(GetParam(), FakeGuest::kOther.gpa());
  guest.store(guest.slot_at(root, Gva{0x40'0000'0000}, 3), table_entry(GetParam(), table));
  EXPECT_TRUE(found().empty());
  EXPECT_EQ(space().seen_epoch, seen);
}

TEST_P(SpaceSearch, BeforeAMappingIsKnownNothingIsAReasonToSearch) {
  FakeGuest early{GetParam()};
  const Frame process = early.new_process();
  early.enter_user(process);
  const std::uint64_t seen = early.spaces.find(process)->seen_epoch;
  early.store(process.slot(3), early.entry_at(process.slot(FakeGuest::kVdsoPlace.value >> 39)));
  early.enter_user(process);
  EXPECT_EQ(early.spaces.find(process)->seen_epoch, seen);
  EXPECT_TRUE(early.changes.empty());
}

TEST_P(SpaceSearch, WhatWasThereBeforeItsMappingWasKnownIsFoundOnceItIs) {
  FakeGuest early{GetParam()};
  const Frame process = early.new_process();
  const Frame kernel = one_root() ? process : early.new_table();
  early.map(kernel, kUpperPlace, FakeGuest::kVdso);
  if (!one_root()) early.load_upper_root(kernel);
  EXPECT_TRUE(early.enter_user(process).transitions.empty());
  early.learn_vdso();
  const model::Look look = early.enter_user(process);
  EXPECT_EQ(look.transitions.size(), 3U);
  EXPECT_EQ(places(look.new_elsewhere), std::vector{kUpperPlace});
}

TEST_P(SpaceSearch, AnotherFormatIsAReasonToSearch) {
  const std::uint64_t seen = space().seen_epoch;
  const std::uint64_t seen_upper = space().seen_upper_epoch;
  guest.spaces.set_format(GetParam(), guest.format);
  guest.enter_user(root);
  EXPECT_NE(space().seen_epoch, seen);
  EXPECT_NE(space().seen_upper_epoch, seen_upper);
}

/// What the kernel allocates for one process, as [uprobes], has no place in another: where it shows
/// there is a second place.
TEST_P(SpaceSearch, WhatOneProcessHasForItselfHasNoPlaceInAnother) {
  constexpr Gva kProbes{0x2000'0000};
  const Frame other = guest.new_process();
  guest.enter_user(other);
  model::SystemMapping probes;
  probes.name = "[uprobes]";
  probes.frames = {FakeGuest::kOther};
  probes.permissions = {true, false, true, 0};
  probes.owner = space().id;
  const std::size_t mapping = guest.identities.add(probes);
  guest.map(root, kProbes, FakeGuest::kOther, {.exec = true});
  guest.map(other, kProbes, FakeGuest::kOther, {.exec = true});
  EXPECT_TRUE(found().empty());
  ASSERT_NE(space().placement(mapping), nullptr);
  EXPECT_EQ(space().placement(mapping)->base, kProbes);
  EXPECT_EQ(places(guest.enter_user(other).new_elsewhere), std::vector{kProbes});
  EXPECT_EQ(guest.spaces.find(other)->placement(mapping), nullptr);
}

/// What is not searched can't run out of its budget.
TEST_P(SpaceSearch, FreshTablesAreSearchedWithTheNextChangeThatMatters) {
  guest.store(root.slot(3), table_entry(GetParam(), many_ways()));
  guest.enter_user(root);
  EXPECT_FALSE(guest.spaces.exhausted());
  guest.map(root, kAlias, FakeGuest::kVdso);
  guest.enter_user(root);
  EXPECT_TRUE(guest.spaces.exhausted());
}

TEST_P(SpaceSearch, AChangeOfTheUserHalfIsNoReasonToSearchTheKernels) {
  guest.store(upper.slot(400), table_entry(GetParam(), many_ways()));
  guest.map(root, kAlias, FakeGuest::kVdso);
  EXPECT_EQ(found(), std::vector{kAlias});
  EXPECT_FALSE(guest.spaces.exhausted());
  guest.map(upper, kUpperPlace, FakeGuest::kVdso);
  guest.enter_user(root);
  EXPECT_TRUE(guest.spaces.exhausted());
}

/// Each second translation is told once, whatever else comes, and stays known while it is there.
TEST_P(SpaceSearch, WhatIsKnownOfBothHalvesStandsWhileMoreIsFound) {
  guest.map(root, kAlias, FakeGuest::kVdso);
  guest.map(upper, kUpperPlace, FakeGuest::kVdso);
  EXPECT_EQ(found(), (std::vector{kAlias, kUpperPlace}));
  const Gva second{kAlias.value + arch::kPageSize};
  guest.map(root, second, FakeGuest::kVvar);
  EXPECT_EQ(found(), std::vector{second});
  EXPECT_EQ(known(), (std::vector{kAlias, second, kUpperPlace}));
  // Nothing that matters: all are where they were.
  guest.map(root, Gva{second.value + arch::kPageSize}, FakeGuest::kOther);
  EXPECT_TRUE(found().empty());
  EXPECT_EQ(known(), (std::vector{kAlias, second, kUpperPlace}));
}

TEST_P(SpaceSearch, ASecondTranslationThatWasAnotherPageMeanwhileIsToldAgain) {
  guest.map(root, kAlias, FakeGuest::kVdso);
  EXPECT_EQ(found(), std::vector{kAlias});
  guest.map(root, kAlias, FakeGuest::kOther);
  EXPECT_TRUE(found().empty());
  EXPECT_TRUE(known().empty());
  guest.map(root, kAlias, FakeGuest::kVdso);
  EXPECT_EQ(found(), std::vector{kAlias});
}

/// The same page at the same address, with the same permissions, but more around it.
TEST_P(SpaceSearch, ASecondTranslationThatBecomesPartOfALargeOneIsToldAgain) {
  const Gva place{0x2000'0000};
  guest.map(root, place, FakeGuest::kVdso);
  EXPECT_EQ(found(), std::vector{place});
  guest.store(guest.slot_at(root, place, 2), large_leaf_entry(GetParam(), FakeGuest::kVdso.gpa()));
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 3U);
  const std::vector<Gva> now = known();
  EXPECT_NE(std::find(now.begin(), now.end(), place), now.end());
  for (const model::Elsewhere& one : look.new_elsewhere) EXPECT_EQ(one.size, 0x20'0000U);
  EXPECT_EQ(now.size(), 3U);
}

/// Memory begins with a frame like any other.
TEST_P(SpaceSearch, ASecondTranslationOfFrameZeroThatIsGoneIsGone) {
  model::SystemMapping mapping;
  mapping.name = "[first]";
  mapping.frames = {Frame{0}};
  guest.identities.add(mapping);
  guest.spaces.identities_changed();
  guest.map(root, Gva{0x9000'0000}, Frame{0});
  guest.map(root, kAlias, Frame{0});
  guest.enter_user(root);  // The lower one of the two is its place.
  EXPECT_EQ(known(), std::vector{Gva{0x9000'0000}});
  guest.unmap(root, Gva{0x9000'0000});
  EXPECT_TRUE(found().empty());
  EXPECT_TRUE(known().empty());
}

/// Nothing is forgotten after a search that ran out: with what a hostile guest has made until then,
/// each look would take long.
TEST_P(SpaceSearch, WhatIsKnownStandsOnceASearchRanOut) {
  guest.map(root, kAlias, FakeGuest::kVdso);
  guest.store(root.slot(3), table_entry(GetParam(), many_ways()));
  guest.enter_user(root);
  ASSERT_TRUE(guest.spaces.exhausted());
  guest.unmap(root, kAlias);
  EXPECT_TRUE(found().empty());
  EXPECT_EQ(known(), std::vector{kAlias});
}

TEST_P(SpaceSearch, ALargeLeafIsASecondTranslationOfWhatLiesInIt) {
  model::SystemMapping far;
  far.name = "[far]";
  far.frames = {Frame{0x7ff}, Frame{0x3ff}, Frame{0x600}};
  guest.identities.add(far);
  guest.spaces.identities_changed();
  guest.map(root, Gva{0x5000'0000}, Frame{0x7ff});
  guest.enter_user(root);
  // Frames 0x400 to 0x5ff: those of the vdso and of the vvar.
  const Gva large{0x4000'0000};
  guest.store(guest.slot_at(root, large, 2), large_leaf_entry(GetParam(), Frame{0x400}.gpa()));
  std::vector<Gva> all = found();
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (std::vector{large, Gva{large.value + 0x1000}, Gva{large.value + 0x10'000}}));
}

/// arm64 has pages that user mode may execute and not read.
TEST_P(SpaceSearch, APageThatMayOnlyBeExecutedIsASecondTranslation) {
  if (GetParam() != Arch::Arm64) return;
  guest.changes.clear();
  guest.map(root, kAlias, FakeGuest::kVdso, {.exec = true, .user = false});
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].page, (model::MappingPage{0, 0}));
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 1U);
  EXPECT_EQ(look.new_elsewhere[0].permissions, (arch::Permissions{false, false, true, 0}));
}

/// Both halves need not have as many levels: what is a root of one may be in the midst of the
/// other.
TEST_P(SpaceSearch, ARootIsWhatItsOwnHalfBeginsWith) {
  if (GetParam() != Arch::Arm64) return;
  narrow_upper_half();
  const Frame kernel = guest.new_table();
  guest.store(kernel.slot(9), table_entry(GetParam(), guest.new_table()));
  guest.load_upper_root(kernel);
  guest.enter_user(root);
  // Another root of each half that links what is known.
  const std::uint64_t seen = space().seen_epoch;
  const Frame other = guest.new_table();
  guest.store(other.slot(9), guest.entry_at(root.slot(FakeGuest::kVdsoPlace.value >> 39)));
  guest.load_root(other);
  guest.enter_user(root);
  EXPECT_EQ(space().seen_epoch, seen);
  const Frame second = guest.new_table();  // Its entries are of level 3.
  guest.store(second.slot(9), guest.entry_at(kernel.slot(9)));
  guest.load_upper_root(second);
  guest.enter_user(root);
  EXPECT_EQ(space().seen_epoch, seen);
  // A fresh table of that level in the lower half is none.
  const Frame fresh = guest.new_table();
  guest.store(fresh.slot(9), guest.entry_at(guest.slot_at(root, FakeGuest::kVdsoPlace, 3)));
  guest.store(root.slot(3), table_entry(GetParam(), fresh));
  EXPECT_EQ(found().size(), 3U);
}

/// A process that was forked twice over: only the last one counts.
TEST_P(SpaceSearch, InheritsFromOneProcessAlone) {
  const Frame child = guest.new_table();
  guest.map(child, Gva{0x10000}, FakeGuest::kOther);
  guest.load_root(child);
  model::AddressSpace& heir = *guest.spaces.find(child);
  model::Spaces::inherit(heir, space());
  EXPECT_EQ(heir.inherited.size(), 2U);
  const Frame plain = guest.new_table();
  guest.load_root(plain);
  model::Spaces::inherit(heir, *guest.spaces.find(plain));
  EXPECT_TRUE(heir.inherited.empty());
}

TEST_P(SpaceSearch, TheParentsPlaceOfOneMappingIsNoPlaceOfAnother) {
  const Frame child = guest.new_table();
  guest.map(child, Gva{0x10000}, FakeGuest::kOther);
  guest.load_root(child);
  guest.enter_user(child);
  model::Spaces::inherit(*guest.spaces.find(child), space());
  // The data page stands where the second code page of the parent does.
  const Gva there{FakeGuest::kVdsoPlace.value + arch::kPageSize};
  guest.map(child, there, FakeGuest::kVvar);
  guest.enter_user(child);
  ASSERT_NE(guest.spaces.find(child)->placement(1), nullptr);
  EXPECT_EQ(guest.spaces.find(child)->placement(1)->base, there);
}

/// A root that shares tables knows all that the other one did.
TEST_P(SpaceSearch, ARootThatSharesTablesKnowsTheOthersSecondTranslations) {
  guest.map(root, kAlias, FakeGuest::kVdso);
  EXPECT_EQ(found(), std::vector{kAlias});
  model::AddressSpace& first = *guest.spaces.find(root);
  first.inherited.emplace_back(7, Gva{0x7000});
  const Frame second = guest.new_table();
  guest.store(second.slot(0), guest.entry_at(root.slot(0)));
  guest.load_root(second);
  EXPECT_TRUE(guest.enter_user(second).new_elsewhere.empty());
  EXPECT_EQ(places(guest.spaces.find(second)->elsewhere), std::vector{kAlias});
  EXPECT_EQ(guest.spaces.find(second)->inherited, first.inherited);
}

/// A root that the kernel alone runs on, which links the process's tables too, has no places.
TEST_P(SpaceSearch, GoesOnAsTheOneThatHasPlaces) {
  const Frame kernel = guest.new_table();
  const Frame user = guest.new_process();
  guest.map(user, Gva{0x40'0000}, FakeGuest::kOther);
  guest.store(kernel.slot(0), guest.entry_at(user.slot(0)));
  guest.load_root(kernel);
  guest.enter_user(user);
  ASSERT_LT(kernel, user);
  const Frame second = guest.new_table();
  guest.store(second.slot(0), guest.entry_at(user.slot(0)));
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_EQ(guest.spaces.find(second)->placements.size(), 2U);
}

/// Roots that hold the same number at the same entry share a table only if it is one for both.
TEST_P(SpaceSearch, AnEntryThatIsATableForOneRootOnlyIsNotShared) {
  // A table in frame 0, outside of RAM: where entries that are none seem to lead.
  const std::uint64_t first_frame = table_entry(GetParam(), Frame{0});
  const std::uint64_t swapped_out = 0x1234'0000;
  guest.store(root.slot(7), first_frame);
  guest.store(root.slot(8), swapped_out);
  guest.enter_user(root);
  const Frame second = guest.new_table();
  guest.store(second.slot(7), swapped_out);
  guest.store(second.slot(8), first_frame);
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_TRUE(guest.spaces.find(second)->placements.empty());
}

TEST_P(SpaceSearch, ARootWithoutTablesSharesNone) {
  const Frame outside{0x100'000};
  guest.load_root(outside);
  EXPECT_TRUE(guest.enter_user(outside).transitions.empty());
  EXPECT_TRUE(guest.spaces.find(outside)->placements.empty());
  // Nor does one whose table is gone by a stream that was cut.
  event::Event gone{};
  gone.kind = event::Kind::TableRemoved;
  gone.level = 3;
  gone.gpa = root.gpa().value;
  guest.emit(gone);
  ASSERT_EQ(guest.mirror.table(root), nullptr);
  const Frame second = guest.new_table();
  guest.map(second, Gva{0x10000}, FakeGuest::kOther);
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_TRUE(guest.spaces.find(second)->placements.empty());
}

}  // namespace
}  // namespace sealvisor::test
