#include "bench/html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bench/conclude.h"
#include "bench/gnuplot.h"
#include "bench/plots.h"
#include "tests/unit/bench/concluded.h"
#include "tests/unit/bench/generate.h"

namespace sealvisor::bench {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t times = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++times;
  }
  return times;
}

TEST(Html, NamesOfAGuestCannotLeaveAScript) {
  EXPECT_EQ(gnuplot_text("exec/fork-exec_static.2 (a) [b]"), "exec/fork-exec_static.2 (a) [b]");
  EXPECT_EQ(gnuplot_text("x' ; system(\"id\") `id` $a\n\\"), "x? ? system(?id?) ?id? ?a??");
  EXPECT_EQ(gnuplot_text("\xc3\xa9"), "??");
}

// --- plots ---

TEST(Plots, ThereIsOneForEachGroup) {
  const auto plots = plots_of(concluded(generate::showcase()));
  const auto number = [&](PlotKind kind) {
    return std::count_if(plots.begin(), plots.end(),
                         [&](const Plot& plot) { return plot.kind == kind; });
  };
  EXPECT_EQ(number(PlotKind::Shifts), 6);
  EXPECT_EQ(number(PlotKind::Spread), 6);
  EXPECT_EQ(number(PlotKind::Vmas), 4);
  EXPECT_EQ(number(PlotKind::Profiles), static_cast<long>(kMostProfilePlots));
  EXPECT_EQ(plots[0].title, "x86_64 exec: b - a, instructions");
  EXPECT_EQ(plots[0].description,
            "Shift and 95 % interval of 9 experiments, in parts of their bounds: 8 equivalent, 1 "
            "slower.");
  EXPECT_THAT(plots[0].script, HasSubstr("'exec/fork-exit' 0"));
  EXPECT_THAT(plots[0].script, HasSubstr("with xerrorbars"));
  for (const Plot& plot : plots) {
    EXPECT_GT(plot.width, 0U);
    EXPECT_GT(plot.height, 0U);
    EXPECT_THAT(plot.description, Not(IsEmpty()));
  }
}

TEST(Plots, AreDrawnOnlyOfWhatIsThere) {
  EXPECT_THAT(plots_of(Report{}), IsEmpty());
  const auto few = plots_of(concluded(generate::collect({.only = {"vdso/time"}})));
  ASSERT_THAT(few, SizeIs(2));
  EXPECT_EQ(few[0].kind, PlotKind::Shifts);
  EXPECT_EQ(few[1].kind, PlotKind::Spread);
  // One size is no growth.
  EXPECT_THAT(plots_of(concluded(generate::collect({.only = {"exec/exec-vmas-16"}}))), SizeIs(2));
  EXPECT_THAT(
      plots_of(concluded(generate::collect({.only = {"exec/exec-vmas-16", "exec/exec-vmas-256"}}))),
      SizeIs(4));
}

TEST(Plots, ZeroHasNoPlaceOnALogarithmicAxis) {
  const generate::Plan plan{.only = {"exec/exec-vmas-16", "exec/exec-vmas-256"}};
  Report report = concluded(generate::collect(plan));
  EXPECT_THAT(plots_of(report)[2].script, HasSubstr("set logscale y"));
  report.metrics[0].cost.a.median = 0;
  EXPECT_THAT(plots_of(report)[2].script, Not(HasSubstr("set logscale y")));
}

TEST(Plots, TimesHaveTheirUnit) {
  const auto plots =
      plots_of(concluded(generate::collect({.lane = Lane::Time, .only = {"vdso/time"}})));
  EXPECT_EQ(plots[0].title, "x86_64 vdso: b - a, ns");
}

TEST(Page, OfATimeSaysHowItWasTaken) {
  Collected collected = generate::collect(
      {.lane = Lane::Time,
       .known_costs = {{arch::Arch::X86_64, "mmap/brk", Space::Kernel, 400, "__do_sys_brk"}},
       .only = {"mmap/brk"}});
  collected.watched.push_back({collected.boots.front(), "audited: traps at 4 returns"});
  const std::string page = render_html(concluded(std::move(collected)), {});
  for (const char* words :
       {"Nanoseconds (or ticks)", "a: ticks", "1,000,000,000 ticks in a second by CPUID 0x15",
        "bound to CPU 3 of 2", "kvm, KVM API 12", "With interception",
        "audited: traps at 4 returns", "no part of any verdict", "nops added", ">seen<"}) {
    EXPECT_THAT(page, HasSubstr(words));
  }
  const std::string counted = render_html(concluded(generate::collect({.only = {"mmap/brk"}})), {});
  for (const char* words : {"a: ticks", "With interception", "bound to CPU"}) {
    EXPECT_THAT(counted, Not(HasSubstr(words)));
  }
}

