// `sealvisor compat` on real guests: what known software does to system mappings, where they are
// sealed, where they are not, and where a kernel lies about it.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "guest/compat/list.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/app/compat.h"
#include "vmm/app/places.h"
#include "vmm/app/script_folder.h"

namespace sealvisor::test {
namespace {

using report::Change;
using report::SequenceVerdict;

/// Runs every sequence that makes sense on `recipe`.
void run_all(arch::Arch arch, const std::string& recipe, report::Run& run) {
  run::RunRequest request = request_for(arch, recipe, {"compat/*"});
  auto chosen = app::choose_sequences({}, arch, recipe);
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  request.plan = std::move(chosen.value().plan);
  run_guest(request, run);
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_EQ(run.counts.mismatches, 0U);
  ASSERT_EQ(run.sequences.size(), request.plan.size());
  EXPECT_GE(run.sequences.size(), arch == arch::Arch::X86_64 ? 10U : 7U);
}

class Compat : public testing::TestWithParam<arch::Arch> {
 protected:
  void run_sequences(const std::string& recipe) { run_all(GetParam(), recipe, run_); }
  report::Run run_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Compat, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

/// Whether `sequence` is left with `mapping` as `change` says.
bool is_left(const report::Sequence& sequence, const std::string& mapping, Change change) {
  return std::any_of(sequence.outcomes.begin(), sequence.outcomes.end(),
                     [&](const report::MappingOutcome& one) {
                       return one.mapping == mapping && one.observation.change == change;
                     });
}

TEST_P(Compat, EachSequenceBreaksWhereTheyAreSealed) {
  run_sequences("lts-sealed");
  EXPECT_TRUE(run_.findings.empty()) << text_of(run_.findings);
  for (const report::Sequence& one : run_.sequences) {
    SCOPED_TRACE(one.name);
    EXPECT_EQ(one.verdict, SequenceVerdict::Breaks);
    ASSERT_TRUE(one.first_failed.has_value());
    EXPECT_EQ(one.calls[*one.first_failed].answer, "EPERM");
    EXPECT_TRUE(one.gave_up);
    EXPECT_TRUE(is_left(one, "[vdso]", Change::Unchanged));
    EXPECT_TRUE(is_left(one, "[vvar]", Change::Unchanged));
    // And nobody changed them and put them back.
    for (const report::SequenceCall& call : one.calls) EXPECT_TRUE(call.outcomes.empty());
  }
}

TEST_P(Compat, EachSequenceWorksWhereTheyAreNot) {
  run_sequences("lts-unsealed");
  EXPECT_TRUE(run_.findings.empty()) << text_of(run_.findings);
  for (const report::Sequence& one : run_.sequences) {
    SCOPED_TRACE(one.name);
    EXPECT_EQ(one.verdict, SequenceVerdict::Works);
    EXPECT_FALSE(one.first_failed.has_value());
    EXPECT_FALSE(one.gave_up);
    EXPECT_FALSE(is_left(one, "[vvar]", Change::Unchanged)) << "each of them takes it away";
  }
}

// The lying kernel refuses the call and does it: what the guest says is not what is believed.
TEST_P(Compat, AKernelThatLiesIsFoundOut) {
  run_sequences("lying");
  const auto wrong = [](const report::Sequence& one) {
    return one.verdict == SequenceVerdict::Unexpected;
  };
  EXPECT_TRUE(std::any_of(run_.sequences.begin(), run_.sequences.end(), wrong));
  EXPECT_FALSE(run_.findings.empty());
}

TEST_P(Compat, TheCommandWritesWhatItsSchemaAccepts) {
  const Folder folder;
  const std::filesystem::path json = folder.path() / "compat.json";
  Child compat({program_path(), "compat", "--arch", std::string(arch::name_of(GetParam())),
                "--json", json.string()});
  ASSERT_EQ(compat.finish(), 0) << compat.text();
  EXPECT_NE(compat.text().find("AS EXPECTED"), std::string::npos) << compat.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/compat.schema.json", json.string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  ASSERT_EQ(report["runs"].size(), 2U);
  for (const auto& run : report["runs"]) {
    const bool sealed = run["recipe"] == "lts-sealed";
    for (const auto& sequence : run["sequences"]) {
      EXPECT_EQ(sequence["verdict"], sealed ? "breaks" : "works") << sequence["name"];
    }
  }
}

constexpr const char* kRealRecipes[] = {"checkpoint-restore-sealed", "checkpoint-restore-unsealed"};

/// The program itself, in a guest of `recipe`, with every change of a mapping listed. It fails
/// where it is to fail, and its control works.
void expect_real(const std::string& name, const std::string& recipe) {
  SCOPED_TRACE(name + " on " + recipe);
  run::RunRequest request = request_for(arch::Arch::X86_64, recipe, {"real/" + name});
  const auto places = app::find_places({.executable = SEALVISOR_BUILD_DIR "/sealvisor",
                                        .share_override = std::nullopt,
                                        .source_dir = SEALVISOR_SOURCE_DIR});
  ASSERT_TRUE(places.ok()) << places.error().message;
  const auto folder = app::folder_from(places.value().real_script(), {"path", name});
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  request.real = run::RealProgram{name, folder.value()};
  request.lifetime = true;
  request.memory_bytes = std::uint64_t{512} << 20;
  request.deadline = std::chrono::seconds(900);
  report::Run run;
  run_guest(request, run);
  if (testing::Test::HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.mismatches, 0U);
  ASSERT_TRUE(run.real.has_value());
  std::string said;
  for (const std::string& line : run.real->lines) said += line + "\n";
  EXPECT_FALSE(said.empty());
  ASSERT_TRUE(run.real->expected.has_value());
  EXPECT_EQ(run.real->done, *run.real->expected) << said;
}

TEST(CompatReal, UserModeLinux) {
  for (const char* const recipe : kRealRecipes) expect_real("uml", recipe);
}

// The one sequence that only such kernels have, with all others, which they have too.
TEST(CompatReal, SequencesOfCheckpointRestore) {
  for (const bool sealed : {true, false}) {
    report::Run run;
    run_all(arch::Arch::X86_64,
            sealed ? "checkpoint-restore-sealed" : "checkpoint-restore-unsealed", run);
    if (HasFatalFailure()) return;
    EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
    EXPECT_TRUE(std::any_of(run.sequences.begin(), run.sequences.end(),
                            [](const auto& one) { return one.name == "compat/criu-map"; }));
    for (const report::Sequence& one : run.sequences) {
      EXPECT_EQ(one.verdict, sealed ? SequenceVerdict::Breaks : SequenceVerdict::Works) << one.name;
    }
  }
}

TEST(CompatReal, Criu) {
  for (const char* const recipe : kRealRecipes) {
    expect_real("criu", recipe);
  }
}

}  // namespace
}  // namespace sealvisor::test
