#include "vmm/run/timelines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using report::MomentKind;
using report::Phase;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// What a session does with events, without one.
class Timelines : public testing::TestWithParam<Arch> {
 protected:
  Timelines() { guest_.learn_vdso(); }

  /// Gives the collector what came since the last time.
  void pass_on() {
    for (; passed_ < guest_.changes.size(); ++passed_) {
      const model::MappingChange& change = guest_.changes[passed_];
      if (change.write.kind != event::Kind::SlotWrite) continue;
      timelines_.written(guest_.format, change);
    }
    for (const model::SpaceEnd& end : guest_.spaces.take_ended()) {
      timelines_.ended(end, guest_.icount);
    }
  }
  /// User mode is about to run.
  void enter(Frame root) {
    pass_on();
    model::Look look;
    model::AddressSpace* space = guest_.spaces.look(root, look);
    ASSERT_NE(space, nullptr);
    timelines_.looked(guest_.format, *space, look, ++guest_.icount);
    for (const model::Elsewhere& found : look.new_elsewhere) {
      const arch::Walk walk = arch::walk(guest_.format, guest_.mirror, root, found.gva);
      timelines_.elsewhere(space->id, found, walk.last().slot, guest_.icount);
    }
    ++space->user_entries;
  }
  std::uint64_t id_of(Frame root) { return guest_.spaces.find(root)->id; }
  /// A process that runs, on a root that is loaded before its tables are filled.
  Frame new_process() {
    const Frame root = guest_.new_table();
    guest_.load_root(root);
    guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
    guest_.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
    enter(root);
    return root;
  }
  /// The kernel takes its tables away, and goes on with another process.
  void exit(Frame root) {
    guest_.unmap(root, FakeGuest::kVdsoPlace);
    guest_.unmap(root, FakeGuest::kVvarPlace);
    for (std::size_t slot = 0; slot < 256; ++slot) {
      if (guest_.entry_at(root.slot(slot)) != 0) guest_.store(root.slot(slot), 0);
    }
    pass_on();
    guest_.load_root(guest_.new_table());
    pass_on();
  }
  report::Run finish() {
    report::Run run;
    timelines_.finish(run, [&](const model::MappingChange& change) {
      report::EntryChange told;
      told.mapping = guest_.identities.all()[change.page.mapping].name;
      told.gva = change.gva.value;
      told.gpa = change.write.gpa;
      told.level = change.level;
      told.old_value = change.write.old_value;
      told.new_value = change.write.new_value;
      told.icount = change.write.icount;
      return told;
    });
    return run;
  }
  static std::vector<MomentKind> kinds(const report::Process& process, Phase phase) {
    std::vector<MomentKind> result;
    for (const report::Moment& moment : process.timeline) {
      if (moment.phase == phase) result.push_back(moment.kind);
    }
    return result;
  }

  FakeGuest guest_{GetParam()};
  run::Timelines timelines_{guest_.identities};
  std::size_t passed_ = 0;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Timelines, testing::ValuesIn(arch::kAllArchs), ArchName());

TEST_P(Timelines, AProcessIsInstalledAndGoes) {
  const Frame root = new_process();
  const std::uint64_t id = id_of(root);
  timelines_.victim(id, 7);
  enter(root);
  exit(root);
  const report::Run run = finish();
  ASSERT_THAT(run.processes, SizeIs(1));
  const report::Process& process = run.processes[0];
  EXPECT_EQ(process.id, id);
  EXPECT_EQ(process.root, root.gpa().value);
  EXPECT_EQ(process.scenario, "boot");
  EXPECT_EQ(process.cell, 7U);
  EXPECT_FALSE(process.changed);
  EXPECT_EQ(process.user_entries, 2U);
  EXPECT_LT(process.began, process.ended.value_or(0));
  ASSERT_THAT(process.mappings, SizeIs(2));
  for (const report::PlacedMapping& placed : process.mappings) {
    EXPECT_EQ(placed.pages, 2U) << placed.mapping;
    EXPECT_EQ(placed.populated, 1U) << placed.mapping;
  }
  EXPECT_THAT(kinds(process, Phase::Installation),
              ElementsAre(MomentKind::Populated, MomentKind::Populated, MomentKind::Found,
                          MomentKind::Found));
  EXPECT_THAT(kinds(process, Phase::Life), IsEmpty());
  const auto exit = kinds(process, Phase::Exit);
  ASSERT_FALSE(exit.empty());
  EXPECT_EQ(exit.back(), MomentKind::Ended);
  EXPECT_THAT(process.timeline.back().text, HasSubstr("2 pages were there"));
}

