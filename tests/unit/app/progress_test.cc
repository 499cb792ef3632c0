#include "vmm/app/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/app/run_progress.h"

namespace sealvisor::app {
namespace {

using testing::HasSubstr;
using testing::Not;

class ProgressTest : public testing::Test {
 protected:
  void start(bool live) {
    progress_.emplace(sink_.get(), live, [this] { return now_; });
  }
  void pass(double seconds) {
    now_ += std::chrono::duration_cast<Progress::Clock::duration>(
        std::chrono::duration<double>(seconds));
  }
  /// What was written so far.
  std::string text() {
    std::string bytes(65536, '\0');
    std::rewind(sink_.get());
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), sink_.get()));
    return bytes;
  }

  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Closer> sink_{std::tmpfile()};
  Progress::Clock::time_point now_;
  std::optional<Progress> progress_;
};

TEST_F(ProgressTest, PlainLinesComeNowAndThen) {
  start(false);
  progress_->expect("cells", 100, 100);
  for (int i = 0; i < 30; ++i) {
    pass(1);
    progress_->advance(1, 1);
  }
  EXPECT_EQ(text(),
            "10 of 100 cells, 90 s left\n20 of 100 cells, 80 s left\n30 of 100 cells, 70 s left\n");
}

TEST_F(ProgressTest, AnotherLineStandsInForAPlainOne) {
  start(false);
  progress_->expect("cells", 100, 100);
  pass(9);
  progress_->advance(9, 9);
  progress_->note("a guest has ended");
  pass(9);
  progress_->advance(1, 1);
  EXPECT_EQ(text(), "a guest has ended\n");
}

TEST_F(ProgressTest, StepsAreForTerminals) {
  start(false);
  progress_->expect("cells", 100, 100);
  progress_->step("a", "munmap/whole");
  progress_->done("a");
  EXPECT_EQ(text(), "");
}

TEST_F(ProgressTest, OnATerminalItIsInTheLastLine) {
  start(true);
  progress_->expect("cells", 40, 400);
  progress_->step("x86_64 lts-sealed", "munmap/whole");
  EXPECT_THAT(text(), HasSubstr("0 of 40 cells   x86_64 lts-sealed: munmap/whole"));
  pass(20);
  progress_->advance(10, 200);
  EXPECT_THAT(text(), HasSubstr("\r\x1b[K10 of 40 cells, 20 s left   x86_64 lts-sealed"))
      << "time goes by weight";
  EXPECT_THAT(text(), Not(HasSubstr("\n"))) << "and nothing stays";
}

TEST_F(ProgressTest, ANoteSaysHowFarAllIs) {
  start(false);
  progress_->expect("guests", 3, 3);
  pass(30);
  progress_->advance(1, 1, "x86_64 a, layout 1: \x1b[2J");
  EXPECT_EQ(text(), "1 of 3 guests, 60 s left: x86_64 a, layout 1: \\x1b[2J\n");
}

TEST_F(ProgressTest, NothingIsSaidOfTimeAtTheVeryStart) {
  start(false);
  progress_->expect("cells", 1000, 1000);
  pass(60);
  progress_->advance(1, 1);
  EXPECT_EQ(text(), "1 of 1000 cells\n");
}

TEST_F(ProgressTest, MoreThanAllIsNeverDone) {
  start(false);
  progress_->expect("cells", 3, 3);
  pass(60);
  progress_->advance(50, 50);
  EXPECT_EQ(text(), "3 of 3 cells, 0 s left\n");
}

TEST_F(ProgressTest, WithoutAnExpectationNothingIsSaid) {
  start(false);
  pass(60);
  progress_->advance(1, 1);
  EXPECT_EQ(text(), "");
}

TEST_F(ProgressTest, WhatCannotBeWrittenIsLostAndNothingElse) {
  for (const bool live : {false, true}) {
    std::FILE* full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    std::setvbuf(full, nullptr, _IONBF, 0);  // as standard error is
    {
      Progress progress(full, live);
      progress.expect("cells", 2, 2);
      EXPECT_NO_THROW(progress.note("note"));
      EXPECT_NO_THROW(progress.step("a", "b"));
      EXPECT_NO_THROW(progress.advance(1, 1, "note"));
    }
    std::fclose(full);
  }
}

/// What Progress puts on a terminal of so many columns.
std::string on_terminal(unsigned short columns) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_TRUE(master >= 0 && ::grantpt(master) == 0 && ::unlockpt(master) == 0);
  std::array<char, 64> name{};
  EXPECT_EQ(::ptsname_r(master, name.data(), name.size()), 0);
  std::FILE* terminal = ::fdopen(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC), "w");
  EXPECT_NE(terminal, nullptr);
  winsize size{};
  size.ws_row = 24;
  size.ws_col = columns;
  EXPECT_EQ(::ioctl(master, TIOCSWINSZ, &size), 0);
  std::string text(1024, '\0');
  {
    Progress progress(terminal, true);
    progress.step("a", std::string(300, 'x'));
    const ssize_t got = ::read(master, text.data(), text.size());
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
  std::fclose(terminal);
  ::close(master);
  return text;
}

