#include "bench/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <list>
#include <string>

#include "bench/conclude.h"
#include "tests/unit/app/temporary.h"
#include "tests/unit/bench/concluded.h"
#include "tests/unit/bench/generate.h"
#include "tests/unit/report/schema_check.h"
#include "tests/unit/support/shell.h"

namespace sealvisor::bench {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const char* const kCompare = "/usr/share/benchmark/compare.py";

test::ShellAnswer check_bench(const std::string& arguments) {
  return report::check_schema("docs/bench.schema.json", arguments);
}

generate::Plan tiny() {
  generate::Plan plan;
  plan.layouts = 6;
  plan.samples = 3;
  plan.only = {"mmap/brk", "vdso/time"};
  plan.b_adds = {{"mmap/brk", 40}};
  plan.known_costs = {{arch::Arch::X86_64, "mmap/brk", Space::Kernel, 100, "do_mmap"}};
  return plan;
}

/// One of everything.
Report everything() {
  Collected collected = generate::collect(tiny());
  collected.repeats = {collected.boots[0]};
  collected.repeats[0].experiments[0].user[0] += 1;
  collected.cross_checks = {{"stress-ng", "vdso/time", "", "mmap/brk"}};
  collected.failures = {"a guest failed"};
  for (Boot& boot : collected.boots) {
    boot.experiments.push_back({.experiment = "vdso/compat", .status = 95});
  }
  auto baseline = parse_baseline(render_json(concluded(generate::collect(tiny()))), "saved.json");
  EXPECT_TRUE(baseline.ok());
  baseline.value().context.host_cpu = "Other";
  baseline.value().metrics[0].experiment = "gone";
  return concluded(std::move(collected),
                   {.baseline = std::move(baseline.value()), .may_differ = {Same::Machine}});
}

TEST(BenchJson, IsValidByTheSchemaOfTheTree) {
  const app::Temporary folder;
  Collected time = generate::collect({.lane = Lane::Time, .only = {"mmap/brk"}});
  time.boots[0].counter->frequency = 0;
  std::string names;
  int number = 0;
  for (const Report& report :
       {everything(), concluded(generate::collect({.layouts = 3})), concluded(std::move(time)),
        concluded(generate::collect({.lane = Lane::Time, .only = {"vdso/time"}})),
        concluded({.context = {.engine = "tcg"}})}) {
    const auto path = folder.file(std::to_string(++number) + ".json", render_json(report));
    names += " '" + path.string() + "'";
  }
  const test::ShellAnswer checked = check_bench(names);
  EXPECT_EQ(checked.status, 0) << checked.output;
}

/// A run by a clock, cut to one of each kind.
Report timed_report() {
  generate::Plan plan = tiny();
  plan.lane = Lane::Time;
  plan.samples = 1;
  Collected collected = generate::collect(plan);
  collected.watched = {{collected.boots[0], "audited: traps"},
                       {collected.boots[1], "audited: traps"}};
  collected.watched[1].boot.experiments[0].problem = "no samples";
  Report report = concluded(std::move(collected));
  report.watched->lines.erase(report.watched->lines.begin(), report.watched->lines.begin() + 1);
  report.watched->lines.resize(2);
  report.metrics.resize(1);
  report.boots.resize(1);
  report.context.kernels.resize(1);
  return report;
}

TEST(BenchJson, NoMutationOfATimedOneIsValid) {
  const app::Temporary folder;
  const auto path = folder.file("report.json", render_json(timed_report()));
  const test::ShellAnswer checked = check_bench("--mutate '" + path.string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_THAT(checked.output, HasSubstr("mutations tried"));
  const auto lines =
      nlohmann::json::parse(render_json(timed_report()))["sealvisor"]["watched"]["lines"];
  EXPECT_EQ(lines[0]["ratio"], 1);
  EXPECT_TRUE(lines[1]["ratio"].is_null());
}

TEST(BenchJson, NoMutationOfItIsValid) {
  const app::Temporary folder;
  Report report = everything();
  // One of each kind is enough, and the time goes with the square of the size.
  report.metrics.resize(3);
  for (Metric& metric : report.metrics) {
    metric.a.resize(1);
    metric.b.clear();
    metric.control.clear();
    metric.slowed.clear();
    metric.baseline_a.reset();
    if (metric.measure != Measure::Total) metric.sensitivity.reset();
  }
  report.metrics[0].baseline_a = report.metrics[0].cost;
  report.foreign.clear();
  report.boots.resize(1);
  report.context.kernels.resize(1);
  report.profiles.resize(1);
  const auto path = folder.file("report.json", render_json(report));
  const test::ShellAnswer checked = check_bench("--mutate '" + path.string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_THAT(checked.output, HasSubstr("mutations tried"));
  EXPECT_THAT(checked.output, Not(HasSubstr(": 0 mutations tried")));
}

TEST(BenchJson, OtherVersionsAndWordsAreNotValid) {
  const app::Temporary folder;
  const std::string good = render_json(everything());
  std::string names;
  int number = 0;
  const std::pair<std::string, std::string> changes[] = {
      {"sealvisor-bench-2", "sealvisor-bench-3"},
      {"\"verdict\":\"equivalent\"", "\"verdict\":\"same\""},
      {"\"time_unit\":\"ns\"", "\"time_unit\":\"instructions\""},
      {"\"label\":\"instructions, not time\"", "\"label\":\"latency\""},
      {"\"exit_code\": 4", "\"exit_code\": 2"},
      {"\"seed\":\"0x1\"", "\"seed\":\"1\""},
      {"\"side\":\"control\"", "\"side\":\"c\""}};
  for (const auto& [from, to] : changes) {
    std::string text = good;
    const auto place = text.find(from);
    ASSERT_NE(place, std::string::npos) << from;
    text.replace(place, from.size(), to);
    names += " '" + folder.file(std::to_string(++number) + ".json", text).string() + "'";
  }
  const test::ShellAnswer checked = check_bench("--invalid" + names);
  EXPECT_EQ(checked.status, 0) << checked.output;
}

TEST(BenchJson, CarriesValuesExactly) {
  Collected collected = generate::collect(tiny());
  for (Boot& boot : collected.boots) {
    if (boot.seed == 4) boot.seed = 0xffff'ffff'ffff'fff0;
  }
  const auto json = nlohmann::json::parse(render_json(concluded(std::move(collected))));
  const auto& ours = json["sealvisor"];
  EXPECT_EQ(ours["metrics"][0]["experiment"], "mmap/brk");
  EXPECT_EQ(ours["metrics"][0]["a"][3]["seed"], "0xfffffffffffffff0");
  EXPECT_EQ(ours["metrics"][0]["cost"]["shift"]["estimate"], 40);
  EXPECT_EQ(ours["metrics"][0]["cost"]["verdict"], "slower");
  EXPECT_EQ(ours["boots"][0]["experiments"][0]["kernel"].size(), 3U);
  EXPECT_EQ(ours["boots"][0]["kernel_text"], "0xffffffff81200000");
  // What differs and what does not sum up to the whole.
  const auto& profile = ours["profiles"][0];
  std::int64_t a = profile["unchanged"];
  for (const auto& symbol : profile["symbols"]) a += symbol["a"].get<std::int64_t>();
  EXPECT_EQ(profile["total_a"], a);
  EXPECT_EQ(profile["symbols"][0]["difference"], 40 * 18);
}

TEST(BenchJson, NeverCallsACountATime) {
  const auto json = nlohmann::json::parse(render_json(concluded(generate::collect(tiny()))));
  EXPECT_THAT(json["context"]["real_time_is"].get<std::string>(), HasSubstr("not a time"));
  for (const auto& entry : json["benchmarks"]) EXPECT_EQ(entry["label"], "instructions, not time");
  EXPECT_EQ(json["benchmarks"][0]["user_instructions"], 76);
  EXPECT_EQ(json["benchmarks"][0]["kernel_instructions"], 1824);
  EXPECT_EQ(json["benchmarks"][0]["real_time"], 1900);
  const auto time = nlohmann::json::parse(
      render_json(concluded(generate::collect({.lane = Lane::Time, .only = {"vdso/time"}}))));
  EXPECT_EQ(time["benchmarks"][0]["label"], "time");
  EXPECT_EQ(time["benchmarks"][0]["iterations"], 5 * 64);
  EXPECT_EQ(time["benchmarks"][0]["ticks"], time["benchmarks"][0]["real_time"]) << "at 1 GHz";
  const auto& ours = time["sealvisor"];
  EXPECT_EQ(ours["context"]["engine"], "kvm");
  EXPECT_EQ(ours["context"]["pinned"]["cpu"], 3);
  EXPECT_EQ(ours["metrics"][0]["unit"], "ns");
  EXPECT_EQ(ours["metrics"][0]["resolution"], 1.0 / 64);
  EXPECT_EQ(ours["counters"][0]["frequency"], 1'000'000'000);
  EXPECT_EQ(ours["boots"][1]["preempted"], 1);
  EXPECT_TRUE(json["sealvisor"]["context"]["pinned"].is_null());
  EXPECT_TRUE(json["sealvisor"]["boots"][0]["counter"].is_null());
}

TEST(BenchJson, BytesThatAreNoTextDoNotBreakIt) {
  Collected collected = generate::collect(tiny());
  collected.failures = {"the guest said \xff\xfe \" \\ \n"};
  const std::string text = render_json(concluded(std::move(collected)));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_THAT(json["sealvisor"]["failures"][0].get<std::string>(), HasSubstr("\xEF\xBF\xBD"));
}

// --- the tool of Google Benchmark itself ---

class Compare : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(fs::exists(kCompare))
        << "libbenchmark-tools is missing (./bootstrap test installs it)";
  }
  static test::ShellAnswer compare(const std::string& arguments) {
    // Debian's tool, and Debian's interpreter, which has what it imports.
    return test::run_in_shell(std::string("/usr/bin/python3 ") + kCompare + " --no-color " +
                              arguments);
  }
  std::string save(const std::string& name, const generate::Plan& plan) {
    return "'" + folder_.file(name, render_json(concluded(generate::collect(plan)))).string() + "'";
  }

 private:
  app::Temporary folder_;
};

TEST_F(Compare, ReadsTheSidesOfARun) {
  generate::Plan plan = tiny();
  plan.layouts = 10;
  plan.known_costs.clear();
  plan.layout_noise = 0.0001;
  const std::string file = save("run.json", plan);
  const test::ShellAnswer answer = compare("filters " + file + " 'a:lts-unsealed' 'b:lts-sealed'");
  EXPECT_EQ(answer.status, 0) << answer.output;
  // 1900 and 1940: +2.11 %.
  EXPECT_THAT(answer.output,
              HasSubstr("x86_64/mmap/brk/instructions/[a:lts-unsealed vs. b:lts-sealed]"));
  EXPECT_THAT(answer.output, HasSubstr("+0.0211"));
  EXPECT_THAT(answer.output, HasSubstr("U Test, Repetitions: 10 vs 10"));
  EXPECT_THAT(answer.output, HasSubstr("_median"));
}

TEST_F(Compare, ReadsTwoRuns) {
  generate::Plan slower = tiny();
  slower.b_adds = {{"mmap/brk", 140}};
  const test::ShellAnswer answer =
      compare("benchmarks " + save("one.json", tiny()) + " " + save("two.json", slower));
  EXPECT_EQ(answer.status, 0) << answer.output;
  EXPECT_THAT(answer.output, HasSubstr("x86_64/mmap/brk/instructions/b:lts-sealed"));
  EXPECT_THAT(answer.output, HasSubstr("+0.0515"));
}

TEST_F(Compare, DoesNotReadAnythingElse) {
  const app::Temporary folder;
  const std::string other = "'" + folder.file("x.json", "{\"sealvisor\": {}}").string() + "'";
  EXPECT_NE(compare("benchmarks " + other + " " + save("one.json", tiny())).status, 0);
}

}  // namespace
}  // namespace sealvisor::bench
