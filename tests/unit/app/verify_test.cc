#include "vmm/app/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

using arch::Arch;
using testing::ElementsAre;
using testing::HasSubstr;

/// A cache of built kernels and a stand-in for what boots them.
class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    for (const char* name : {"image", "Image", "vmlinux"}) folder_.file(name, "kernel");
    options_.archs = {Arch::X86_64, Arch::Arm64};
    options_.recipes = {"lts-sealed", "lts-unsealed", "lying"};
    options_.machine.scenarios = {"munmap/whole", "life/fork"};
    places_.agents = "/agents";
    places_.plugin = "/plugin.so";
    tools_.kernel_dir = [this](const std::string& recipe, Arch) -> Result<std::filesystem::path> {
      if (recipe == "no-such") return Error{ExitCode::Usage, "no recipe 'no-such'"};
      if (recipe == "upstream-sealed") return Error{ExitCode::HostLacks, "not built"};
      return folder_.path();
    };
    tools_.run_one = [this](const run::RunRequest& request) { return run(request); };
  }

  /// What a guest of this recipe would show.
  Result<report::Run> run(const run::RunRequest& request) {
    {
      const std::lock_guard lock(mutex_);
      ran_.push_back(std::string(arch::name_of(request.arch)) + " " + request.recipe);
    }
    if (request.progress) request.progress("life/fork");
    if (request.advanced) request.advanced(1);
    if (request.recipe == broken_) return Error{ExitCode::HostLacks, "no QEMU"};
    report::Run made;
    made.arch = request.arch;
    made.recipe = request.recipe;
    made.sealed = request.sealed;
    made.control = request.control;
    made.ending = {true, "agent finished", ""};
    for (const scenario::PlanItem& item : request.plan) {
      if (item.scenario->kind != scenario::Kind::Cells || item.mapping->name == "[vvar_vclock]")
        continue;
      report::Cell cell;
      cell.id = item.cell;
      cell.mapping = item.mapping->name;
      cell.operation = item.scenario->operation->name;
      cell.form = scenario::name_of(item.scenario->form);
      const bool changed = request.recipe != "lts-sealed";
      cell.claim = {true, changed ? 0 : -EPERM, changed ? "ok" : "EPERM", request.sealed};
      cell.observation.change = changed ? report::Change::Gone : report::Change::Unchanged;
      cell.verdict = request.control  ? report::Verdict::Violation
                     : request.sealed ? report::Verdict::Held
                                      : report::Verdict::AsExpected;
      made.cells.push_back(cell);
    }
    return made;
  }

  report::Report run_everything() {
    auto prepared = prepare(options_, places_, tools_);
    EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    Progress progress(sink_.get(), false);
    return run_all(std::move(prepared).value(), tools_, {}, progress);
  }

  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  Temporary folder_;
  VerifyOptions options_;
  Places places_;
  VerifyTools tools_;
  std::mutex mutex_;
  std::vector<std::string> ran_;
  std::string broken_;
  std::unique_ptr<std::FILE, Closer> sink_{std::tmpfile()};
};

TEST_F(VerifyTest, PreparesOneRunForEachArchitectureAndRecipe) {
  options_.deadline = std::chrono::seconds(9);
  options_.machine.memory_mib = 128;
  options_.machine.cpu_model = "max";
  options_.witness = true;
  options_.recipes.push_back("lts-sealed");  // asked for twice is run once
  const auto prepared = prepare(options_, places_, tools_);
  ASSERT_TRUE(prepared.ok());
  const auto& requests = prepared.value().requests;
  ASSERT_EQ(requests.size(), 6U);
  EXPECT_EQ(requests[1].arch, Arch::X86_64);
  EXPECT_EQ(requests[1].recipe, "lts-unsealed");
  EXPECT_FALSE(requests[1].sealed);
  EXPECT_TRUE(requests[2].control);
  EXPECT_EQ(requests[3].arch, Arch::Arm64);
  EXPECT_TRUE(requests[3].sealed);
  EXPECT_EQ(requests[3].kernel_image, folder_.path() / "Image");
  EXPECT_EQ(requests[3].symbols, folder_.path() / "vmlinux");
  EXPECT_EQ(requests[3].agent_dir, "/agents/arm64");
  EXPECT_EQ(requests[3].plugin, "/plugin.so");
  for (const auto& request : requests) {
    EXPECT_EQ(request.deadline.count(), 9);
    EXPECT_EQ(request.memory_bytes, 128U << 20);
    EXPECT_EQ(request.cpu_model, "max");
    EXPECT_TRUE(request.witness);
    EXPECT_EQ(request.plan.size(), 1U + 3U) << "cells of [vdso], [vvar] and [vvar_vclock]";
    EXPECT_TRUE(request.expectations);
  }
}

