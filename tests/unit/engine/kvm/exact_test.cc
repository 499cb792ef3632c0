#include "vmm/engine/kvm/exact.h"

#include <algorithm>
#include <vector>

#include "tests/unit/engine/kvm/watched_guest.h"

namespace sealvisor::engine::kvm {
namespace {

using arch::Frame;
using arch::Gpa;
using event::Event;
using event::Kind;

class ExactWatch : public WatchedGuest {
 protected:
  /// The kernel at `pc` stores `value`.
  void kernel_stores(Frame root, Gpa slot, std::uint64_t value, std::uint64_t pc = 0xffff1234) {
    put(slot, value);
    VcpuState now = state(root);
    now.user_mode = false;
    now.pc = pc;
    exact.on_stores({{slot, 8}}, false, now);
  }
  Exact exact{GetParam(), memory, recorder};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, ExactWatch, testing::ValuesIn(arch::kAllArchs),
                         test::ArchName{});

TEST_P(ExactWatch, GuardsTheTablesOfARootThatUserModeEnters) {
  const Frame root = tables(10);
  EXPECT_TRUE(exact.take_change().empty());
  exact.on_user_return(state(root));
  const GuardChange change = exact.take_change();
  EXPECT_EQ(change.on, (std::vector<Frame>{frame(10), frame(11), frame(12), frame(13)}));
  EXPECT_TRUE(change.off.empty());
  EXPECT_EQ(recorder.seen[1].kind, Kind::RootLoad);
  EXPECT_EQ(recorder.seen.back().kind, Kind::UserEntry);
  EXPECT_TRUE(exact.take_change().empty()) << "told once";
}

TEST_P(ExactWatch, TellsAStoreWithItsInstructionAndValues) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  recorder.seen.clear();
  const std::uint64_t before = test::leaf_entry(GetParam(), frame(1000).gpa());
  kernel_stores(root, frame(13).slot(5), 0);
  ASSERT_EQ(recorder.kinds(), std::vector<Kind>{Kind::SlotWrite});
  EXPECT_EQ(recorder.seen[0].pc, 0xffff1234U);
  EXPECT_EQ(recorder.seen[0].old_value, before);
  EXPECT_EQ(recorder.seen[0].new_value, 0U);
  EXPECT_EQ(recorder.seen[0].level, 1U);
  EXPECT_EQ(recorder.seen[0].flags, 0U);
}

TEST_P(ExactWatch, FollowsWhatAStoreLinksAndUnlinks) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  static_cast<void>(exact.take_change());
  kernel_stores(root, frame(12).slot(9), test::table_entry(GetParam(), frame(20)));
  EXPECT_EQ(exact.take_change().on, std::vector<Frame>{frame(20)});
  kernel_stores(root, frame(12).slot(9), 0);
  const GuardChange gone = exact.take_change();
  EXPECT_TRUE(gone.on.empty());
  EXPECT_EQ(gone.off, std::vector<Frame>{frame(20)});
}

TEST_P(ExactWatch, EndsAGenerationWithTheStoreThatEmptiesIt) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  static_cast<void>(exact.take_change());
  recorder.seen.clear();
  kernel_stores(root, root.slot(0), 0);
  EXPECT_EQ(exact.take_change().off.size(), 4U) << "the root too, though it ran last";
  // The same frame as another process's root: a new one.
  recorder.seen.clear();
  put(root.slot(0), test::table_entry(GetParam(), frame(11)));
  exact.on_user_return(state(root));
  EXPECT_EQ(recorder.seen.front().kind, Kind::RootLoad);
}

TEST_P(ExactWatch, TellsARootOnceWhileNothingElseRuns) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  kernel_stores(root, frame(13).slot(6), test::leaf_entry(GetParam(), frame(1001).gpa()));
  recorder.seen.clear();
  exact.on_user_return(state(root));
  EXPECT_EQ(recorder.kinds(), std::vector<Kind>{Kind::UserEntry});
  const Frame other = tables(30);
  exact.on_user_return(state(other));
  exact.on_user_return(state(root));
  EXPECT_EQ(std::count_if(recorder.seen.begin(), recorder.seen.end(),
                          [](const Event& event) { return event.kind == Kind::RootLoad; }),
            2);
}

TEST_P(ExactWatch, FollowsTheUpperHalfFromTheFirstDoorbellOn) {
  const Frame root = tables(10);
  const Frame upper = GetParam() == arch::Arch::X86_64 ? root : frame(500);
  put(upper.slot(300), test::table_entry(GetParam(), frame(600)));
  static_cast<void>(exact.on_doorbell({ExitKind::Doorbell}, state(root)));
  const GuardChange change = exact.take_change();
  EXPECT_TRUE(std::count(change.on.begin(), change.on.end(), frame(600)) == 1);
  EXPECT_EQ(recorder.stops.size(), 1U);
}

TEST_P(ExactWatch, PassesOverWhatTheHardwareWroteInAStep) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  recorder.seen.clear();
  const std::uint64_t entry = test::leaf_entry(GetParam(), frame(1000).gpa());
  const auto format = model::format_of(GetParam(), state(root).paging);
  ASSERT_TRUE(format.ok());
  const std::uint64_t own = arch::hardware_bits(format.value(), 1);
  put(frame(13).slot(5), entry ^ own);
  put(frame(13).slot(6), entry);
  VcpuState now = state(root);
  now.user_mode = false;
  exact.on_stores({{frame(13).slot(5), 8}, {frame(13).slot(6), 8}}, true, now);
  ASSERT_EQ(recorder.kinds(), std::vector<Kind>{Kind::SlotWrite});
  EXPECT_EQ(recorder.seen[0].gpa, frame(13).slot(6).value);
}

TEST_P(ExactWatch, NumbersTheSlotsOfAStoreInTwoFrames) {
  const Frame root = tables(10);
  exact.on_user_return(state(root));
  recorder.seen.clear();
  // 16 bytes across the end of frame 12 and the start of 13.
  put(frame(12).slot(511), 0);
  put(frame(13).slot(0), 0);
  exact.on_stores({{frame(12).slot(511), 8}, {frame(13).slot(0), 8}}, false, state(root));
  ASSERT_EQ(recorder.seen.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(recorder.seen[i].part, i);
    EXPECT_EQ(recorder.seen[i].parts, 2U);
    EXPECT_EQ(recorder.seen[i].size, 16U);
    EXPECT_EQ(recorder.seen[i].flags, event::kUserMode);
  }
}

TEST_P(ExactWatch, SaysThatAStoreCouldNotBeFollowed) {
  exact.on_limit(event::Limit::UnfollowedStore, frame(13).gpa(), state(tables(10)));
  ASSERT_EQ(recorder.kinds(), std::vector<Kind>{Kind::Limit});
  EXPECT_EQ(recorder.seen[0].gpa, frame(13).gpa().value);
  EXPECT_EQ(recorder.seen[0].aux, static_cast<std::uint64_t>(event::Limit::UnfollowedStore));
}

}  // namespace
}  // namespace sealvisor::engine::kvm