TEST(Progress, ALiveLineIsNoWiderThanItsTerminal) {
  const std::string start = "\r\x1b[Ka: ";
  EXPECT_EQ(on_terminal(40), start + std::string(36, 'x'));
  EXPECT_EQ(on_terminal(80), start + std::string(76, 'x'));
  EXPECT_EQ(on_terminal(0), start + std::string(76, 'x')) << "one that does not tell";
  EXPECT_EQ(on_terminal(1000), start + std::string(116, 'x'));
  EXPECT_EQ(on_terminal(1), "\r\x1b[K");
}

TEST(Progress, ALiveLineIsOverwrittenAndLeavesNothing) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, true);
    progress.step("a", std::string(300, 'x'));
    progress.step("b", "evil\x1b[2J\n");
    progress.note("note");
    progress.done("a");
  }
  std::rewind(file);
  std::string text(8192, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  EXPECT_THAT(text, HasSubstr("\r\x1b[Knote\n"));
  EXPECT_TRUE(text.ends_with("\r\x1b[K")) << "erased at the end";
  EXPECT_EQ(text.find("\x1b[2J"), std::string::npos);
  EXPECT_EQ(text.find(std::string(80, 'x')), std::string::npos) << "cut to fit one line";
}

TEST(Duration, IsSaidAsPeopleDo) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(-3), "0 s");
  EXPECT_EQ(duration_text(89.6), "90 s");
  EXPECT_EQ(duration_text(91), "1 min 31 s");
  EXPECT_EQ(duration_text(3599), "59 min 59 s");
  EXPECT_EQ(duration_text(7500), "2 h 5 min");
}

// --- one run among others ---

run::RunRequest request_with(const std::vector<const char*>& names) {
  run::RunRequest request;
  std::uint32_t cell = 0;
  for (const char* name : names) {
    const scenario::Scenario* scenario = scenario::find(name);
    EXPECT_NE(scenario, nullptr) << name;
    scenario::expand(*scenario, arch::Arch::X86_64, false, cell,
                     [&](const scenario::PlanItem& item) { request.plan.push_back(item); });
  }
  return request;
}

TEST_F(ProgressTest, ARunCountsItsCellsAndWeighsItsScenarios) {
  const run::RunRequest request = request_with({"life/thousand", "munmap/whole"});
  const Work work = work_of(request);
  EXPECT_EQ(work.count, 3U) << "[vdso], [vvar], [vvar_vclock]";
  EXPECT_GT(work.weight, 100 + static_cast<double>(work.count)) << "a thousand processes take time";
  start(false);
  progress_->expect("cells", work.count, work.weight);
  {
    RunProgress run(*progress_, request);
    pass(60);
    run.done(0);
    EXPECT_THAT(text(), HasSubstr("0 of 3 cells, "));
    pass(60);
    run.done(1);
    EXPECT_THAT(text(), HasSubstr("0 of 3 cells, ")) << "a scenario is no cell";
    pass(60);
    run.done(2);
    EXPECT_THAT(text(), HasSubstr("1 of 3 cells, "));
    pass(60);
    run.done(1);  // as an agent may say
    run.done(2000);
    EXPECT_THAT(text(), HasSubstr("3 of 3 cells, 0 s left"));
  }
  EXPECT_THAT(text(), Not(HasSubstr("not reached")));
}

TEST_F(ProgressTest, ARunThatEndsInTheMidstLeavesTheRestOut) {
  const run::RunRequest request = request_with({"munmap/whole"});
  const Work work = work_of(request);
  start(false);
  progress_->expect("cells", work.count, work.weight);
  {
    RunProgress run(*progress_, request);
    run.done(1);
    pass(60);
  }
  EXPECT_EQ(text(), "1 of 3 cells, 2 not reached, 0 s left\n");
}

TEST_F(ProgressTest, WhatARunDidNotGetToIsNeitherDoneNorWaitedFor) {
  const run::RunRequest request = request_with({"munmap/whole"});
  const Work work = work_of(request);
  start(false);
  progress_->expect("cells", 2 * work.count, 2 * work.weight);
  { const RunProgress run(*progress_, request); }
  pass(60);
  { const RunProgress run(*progress_, request); }
  EXPECT_EQ(text(), "0 of 6 cells, 6 not reached, 0 s left\n");
}

TEST_F(ProgressTest, WhereThereAreNoCellsScenariosAreCounted) {
  const std::vector<run::RunRequest> scenarios = {request_with({"life/fork", "life/exec"})};
  EXPECT_EQ(work_of(scenarios[0]).count, 2U);
  EXPECT_STREQ(counted_in(scenarios), "scenarios");
  std::vector<run::RunRequest> programs(1);
  programs[0].programs.resize(3);
  EXPECT_STREQ(counted_in(programs), "programs");
  EXPECT_EQ(work_of(programs[0]).count, 3U);
  const std::vector<run::RunRequest> cells = {request_with({"life/fork", "munmap/whole"})};
  EXPECT_STREQ(counted_in(cells), "cells");
}

}  // namespace
}  // namespace sealvisor::app
