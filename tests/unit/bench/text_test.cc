#include "bench/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "bench/conclude.h"
#include "tests/unit/bench/concluded.h"
#include "tests/unit/bench/generate.h"

namespace sealvisor::bench {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

const Report& showcase() {
  static const Report kReport = concluded(generate::showcase());
  return kReport;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Number of the first line that has `words`; -1: none has.
int line_with(const std::string& text, const std::string& words) {
  const auto lines = lines_of(text);
  const auto found = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
    return line.find(words) != std::string::npos;
  });
  return found == lines.end() ? -1 : static_cast<int>(found - lines.begin());
}

/// Without its line breaks: what is a sentence may be wrapped anywhere.
std::string flowing(const std::string& text) {
  std::istringstream stream(text);
  std::string result;
  for (std::string word; stream >> word;) result += (result.empty() ? "" : " ") + word;
  return result;
}

TEST(BenchText, TheTableIsFirstAndTheWorstIsItsFirstRow) {
  const std::string text = render_text(showcase());
  const auto lines = lines_of(text);
  EXPECT_THAT(lines[0],
              HasSubstr("== b = lts-sealed against a = lts-unsealed: instructions of one"));
  EXPECT_EQ(line_with(text, "experiment "), 2);
  EXPECT_THAT(lines[3], HasSubstr("mmap/munmap-vmas-1024"));
  EXPECT_THAT(lines[3],
              ContainsRegex("7,986 \\(4.2\\) +\\+611 +\\[\\+608, \\+614\\] +39.9 +> 3 +slower"));
  const int slower = line_with(text, "slower");
  const int undecided = line_with(text, "undecided");
  const int faster = line_with(text, "faster");
  const int equivalent = line_with(text, "equivalent");
  EXPECT_LT(slower, undecided);
  EXPECT_LT(undecided, faster);
  EXPECT_LT(faster, equivalent);
  EXPECT_LT(equivalent, line_with(text, "  verdicts "));
  EXPECT_EQ(lines.back(), showcase().conclusion);
}

TEST(BenchText, EveryPartHasARowOnlyIfThatIsAskedFor) {
  const auto rows = [](const std::string& text) {
    // Of the first table; that of the cross-checks is behind it.
    const auto lines = lines_of(text.substr(0, text.find("  cross-check  ")));
    return std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
      return line.starts_with("  arm64 ") || line.starts_with("  x86_64 ");
    });
  };
  const std::string few = render_text(showcase());
  EXPECT_THAT(flowing(few), HasSubstr("108 equivalent user and kernel parts have no row"));
  const std::string all = render_text(showcase(), {.all_rows = true});
  EXPECT_THAT(all, Not(HasSubstr("have no row")));
  EXPECT_EQ(rows(all), 180);
  EXPECT_EQ(rows(few), 180 - 108);
  // A part that is not equivalent has one in any case.
  EXPECT_THAT(few, ContainsRegex("exec/fork-exec-static +kernel"));
}

TEST(BenchText, SaysWhatIsNotMeasured) {
  const std::string text = render_text(showcase());
  EXPECT_THAT(text, HasSubstr("hardware latency was not measured here"));
  // A count is no time, anywhere.
  for (const char* word : {" ns", "nanosecond", "latency of", "faster by", "seconds"}) {
    EXPECT_THAT(text, Not(HasSubstr(word)));
  }
  const std::string time =
      render_text(concluded(generate::collect({.lane = Lane::Time, .only = {"vdso/time"}})));
  EXPECT_THAT(time, HasSubstr("nanoseconds of one operation"));
  EXPECT_THAT(time, Not(HasSubstr("not measured here")));
  EXPECT_THAT(time, Not(HasSubstr("instruction")));
}

