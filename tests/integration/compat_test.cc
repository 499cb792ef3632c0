// `sealvisor compat` on real guests: what known software does to system mappings, where they are
// sealed, where they are not, and where a kernel lies about it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "guest/compat/list.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/app/compat.h"

namespace sealvisor::test {
namespace {

using report::Change;
using report::SequenceVerdict;

class Compat : public testing::TestWithParam<arch::Arch> {
 protected:
  /// Runs every sequence that makes sense on `recipe`.
  void run_sequences(const std::string& recipe) {
    run::RunRequest request = request_for(GetParam(), recipe, {"compat/*"});
    auto chosen = app::choose_sequences({}, GetParam(), recipe);
    ASSERT_TRUE(chosen.ok()) << chosen.error().message;
    request.plan = std::move(chosen.value().plan);
    run_guest(request, run_);
    EXPECT_TRUE(run_.ending.good) << run_.ending.text << "\n" << run_.ending.console_tail;
    EXPECT_EQ(run_.counts.mismatches, 0U);
    ASSERT_EQ(run_.sequences.size(), request.plan.size());
    EXPECT_GE(run_.sequences.size(), GetParam() == arch::Arch::X86_64 ? 9U : 6U);
  }
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

}  // namespace
}  // namespace sealvisor::test
