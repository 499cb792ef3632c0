// Whether each entry to user mode of an x86-64 guest has a trap before it, by the count of the
// emulated host's own CPU.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/nested/hosts.h"
#include "vmm/app/options.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using engine::nested::FrameKind;

struct Counted {
  std::uint64_t entries = 0;
  std::uint64_t untrapped = 0;
  std::uint64_t traps = 0;
  std::uint64_t told = 0;     ///< Traps that the VMM counted.
  std::uint64_t status = 99;  ///< Of `verify`.
};

/// `verify` in a host whose CPU counts. A failed test where it did not run to its end.
Counted count(const std::string& scenario, std::uint32_t leave_return) {
  Counted counted;
  app::VerifyOptions options;
  options.machine.engine = engine::Kind::Kvm;
  options.machine.scenarios = {scenario};
  options.archs = {arch::Arch::X86_64};
  options.recipes = {"lts-sealed"};
  options.deadline = std::chrono::seconds(250);
  options.leave_return = leave_return;
  const fs::path folder =
      fs::path(SEALVISOR_BUILD_DIR) / "nested-out" / fmt::format("entries-{}", leave_return);
  auto plan = verify_plan(options, folder.filename().string());
  fs::create_directories(folder);
  const fs::path counts = folder / "counts";
  plan.emulator_arguments = {"-plugin", fmt::format("{}/tests/nested/entry-counter.so,out={}",
                                                    SEALVISOR_BUILD_DIR, counts.string())};
  const Ran ran = run(std::move(plan));
  if (ran.outcome.end.kind != FrameKind::Exited) {
    ADD_FAILURE() << ran.console;
    return counted;
  }
  counted.status = ran.outcome.end.value;
  std::string word;
  std::ifstream(counts) >> word >> counted.entries >> word >> counted.untrapped >> word >>
      counted.traps;
  std::ifstream report(folder / "report.json");
  const auto json = nlohmann::json::parse(report, nullptr, false);
  if (json.is_discarded() || json["runs"].size() != 1) {
    ADD_FAILURE() << "no report of one run\n" << ran.console;
    return counted;
  }
  for (const auto& cost : json["runs"][0]["costs"]) {
    if (cost["name"] == "exits: returns to user mode") counted.told = cost["count"];
  }
  fmt::print("{} entries, {} without a trap; {} traps, {} told\n", counted.entries,
             counted.untrapped, counted.traps, counted.told);
  return counted;
}

TEST(NestedX86Entries, EachHasATrap) {
  const Counted counted = count("control/entries", 0);
  EXPECT_EQ(counted.status, 0U);
  EXPECT_GE(counted.entries, 8000U);
  EXPECT_EQ(counted.untrapped, 0U);
  EXPECT_EQ(counted.traps, counted.told);
  // After some no user instruction ran: an interrupt or a fault came first.
  EXPECT_GE(counted.traps, counted.entries);
}

TEST(NestedX86Entries, OneWithoutShows) {
  const Counted counted = count("control/entries", 1);
  EXPECT_EQ(counted.status, 1U);
  EXPECT_GT(counted.untrapped, 0U);
}

}  // namespace
}  // namespace sealvisor::test