/// A run by a clock, with one of everything that only such a run has.
Collected timed_samples() {
  Collected collected = generate::collect(
      {.lane = Lane::Time,
       .known_costs = {{arch::Arch::X86_64, "mmap/brk", Space::Kernel, 400, "__do_sys_brk"}},
       .only = {"mmap/brk", "vdso/time"}});
  WatchedBoot watched{collected.boots.front(), "audited: traps at 4 returns to user mode"};
  for (Measured& measured : watched.boot.experiments) {
    for (auto& ticks : measured.ticks) ticks *= 3;
  }
  watched.boot.experiments[1].problem = "3 samples came, expected 5";
  collected.watched.push_back(std::move(watched));
  return collected;
}

TEST(BenchText, ATimeHasItsTicksItsCounterAndItsCpu) {
  const std::string text = flowing(render_text(concluded(timed_samples())));
  EXPECT_THAT(text, HasSubstr("engine kvm"));
  EXPECT_THAT(text, HasSubstr("bound: 1 % of a's median, 2 ns or 2 steps of the counter"));
  EXPECT_THAT(text, HasSubstr("a: ticks"));
  EXPECT_THAT(text, HasSubstr("counter x86_64: 1,000,000,000 ticks in a second by CPUID 0x15"));
  EXPECT_THAT(text, HasSubstr("it goes up by 1 ns, a reading takes 25 ns"));
  EXPECT_THAT(text, HasSubstr("vCPU bound to CPU 3 of 2, isolated, governor performance, of one "
                              "core with CPU 7; another thread took it from a vCPU 32 times"));
  EXPECT_THAT(text, HasSubstr("one vCPU bound to CPU 3, on this host's hardware"));
  EXPECT_THAT(text, HasSubstr("good: x86_64 mmap/brk: 400 nops added to __do_sys_brk take +100 at "
                              "least"));
}

TEST(BenchText, WhatInterceptionCostsStandsApartFromAllVerdicts) {
  const std::string text = render_text(concluded(timed_samples()));
  const int verdicts = line_with(text, "  verdicts ");
  const int watched = line_with(text, "with interception on");
  EXPECT_LT(verdicts, watched);
  EXPECT_THAT(flowing(text), HasSubstr("not part of any verdict: ns of one operation; audited: "
                                       "traps at 4 returns to user mode"));
  EXPECT_THAT(text, ContainsRegex("x86_64 +mmap/brk +a .* 3\n"));
  EXPECT_THAT(text, ContainsRegex("x86_64 +vdso/time +a +- +- +3 samples came"));
  EXPECT_EQ(concluded(timed_samples()).counts.all(), 2U) << "nothing of it is a metric";
}

TEST(BenchText, AVirtualHostsTimeIsNoLatency) {
  Collected collected = timed_samples();
  collected.context.virtual_host = "QEMU's TCG, an emulated CPU";
  const Report report = concluded(std::move(collected));
  for (const std::string& text :
       {flowing(render_text(report)), report.conclusion, render_csv(report)}) {
    EXPECT_THAT(text,
                HasSubstr("itself virtual (QEMU's TCG, an emulated CPU); hardware latency was "
                          "not measured here"));
  }
  // Nor is that of a vCPU that wanders.
  collected = timed_samples();
  collected.context.pinned.reset();
  EXPECT_THAT(concluded(std::move(collected)).conclusion,
              HasSubstr("bound to no CPU; hardware latency was not measured here"));
}

TEST(BenchText, AKnownCostThatIsTooSmallShowsNothing) {
  const Report report = concluded(generate::collect(
      {.lane = Lane::Time,
       .known_costs = {{arch::Arch::X86_64, "mmap/brk", Space::Kernel, 40, "__do_sys_brk"}},
       .only = {"mmap/brk"}}));
  const std::string text = flowing(render_text(report));
  EXPECT_THAT(text, HasSubstr("too small to be asked for: x86_64 mmap/brk"));
  EXPECT_THAT(text, HasSubstr("what this run can see is not shown"));
}

TEST(BenchText, ListsWhatIsUndecidedWithWhatItWouldTake) {
  const std::string text = render_text(showcase());
  EXPECT_THAT(text,
              HasSubstr("undecided    arm64 mmap/brk total: it takes about 190 layouts of each"));
  EXPECT_THAT(text, HasSubstr("x86_64 mmap/brk total: it takes more than any number of layouts"));
  EXPECT_EQ(needed_text(compare(std::vector<double>{1}, std::vector<double>{1}, {0, 20},
                                *std::make_unique<MannWhitneyTable>())),
            "at least 4 layouts of each");
}

