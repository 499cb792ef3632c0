#include "vmm/seal/policy.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

const Gva kVdso = FakeGuest::kVdsoPlace;
const Gva kVvar = FakeGuest::kVvarPlace;
const Gva kElsewhere{0x1000'0000};
/// Of a third mapping, "[vectors]", which a row can add: alone in 2 MiB of memory and of addresses,
/// so that one large page can show what its small ones did.
const Gva kVectors{0x4000'0000};
constexpr Frame kVectorsFrame{0x800};

/// A process that is watched as vmm/run/session.cc does, with the violations by name. Both system
/// mappings are populated, and user mode has run.
class Watched {
 public:
  explicit Watched(Arch which) : arch(which), guest(which) {
    guest.learn_vdso();
    for (const Frame frame : guest.identities.code_frames()) {
      EXPECT_TRUE(guest.tracker.watch_content(frame));
    }
    root = guest.new_process();
    user_runs(root);
  }

  /// User mode is about to run on `on`.
  void user_runs(Frame on) {
    model::Look look;
    const model::AddressSpace* space = guest.spaces.look(on, look);
    for (const auto& transition : look.transitions) {
      for (const auto& violation :
           seal::judge_transition(arch, guest.identities, *space, transition)) {
        add(violation);
      }
    }
    for (const auto& elsewhere : look.new_elsewhere) {
      add(seal::judge_elsewhere(guest.identities, *space, elsewhere));
    }
  }
  /// User mode ran on `on` and touched every page of every mapping.
  void touched(Frame on) {
    user_runs(on);
    const model::AddressSpace* space = guest.spaces.find(on);
    ASSERT_NE(space, nullptr);
    for (const auto& placement : space->placements) {
      for (const auto& violation : seal::judge_gone(guest.identities, *space, placement)) {
        add(violation);
      }
    }
  }
  /// `child` is a forked child of the process, and has touched every page.
  void forked(Frame child) {
    guest.load_root(child);
    touched(child);
    for (const auto& violation : seal::judge_inheritance(guest.identities, *guest.spaces.find(root),
                                                         *guest.spaces.find(child))) {
      add(violation);
    }
  }
  /// The process on `on` reports `auxiliary` as AT_SYSINFO_EHDR.
  void reports_vdso_at(Frame on, Gva auxiliary) {
    const auto violation =
        seal::judge_vdso_address(guest.identities, *guest.spaces.find(on), 0, auxiliary);
    if (violation) add(*violation);
  }
  /// The process also has kVectors, two small pages.
  void add_vectors() {
    guest.identities.add({.name = "[vectors]",
                          .code = true,
                          .frames = {kVectorsFrame, Frame{kVectorsFrame.number + 1}},
                          .permissions = {true, false, true, 0},
                          .claims_sealed = {},
                          .identified_by = {}});
    guest.spaces.identities_changed();
    guest.map(root, kVectors, kVectorsFrame, {.exec = true});
    guest.map(root, Gva{kVectors.value + 0x1000}, Frame{kVectorsFrame.number + 1}, {.exec = true});
    user_runs(root);
  }
  /// A page of 2 MiB takes the place of the table of small ones around `gva`.
  void make_large(Gva gva, Frame first, May may) {
    const std::uint64_t leaf = leaf_entry(arch, first.gpa(), may);
    guest.store(guest.slot_at(root, gva, 2), arch == Arch::X86_64
                                                 ? leaf | arch::x86_64::kPageSizeBit
                                                 : leaf & ~arch::arm64::kTableOrPage);
  }
  /// Everything that was found, stores to code included.
  [[nodiscard]] std::set<std::string> found() {
    for (const event::Event& event : guest.events) {
      if (const auto violation = seal::judge_content(guest.identities, event)) add(*violation);
    }
    return broken_;
  }

  Arch arch;
  FakeGuest guest;
  Frame root{};

 private:
  void add(const seal::Violation& violation) {
    EXPECT_FALSE(violation.text.empty());
    broken_.insert(violation.invariant);
  }
  std::set<std::string> broken_;
};

/// What a row says of its invariant, and the violations that are then told: none if it holds. S6
/// and S7 say how the others are to be judged, so what breaks them is mostly told as one of those.
struct Outcome {
  bool held = false;
  std::set<std::string> told;
};
const Outcome kHeld{true, {}};
Outcome broken(std::set<std::string> told) { return {false, std::move(told)}; }

/// One thing that happens. User mode runs on the process's root once more after it.
struct PolicyCase {
  const char* invariant;
  const char* name;
  Outcome outcome;
  void (*happens)(Watched& watched);
  std::optional<Arch> only = std::nullopt;
};

// S1 to S8, as vmm/seal/policy.h and DESIGN say them: each with rows that hold and that break it.
const PolicyCase kCases[] = {
    // S1 presence: a populated page stays reachable.
    {"S1", "Untouched", kHeld, [](Watched& on) { on.touched(on.root); }},
    {"S1", "ZappedAndNotYetTouched", kHeld, [](Watched& on) { on.guest.unmap(on.root, kVdso); }},
    {"S1", "RefaultedToTheSameFrame", kHeld,
     [](Watched& on) {
       on.guest.unmap(on.root, kVdso);
       on.user_runs(on.root);
       on.guest.map(on.root, kVdso, FakeGuest::kVdso, {.exec = true});
       on.touched(on.root);
     }},
    {"S1", "GoneWhenTouched", broken({"S1"}),
     [](Watched& on) {
       on.guest.unmap(on.root, kVdso);
       on.touched(on.root);
     }},

    // S2 frame: a populated page keeps its frame.
    {"S2", "TheSameEntryWrittenAgain", kHeld,
     [](Watched& on) {
       on.guest.map(on.root, kVdso, FakeGuest::kVdso, {.exec = true});
       on.touched(on.root);
     }},
    {"S2", "AnotherFrame", broken({"S2"}),
     [](Watched& on) { on.guest.map(on.root, kVdso, FakeGuest::kOther, {.exec = true}); }},
    {"S2", "TwoPagesSwapped", broken({"S2", "S4"}),
     [](Watched& on) {
       on.guest.map(on.root, kVdso, Frame{FakeGuest::kVdso.number + 1}, {.exec = true});
     }},
    {"S2", "FrameWhereThereWasNone", broken({"S2"}),
     [](Watched& on) { on.guest.map(on.root, Gva{kVvar.value + 0x1000}, FakeGuest::kOther); }},
    {"S2", "RefaultedToAnotherFrame", broken({"S2"}),
     [](Watched& on) {
       on.guest.unmap(on.root, kVvar);
       on.user_runs(on.root);
       on.guest.map(on.root, kVvar, FakeGuest::kOther);
     }},

    // S3 permission: no gain of write or execute, no loss of read, no change of privilege or key.
    {"S3", "AccessedAndDirtyBits", kHeld,
     [](Watched& on) {
       const Gpa slot = on.guest.leaf_slot(on.root, kVdso);
       const std::uint64_t entry = on.guest.entry_at(slot);
       on.guest.store(slot, on.arch == Arch::X86_64
                                ? entry | arch::x86_64::kAccessed | arch::x86_64::kDirty
                                : entry & ~arch::arm64::kAccessFlag);
     }},
    {"S3", "Writable", broken({"S3"}),
     [](Watched& on) {
       on.guest.map(on.root, kVdso, FakeGuest::kVdso, {.write = true, .exec = true});
     }},
    {"S3", "Executable", broken({"S3"}),
     [](Watched& on) { on.guest.map(on.root, kVvar, FakeGuest::kVvar, {.exec = true}); }},
    {"S3", "NoLongerExecutable", broken({"S3"}),
     [](Watched& on) { on.guest.map(on.root, kVdso, FakeGuest::kVdso); }},
    {"S3", "NoLongerUserModes", broken({"S3"}),
     [](Watched& on) { on.guest.map(on.root, kVvar, FakeGuest::kVvar, {.user = false}); }},
    {"S3", "ProtNone", broken({"S3"}),
     [](Watched& on) { on.guest.store(on.guest.leaf_slot(on.root, kVvar), std::uint64_t{0x900}); }},
    {"S3", "AProtectionKey", broken({"S3"}),
     [](Watched& on) {
       const Gpa slot = on.guest.leaf_slot(on.root, kVvar);
       on.guest.store(slot, on.guest.entry_at(slot) | 3ULL << arch::x86_64::kKeyShift);
     },
     Arch::X86_64},

    // S4 place: the mapping does not move; its frames are user-reachable nowhere else.
    {"S4", "CopiedBytesElsewhere", kHeld,
     [](Watched& on) {
       on.guest.map(on.root, kElsewhere, FakeGuest::kOther, {.write = true, .exec = true});
     }},
    {"S4", "SecondPlaceThatUserModeCannotReach", kHeld,
     [](Watched& on) { on.guest.map(on.root, kElsewhere, FakeGuest::kVvar, {.user = false}); }},
    {"S4", "AnotherProcessHasItAtAnotherPlace", kHeld,
     [](Watched& on) {
       const Frame other = on.guest.new_table();
       on.guest.map(other, kElsewhere, FakeGuest::kVdso, {.exec = true});
       on.guest.load_root(other);
       on.touched(other);
     }},
    {"S4", "SecondPlace", broken({"S4"}),
     [](Watched& on) { on.guest.map(on.root, kElsewhere, FakeGuest::kVdso, {.write = true}); }},
    {"S4", "SecondPlaceInAnotherProcess", broken({"S4"}),
     [](Watched& on) {
       const Frame other = on.guest.new_process();
       on.user_runs(other);
       on.guest.map(other, kElsewhere, FakeGuest::kVvar, {.write = true});
       on.user_runs(other);
     }},
    {"S4", "Moved", broken({"S4"}),
     [](Watched& on) {
       on.guest.unmap(on.root, kVvar);
       on.guest.map(on.root, kElsewhere, FakeGuest::kVvar);
     }},

    // S5 content: code frames do not change.
    {"S5", "AStoreThatChangesNothing", kHeld,
     [](Watched& on) { on.guest.store(FakeGuest::kVdso.slot(2), 0); }},
    {"S5", "TheClockInVvar", kHeld,
     [](Watched& on) { on.guest.store(FakeGuest::kVvar.slot(2), 0x1234); }},
    {"S5", "AStoreToCode", broken({"S5"}),
     [](Watched& on) { on.guest.store(FakeGuest::kVdso.slot(2), 0x90); }},
    {"S5", "AStoreToCodeThatIsLinkedAsATable", broken({"S5"}),
     [](Watched& on) {
       on.guest.store(on.guest.slot_at(on.root, kElsewhere, 2),
                      table_entry(on.arch, FakeGuest::kVdso));
       on.guest.store(FakeGuest::kVdso.slot(2), leaf_entry(on.arch, FakeGuest::kOther.gpa()));
     }},
    {"S5", "AStoreToCodeThatIsUndone", broken({"S5"}),
     [](Watched& on) {
       on.guest.store(Frame{FakeGuest::kVdso.number + 1}.slot(511), 0x90);
       on.guest.store(Frame{FakeGuest::kVdso.number + 1}.slot(511), 0);
     }},

    // S6 path: a change of an upper level or of the page size counts by what it does to S1-S4.
    {"S6", "UpperEntryCleared", kHeld,
     [](Watched& on) { on.guest.store(on.root.slot(kVdso.value >> 39), 0); }},
    {"S6", "TheSameEntriesInAnotherTable", kHeld,
     [](Watched& on) {
       const Gpa link = on.guest.slot_at(on.root, kVdso, 2);
       const Frame from = arch::frame_of(on.guest.leaf_slot(on.root, kVdso));
       const Frame copy = on.guest.new_table();
       on.guest.memory.tables[copy] = on.guest.memory.tables[from];
       on.guest.store(link, table_entry(on.arch, copy));
       on.touched(on.root);
     }},
    {"S6", "OneLargePageOverTheSameFrames", kHeld,
     [](Watched& on) {
       on.add_vectors();
       on.make_large(kVectors, kVectorsFrame, {.exec = true});
       on.touched(on.root);
     }},
    {"S6", "OneLargePageThatIsWritable", broken({"S3"}),
     [](Watched& on) {
       on.add_vectors();
       on.make_large(kVectors, kVectorsFrame, {.write = true, .exec = true});
     }},
    {"S6", "OneLargePageOverOtherFrames", broken({"S2"}),
     [](Watched& on) {
       on.add_vectors();
       on.make_large(kVectors, Frame{kVectorsFrame.number + 0x200}, {.exec = true});
     }},
    {"S6", "OneLargePageElsewhereShowsTheFrames", broken({"S4"}),
     [](Watched& on) {
       on.add_vectors();
       on.make_large(kElsewhere, kVectorsFrame, {.exec = true});
     }},
    {"S6", "UpperEntryClearedAndTouched", broken({"S1"}),
     [](Watched& on) {
       on.guest.store(on.guest.slot_at(on.root, kVdso, 2), 0);
       on.touched(on.root);
     }},
    {"S6", "UpperEntryLeadsElsewhere", broken({"S2"}),
     [](Watched& on) {
       const Frame other = on.guest.new_table();
       on.guest.map(other, kVdso, FakeGuest::kOther, {.exec = true});
       on.guest.store(on.root.slot(kVdso.value >> 39),
                      on.guest.entry_at(other.slot(kVdso.value >> 39)));
     }},
    {"S6", "UpperEntryTakesExecution", broken({"S3"}),
     [](Watched& on) {
       const Gpa slot = on.guest.slot_at(on.root, kVdso, 3);
       on.guest.store(
           slot, on.guest.entry_at(slot) | (on.arch == Arch::X86_64 ? arch::x86_64::kExecuteDisable
                                                                    : arch::arm64::kUxnTable));
     }},
    {"S6", "SecondUpperEntryLeadsToTheSameTables", broken({"S4"}),
     [](Watched& on) {
       on.guest.store(on.root.slot(3), on.guest.entry_at(on.root.slot(kVdso.value >> 39)));
     }},
    {"S6", "UpperEntryIsMalformed", broken({"S6"}),
     [](Watched& on) {
       // The top level has no leaves on either architecture.
       const Gpa slot = on.root.slot(kVdso.value >> 39);
       const std::uint64_t entry = on.guest.entry_at(slot);
       on.guest.store(slot, on.arch == Arch::X86_64 ? entry | arch::x86_64::kPageSizeBit
                                                    : entry & ~arch::arm64::kTableOrPage);
     }},

    // S7 teardown: a removal is pending until user mode runs again in that generation.
    {"S7", "RemovedAndTheGenerationEnds", kHeld,
     [](Watched& on) {
       for (const Gva page : {kVdso, Gva{kVdso.value + 0x1000}, kVvar}) {
         on.guest.unmap(on.root, page);
       }
       on.guest.store(on.root.slot(kVdso.value >> 39), 0);
       on.touched(on.guest.new_process());
       EXPECT_EQ(on.guest.spaces.find(on.root), nullptr);
       const auto ended = on.guest.spaces.take_ended();
       ASSERT_EQ(ended.size(), 1U);
       EXPECT_EQ(ended[0].pages_present, 3U) << "all of it teardown";
       EXPECT_EQ(ended[0].pages_zapped, 0U);
     }},
    {"S7", "TheRootsFrameIsTheNextProcesss", kHeld,
     [](Watched& on) {
       on.guest.store(on.root.slot(kVdso.value >> 39), 0);
       on.guest.new_process();
       on.guest.map(on.root, kVdso, FakeGuest::kOther, {.write = true, .exec = true});
       on.guest.load_root(on.root);
       on.touched(on.root);
     }},
    {"S7", "PendingWhileAnotherProcessRuns", kHeld,
     [](Watched& on) {
       on.guest.unmap(on.root, kVdso);
       on.touched(on.guest.new_process());
       on.guest.map(on.root, kVdso, FakeGuest::kVdso, {.exec = true});
       on.guest.load_root(on.root);
       on.touched(on.root);
     }},
    {"S7", "RemovedAndUserModeRunsAgain", broken({"S1"}),
     [](Watched& on) {
       on.guest.unmap(on.root, kVdso);
       on.touched(on.guest.new_process());
       on.guest.load_root(on.root);
       on.touched(on.root);
     }},
    {"S7", "EverythingRemovedAndUserModeRunsAgain", broken({"S1"}),
     [](Watched& on) {
       on.guest.store(on.root.slot(kVdso.value >> 39), 0);
       on.touched(on.root);
     }},

    // S8 inheritance: a forked child has its parent's mappings, same place, same frames.
    {"S8", "ChildHasThemAll", kHeld,
     [](Watched& on) {
       const Frame child = on.guest.new_process();
       on.forked(child);
       on.reports_vdso_at(child, kVdso);
     }},
    {"S8", "UprobesAreNotInherited", kHeld,
     [](Watched& on) {
       on.guest.identities.add({.name = "[uprobes]",
                                .code = true,
                                .frames = {kVectorsFrame},
                                .permissions = {true, false, true, 0},
                                .claims_sealed = {},
                                .identified_by = {}});
       on.guest.spaces.identities_changed();
       on.guest.map(on.root, kVectors, kVectorsFrame, {.exec = true});
       on.touched(on.root);
       on.forked(on.guest.new_process());
     }},
    {"S8", "ChildLacksOne", broken({"S8"}),
     [](Watched& on) {
       const Frame child = on.guest.new_table();
       on.guest.map(child, kVvar, FakeGuest::kVvar);
       on.forked(child);
     }},
    {"S8", "ChildHasOneElsewhere", broken({"S8"}),
     [](Watched& on) {
       const Frame child = on.guest.new_table();
       on.guest.map(child, Gva{0x5000'0000}, FakeGuest::kVdso, {.exec = true});
       on.guest.map(child, kVvar, FakeGuest::kVvar);
       on.forked(child);
     }},
    {"S8", "ChildHasOtherFramesThere", broken({"S8"}),
     [](Watched& on) {
       const Frame child = on.guest.new_table();
       on.guest.map(child, kVdso, FakeGuest::kOther, {.exec = true});
       on.guest.map(child, kVvar, FakeGuest::kVvar);
       on.forked(child);
     }},
    {"S8", "AuxiliaryVectorNamesAnotherPlace", broken({"S8"}),
     [](Watched& on) { on.reports_vdso_at(on.root, kElsewhere); }},
    {"S8", "AuxiliaryVectorNamesNone", broken({"S8"}),
     [](Watched& on) { on.reports_vdso_at(on.root, Gva{0}); }},
    {"S8", "SomethingElseIsWhereTheAuxiliaryVectorSays", broken({"S8"}),
     [](Watched& on) {
       const Frame other = on.guest.new_table();
       on.guest.map(other, kVdso, FakeGuest::kOther, {.exec = true});
       on.guest.load_root(other);
       on.user_runs(other);
       on.reports_vdso_at(other, kVdso);
     }},
};

using Row = std::tuple<Arch, PolicyCase>;

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const Arch arch : arch::kAllArchs) {
    for (const PolicyCase& one : kCases) {
      if (one.only.value_or(arch) == arch) all.emplace_back(arch, one);
    }
  }
  return all;
}

std::string name_of_row(const testing::TestParamInfo<Row>& row) {
  const auto& [arch, one] = row.param;
  return std::string(arch::name_of(arch)) + "_" + one.invariant +
         (one.outcome.held ? "_held_" : "_broken_") + one.name;
}

class Invariants : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, Invariants, testing::ValuesIn(rows()), name_of_row);

TEST_P(Invariants, AreToldToBeBrokenWhereTheyAre) {
  const auto& [arch, one] = GetParam();
  Watched watched(arch);
  ASSERT_EQ(watched.found(), std::set<std::string>{}) << "before anything happened";
  one.happens(watched);
  watched.user_runs(watched.root);
  EXPECT_EQ(watched.found(), one.outcome.told);
}

TEST(InvariantTable, HasARowOfBothKindsForEachInvariant) {
  std::map<std::string, std::set<bool>> kinds;
  for (const PolicyCase& one : kCases) {
    kinds[one.invariant].insert(one.outcome.held);
    EXPECT_EQ(one.outcome.held, one.outcome.told.empty()) << one.name;
  }
  std::map<std::string, std::set<bool>> wanted;
  for (int i = 1; i <= 8; ++i) wanted["S" + std::to_string(i)] = {false, true};
  EXPECT_EQ(kinds, wanted);
}

}  // namespace
}  // namespace sealvisor::test
