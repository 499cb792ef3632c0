#include "vmm/engine/kvm/audit.h"

#include <algorithm>
#include <vector>

#include "tests/unit/engine/kvm/watched_guest.h"

namespace sealvisor::engine::kvm {
namespace {

using arch::Arch;
using arch::Frame;
using arch::Gpa;
using event::Event;
using event::Kind;

class Audited : public WatchedGuest {
 protected:
  Audit audit{GetParam(), memory, recorder};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Audited, testing::ValuesIn(arch::kAllArchs), test::ArchName{});

TEST_P(Audited, TellsTheTablesBeforeTheEntryToUserMode) {
  const Frame root = tables(10);
  audit.on_user_return(state(root));
  ASSERT_GE(recorder.seen.size(), 3U);
  EXPECT_EQ(recorder.seen.front().kind, Kind::Registers);
  EXPECT_EQ(recorder.seen[1].kind, Kind::RootLoad);
  EXPECT_EQ(recorder.seen[1].gpa, root.gpa().value);
  EXPECT_EQ(recorder.seen.back().kind, Kind::UserEntry);
  EXPECT_EQ(recorder.seen.back().root, root.gpa().value);
  EXPECT_EQ(recorder.seen.back().aux, frame(500).gpa().value);
  EXPECT_TRUE(recorder.stops.empty());
}

TEST_P(Audited, TellsAnEntryThatChangedSinceTheLastReturn) {
  const Frame root = tables(10);
  audit.on_user_return(state(root));
  recorder.seen.clear();
  const std::uint64_t before = test::leaf_entry(GetParam(), frame(1000).gpa());
  put(frame(13).slot(5), 0);
  audit.on_user_return(state(root));
  ASSERT_EQ(recorder.kinds(), (std::vector<Kind>{Kind::SlotWrite, Kind::UserEntry}));
  EXPECT_EQ(recorder.seen[0].gpa, frame(13).slot(5).value);
  EXPECT_EQ(recorder.seen[0].old_value, before);
  EXPECT_EQ(recorder.seen[0].new_value, 0U);
  EXPECT_EQ(recorder.seen[0].pc, 0U) << "who wrote it is not known";
  EXPECT_EQ(recorder.seen[0].icount, 2U) << "the second return";
  EXPECT_EQ(audit.user_returns(), 2U);
}

TEST_P(Audited, LooksAtBothHalvesWhenTheGuestRings) {
  const Frame root = tables(10);
  audit.on_user_return(state(root));
  recorder.seen.clear();
  // A kernel table that user mode never had.
  const Frame upper = GetParam() == Arch::X86_64 ? root : frame(500);
  put(upper.slot(300), test::table_entry(GetParam(), frame(600)));
  audit.on_user_return(state(root));
  EXPECT_EQ(recorder.kinds(), (std::vector<Kind>{Kind::UserEntry}));
  recorder.seen.clear();
  MachineExit exit;
  exit.kind = ExitKind::Doorbell;
  exit.gpa = Gpa{8};
  exit.value = 0x1234;
  exit.size = 4;
  const StopReply reply = audit.on_doorbell(exit, state(root));
  EXPECT_EQ(reply.watch_content, std::vector<Frame>{Frame{7}});
  const auto added =
      std::count_if(recorder.seen.begin(), recorder.seen.end(), [&](const Event& event) {
        return event.kind == Kind::TableAdded && event.gpa == frame(600).gpa().value &&
               event.new_value == 1;
      });
  EXPECT_EQ(added, 1);
  ASSERT_EQ(recorder.stops.size(), 1U);
  EXPECT_EQ(recorder.stops[0].kind, Kind::Doorbell);
  EXPECT_EQ(recorder.stops[0].gpa, 8U);
  EXPECT_EQ(recorder.stops[0].new_value, 0x1234U);
  EXPECT_EQ(recorder.stops[0].size, 4U);
  EXPECT_EQ(recorder.stops[0].flags, event::kUserMode);
  EXPECT_EQ(recorder.seen.back().kind, Kind::Doorbell);
}

TEST_P(Audited, PassesOnPagingThatIsRefusedAndReadsNoTable) {
  VcpuState now = state(tables(10));
  now.paging = {};
  audit.on_user_return(now);
  EXPECT_EQ(recorder.kinds(), (std::vector<Kind>{Kind::Registers, Kind::UserEntry}));
  EXPECT_EQ(audit.scanner().tables_read(), 0U);
}

TEST_P(Audited, SaysThatTheWatchIsIncompleteIfAReturnHasNoTrap) {
  const VcpuState now = state(tables(10));
  audit.on_planted({4, 1 << 20, {}}, now);
  EXPECT_TRUE(recorder.seen.empty());
  for (const Planted& open : {Planted{0, 1 << 20, {}}, Planted{4, 1 << 20, {"iretq at 0x1"}}}) {
    recorder.seen.clear();
    audit.on_planted(open, now);
    ASSERT_EQ(recorder.kinds(), (std::vector<Kind>{Kind::Limit}));
    EXPECT_EQ(recorder.seen[0].aux, static_cast<std::uint64_t>(event::Limit::UntrappedReturn));
  }
}

TEST_P(Audited, TellsAStoreToCode) {
  const Frame root = tables(10);
  audit.on_user_return(state(root));
  recorder.seen.clear();
  audit.on_content_write(frame(20).slot(3), 1, 2, 4, state(root));
  ASSERT_EQ(recorder.kinds(), (std::vector<Kind>{Kind::ContentWrite}));
  EXPECT_EQ(recorder.seen[0].gpa, frame(20).slot(3).value);
  EXPECT_EQ(recorder.seen[0].old_value, 1U);
  EXPECT_EQ(recorder.seen[0].new_value, 2U);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