TEST(BenchText, ListsWhatMakesARunVoid) {
  const std::string text = render_text(
      concluded(generate::collect({.control_adds = {{"mmap/brk", 50}}, .only = {"mmap/brk"}})));
  EXPECT_THAT(text, HasSubstr("void         x86_64 mmap/brk total: A/A slower, shift +50"));
  EXPECT_THAT(lines_of(text).back(), HasSubstr("VOID: "));
  EXPECT_EQ(line_with(render_text(showcase()), "  void "), -1);
}

TEST(BenchText, ListsControlsAndChecks) {
  const std::string text = flowing(render_text(showcase()));
  EXPECT_THAT(text,
              HasSubstr("good: x86_64 vdso/time: 40 added to __vdso_clock_gettime, found +40"));
  EXPECT_THAT(text, HasSubstr("WRONG: arm64 exec/teardown: 500 added to exit_mmap"));
  EXPECT_THAT(text, HasSubstr("repeated 2 boots with a seed that was used before: 310 samples the "
                              "same to the digit, 0 experiments not"));
  EXPECT_THAT(text, HasSubstr("x86_64 stress-ng --mmap 2,9"));
  EXPECT_THAT(text, ContainsRegex("1\\.0000[0-9] \\[[01.]+[0-9]*, [01.]+[0-9]*\\] [-+0]"));
  EXPECT_THAT(text, HasSubstr("agree mmap/anonymous-4k 2,9"));
  EXPECT_THAT(text, HasSubstr("cross-check 2 of 2 good"));
  EXPECT_THAT(text, HasSubstr("left out arm64 vdso/compat-gettimeofday: not on these guests"));
}

TEST(BenchText, NamesTheControlThatIsLeftOut) {
  const auto text_of = [](Mode mode, const char* a) {
    Collected collected = generate::collect({.only = {"mmap/brk"}});
    collected.context.mode = mode;
    collected.context.a = a;
    return flowing(render_text(concluded(std::move(collected))));
  };
  EXPECT_THAT(
      text_of(Mode::Full, "lts-sealed"),
      HasSubstr("left out control slowed: it is lts-unsealed with known instructions added, "
                "and a is lts-sealed"));
  EXPECT_THAT(text_of(Mode::Full, "lts-unsealed"),
              HasSubstr("left out control slowed: no experiment of this run"));
  EXPECT_THAT(text_of(Mode::Quick, "lts-sealed"), Not(HasSubstr("control slowed")));
  EXPECT_THAT(render_text(showcase()), Not(HasSubstr("control slowed")));
}

TEST(BenchText, SaysHowMuchOfAnInterruptedRunIsComplete) {
  Collected collected = generate::collect({.only = {"mmap/brk"}});
  collected.interrupted = true;
  collected.boots.resize(20);
  const std::string text = render_text(concluded(std::move(collected)));
  EXPECT_THAT(text, HasSubstr("complete     x86_64 a: 7 of 16 layouts"));
  EXPECT_THAT(text, HasSubstr("x86_64 control: 6 of 16 layouts"));
  EXPECT_THAT(lines_of(text).back(), HasSubstr("INTERRUPTED: "));
}

