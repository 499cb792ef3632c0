#include "vmm/report/json.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <list>
#include <sstream>
#include <string>

#include "tests/unit/report/samples.h"
#include "tests/unit/report/schema_check.h"
#include "vmm/report/conclude.h"

namespace sealvisor::report {
namespace {

namespace fs = std::filesystem;

const fs::path kTree = SEALVISOR_SOURCE_DIR;

test::ShellAnswer check_report(const std::string& arguments) {
  return check_schema("docs/report.schema.json", arguments);
}

Report whole_report() {
  report::Run audited = samples::sealed_run(arch::Arch::Arm64);
  audited.counts.witness_stores = 10;
  audited.counts.witness_differences = 0;
  audited.campaign = samples::campaign();
  report::Run observed = samples::sealed_run();
  observed.programs.push_back(samples::program());
  return conclude({samples::sealed_run(), audited, samples::unsealed_run(), samples::lying_run(),
                   samples::failed_run(), observed},
                  {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}}, {});
}

TEST(ReportJson, IsValidByTheSchemaOfTheTree) {
  const SchemaDocument whole(render_json(whole_report()));
  const SchemaDocument empty(render_json(conclude({}, {}, {})));
  // Recorded from real guests: a schema of this version must go on accepting what was written.
  const fs::path recorded = kTree / "tests/unit/report/recorded.json";
  const test::ShellAnswer checked =
      check_report("'" + whole.path().string() + "' '" + empty.path().string() + "' '" +
                   recorded.string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
}

TEST(ReportJson, NoMutationOfItIsValid) {
  report::Run run = samples::unsealed_run();
  run.cells.pop_back();  // one of each kind is enough
  run.findings = {{"a/b/S1", "S1", "text", false, ""}};
  run.counts.witness_stores = 1;
  run.counts.witness_differences = 0;
  run.campaign = samples::campaign();
  const SchemaDocument document(render_json(
      conclude({run}, {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}}, {})));
  const test::ShellAnswer checked = check_report("--mutate '" + document.path().string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_NE(checked.output.find("mutations tried"), std::string::npos);
  EXPECT_EQ(checked.output.find(": 0 mutations tried"), std::string::npos);
}

TEST(ReportJson, OtherVersionsAndWordsAreNotValid) {
  const std::string good = render_json(whole_report());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  std::list<SchemaDocument> documents;
  std::string names;
  for (const std::string& text :
       {with("sealvisor-report-1", "sealvisor-report-2"), with("\"x86_64\"", "\"riscv\""),
        with("\"verdict\": \"held\"", "\"verdict\": \"perhaps\""),
        with("\"exit_code\": 4", "\"exit_code\": 6"),
        with("\"gva\": \"0x7ffff7fc1000\"", "\"gva\": \"7ffff7fc1000\"")}) {
    ASSERT_NE(text, good);
    names += " '" + documents.emplace_back(text).path().string() + "'";
  }
  const test::ShellAnswer checked = check_report("--invalid" + names);
  EXPECT_EQ(checked.status, 0) << checked.output;
}

TEST(ReportJson, CarriesValuesExactly) {
  report::Run run = samples::unsealed_run();
  run.cells[0].changes[0].gva = 0xFFFF'FFFF'FFFF'F000;
  run.cells[0].claim.result = 0x7ffff7fc1000;
  run.cells[1].claim.result = -22;
  run.cells[1].claim.made = true;
  const auto json = nlohmann::json::parse(render_json(conclude({run}, {}, {})));
  const auto& cells = json["runs"][0]["cells"];
  EXPECT_EQ(cells[0]["changes"][0]["gva"], "0xfffffffffffff000");
  EXPECT_EQ(cells[0]["claim"]["result"], "0x7ffff7fc1000");
  EXPECT_EQ(cells[0]["claim"]["errno"], 0);
  EXPECT_EQ(cells[1]["claim"]["errno"], 22);
  EXPECT_EQ(cells[1]["claim"]["result"], "0xffffffffffffffea");
  EXPECT_EQ(json["runs"][0]["mappings"][1]["frames"][0], "0x23a3000");
  EXPECT_TRUE(json["runs"][0]["mappings"][1]["frames"][1].is_null());
  EXPECT_EQ(json["exit_code"], 0);
}

TEST(ReportJson, BytesThatAreNoTextDoNotBreakIt) {
  const std::string text = render_json(conclude({samples::failed_run()}, {}, {}));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  const std::string tail = json["runs"][0]["ending"]["console_tail"];
  EXPECT_NE(tail.find("Kernel panic"), std::string::npos);
  EXPECT_NE(tail.find("\xEF\xBF\xBD"), std::string::npos);
}

TEST(KnownFindingsFile, OfTheTreeIsGood) {
  const std::ifstream file(kTree / "docs/known-findings.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto read = parse_known_findings(text.str(), "docs/known-findings.json");
  EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message);
}

}  // namespace
}  // namespace sealvisor::report
