#include "bench/plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace sealvisor::bench {
namespace {

std::string_view error_of(std::string_view line) { return parse_plan_line(line).error; }

TEST(BenchPlan, ReadsALine) {
  const ParsedItem marks = parse_plan_line("exec/fork-exit 16 4 1 marks");
  ASSERT_EQ(marks.error, "");
  EXPECT_EQ(marks.item.experiment, find_experiment("exec/fork-exit"));
  EXPECT_EQ(marks.item.samples, 16U);
  EXPECT_EQ(marks.item.warm_up, 4U);
  EXPECT_EQ(marks.item.batch, 1U);
  EXPECT_EQ(marks.item.timing, Timing::Marks);

  const ParsedItem clock = parse_plan_line("vdso/gettimeofday 256 0 1024 clock");
  ASSERT_EQ(clock.error, "");
  EXPECT_EQ(clock.item.samples, 256U);
  EXPECT_EQ(clock.item.warm_up, 0U);
  EXPECT_EQ(clock.item.batch, 1024U);
  EXPECT_EQ(clock.item.timing, Timing::Clock);
}

TEST(BenchPlan, NamesWhatIsWrongWithALine) {
  EXPECT_EQ(error_of(""), "no such experiment");
  EXPECT_EQ(error_of("exec/fork 16 4 1 marks"), "no such experiment");
  EXPECT_EQ(error_of(" exec/fork-exit 16 4 1 marks"), "no such experiment");
  for (const char* samples :
       {"0", "257", "x", "-1", "+1", "1x", "4294967297", "99999999999999999999"}) {
    EXPECT_EQ(error_of(std::string("exec/fork-exit ") + samples + " 4 1 marks"),
              "samples are a number of 1 to 256")
        << samples;
    EXPECT_EQ(error_of(std::string("exec/fork-exit 16 4 ") + samples + " marks"),
              samples == std::string("257") ? "this experiment has no batch but 1"
                                            : "a batch is a number of 1 to 1000000")
        << samples;
  }
  EXPECT_EQ(error_of("exec/fork-exit"), "samples are a number of 1 to 256");
  EXPECT_EQ(error_of("exec/fork-exit  16 4 1 marks"), "samples are a number of 1 to 256");
  for (const char* warm_up : {"257", "x", "-0", "00x", "4294967296"}) {
    EXPECT_EQ(error_of(std::string("exec/fork-exit 16 ") + warm_up + " 1 marks"),
              "a warm-up is a number of 0 to 256")
        << warm_up;
  }
  EXPECT_EQ(error_of("exec/fork-exit 16"), "a warm-up is a number of 0 to 256");
  EXPECT_EQ(error_of("vdso/time 16 4 1000001 clock"), "a batch is a number of 1 to 1000000");
  EXPECT_EQ(error_of("exec/fork-exit 16 4 2 marks"), "this experiment has no batch but 1");
  for (const char* end :
       {"", " ", " mark", " marks ", " marks x", " clocks", " MARKS", "  marks"}) {
    EXPECT_EQ(error_of(std::string("exec/fork-exit 16 4 1") + end),
              "the last word is marks or clock")
        << end;
  }
  EXPECT_EQ(error_of(std::string_view("exec/fork-exit 16 4 1 marks\0", 28)),
            "the last word is marks or clock");
}

struct BenchPlanTest : testing::Test {
  std::unique_ptr<Plan> plan = std::make_unique<Plan>();
  static constexpr std::string_view kLine = "exec/fork-exit 16 4 1 marks\n";