TEST(BenchText, ComparesWithTheBaseline) {
  Baseline baseline;
  baseline.file = "old.json";
  baseline.context = generate::collect({}).context;
  baseline.context.host_cpu = "Old CPU";
  // Of other seeds than the run's: compared group by group.
  std::vector<LayoutValue> a;
  std::vector<LayoutValue> b;
  for (std::uint64_t seed = 1000; seed < 1016; ++seed) {
    a.push_back({seed, 1900});
    b.push_back({seed, 1860});
  }
  baseline.metrics = {{arch::Arch::X86_64, "mmap/brk", Measure::Total, a, b},
                      {arch::Arch::X86_64, "mmap/gone", Measure::Total, {}, {}}};
  const std::string text =
      render_text(concluded(generate::collect({.only = {"mmap/brk"}}),
                            {.baseline = baseline, .may_differ = {Same::Machine}}));
  EXPECT_THAT(text, HasSubstr("baseline     old.json of 2026-11-29T12:00:00Z"));
  EXPECT_THAT(text, HasSubstr("compared although the host's CPU is 'Example CPU'"));
  EXPECT_THAT(text, HasSubstr("x86_64 mmap/brk total, b: slower, +40 of 1,860, bound 20"));
  EXPECT_THAT(text, HasSubstr("1 comparisons with it equivalent"));
  EXPECT_THAT(text, HasSubstr("not in this run: x86_64 mmap/gone total"));
  EXPECT_THAT(text, HasSubstr("not in it: x86_64 mmap/brk user"));
}

TEST(BenchText, KeepsToItsWidthAndToAscii) {
  Collected collected = generate::collect({.only = {"mmap/brk"}});
  for (Boot& boot : collected.boots) {
    boot.experiments[0].experiment = "mmap/\x1b[31m\xc3\xa9vil";
    for (SymbolCount& symbol : boot.experiments[0].profile) symbol.symbol += "\n\x07";
  }
  collected.boots[0].experiments[0].profile.back().count += 0;
  const Report report = concluded(std::move(collected));
  for (const std::string& text : {render_text(report), explain_text(report)}) {
    for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
  }
  for (const std::size_t width : {80U, 120U}) {
    auto lines = lines_of(render_text(showcase(), {.width = width}));
    lines.pop_back();
    for (const std::string& line : lines) EXPECT_LE(line.size(), width) << line;
  }
  EXPECT_THAT(render_text(showcase(), {.colours = true}), HasSubstr("\x1b[31mslower\x1b[0m"));
}

// --- explaining ---

TEST(Explain, TheLargestDifferenceIsFirst) {
  const std::string text = explain_text(showcase());
  const auto lines = lines_of(text);
  EXPECT_EQ(lines[0], "x86_64 exec/fork-exec-static: instructions of 80 operations in 16 layouts");
  EXPECT_THAT(lines[2], ContainsRegex("kernel +can_modify_mm +0 +416,000 +\\+416,000 +\\+5,200"));
  EXPECT_LT(line_with(text, "exec/fork-exec-static"), line_with(text, "munmap-vmas-1024"));
  EXPECT_THAT(text, ContainsRegex("[0-9]+ experiments execute the same number of instructions"));
  // Known costs are not what is asked about.
  EXPECT_THAT(text, Not(HasSubstr("slowed")));
}

/// A row of a table: a, b and b - a; nullopt: the line is none.
struct Counts {
  std::int64_t a = 0;
  std::int64_t b = 0;
  std::int64_t difference = 0;
  bool is_total = false;
};
std::optional<Counts> counts_in(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() < 5 || line.find(':') != std::string::npos || words[0] == "space") return {};
  const auto number = [&](std::size_t from_end) {
    std::string word = words[words.size() - from_end];
    std::erase(word, ',');
    return std::stoll(word);
  };
  return Counts{number(4), number(3), number(2), words[0] == "total"};
}

TEST(Explain, ShownRowsSumUpToTheTotal) {
  for (const std::size_t most : {1U, 3U, 50U}) {
    std::int64_t sum = 0;
    int tables = 0;
    std::size_t rows = 0;
    for (const std::string& line : lines_of(explain_text(showcase(), {.most_symbols = most}))) {
      if (line.find("experiments execute") != std::string::npos) continue;
      const auto counts = counts_in(line);
      if (!counts) continue;
      EXPECT_EQ(counts->difference, counts->b - counts->a) << line;
      if (counts->is_total) {
        EXPECT_EQ(sum, counts->difference) << line;
        EXPECT_LE(rows, most + 1);
        sum = 0;
        rows = 0;
        ++tables;
      } else {
        sum += counts->difference;
        ++rows;
      }
    }
    EXPECT_EQ(tables, 48);
  }
}