TEST_F(VerifyTest, InFullHasCellsOfAllMappings) {
  options_.machine.full = true;
  options_.machine.scenarios = {"munmap/whole"};
  options_.recipes = {"lts-sealed"};
  const auto prepared = prepare(options_, places_, tools_);
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared.value().requests[0].plan.size(), 7U);
  EXPECT_EQ(prepared.value().requests[1].plan.size(), 8U);
}

TEST_F(VerifyTest, VariantsAreRunsOfTheirOwn) {
  options_.recipes = {"lts-sealed"};
  const auto labels = [&] {
    std::vector<std::string> all;
    auto prepared = prepare(options_, places_, tools_);
    if (!prepared) return std::vector<std::string>{prepared.error().message};
    for (const auto& request : prepared.value().requests) all.push_back(request.recipe);
    return all;
  };
  options_.variants = {"pti"};
  EXPECT_THAT(labels(), testing::ElementsAre("lts-sealed:pti")) << "of one architecture only";
  const auto prepared = prepare(options_, places_, tools_);
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared.value().requests[0].kernel_arguments, "pti=on");
  EXPECT_EQ(prepared.value().requests[0].variant, "pti");
  EXPECT_TRUE(prepared.value().requests[0].sealed);
  options_.variants = {"la57"};
  EXPECT_EQ(prepare(options_, places_, tools_).value().requests[0].kernel_image,
            folder_.path() / "image");
  options_.variants = {"all"};
  EXPECT_THAT(labels(), testing::IsSupersetOf({"lts-sealed", "lts-sealed:la57", "lts-sealed:kpti",
                                               "lts-sealed:force-never"}));
  options_.variants = {"va52"};
  EXPECT_THAT(labels().front(), HasSubstr("VA_BITS_48"));
}

TEST_F(VerifyTest, TwoVcpusBootAKernelOfTheirOwnOnX86) {
  const Temporary smp;
  for (const char* name : {"image", "Image", "vmlinux"}) smp.file(name, "kernel");
  bool built = true;
  tools_.kernel_dir = [&](const std::string& recipe, Arch) -> Result<std::filesystem::path> {
    if (!recipe.ends_with("-smp")) return folder_.path();
    if (!built) return Error{ExitCode::HostLacks, recipe + " is not built"};
    return smp.path();
  };
  options_.recipes = {"lts-sealed"};
  options_.variants = {"smp"};
  const auto prepared = prepare(options_, places_, tools_);
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  const auto& requests = prepared.value().requests;
  ASSERT_EQ(requests.size(), 2U);
  for (const run::RunRequest& request : requests) {
    EXPECT_EQ(request.recipe, "lts-sealed:smp");
    EXPECT_EQ(request.vcpus, 2U);
    EXPECT_TRUE(request.sealed && request.expectations);
    const Temporary& home = request.arch == Arch::X86_64 ? smp : folder_;
    EXPECT_EQ(request.kernel_image.parent_path(), home.path());
    EXPECT_EQ(request.symbols, home.path() / "vmlinux");
  }
  built = false;
  const auto lacking = prepare(options_, places_, tools_);
  ASSERT_TRUE(lacking.ok());
  ASSERT_EQ(lacking.value().requests.size(), 1U);
  EXPECT_EQ(lacking.value().requests[0].arch, Arch::Arm64);
  ASSERT_EQ(lacking.value().not_run.size(), 1U);
  EXPECT_EQ(lacking.value().not_run[0].recipe, "lts-sealed:smp");
  EXPECT_EQ(lacking.value().not_run[0].error.message, "lts-sealed-smp is not built");
}

