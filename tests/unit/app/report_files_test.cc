#include "vmm/app/report_files.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

TEST(ReportFiles, WritesThoseThatWereAskedFor) {
  const Temporary folder;
  const ReportFiles files{{}, folder.path() / "r.xml", folder.path() / "r.html"};
  EXPECT_EQ(write_files(files, report::Report()), ExitCode::AsExpected);
  EXPECT_NE(Temporary::read(files.junit).find("<testsuites"), std::string::npos);
  EXPECT_NE(Temporary::read(files.html).find("<!DOCTYPE html>"), std::string::npos);
}

TEST(ReportFiles, TheWorseCodeIsTheOneToEndWith) {
  const Temporary folder;
  report::Report report;
  const ReportFiles nowhere{folder.path() / "none" / "r.json", {}, {}};
  EXPECT_EQ(write_files(nowhere, report), ExitCode::HostLacks);
  report.exit_code = ExitCode::Failed;
  EXPECT_EQ(write_files(nowhere, report), ExitCode::Failed);
}

TEST(ReportFiles, TimelinesAreInTwoOfThem) {
  EXPECT_FALSE((ReportFiles{{}, "r.xml", {}}).with_timelines());
  EXPECT_TRUE((ReportFiles{"r.json", {}, {}}).with_timelines());
  EXPECT_TRUE((ReportFiles{{}, {}, "r.html"}).with_timelines());
}

TEST(ReportFiles, EachIsCheckedBeforeAnythingRuns) {
  const Temporary folder;
  const auto refusal = [&](const ReportFiles& files) {
    const Status fit = check_places(files, folder.path() / "bundle");
    EXPECT_FALSE(fit);
    return fit ? "" : fit.error().message;
  };
  EXPECT_TRUE(refusal({{}, {}, folder.path() / "bundle" / "r"}).starts_with("--html "));
  EXPECT_TRUE(refusal({{}, folder.path(), {}}).starts_with("--junit "));
  EXPECT_TRUE(refusal({folder.path() / "none" / "r", {}, {}}).starts_with("--json "));
  EXPECT_TRUE(check_places({folder.path() / "r", {}, {}}, ""));
  const Status apart = check_apart({"r", "./r", {}}, "observe");
  ASSERT_FALSE(apart);
  EXPECT_EQ(apart.error().message,
            "--json and --junit both name r, expected a file for each; see `sealvisor observe "
            "--help`");
  EXPECT_TRUE(check_apart({"r", "s", {}}, "observe"));
  EXPECT_TRUE(check_apart({}, "observe"));
}

}  // namespace
}  // namespace sealvisor::app
