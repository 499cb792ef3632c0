// `bench` by a clock, end to end in emulated hosts. What it measures there is no latency, and each
// report must say so.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "vmm/app/capture.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

struct BenchHost {
  const char* name;
  arch::Arch arch;
  const char* source;  ///< Of the counter's frequency.
  const char* lane;    ///< Of interception there.
  const char* shows;   ///< What shows that it is virtual.
};

/// What one run left.
struct BenchRan {
  int status = -1;
  std::string text;
  Json report;
  std::string csv;
};

constexpr const char* kFilters[] = {"mmap/mremap-refused", "vdso/gettimeofday", "exec/execve"};

BenchRan bench(const BenchHost& host) {
  const fs::path folder = fs::path(SEALVISOR_BUILD_DIR) / "nested-out" / host.name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string json = (folder / "report.json").string();
  std::vector<std::string> words = {
      "bench",     "--engine", "kvm-nested", "--full", "--arch", arch::name_of(host.arch),
      "--layouts", "6",        "--json",     json,     "--csv",  (folder / "report.csv").string()};
  for (const char* filter : kFilters) words.insert(words.end(), {"--filter", filter});
  const auto answer =
      app::capture(SEALVISOR_BUILD_DIR "/sealvisor", words, std::chrono::seconds(880));
  BenchRan ran;
  if (!answer) {
    ADD_FAILURE() << answer.error().message;
    return ran;
  }
  ran.status = answer.value().status;
  ran.text = answer.value().output;
  ran.report = Json::parse(std::ifstream(json), nullptr, false);
  std::ifstream csv(folder / "report.csv");
  ran.csv = std::string(std::istreambuf_iterator<char>(csv), {});
  return ran;
}

/// Its values of one side, by seed.
std::map<std::string, std::string> member_by_seed(const Json& boots, const char* side,
                                                  const char* member) {
  std::map<std::string, std::string> values;
  for (const Json& boot : boots) {
    if (boot["side"] == side) values[boot["seed"]] = boot[member].get<std::string>();
  }
  return values;
}

void is_whole_and_valid(const BenchRan& all, const BenchHost& host) {
  const Json& report = all.report["sealvisor"];
  // In an emulated host a run may well be void: its times are none.
  EXPECT_THAT(all.status, testing::AnyOf(0, 1)) << all.text;
  EXPECT_EQ(report["exit_code"], all.status);
  EXPECT_TRUE(report["failures"].empty()) << report["failures"];
  EXPECT_EQ(report["interrupted"], false);
  EXPECT_TRUE(report["missing"].empty()) << report["missing"];
  const auto checked = app::capture(
      "/usr/bin/python3",
      {SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
       SEALVISOR_SOURCE_DIR "/docs/bench.schema.json",
       (fs::path(SEALVISOR_BUILD_DIR) / "nested-out" / host.name / "report.json").string()},
      std::chrono::seconds(60));
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(checked.value().status, 0) << checked.value().output;
}

void is_no_latency(const BenchRan& all, const BenchHost& host) {
  const Json& context = all.report["sealvisor"]["context"];
  EXPECT_EQ(context["engine"], "kvm");
  EXPECT_EQ(context["lane"], "time");
  EXPECT_EQ(context["watched"], false);
  EXPECT_EQ(context["pinned"]["cpu"], 0);
  EXPECT_THAT(context["virtual_host"].get<std::string>(), HasSubstr(host.shows));
  constexpr const char* kNone = "hardware latency was not measured here";
  EXPECT_THAT(context["says"].get<std::string>(), HasSubstr(kNone));
  EXPECT_THAT(all.report["sealvisor"]["conclusion"].get<std::string>(), HasSubstr(kNone));
  EXPECT_THAT(all.csv, HasSubstr(kNone));
  EXPECT_THAT(all.text, HasSubstr("not measured here"));
}

void has_nanoseconds_and_ticks(const BenchRan& all, const BenchHost& host) {
  const Json& report = all.report["sealvisor"];
  ASSERT_EQ(report["counters"].size(), 1U);
  const Json& counter = report["counters"][0];
  EXPECT_EQ(counter["source"], host.source);
  EXPECT_GT(counter["frequency"], 1'000'000);
  EXPECT_LE(counter["spread"], 0.001);
  ASSERT_EQ(report["metrics"].size(), std::size(kFilters));
  for (const Json& metric : report["metrics"]) {
    EXPECT_EQ(metric["unit"], "ns");
    EXPECT_GT(metric["resolution"], 0);
    for (const char* side : {"a", "b", "control", "slowed"}) {
      ASSERT_EQ(metric[side].size(), 6U) << metric["experiment"] << side;
      for (const Json& layout : metric[side]) EXPECT_GT(layout["value"], 0);
    }
    EXPECT_EQ(metric["cost"]["paired"], true);
  }
  for (const Json& entry : all.report["benchmarks"]) {
    EXPECT_EQ(entry["label"], "time");
    const double hertz = counter["frequency"];
    const double ticks = entry["ticks"];
    EXPECT_NEAR(ticks / hertz * 1e9, entry["real_time"].get<double>(), 1e-3);
  }
  EXPECT_TRUE(report["profiles"].empty());
  EXPECT_TRUE(report["repeats"].is_null());
}