TEST_P(Timelines, WhoPopulatedAPageIsTold) {
  new_process();
  const report::Run run = finish();
  const report::Moment& first = run.processes.at(0).timeline.at(0);
  ASSERT_EQ(first.kind, MomentKind::Populated);
  ASSERT_TRUE(first.write.has_value());
  EXPECT_EQ(first.write->old_value, 0U);
  EXPECT_EQ(first.write->new_value, leaf_entry(GetParam(), FakeGuest::kVdso.gpa(), {.exec = true}));
  EXPECT_EQ(first.icount, first.write->icount);
  EXPECT_EQ(first.gva, FakeGuest::kVdsoPlace.value);
}

TEST_P(Timelines, WhatWasThereWhenItsTableWasLinkedHasNoWriter) {
  const Frame root = guest_.new_process();  // filled before it is loaded
  enter(root);
  const report::Run run = finish();
  const report::Moment& first = run.processes.at(0).timeline.back();
  ASSERT_EQ(first.kind, MomentKind::Populated);
  EXPECT_FALSE(first.write.has_value());
  EXPECT_THAT(first.text, HasSubstr("gpa 0x"));
}

TEST_P(Timelines, APageThatComesLaterIsInstallationToo) {
  const Frame root = new_process();
  guest_.map(root, Gva{FakeGuest::kVdsoPlace.value + 0x1000}, Frame{FakeGuest::kVdso.number + 1},
             {.exec = true});
  enter(root);
  const report::Run run = finish();
  EXPECT_FALSE(run.processes.at(0).changed);
  EXPECT_TRUE(run.processes[0].timeline.back().write.has_value());
  EXPECT_EQ(run.processes[0].timeline.back().phase, Phase::Installation);
}

TEST_P(Timelines, AChangeIsWrittenThenSeenThenJudged) {
  const Frame root = new_process();
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  enter(root);
  timelines_.broken({"S1", id_of(root), {0, 0}, FakeGuest::kVdsoPlace, "is gone"}, guest_.icount);
  exit(root);
  const report::Run run = finish();
  const report::Process& process = run.processes.at(0);
  EXPECT_TRUE(process.changed);
  EXPECT_THAT(kinds(process, Phase::Life),
              ElementsAre(MomentKind::Written, MomentKind::Seen, MomentKind::Broken));
  for (const report::Moment& moment : process.timeline) {
    if (moment.phase != Phase::Life) continue;
    EXPECT_EQ(moment.mapping, "[vdso]");
    EXPECT_EQ(moment.gva, FakeGuest::kVdsoPlace.value);
    if (moment.kind == MomentKind::Written) {
      EXPECT_FALSE(moment.write->transient);
    } else if (moment.kind == MomentKind::Seen) {
      EXPECT_THAT(moment.text, HasSubstr("r-x gpa 0x400000 -> absent"));
    } else {
      EXPECT_EQ(moment.text, "S1: is gone");
    }
  }
}

TEST_P(Timelines, WhatIsUndoneBeforeUserModeRunsIsTransient) {
  const Frame root = new_process();
  const Gpa slot = guest_.leaf_slot(root, FakeGuest::kVdsoPlace);
  const std::uint64_t entry = guest_.entry_at(slot);
  guest_.store(slot, 0);
  guest_.store(slot, entry);
  enter(root);
  const report::Run run = finish();
  const report::Process& process = run.processes.at(0);
  EXPECT_TRUE(process.changed) << "it happened all the same";
  ASSERT_THAT(kinds(process, Phase::Life), ElementsAre(MomentKind::Written, MomentKind::Written));
  EXPECT_TRUE(process.timeline.back().write->transient);
}

