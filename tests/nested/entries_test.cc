// Whether each entry to user mode of an x86-64 guest has a trap before it, by the count of the
// emulated host's own CPU.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "vmm/app/kernels.h"
#include "vmm/app/nested.h"
#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using engine::nested::FrameKind;
using engine::nested::NestedHost;

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
  const auto places = app::find_places({.executable = SEALVISOR_BUILD_DIR "/sealvisor",
                                        .share_override = std::nullopt,
                                        .source_dir = SEALVISOR_SOURCE_DIR});
  if (!places) {
    ADD_FAILURE() << places.error().message;
    return counted;
  }
  app::VerifyTools tools;
  tools.kernel_dir = [&](const std::string& recipe, arch::Arch one) {
    return app::kernel_dir(places.value(), recipe, one);
  };
  const fs::path folder =
      fs::path(SEALVISOR_BUILD_DIR) / fmt::format("nested-out/entries-{}", leave_return);
  fs::remove_all(folder);
  fs::create_directories(folder);
  auto plan = app::nested_plan(options, options.archs[0], places.value(), tools, folder / "out");
  if (!plan) {
    ADD_FAILURE() << plan.error().message;
    return counted;
  }
  const fs::path counts = folder / "counts";
  plan.value().emulator_arguments = {
      "-plugin",
      fmt::format("{}/tests/nested/entry-counter.so,out={}", SEALVISOR_BUILD_DIR, counts.string())};
  std::string console;
  plan.value().on_console = [&](std::string_view bytes) { console += bytes; };
  auto host = NestedHost::create(std::move(plan).value());
  if (!host) {
    ADD_FAILURE() << host.error().message;
    return counted;
  }
  const auto outcome = host.value().run();
  if (!outcome || outcome.value().end.kind != FrameKind::Exited) {
    ADD_FAILURE() << (outcome ? console : outcome.error().message + console);
    return counted;
  }
  counted.status = outcome.value().end.value;
  std::string word;
  std::ifstream(counts) >> word >> counted.entries >> word >> counted.untrapped >> word >>
      counted.traps;
  std::ifstream report(folder / "out/report.json");
  const auto json = nlohmann::json::parse(report, nullptr, false);
  if (json.is_discarded() || json["runs"].size() != 1) {
    ADD_FAILURE() << "no report of one run\n" << console;
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