TEST_F(VerifyTest, MistakesEndItBeforeAnythingRuns) {
  options_.recipes = {"lts-sealed", "no-such"};
  const auto recipe = prepare(options_, places_, tools_);
  ASSERT_FALSE(recipe.ok());
  EXPECT_EQ(recipe.error().code, ExitCode::Usage);
  EXPECT_THAT(recipe.error().message, HasSubstr("no-such"));

  options_.recipes = {"lts-sealed"};
  options_.machine.scenarios = {"munmap/hole"};
  const auto scenario = prepare(options_, places_, tools_);
  ASSERT_FALSE(scenario.ok());
  EXPECT_THAT(scenario.error().message, HasSubstr("munmap/whole"));

  options_.machine.scenarios = {};
  options_.machine.kernel = folder_.path() / "image";
  const auto image = prepare(options_, places_, tools_);
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(image.error().code, ExitCode::Usage);
  EXPECT_THAT(image.error().message, HasSubstr("image"));
}

TEST_F(VerifyTest, ControlsRunWhereTheyCanSayAnything) {
  options_.machine.scenarios = {"control/entries"};
  const auto entries = prepare(options_, places_, tools_);
  ASSERT_FALSE(entries.ok());
  EXPECT_EQ(entries.error().code, ExitCode::Usage);
  EXPECT_EQ(entries.error().message, "control/entries is for --engine kvm and kvm-nested");

  options_.machine.scenarios = {"control/stores"};
  options_.machine.engine = engine::Kind::Kvm;
  options_.machine.mechanism = engine::Mechanism::Audited;
  const auto audited = prepare(options_, places_, tools_);
  ASSERT_FALSE(audited.ok());
  EXPECT_EQ(audited.error().code, ExitCode::Usage);
  EXPECT_THAT(audited.error().message, HasSubstr("control/stores counts stores"));

  // A host that can't be exact is then an error, instead of a control that compared nothing.
  options_.machine.mechanism = engine::Mechanism::Best;
  const auto best = prepare(options_, places_, tools_);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best.value().requests.front().mechanism, engine::Mechanism::Exact);
}

TEST_F(VerifyTest, ReportsInTheOrderAskedForWhateverTheWorkers) {
  for (const unsigned workers : {1U, 2U, 8U}) {
    tools_.workers = workers;
    ran_.clear();
    const report::Report report = run_everything();
    EXPECT_EQ(report.exit_code, ExitCode::AsExpected) << report.conclusion;
    ASSERT_EQ(report.runs.size(), 6U);
    EXPECT_EQ(ran_.size(), 6U);
    EXPECT_EQ(report.runs[0].recipe, "lts-sealed");
    EXPECT_EQ(report.runs[2].recipe, "lying");
    EXPECT_EQ(report.runs[3].arch, Arch::Arm64);
    if (workers == 1) {
      EXPECT_THAT(ran_, ElementsAre("x86_64 lts-sealed", "arm64 lts-sealed", "x86_64 lts-unsealed",
                                    "arm64 lts-unsealed", "x86_64 lying", "arm64 lying"));
    }
  }
}

TEST_F(VerifyTest, KnowsWhereTheControlIsToLie) {
  const report::Report report = run_everything();
  for (const report::Run& run : report.runs) {
    for (const report::Cell& cell : run.cells) EXPECT_EQ(cell.lie, run.control);
  }
}

TEST_F(VerifyTest, WhatCannotStartDoesNotStopTheRest) {
  options_.recipes = {"upstream-sealed", "lts-sealed", "lts-unsealed"};
  broken_ = "lts-unsealed";
  const report::Report report = run_everything();
  EXPECT_EQ(report.exit_code, ExitCode::HostLacks);
  EXPECT_EQ(report.runs.size(), 2U);
  ASSERT_EQ(report.not_run.size(), 4U);
  EXPECT_EQ(report.not_run[0].error.message, "not built");
  EXPECT_EQ(report.not_run[2].error.message, "no QEMU");
}

TEST_F(VerifyTest, ARunThatThrowsDoesNotTakeTheRestAlong) {
  tools_.run_one = [this](const run::RunRequest& request) -> Result<report::Run> {
    if (request.recipe == "lts-unsealed") throw std::bad_alloc();
    return run(request);
  };
  const report::Report report = run_everything();
  EXPECT_EQ(report.runs.size(), 4U);
  ASSERT_EQ(report.not_run.size(), 2U);
  EXPECT_EQ(report.not_run[0].error.code, ExitCode::HostLacks);
  EXPECT_THAT(report.not_run[0].error.message, HasSubstr("running the guest: "));
}