TEST_P(Timelines, WhatIsWrittenWhenTheGuestEndsIsOfTheExit) {
  const Frame root = new_process();
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  pass_on();  // and no user mode any more
  const report::Run run = finish();
  const report::Process& process = run.processes.at(0);
  EXPECT_FALSE(process.changed);
  EXPECT_FALSE(process.ended.has_value());
  EXPECT_THAT(kinds(process, Phase::Life), IsEmpty());
  EXPECT_THAT(kinds(process, Phase::Exit), ElementsAre(MomentKind::Written));
}

TEST_P(Timelines, OneEntryOnTheWayToManyPagesIsOneMoment) {
  const Frame root = guest_.new_process();
  enter(root);
  guest_.store(guest_.slot_at(root, FakeGuest::kVdsoPlace, 2), 0);
  enter(root);
  const report::Run run = finish();
  std::vector<std::uint32_t> pages;
  for (const report::Moment& moment : run.processes.at(0).timeline) {
    if (moment.kind == MomentKind::Written) pages.push_back(moment.pages);
  }
  EXPECT_THAT(pages, ElementsAre(4U)) << "two pages of each mapping, populated or not";
}

TEST_P(Timelines, ASecondPlaceIsToldWithItsWriter) {
  const Frame root = new_process();
  const Gva other{0x10000000};
  guest_.map(root, other, FakeGuest::kVdso, {.write = true});
  enter(root);
  const report::Run run = finish();
  const report::Moment& last = run.processes.at(0).timeline.back();
  EXPECT_EQ(last.kind, MomentKind::Elsewhere);
  EXPECT_EQ(last.gva, other.value);
  ASSERT_TRUE(last.write.has_value());
  EXPECT_EQ(last.write->new_value, leaf_entry(GetParam(), FakeGuest::kVdso.gpa(), {.write = true}));
}

TEST_P(Timelines, OfManyThatNothingHappensToSomeAreKept) {
  timelines_.scenario("life/thousand");
  constexpr std::uint32_t kMany = run::Timelines::kMostUnchanged + 4;
  for (std::uint32_t i = 0; i < kMany; ++i) exit(new_process());
  const Frame changed = new_process();
  guest_.unmap(changed, FakeGuest::kVdsoPlace);
  enter(changed);
  exit(changed);
  timelines_.scenario("life/fork");
  exit(new_process());
  const report::Run run = finish();
  ASSERT_THAT(run.processes, SizeIs(run::Timelines::kMostUnchanged + 2));
  EXPECT_EQ(run.processes_left_out.unchanged, 4U);
  EXPECT_EQ(run.processes_left_out.changed, 0U);
  EXPECT_FALSE(run.processes[0].timeline.empty());
  EXPECT_TRUE(run.processes[1].timeline.empty());
  EXPECT_GT(run.processes[1].moments_left_out, 0U);
  EXPECT_TRUE(run.processes[run::Timelines::kMostUnchanged].changed);
  EXPECT_FALSE(run.processes[run::Timelines::kMostUnchanged].timeline.empty());
  EXPECT_EQ(run.processes.back().scenario, "life/fork");
  EXPECT_FALSE(run.processes.back().timeline.empty()) << "the first of another scenario";
}

TEST_P(Timelines, ThoseThatNothingHappensToLeaveRoomForOthers) {
  const auto one = [&](std::uint64_t id, bool changes) {
    model::AddressSpace space;
    space.id = id;
    model::Placement placement;
    placement.base = FakeGuest::kVdsoPlace;
    placement.pages.resize(2);
    space.placements = {placement};
    timelines_.looked(guest_.format, space, {}, id);
    if (changes) timelines_.broken({"S2", id, {0, 0}, FakeGuest::kVdsoPlace, "frame"}, id);
    model::SpaceEnd end;
    end.space = id;
    timelines_.ended(end, id);
  };
  // As many scenarios as the full matrix has, none of which changes anything.
  std::uint64_t id = 0;
  for (std::size_t i = 0; i < report::kMostProcesses; ++i) {
    timelines_.scenario(std::to_string(i));
    for (int each = 0; each < 3; ++each) one(++id, false);
  }
  one(++id, true);
  const report::Run run = finish();
  EXPECT_THAT(run.processes, SizeIs(run::Timelines::kMostUnchangedInAll + 1));
  EXPECT_TRUE(run.processes.back().changed);
  EXPECT_EQ(run.processes_left_out.changed, 0U);
  EXPECT_EQ(run.processes_left_out.unchanged, id - 1 - run::Timelines::kMostUnchangedInAll);
}