TEST(Plots, LargeShiftsStayInThePicture) {
  const auto plots = plots_of(
      concluded(generate::collect({.b_adds = {{"mmap/brk", 100'000}}, .only = {"mmap/brk"}})));
  EXPECT_THAT(plots[0].script, HasSubstr("$slower << EOD\n4 0 4 4\nEOD"));
  EXPECT_THAT(plots[0].script, HasSubstr("'+100,000 [+100,000, +100,000]' 0"));
}

// --- gnuplot ---

constexpr const char* kSvg =
    "<?xml version=\"1.0\"?>\n<svg \n viewBox=\"0 0 9 9\"\n>\n\n<title>Gnuplot</title>\n"
    "<desc>Produced by GNUPLOT</desc>\n<g id=\"gnuplot_canvas\"><circle id='gpDot' r='1'/>"
    "<use xlink:href='#gpDot'/><g filter='url(#greybox)'/><title>a</title></g>\n</svg>\n\n";

Plot some_plot() {
  Plot plot;
  plot.title = "a & b";
  plot.description = "what it \"shows\"";
  plot.width = 900;
  plot.height = 300;
  plot.script = "plot x\n";
  return plot;
}

TEST(Gnuplot, ItsSvgIsMadeFitForAPage) {
  const auto svg = inline_svg(kSvg, "p3-", some_plot());
  ASSERT_TRUE(svg.ok());
  EXPECT_THAT(svg.value(), StartsWith("<svg viewBox=\"0 0 900 300\""));
  EXPECT_THAT(svg.value(), HasSubstr("<title id=\"p3-title\">a &amp; b</title>"));
  EXPECT_THAT(svg.value(), HasSubstr("<desc id=\"p3-desc\">what it &quot;shows&quot;</desc>"));
  EXPECT_THAT(svg.value(), HasSubstr("role=\"img\" aria-labelledby=\"p3-title p3-desc\""));
  EXPECT_THAT(svg.value(), HasSubstr("id=\"p3-gnuplot_canvas\""));
  EXPECT_THAT(svg.value(), HasSubstr("id='p3-gpDot'"));
  EXPECT_THAT(svg.value(), HasSubstr("href='#p3-gpDot'"));
  EXPECT_THAT(svg.value(), HasSubstr("url(#p3-greybox)"));
  EXPECT_EQ(count(svg.value(), "<title"), 1U);
  EXPECT_THAT(svg.value(), Not(HasSubstr("<?xml")));
  EXPECT_THAT(svg.value(), Not(HasSubstr("GNUPLOT")));
  for (const char* none : {"", "<svg", "<svg>", "</svg>", "</svg><svg>", "plain text"}) {
    EXPECT_FALSE(inline_svg(none, "p", some_plot()).ok()) << none;
  }
}

/// A gnuplot that was never there.
class Stand {
 public:
  /// Writes `svg` to as many files as the script names, and ends with `status`.
  RunProgram run(int status, const std::string& svg, const std::string& output = "") {
    return [this, status, svg, output](const fs::path& program,
                                       const std::vector<std::string>& arguments,
                                       std::chrono::milliseconds limit) -> Result<ProgramEnd> {
      program_ = program;
      arguments_ = arguments;
      limit_ = limit;
      std::ifstream file(arguments.back());
      script_.assign(std::istreambuf_iterator<char>(file), {});
      std::size_t number = 0;
      for (std::size_t at = script_.find("set output '"); at != std::string::npos;
           at = script_.find("set output '", at + 1)) {
        std::ofstream(fs::path(arguments.back()).parent_path() / fmt_name(number++)) << svg;
      }
      return ProgramEnd{status, output};
    };
  }
  [[nodiscard]] fs::path folder() const { return fs::path(arguments_.back()).parent_path(); }

  fs::path program_;
  std::vector<std::string> arguments_;
  std::chrono::milliseconds limit_{};
  std::string script_;

 private:
  static std::string fmt_name(std::size_t number) { return std::to_string(number) + ".svg"; }
};

TEST(Gnuplot, DrawsAllPlotsAtOnceAndCleansUp) {
  Stand stand;
  const auto drawings = draw({some_plot(), some_plot()}, stand.run(0, kSvg));
  ASSERT_TRUE(drawings.ok()) << drawings.error().message;
  ASSERT_THAT(drawings.value(), SizeIs(2));
  EXPECT_THAT(drawings.value()[1].svg, HasSubstr("id='p1-gpDot'"));
  EXPECT_EQ(stand.program_, "/usr/bin/env");
  ASSERT_THAT(stand.arguments_, SizeIs(3));
  EXPECT_EQ(stand.arguments_[0], "gnuplot");
  EXPECT_EQ(stand.arguments_[1], "-d");
  EXPECT_EQ(stand.limit_, kDrawingLimit);
  EXPECT_EQ(count(stand.script_, "set terminal svg size 900,300"), 2U);
  EXPECT_EQ(count(stand.script_, "reset\n"), 2U);
  EXPECT_EQ(count(stand.script_, "plot x\n"), 2U);
  EXPECT_FALSE(fs::exists(stand.folder()));
}

TEST(Gnuplot, ThatIsMissingIsNamed) {
  Stand stand;
  const auto drawings = draw({some_plot()}, stand.run(127, ""));
  ASSERT_FALSE(drawings.ok());
  EXPECT_EQ(drawings.error().code, ExitCode::HostLacks);
  EXPECT_EQ(drawings.error().message, "gnuplot is missing: install the package gnuplot-nox");
  EXPECT_FALSE(fs::exists(stand.folder()));
}

TEST(Gnuplot, ItsComplaintsAndItsDeadlineAreErrors) {
  Stand stand;
  auto drawings = draw({some_plot()}, stand.run(1, "", "line 3: undefined variable"));
  ASSERT_FALSE(drawings.ok());
  EXPECT_EQ(drawings.error().code, ExitCode::HostLacks);
  EXPECT_EQ(drawings.error().message, "gnuplot ended with 1: line 3: undefined variable");
  drawings = draw({some_plot()}, stand.run(0, "no picture"));
  ASSERT_FALSE(drawings.ok());
  EXPECT_EQ(drawings.error().message, "gnuplot wrote no SVG for 'a & b'");
  drawings = draw({some_plot()}, [](const auto&, const auto&, auto) -> Result<ProgramEnd> {
    return Error{ExitCode::HostLacks, "env had not ended after 60000 ms"};
  });
  ASSERT_FALSE(drawings.ok());
  EXPECT_THAT(drawings.error().message, HasSubstr("had not ended"));
}

TEST(Gnuplot, IsNotAskedForNothing) {
  const auto drawings = draw({}, [](const auto&, const auto&, auto) -> Result<ProgramEnd> {
    ADD_FAILURE() << "gnuplot was run";
    return ProgramEnd{};
  });
  ASSERT_TRUE(drawings.ok());
  EXPECT_THAT(drawings.value(), IsEmpty());
}

// --- the page; what a browser makes of it is tests/browser ---

TEST(Html, ThePageStandsAlone) {
  const Report report = concluded(generate::showcase());
  Drawing drawing{some_plot(), "<svg>one</svg>"};
  const std::string page = render_html(report, {drawing});
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>\n<html lang=\"en\">"));
  EXPECT_THAT(page, HasSubstr("name=\"viewport\""));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(page, HasSubstr("<svg>one</svg>"));
  EXPECT_THAT(page, HasSubstr("hardware latency was not measured here"));
  EXPECT_EQ(count(page, "http"), count(page, "http-equiv"));
  EXPECT_EQ(count(page, "<tr data-verdict="), 180U);
  EXPECT_EQ(count(page, "<h1>"), 1U);
  EXPECT_EQ(count(page, "src="), 0U);
}

TEST(Html, SectionsWithoutContentAreLeftOut) {
  const std::string page = render_html(concluded(generate::collect({.only = {"mmap/brk"}})), {});
  EXPECT_THAT(page, Not(HasSubstr("id=\"undecided\"")));
  EXPECT_THAT(page, Not(HasSubstr("id=\"vmas\"")));
  EXPECT_THAT(page, Not(HasSubstr("id=\"baseline\"")));
  EXPECT_THAT(page, HasSubstr("The same instructions in each symbol, in all 1 profiles."));
  EXPECT_THAT(page, HasSubstr("class=\"conclusion\""));
}

TEST(Html, SaysThatARunIsVoid) {
  const std::string page = render_html(
      concluded(generate::collect({.control_adds = {{"mmap/brk", 60}}, .only = {"mmap/brk"}})), {});
  EXPECT_THAT(page, HasSubstr("<strong>the run is void</strong>"));
  EXPECT_THAT(page, HasSubstr("x86_64 mmap/brk total: A/A slower"));
  EXPECT_THAT(page, HasSubstr("class=\"conclusion failed\""));
}

TEST(Html, AProfileSumsUp) {
  const std::string page = render_html(
      concluded(generate::collect({.b_adds = {{"mmap/brk", 60}}, .only = {"mmap/brk"}})), {});
  EXPECT_THAT(page, HasSubstr("<summary>x86_64 mmap/brk: +60 of one operation (80 operations in 16 "
                              "layouts)</summary>"));
  EXPECT_THAT(page, HasSubstr("6 symbols without a difference"));
  EXPECT_THAT(page, HasSubstr("class=\"total\""));
}

}  // namespace
}  // namespace sealvisor::bench
