#include "vmm/app/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "vmm/evidence/manifest.h"

namespace sealvisor::app {
namespace {

using test::ScriptedRun;
using testing::HasSubstr;

TEST(Bundle, TakesAFolderThatIsNewOrEmpty) {
  const Temporary folder;
  EXPECT_TRUE(Bundle::create(folder.path(), "").ok());
  EXPECT_TRUE(Bundle::create(folder.path() / "a/b", "").ok());
  const auto full = Bundle::create(folder.path(), "");
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ExitCode::Usage);
  EXPECT_THAT(full.error().message, HasSubstr("expected a folder that is new or empty"));
  folder.file("file", "");
  const auto none = Bundle::create(folder.path() / "file/b", "");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::HostLacks);
}

TEST(Bundle, DoesNothingWithoutAFolder) {
  auto bundle = Bundle::create({}, "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests(1);
  EXPECT_TRUE(bundle.value().attach(requests).ok());
  EXPECT_TRUE(requests[0].evidence_dir.empty());
  EXPECT_TRUE(bundle.value().finish({}, "").ok());
  EXPECT_FALSE(bundle.value().seal().has_value());
  EXPECT_EQ(text_of(bundle.value(), {}), "");
}

TEST(Bundle, GivesEachRunAFolderOfItsOwn) {
  const Temporary folder;
  const Temporary inputs;
  auto bundle = Bundle::create(folder.path(), "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests(5, ScriptedRun::request(inputs.path()));
  requests[2].recipe = "my image.bz";
  requests[3].recipe = "../..";
  requests[4].recipe = "lts-sealed:pti";
  ASSERT_TRUE(bundle.value().attach(requests).ok());
  EXPECT_EQ(requests[0].evidence_dir, folder.path() / "runs/x86_64-lts-sealed");
  EXPECT_EQ(requests[1].evidence_dir, folder.path() / "runs/x86_64-lts-sealed-2");
  EXPECT_EQ(requests[2].evidence_dir, folder.path() / "runs/x86_64-my_image.bz");
  EXPECT_EQ(requests[3].evidence_dir, folder.path() / "runs/x86_64-.._..");
  EXPECT_EQ(requests[4].evidence_dir, folder.path() / "runs/x86_64-lts-sealed_pti");
}

TEST(Bundle, WhatCouldNotBeAttachedCanBeTriedAgain) {
  const Temporary folder;
  const Temporary inputs;
  auto bundle = Bundle::create(folder.path() / "bundle", "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests(2, ScriptedRun::request(inputs.path()));
  // No file has such a name.
  requests[1].recipe = std::string(1000, 'x');
  const auto attached = bundle.value().attach(requests);
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ(attached.error().code, ExitCode::HostLacks);
  EXPECT_TRUE(Bundle::create(folder.path() / "bundle", "").ok());
}

TEST(Bundle, HoldsNoMoreRunsThanAreRead) {
  const Temporary folder;
  auto bundle = Bundle::create(folder.path() / "bundle", "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests(evidence::kMostRuns + 1);
  const auto attached = bundle.value().attach(requests);
  ASSERT_FALSE(attached.ok());
  EXPECT_THAT(attached.error().message, HasSubstr("257 runs, and a bundle holds 256"));
}

TEST(Bundle, KeepsNothingBesideAUsersOwnImage) {
  const Temporary folder;
  const Temporary inputs;
  inputs.file("config", "CONFIG_MSEAL_SYSTEM_MAPPINGS=y\n");
  for (const bool recipe : {true, false}) {
    const auto to = folder.path() / (recipe ? "recipe" : "own");
    auto bundle = Bundle::create(to, "");
    ASSERT_TRUE(bundle.ok());
    std::vector<run::RunRequest> requests = {ScriptedRun::request(inputs.path())};
    requests[0].expectations = recipe;
    ASSERT_TRUE(bundle.value().attach(requests).ok());
    EXPECT_EQ(std::filesystem::exists(requests[0].evidence_dir / evidence::kConfigName), recipe);
  }
}

TEST(Bundle, WhatDidNotRunLeavesNothing) {
  const Temporary folder;
  const Temporary inputs;
  auto bundle = Bundle::create(folder.path(), "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests = {ScriptedRun::request(inputs.path())};
  ASSERT_TRUE(bundle.value().attach(requests).ok());
  ASSERT_TRUE(bundle.value().finish({}, "{}").ok());
  EXPECT_FALSE(std::filesystem::exists(requests[0].evidence_dir));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "seal"));
}

TEST(Bundle, WhatCannotBeWrittenIsSaidToLeaveItUnsealed) {
  const Temporary folder;
  auto bundle = Bundle::create(folder.path(), "");
  ASSERT_TRUE(bundle.ok());
  std::filesystem::create_directories(folder.path() / evidence::kReportName / "in the way");
  const auto done = bundle.value().finish({}, "{}");
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ExitCode::HostLacks);
  EXPECT_THAT(done.error().message,
              HasSubstr("--bundle: " + folder.path().string() + " is not sealed: "));
  EXPECT_THAT(done.error().message, HasSubstr(std::string(evidence::kReportName)));
  EXPECT_FALSE(bundle.value().seal());
}

TEST(Bundle, ARunThatIsNotWholeIsListedAndTheRestSealed) {
  const Temporary folder;
  const Temporary inputs;
  auto bundle = Bundle::create(folder.path(), "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests = {ScriptedRun::request(inputs.path())};
  ASSERT_TRUE(bundle.value().attach(requests).ok());
  // A disk that was full: the run is in the report, and has no evidence.
  report::Report report;
  report.runs.emplace_back();
  report.runs[0].arch = requests[0].arch;
  report.runs[0].recipe = requests[0].recipe;
  report.runs[0].findings.push_back({"x", "evidence", "No space left on device", false, ""});
  ASSERT_TRUE(bundle.value().finish(report, "{}").ok());
  EXPECT_THAT(text_of(bundle.value(), report), HasSubstr("1 of its runs is not whole"));
  const auto checked = evidence::check_bundle(folder.path());
  ASSERT_TRUE(checked.ok()) << checked.error().message;
  EXPECT_TRUE(checked.value().faults.empty()) << checked.value().faults[0].text;
  ASSERT_EQ(checked.value().manifest.runs.size(), 1U);
  EXPECT_EQ(checked.value().manifest.runs[0].not_whole, "No space left on device");
}

TEST(Bundle, WhatRanIsKeptThoughTheReportHasNothingOfIt) {
  const Temporary folder;
  const Temporary inputs;
  auto bundle = Bundle::create(folder.path(), "");
  ASSERT_TRUE(bundle.ok());
  std::vector<run::RunRequest> requests = {ScriptedRun::request(inputs.path())};
  ASSERT_TRUE(bundle.value().attach(requests).ok());
  const std::string trace = "runs/x86_64-lts-sealed/trace.slvt";
  folder.file(trace, std::string(100, 'x'));
  ASSERT_TRUE(bundle.value().finish({}, "{}").ok());
  EXPECT_TRUE(std::filesystem::exists(folder.path() / trace));
  auto checked = evidence::check_bundle(folder.path());
  ASSERT_TRUE(checked.ok()) << checked.error().message;
  EXPECT_TRUE(checked.value().faults.empty()) << checked.value().faults[0].text;
  ASSERT_EQ(checked.value().manifest.runs.size(), 1U);
  EXPECT_EQ(checked.value().manifest.runs[0].not_whole, "the report has no such run");
  folder.file(trace, std::string(100, 'y'));
  checked = evidence::check_bundle(folder.path());
  ASSERT_TRUE(checked.ok());
  ASSERT_EQ(checked.value().faults.size(), 1U);
  EXPECT_EQ(checked.value().faults[0].file, trace);
}

}  // namespace
}  // namespace sealvisor::app