  static std::string with_header(std::string_view lines) {
    return std::string(kPlanHeader).append("\n").append(lines);
  }
};

TEST_F(BenchPlanTest, ReadsAWholePlan) {
  const std::string text = with_header(
      "vdso/time 3 0 7 clock\nexec/fork-exit 16 4 1 marks\n"
      "vdso/time 3 0 7 clock\n");
  ASSERT_TRUE(parse_plan(text, *plan)) << plan->error;
  ASSERT_EQ(plan->size, 3U);
  EXPECT_EQ(plan->items[0].experiment->name, "vdso/time");
  EXPECT_EQ(plan->items[1].experiment->name, "exec/fork-exit");
  EXPECT_EQ(plan->items[2].experiment->name, "vdso/time") << "one may come again";
}

TEST_F(BenchPlanTest, MayBeEmptyBehindItsHeader) {
  EXPECT_TRUE(parse_plan(with_header(""), *plan));
  EXPECT_EQ(plan->size, 0U);
}

TEST_F(BenchPlanTest, RefusesWhatIsNoPlan) {
  EXPECT_FALSE(parse_plan("", *plan));
  EXPECT_EQ(plan->error, "empty");
  EXPECT_FALSE(parse_plan("\n", *plan));
  EXPECT_EQ(plan->error, "not a plan of this version");
  EXPECT_FALSE(parse_plan("sealvisor-bench-plan 2\n", *plan));
  EXPECT_EQ(plan->error, "not a plan of this version");
  EXPECT_FALSE(parse_plan("sealvisor-plan 1\n", *plan)) << "the agent's";
  EXPECT_FALSE(parse_plan(kLine, *plan)) << "without a header";
  EXPECT_FALSE(parse_plan(kPlanHeader, *plan));
  EXPECT_EQ(plan->error, "cut short: the last line does not end");
}

TEST_F(BenchPlanTest, NamesTheFirstLineThatIsWrong) {
  // The line that is named lies in it.
  const std::string text = with_header("exec/fork-exit 16 4 1 marks\nvdso/time 3 0 7\nx\n");
  EXPECT_FALSE(parse_plan(text, *plan));
  EXPECT_EQ(plan->line, 3U);
  EXPECT_EQ(plan->text, "vdso/time 3 0 7");
  EXPECT_EQ(plan->error, "the last word is marks or clock");
  EXPECT_FALSE(parse_plan(with_header("\n"), *plan)) << "an empty line is no experiment";
  EXPECT_EQ(plan->error, "no such experiment");
}

// Cut short at every length: only where a line just ended is it a plan.
TEST_F(BenchPlanTest, OfACutFileTakesWholeLinesOnly) {
  const std::string whole = with_header(std::string(kLine).append(kLine));
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const std::string cut = whole.substr(0, length);
    EXPECT_EQ(parse_plan(cut, *plan), cut.ends_with('\n')) << length;
  }
}

TEST_F(BenchPlanTest, HasItsLimits) {
  std::string lines;
  for (std::size_t i = 0; i < kMaxPlanItems; ++i) lines += kLine;
  ASSERT_TRUE(parse_plan(with_header(lines), *plan)) << plan->error;
  EXPECT_EQ(plan->size, kMaxPlanItems);
  EXPECT_FALSE(parse_plan(with_header(lines.append(kLine)), *plan));
  EXPECT_EQ(plan->error, "more than 512 items");
  EXPECT_EQ(plan->line, kMaxPlanItems + 2);
  EXPECT_FALSE(parse_plan(with_header(std::string(kMaxPlanSize, '\n')), *plan));
  EXPECT_EQ(plan->error, "longer than 65536 bytes");
}

TEST_F(BenchPlanTest, OfBytesThatAreNoTextIsNone) {
  EXPECT_FALSE(parse_plan(std::string(1000, '\0'), *plan));
  EXPECT_FALSE(parse_plan(std::string(1000, '\xff'), *plan));
  EXPECT_FALSE(parse_plan(with_header(std::string("\0\n", 2)), *plan));
}

TEST(BenchPlanText, IsReadBackAsItWas) {
  std::string text = std::string(kPlanHeader) + "\n";
  for (const Experiment& experiment : experiments()) {
    text += plan_line({&experiment, experiment.samples, experiment.warm_up, 1, Timing::Marks});
    text += plan_line({&experiment, 1, 0, experiment.clock_batch, Timing::Clock});
  }
  const auto plan = std::make_unique<Plan>();
  ASSERT_TRUE(parse_plan(text, *plan)) << plan->error << ": " << plan->text;
  ASSERT_EQ(plan->size, 2 * experiments().size()) << "all fit into one plan, twice";
  for (std::size_t i = 0; i < experiments().size(); ++i) {
    const Experiment& experiment = experiments()[i];
    const PlanItem& marks = plan->items[2 * i];
    EXPECT_EQ(marks.experiment, &experiment);
    EXPECT_EQ(marks.samples, experiment.samples);
    EXPECT_EQ(marks.warm_up, experiment.warm_up);
    EXPECT_EQ(marks.timing, Timing::Marks);
    const PlanItem& clock = plan->items[2 * i + 1];
    EXPECT_EQ(clock.batch, experiment.clock_batch);
    EXPECT_EQ(clock.warm_up, 0U);
    EXPECT_EQ(clock.timing, Timing::Clock);
  }
}

}  // namespace
}  // namespace sealvisor::bench
