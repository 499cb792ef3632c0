#include "bench/campaign.h"

#include <mutex>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using arch::Arch;
using bench::BootResult;
using bench::Side;
using bench::Turn;

BootResult good_boot() {
  BootResult boot;
  boot.good = true;
  return boot;
}

const auto kNeverStop = [] { return false; };
const auto kIgnore = [](const Turn&, const BootResult&) {};

TEST(Turns, TurnTheSidesAroundAndAlternateArchitectures) {
  const auto turns = bench::turns({Arch::X86_64, Arch::Arm64}, {Side::A, Side::B}, 2, 7);
  EXPECT_EQ(turns, (std::vector<Turn>{{Arch::X86_64, Side::A, 7},
                                      {Arch::Arm64, Side::A, 7},
                                      {Arch::X86_64, Side::B, 7},
                                      {Arch::Arm64, Side::B, 7},
                                      {Arch::X86_64, Side::B, 8},
                                      {Arch::Arm64, Side::B, 8},
                                      {Arch::X86_64, Side::A, 8},
                                      {Arch::Arm64, Side::A, 8}}));
}

TEST(Play, PlaysEachTurnOnceAndKeepsTheirOrder) {
  const auto turns = bench::turns({Arch::X86_64}, {Side::A, Side::B, Side::Control}, 5, 1);
  std::mutex mutex;
  std::size_t told = 0;
  const auto campaign = bench::play(
      turns, 3,
      [](const Turn& turn) -> Result<BootResult> {
        BootResult boot = good_boot();
        boot.boot.seed = turn.seed;
        return boot;
      },
      kNeverStop,
      [&](const Turn&, const BootResult&) {
        const std::lock_guard lock(mutex);
        ++told;
      });
  ASSERT_EQ(campaign.played.size(), turns.size());
  EXPECT_EQ(told, turns.size());
  EXPECT_FALSE(campaign.interrupted);
  for (std::size_t i = 0; i < turns.size(); ++i) {
    EXPECT_EQ(campaign.played[i].turn, turns[i]);
    EXPECT_EQ(campaign.played[i].result.boot.seed, turns[i].seed);
  }
}

TEST(Play, BeginsNoOtherAfterAStopAndKeepsWhatThereIs) {
  const auto turns = bench::turns({Arch::X86_64}, {Side::A, Side::B}, 4, 1);
  std::size_t begun = 0;
  const auto campaign = bench::play(
      turns, 1,
      [&](const Turn&) -> Result<BootResult> {
        ++begun;
        return good_boot();
      },
      [&] { return begun == 3; }, kIgnore);
  EXPECT_EQ(campaign.played.size(), 3U);
  EXPECT_TRUE(campaign.interrupted);
}

TEST(Play, EndsWithAGuestThatFailed) {
  const auto turns = bench::turns({Arch::X86_64}, {Side::A, Side::B}, 4, 1);
  std::size_t begun = 0;
  const auto campaign = bench::play(
      turns, 1,
      [&](const Turn&) -> Result<BootResult> {
        ++begun;
        return BootResult{};
      },
      kNeverStop, kIgnore);
  EXPECT_EQ(begun, 1U);
  EXPECT_EQ(campaign.played.size(), 1U);
  EXPECT_FALSE(campaign.interrupted);
}

TEST(Play, TellsAGuestThatCouldNotBeRun) {
  const auto turns = bench::turns({Arch::X86_64}, {Side::A, Side::B}, 1, 1);
  const auto campaign = bench::play(
      turns, 1,
      [](const Turn&) -> Result<BootResult> {
        return Error{ExitCode::HostLacks, "no QEMU"};
      },
      kNeverStop, kIgnore);
  ASSERT_EQ(campaign.errors.size(), 1U);
  EXPECT_EQ(campaign.errors[0].message, "no QEMU");
}

}  // namespace
}  // namespace sealvisor::test