TEST_F(VerifyTest, AnInterruptStartsNothingMore) {
  std::atomic<int> calls{0};
  tools_.interrupted = [&] { return ++calls > 2; };
  const report::Report report = run_everything();
  EXPECT_EQ(ran_.size(), 2U);
  EXPECT_EQ(report.runs.size(), 2U);
  EXPECT_EQ(report.exit_code, ExitCode::GuestFailed);
  ASSERT_EQ(report.not_run.size(), 4U);
  EXPECT_THAT(report.not_run[0].error.message, HasSubstr("interrupted"));
}

TEST_F(VerifyTest, TimelinesAreKeptForTheFilesThatHaveThem) {
  const auto any = [&] {
    const auto prepared = prepare(options_, places_, tools_);
    return prepared.value().requests[0].timelines;
  };
  EXPECT_FALSE(any());
  options_.junit = "report.xml";
  EXPECT_FALSE(any());
  options_.json = "report.json";
  EXPECT_TRUE(any());
  options_.json.clear();
  options_.html = "report.html";
  EXPECT_TRUE(any());
}

TEST_F(VerifyTest, SaysWhatGoesOn) {
  run_everything();
  std::rewind(sink_.get());
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), sink_.get()));
  EXPECT_THAT(text, HasSubstr("arm64 lts-sealed: booting\n"));
  EXPECT_THAT(text, HasSubstr("arm64 lts-sealed: agent finished after 0.0 s\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("life/fork"))) << "steps are for terminals";
}

TEST_F(VerifyTest, ACampaignIsForItsOwnKernel) {
  options_.machine.scenarios = {"control/campaign"};
  options_.recipes = {"tampering", "lts-sealed"};
  const auto refused = prepare(options_, places_, tools_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ExitCode::Usage);
  EXPECT_THAT(refused.error().message, HasSubstr("is for --recipe tampering, not for lts-sealed"));
  options_.recipes = {"tampering"};
  EXPECT_TRUE(prepare(options_, places_, tools_).ok());
  for (const char* variant : {"all", "pti", "la57", "kpti"}) {
    options_.variants = {"lse", variant};
    const auto unfit = prepare(options_, places_, tools_);
    ASSERT_FALSE(unfit.ok());
    EXPECT_EQ(unfit.error().code, ExitCode::Usage);
    EXPECT_THAT(unfit.error().message, HasSubstr("not for --variant " + std::string(variant)));
  }
  options_.variants = {"lse"};
  EXPECT_TRUE(prepare(options_, places_, tools_).ok());
}

TEST_F(VerifyTest, SeedAndCountAreThoseOfSeededScenarios) {
  options_.machine.scenarios = {"life/storm", "life/fork"};
  options_.archs = {Arch::X86_64};
  options_.recipes = {"lts-sealed"};
  options_.seed = 9;
  const auto usual = prepare(options_, places_, tools_);
  ASSERT_TRUE(usual.ok());
  const auto& plan = usual.value().requests[0].plan;
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].scenario->name, "life/fork");
  EXPECT_EQ(plan[0].count, 8U);
  EXPECT_EQ(plan[1].seed, 9U);
  EXPECT_EQ(plan[1].count, plan[1].scenario->count);
  EXPECT_FALSE(plan[1].emulated);
  options_.count = 3;
  options_.machine.engine = engine::Kind::Kvm;
  const auto counted = prepare(options_, places_, tools_);
  ASSERT_TRUE(counted.ok());
  EXPECT_EQ(counted.value().requests[0].plan[0].count, 8U);
  EXPECT_EQ(counted.value().requests[0].plan[1].count, 3U);
  EXPECT_TRUE(counted.value().requests[0].plan[1].emulated);
  options_.machine.scenarios = {"life/fork"};
  const auto refused = prepare(options_, places_, tools_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ExitCode::Usage);
  EXPECT_THAT(refused.error().message, HasSubstr("--count is for scenarios that take a seed"));
}

}  // namespace
}  // namespace sealvisor::app
