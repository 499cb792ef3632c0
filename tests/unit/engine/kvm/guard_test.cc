#include "vmm/engine/kvm/guard.h"

#include <cstring>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

using arch::Frame;
using testing::ElementsAre;
using testing::IsEmpty;

class GuardTest : public testing::Test {
 protected:
  void put(Frame frame, std::size_t slot, std::uint64_t value) {
    std::memcpy(ram.at(frame.slot(slot), 8).data(), &value, 8);
  }
  Frame frame(std::uint64_t number) { return Frame{arch::frame_of(memory.base()).number + number}; }
  memory::GuestMemory memory =
      std::move(memory::GuestMemory::create(arch::Arch::Arm64, 64 << 20)).value();
  GuestRam ram = std::move(GuestRam::map(memory)).value();
  Guard guard{ram};
};

TEST_F(GuardTest, HoldsWhatIsOnAndInRam) {
  const Frame on[] = {frame(3), frame(5), Frame{1}};
  ASSERT_TRUE(guard.change(on, {}).ok());
  EXPECT_TRUE(guard.holds(frame(3)));
  EXPECT_TRUE(guard.holds(frame(5)));
  EXPECT_FALSE(guard.holds(Frame{1})) << "no RAM";
  EXPECT_FALSE(guard.holds(frame(4)));
  const Frame off[] = {frame(3), frame(4), Frame{1}};
  ASSERT_TRUE(guard.change({}, off).ok());
  EXPECT_FALSE(guard.holds(frame(3)));
  EXPECT_FALSE(guard.empty());
}

TEST_F(GuardTest, LeavesTheVmmsOwnViewWritable) {
  const Frame on[] = {frame(3)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  put(frame(3), 7, 42);
  EXPECT_EQ(memory.read_u64(frame(3).slot(7)), 42U);
}

TEST_F(GuardTest, TellsWhatDiffersWhenItCloses) {
  const Frame on[] = {frame(3), frame(5)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  ASSERT_TRUE(guard.open(frame(3)).ok());
  ASSERT_TRUE(guard.open(frame(4)).ok()) << "is not guarded: nothing to open";
  EXPECT_TRUE(guard.is_open(frame(3)));
  EXPECT_FALSE(guard.is_open(frame(4)));
  put(frame(3), 0, 1);
  put(frame(3), 511, 2);
  put(frame(5), 1, 3);  // not open: not compared
  const auto stores = guard.close();
  ASSERT_TRUE(stores.ok());
  EXPECT_THAT(stores.value(),
              ElementsAre(Stored{frame(3).slot(0), 8}, Stored{frame(3).slot(511), 8}));
  EXPECT_FALSE(guard.is_open(frame(3)));
  EXPECT_TRUE(guard.holds(frame(3)));
}

TEST_F(GuardTest, OpensAll) {
  const Frame on[] = {frame(3), frame(5)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  ASSERT_TRUE(guard.open_all().ok());
  put(frame(5), 1, 3);
  const auto stores = guard.close();
  ASSERT_TRUE(stores.ok());
  EXPECT_THAT(stores.value(), ElementsAre(Stored{frame(5).slot(1), 8}));
  const auto again = guard.close();
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again.value(), IsEmpty());
}

}  // namespace
}  // namespace sealvisor::engine::kvm