TEST_P(Timelines, APeacelessProcessIsCutOffAndCounted) {
  const Frame root = new_process();
  const Gpa slot = guest_.leaf_slot(root, FakeGuest::kVdsoPlace);
  const std::uint64_t entry = guest_.entry_at(slot);
  for (std::size_t i = 0; i < report::kMostMoments; ++i) {
    guest_.store(slot, i % 2 == 0 ? 0 : entry);
  }
  enter(root);
  const report::Run run = finish();
  EXPECT_THAT(run.processes.at(0).timeline, SizeIs(report::kMostMoments));
  EXPECT_GT(run.processes[0].moments_left_out, 0U);
}

TEST_P(Timelines, AllProcessesTogetherAreBoundedToo) {
  // More that change than there is room for.
  for (std::size_t i = 0; i < report::kMostProcesses + 3; ++i) {
    model::AddressSpace space;
    space.id = i + 1;
    model::Placement placement;
    placement.base = FakeGuest::kVdsoPlace;
    placement.pages.resize(2);
    space.placements = {placement};
    timelines_.looked(guest_.format, space, {}, i);
    timelines_.broken({"S2", space.id, {0, 0}, FakeGuest::kVdsoPlace, "frame"}, i);
    model::SpaceEnd end;
    end.space = space.id;
    timelines_.ended(end, i);
  }
  // And one that fills what is left of the moments, live.
  const report::Run run = finish();
  EXPECT_THAT(run.processes, SizeIs(report::kMostProcesses));
  EXPECT_EQ(run.processes_left_out.changed, 3U);
}

TEST_P(Timelines, HeldMomentsAreBoundedInAll) {
  std::size_t left_out = 0;
  std::size_t kept = 0;
  for (std::uint64_t id = 1; id <= 30; ++id) {
    model::AddressSpace space;
    space.id = id;
    model::Placement placement;
    placement.base = FakeGuest::kVdsoPlace;
    placement.pages.resize(2);
    space.placements = {placement};
    timelines_.looked(guest_.format, space, {}, id);
    for (std::size_t i = 0; i < 900; ++i) {
      timelines_.broken({"S2", id, {0, 0}, FakeGuest::kVdsoPlace, "frame"}, id);
    }
  }
  const report::Run run = finish();
  for (const report::Process& process : run.processes) {
    kept += process.timeline.size();
    left_out += process.moments_left_out;
  }
  EXPECT_EQ(kept, run::Timelines::kMostHeld);
  EXPECT_EQ(kept + left_out, 30U * 901);
}

TEST_P(Timelines, WhatThereIsNoRoomForHasHappenedAllTheSame) {
  for (std::uint64_t id = 1000; id < 1000 + run::Timelines::kMostHeld / report::kMostMoments;
       ++id) {
    model::AddressSpace space;
    space.id = id;
    model::Placement placement;
    placement.base = FakeGuest::kVdsoPlace;
    placement.pages.resize(2);
    space.placements = {placement};
    timelines_.looked(guest_.format, space, {}, id);
    for (std::size_t i = 0; i < report::kMostMoments; ++i) {
      timelines_.broken({"S2", id, {0, 0}, FakeGuest::kVdsoPlace, "frame"}, id);
    }
  }
  const Frame root = new_process();
  const Gpa slot = guest_.leaf_slot(root, FakeGuest::kVdsoPlace);
  const std::uint64_t entry = guest_.entry_at(slot);
  guest_.store(slot, 0);
  guest_.store(slot, entry);
  const std::uint64_t id = id_of(root);
  enter(root);
  const report::Run run = finish();
  const auto process = std::find_if(run.processes.begin(), run.processes.end(),
                                    [&](const auto& one) { return one.id == id; });
  ASSERT_NE(process, run.processes.end());
  EXPECT_THAT(process->timeline, IsEmpty());
  EXPECT_GT(process->moments_left_out, 0U);
  EXPECT_TRUE(process->changed) << "undone, and past the bound";
}

}  // namespace
}  // namespace sealvisor::test
