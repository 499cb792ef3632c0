#include "tests/integration/guest.h"

#include <filesystem>
#include <utility>

#include <gtest/gtest.h>

#include "tests/integration/program.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/app/scenarios.h"
#include "vmm/evidence/manifest.h"
#include "vmm/evidence/trace_reader.h"

namespace sealvisor::test {

namespace {

std::vector<std::string> default_ones(scenario::Kind kind) {
  std::vector<std::string> names;
  for (const scenario::Scenario& one : scenario::kScenarios) {
    const bool usual = one.tier == scenario::Tier::Default;
    if (usual && one.kind == kind) names.emplace_back(one.name);
  }
  return names;
}

}  // namespace

std::vector<std::string> default_cells() { return default_ones(scenario::Kind::Cells); }

std::vector<std::string> default_lives() { return default_ones(scenario::Kind::Life); }

run::RunRequest request_for(arch::Arch arch, const std::string& recipe,
                            const std::vector<std::string>& patterns, bool full) {
  run::RunRequest request;
  request.arch = arch;
  request.recipe = recipe;
  // The test programs lie in a folder of their own: name the build they belong to.
  const auto places = app::find_places({.executable = SEALVISOR_BUILD_DIR "/sealvisor",
                                        .share_override = std::nullopt,
                                        .source_dir = SEALVISOR_SOURCE_DIR});
  if (!places) {
    ADD_FAILURE() << places.error().message;
    return request;
  }
  const auto folder = app::kernel_dir(places.value(), recipe, arch);
  if (!folder) {
    ADD_FAILURE() << folder.error().message;
    return request;
  }
  const auto files = app::kernel_files(folder.value(), arch);
  const auto scenarios = app::choose_scenarios(patterns);
  if (!files || !scenarios) {
    ADD_FAILURE() << (files ? scenarios.error().message : files.error().message);
    return request;
  }
  const app::RecipeTraits traits = app::traits_of(recipe);
  request.expectations = traits.expectations;
  request.sealed = traits.sealed;
  request.control = traits.control;
  request.kernel_image = files.value().image;
  request.symbols = files.value().symbols;
  request.agent_dir = places.value().agent_dir(arch);
  request.plugin = places.value().plugin;
  request.plan = app::plan_of(scenarios.value(), arch, full);
  request.deadline = std::chrono::seconds(180);
  return request;
}

void run_guest(const run::RunRequest& request, report::Run& run) {
  ASSERT_FALSE(request.kernel_image.empty()) << "no kernel: see the failure above";
  auto result = run::run_one(request);
  ASSERT_TRUE(result.ok()) << result.error().message;
  run = std::move(result).value();
}

void read_trace(const std::filesystem::path& folder, std::vector<event::Event>& events) {
  const auto description = evidence::read_whole(folder / evidence::kRunName);
  ASSERT_TRUE(description.ok()) << description.error().message;
  auto source = evidence::FileSource::open(folder / evidence::kTraceName,
                                           evidence::digest_of(description.value()));
  ASSERT_TRUE(source.ok()) << source.error().message;
  evidence::TraceReader reader(source.value());
  for (;;) {
    const auto step = reader.next();
    ASSERT_TRUE(step.ok()) << step.error().message;
    using StepKind = evidence::Step::Kind;
    if (step.value().kind == StepKind::Ended) return;
    if (step.value().kind != StepKind::Stopped) events.push_back(step.value().event);
  }
}

void trace_guest(run::RunRequest request, std::vector<event::Event>& events) {
  const Folder folder;
  request.evidence_dir = folder.path();
  report::Run run;
  run_guest(request, run);
  if (testing::Test::HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  read_trace(request.evidence_dir, events);
}

const report::Cell* find_cell(const report::Run& run, const std::string& mapping,
                              const std::string& operation, const std::string& form) {
  for (const report::Cell& cell : run.cells) {
    if (cell.mapping == mapping && cell.operation == operation && cell.form == form) return &cell;
  }
  return nullptr;
}

std::vector<report::Finding> findings_of(const report::Run& run, const std::string& invariant) {
  std::vector<report::Finding> found;
  for (const report::Finding& finding : run.findings) {
    if (finding.invariant == invariant) found.push_back(finding);
  }
  return found;
}

std::string text_of(const std::vector<report::Finding>& findings) {
  std::string text;
  for (const report::Finding& finding : findings) text += finding.id + ": " + finding.text + "\n";
  return text;
}

}  // namespace sealvisor::test
