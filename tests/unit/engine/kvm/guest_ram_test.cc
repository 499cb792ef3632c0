#include "vmm/engine/kvm/guest_ram.h"

#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"

namespace sealvisor::engine::kvm {

// So that a failed comparison can be read.
inline std::ostream& operator<<(std::ostream& out, const SlotPiece& piece) {
  return out << fmt::format("{:#x}+{:#x}{}", piece.gpa.value, piece.bytes,
                            piece.read_only ? " read-only" : "");
}

namespace {

using arch::Frame;
using arch::Gpa;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr arch::RamLayout kRam{Gpa{0x40000000}, 64 * kMiB};

TEST(GuestRamCut, IsOnePieceWithoutReadOnlyFrames) {
  EXPECT_THAT(cut(kRam, {}), ElementsAre(SlotPiece{kRam.base, kRam.bytes, false}));
}

TEST(GuestRamCut, JoinsNeighboursAndDropsWhatIsNotRam) {
  const auto pieces =
      cut(kRam, {Frame{0x40003}, Frame{0x40002}, Frame{0x40003}, Frame{0x3ffff}, Frame{0x44000}});
  EXPECT_THAT(pieces, ElementsAre(SlotPiece{Gpa{0x40000000}, 0x2000, false},
                                  SlotPiece{Gpa{0x40002000}, 0x2000, true},
                                  SlotPiece{Gpa{0x40004000}, kRam.bytes - 0x4000, false}));
}

TEST(GuestRamCut, TakesTheFirstAndTheLastFrame) {
  const auto pieces = cut(kRam, {Frame{0x40000}, Frame{0x43fff}});
  EXPECT_THAT(pieces, ElementsAre(SlotPiece{Gpa{0x40000000}, 0x1000, true},
                                  SlotPiece{Gpa{0x40001000}, kRam.bytes - 0x2000, false},
                                  SlotPiece{Gpa{0x43fff000}, 0x1000, true}));
}

class GuestRamLoad : public testing::Test {
 protected:
  GuestRamLoad()
      : memory(std::move(memory::GuestMemory::create(arch::Arch::Arm64, kRam.bytes)).value()),
        ram(std::move(GuestRam::map(memory)).value()) {
    tree.file("kernel", "0123456789");
    tree.file("initramfs", "abc");
    plan.kernel.push_back({Gpa{kRam.base.value + 0x1000}, 2, 4, 16, "kernel"});
    plan.initramfs = {Gpa{kRam.base.value + 0x2000}, 0, 3, 3, "initramfs"};
    plan.data.push_back({kRam.base, {std::byte{1}, std::byte{2}}, "table"});
  }
  Status load() { return ram.load(plan, tree.path() / "kernel", tree.path() / "initramfs"); }
  std::string text(std::uint64_t offset, std::size_t bytes) {
    const auto at = ram.at(Gpa{kRam.base.value + offset}, bytes);
    return {reinterpret_cast<const char*>(at.data()), at.size()};
  }

  app::Temporary tree;
  memory::GuestMemory memory;
  GuestRam ram;
  arch::BootPlan plan;
};

TEST_F(GuestRamLoad, PutsEachPieceWhereThePlanSays) {
  const Status loaded = load();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(text(0x1000, 4), "2345");
  EXPECT_EQ(text(0x1004, 1), std::string(1, '\0'));
  EXPECT_EQ(text(0x2000, 3), "abc");
  EXPECT_EQ(text(0, 2), "\x01\x02");
  // What the engine's walker reads is the same memory.
  EXPECT_EQ(memory.read_u64(Gpa{kRam.base.value + 0x1000}), 0x35343332U);
}

TEST_F(GuestRamLoad, NamesAFileThatIsTooShort) {
  plan.kernel.front().file_bytes = 9;
  const Status loaded = load();
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ExitCode::Usage);
  EXPECT_THAT(loaded.error().message, HasSubstr("kernel: ends at byte 10, expected 1 more"));
}

TEST_F(GuestRamLoad, NamesWhatIsOutsideMemory) {
  plan.initramfs.gpa = Gpa{kRam.base.value + kRam.bytes - 2};
  const Status loaded = load();
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("3 bytes at 0x43fffffe are not in guest memory"));
  plan.initramfs.gpa = Gpa{~std::uint64_t{0}};
  EXPECT_FALSE(load().ok());
  plan.initramfs.gpa = kRam.base;
  plan.data.front().gpa = Gpa{0};
  const Status data = load();
  ASSERT_FALSE(data.ok());
  EXPECT_THAT(data.error().message, HasSubstr("table at 0x0 is not in guest memory"));
}

}  // namespace
}  // namespace sealvisor::engine::kvm