void takes_layouts_from_the_seed(const BenchRan& all, const BenchHost& host) {
  const Json& boots = all.report["sealvisor"]["boots"];
  ASSERT_EQ(boots.size(), 24U);
  const auto vdso = member_by_seed(boots, "a", "vdso");
  EXPECT_EQ(vdso.size(), 6U);
  std::set<std::string> places;
  for (const auto& [seed, place] : vdso) places.insert(place);
  EXPECT_EQ(places.size(), 6U) << "another one for each seed";
  EXPECT_EQ(member_by_seed(boots, "b", "vdso"), vdso) << "the same for both kernels";
  const auto text = member_by_seed(boots, "a", "kernel_text");
  std::set<std::string> texts;
  for (const auto& [seed, place] : text) texts.insert(place);
  EXPECT_GT(texts.size(), 1U) << "the kernel is placed at random";
  if (host.arch == arch::Arch::Arm64) {
    EXPECT_EQ(texts.size(), 6U);
    EXPECT_EQ(member_by_seed(boots, "b", "kernel_text"), text) << "by the seed";
  }
  for (const Json& boot : boots) EXPECT_TRUE(boot["preempted"].is_number()) << boot["seed"];
}

void has_interception_apart(const BenchRan& all, const BenchHost& host) {
  const Json& report = all.report["sealvisor"];
  const Json& watched = report["watched"];
  ASSERT_FALSE(watched.is_null());
  ASSERT_EQ(watched["how"].size(), 1U);
  EXPECT_THAT(watched["how"][0].get<std::string>(), testing::StartsWith(host.lane));
  ASSERT_EQ(watched["lines"].size(), 2 * std::size(kFilters));
  for (const Json& line : watched["lines"]) {
    EXPECT_EQ(line["problem"], "") << line;
    // An exec makes tables and enters user mode; a call that stays there meets no interception.
    if (line["experiment"] == "exec/execve") {
      EXPECT_GT(line["ratio"], 1.2) << line;
    }
  }
  EXPECT_THAT(all.text, HasSubstr("with interception on"));
}

/// The clock of the emulated host counts instructions, a nanosecond each: what the slowed kernel
/// has more of is known, and must be seen.
void sees_the_slowed_kernel(const BenchRan& all) {
  const Json& sensitivity = all.report["sealvisor"]["sensitivity"];
  ASSERT_FALSE(sensitivity.is_null());
  EXPECT_EQ(sensitivity["good"], true);
  ASSERT_EQ(sensitivity["lines"].size(), std::size(kFilters));
  for (const Json& line : sensitivity["lines"]) {
    EXPECT_EQ(line["asked"], true) << line;
    EXPECT_EQ(line["verdict"], "slower") << line;
    const double added = line["added"];
    EXPECT_NEAR(line["expected_shift"].get<double>(), added, added / 50) << line;
    EXPECT_NEAR(line["shift"].get<double>(), added, added / 10) << line;
  }
}

class NestedBench : public testing::TestWithParam<BenchHost> {};
INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedBench,
    testing::Values(BenchHost{"X86Bench", arch::Arch::X86_64, "CLOCK_MONOTONIC_RAW", "audited",
                              "QEMU's TCG"},
                    BenchHost{"VheBench", arch::Arch::Arm64, "CNTFRQ_EL0", "exact", "device tree"}),
    [](const testing::TestParamInfo<BenchHost>& host) { return std::string(host.param.name); });

TEST_P(NestedBench, IsWholeAndSaysWhatItIs) {
  const BenchRan all = bench(GetParam());
  ASSERT_FALSE(all.report.is_discarded()) << all.text;
  is_whole_and_valid(all, GetParam());
  is_no_latency(all, GetParam());
  has_nanoseconds_and_ticks(all, GetParam());
  takes_layouts_from_the_seed(all, GetParam());
  has_interception_apart(all, GetParam());
  sees_the_slowed_kernel(all);
}

}  // namespace
}  // namespace sealvisor::test