TEST(Explain, SaysWhenThereIsNothingToSay) {
  const generate::Plan plan{.only = {"mmap/brk", "vdso/time"}};
  EXPECT_EQ(explain_text(concluded(generate::collect(plan))),
            "2 experiments execute the same number of instructions in each symbol\n");
  EXPECT_EQ(explain_text(concluded(generate::collect({.profiles = false, .only = {"mmap/brk"}}))),
            "no profile was taken\n");
}

// --- CSV ---

/// Between fields: those in quoted ones are none.
std::ptrdiff_t commas(const std::string& line) {
  bool quoted = false;
  return std::count_if(line.begin(), line.end(), [&](char c) {
    if (c == '"') quoted = !quoted;
    return c == ',' && !quoted;
  });
}

TEST(Csv, HasALineForEachComparison) {
  const std::string text = render_csv(showcase());
  const auto lines = lines_of(text);
  EXPECT_EQ(lines.size(), 1 + 3 * (showcase().metrics.size() + showcase().foreign.size()));
  for (const std::string& line : lines) {
    EXPECT_EQ(commas(line), commas(lines[0])) << line;
    EXPECT_EQ(line.back(), '\r');
  }
  EXPECT_THAT(lines[0],
              HasSubstr("arch,experiment,measure,unit,comparison,first_count,first_median"));
  EXPECT_THAT(lines[1], HasSubstr("x86_64,exec/fork-exit,total,instructions,b-a,16,"));
  EXPECT_THAT(lines[3], HasSubstr(",slowed-a,"));
  EXPECT_THAT(text, Not(HasSubstr(",ns,")));
}

TEST(Csv, SaysEngineUnitAndTicks) {
  const std::string text = render_csv(concluded(timed_samples()));
  const auto lines = lines_of(text);
  // Three comparisons of two metrics, and what interception cost in the one that was measured.
  ASSERT_EQ(lines.size(), 1U + 6 + 1);
  EXPECT_THAT(lines[0], HasSubstr("first_median_ticks,second_median_ticks,engine,says"));
  for (const std::string& line : lines) EXPECT_EQ(commas(line), commas(lines[0])) << line;
  EXPECT_THAT(lines[1], HasSubstr("x86_64,mmap/brk,time,ns,b-a,16,"));
  EXPECT_THAT(lines[1], HasSubstr(",kvm,\"time by the guest's own counter"));
  EXPECT_THAT(lines.back(), HasSubstr("x86_64,mmap/brk,time,ns,a-watched,1,"));
}

TEST(Csv, QuotesWhatNeedsIt) {
  Collected collected = generate::collect({.only = {"mmap/brk"}});
  for (Boot& boot : collected.boots) boot.experiments[0].experiment = "mmap/\"a\",b";
  EXPECT_THAT(render_csv(concluded(std::move(collected))),
              HasSubstr("x86_64,\"mmap/\"\"a\"\",b\",total"));
}

TEST(Csv, LeavesOutWhatIsNotKnown) {
  const std::string text =
      render_csv(concluded(generate::collect({.layouts = 3, .only = {"mmap/brk"}})));
  EXPECT_THAT(text, HasSubstr("b-a,3,1900,1900,1900,1900,1900,3,1900,1900,1900,1900,1900,0,,,,,"
                              "20,0.125,undecided,,6,,,tcg,"));
}

TEST(Numbers, AreShort) {
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(-0.01), "0");
  EXPECT_EQ(number_text(12.34), "12.3");
  EXPECT_EQ(number_text(-999.9), "-999.9");
  EXPECT_EQ(number_text(1234567.8), "1,234,568");
  EXPECT_EQ(signed_text(5), "+5");
  EXPECT_EQ(signed_text(0.01), "0");
  EXPECT_EQ(signed_text(-1500), "-1,500");
  EXPECT_EQ(interval_text(Interval{-3, 5.25}), "[-3, +5.2]");
  EXPECT_EQ(interval_text(std::nullopt), "-");
}

}  // namespace
}  // namespace sealvisor::bench
