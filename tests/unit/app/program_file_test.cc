#include "vmm/app/program_file.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

using report::Change;
using Outcome = report::Program::Outcome;

constexpr std::string_view kHead = "sealvisor-scenarios 1\n";

std::vector<UserScenario> parsed_scenarios(const std::string& text) {
  auto scenarios = parse_scenarios(std::string(kHead) + text, "file");
  EXPECT_TRUE(scenarios) << scenarios.error().message;
  return scenarios ? std::move(scenarios).value() : std::vector<UserScenario>();
}

TEST(ProgramFile, ReadsScenarios) {
  const auto scenarios = parsed_scenarios(
      "scenario one-1.a_b   # and a comment here\n"
      "  run bin/x \"two words\" plain \"a \\\"quote\\\" and \\\\\" \"\"\n"
      "  env A=b\n"
      "  env \"C=d e\"\n"
      "  limit 5\n"
      "  untraced\n"
      "  expect exit 3\n"
      "  expect sealed [vdso] kept\n"
      "  expect unsealed [vdso] permission-changed\n"
      "  expect signal SIGSEGV\n"
      "  expect signal KILL\n"
      "  expect timeout\n"
      "  expect output \"# not a comment\"\n"
      "  expect errors word\n"
      "scenario two\n"
      "  run /y\n");
  ASSERT_EQ(scenarios.size(), 2U);
  const UserScenario& one = scenarios[0];
  EXPECT_EQ(one.name, "one-1.a_b");
  EXPECT_EQ(one.line, 2U);
  EXPECT_EQ(one.command,
            (std::vector<std::string>{"bin/x", "two words", "plain", "a \"quote\" and \\", ""}));
  EXPECT_EQ(one.environment, (std::vector<std::string>{"A=b", "C=d e"}));
  EXPECT_EQ(one.limit_seconds, 5U);
  EXPECT_FALSE(one.traced);
  ASSERT_EQ(one.expectations.size(), 8U);
  EXPECT_EQ(one.expectations[0].number, 3);
  EXPECT_EQ(one.expectations[0].line, 8U);
  EXPECT_EQ(one.expectations[0].sealed, std::nullopt);
  EXPECT_EQ(one.expectations[1].name, "[vdso]");
  EXPECT_EQ(one.expectations[1].change, "kept");
  EXPECT_EQ(one.expectations[1].sealed, true);
  EXPECT_EQ(one.expectations[2].sealed, false);
  EXPECT_EQ(one.expectations[3].number, SIGSEGV);
  EXPECT_EQ(one.expectations[4].number, SIGKILL);
  EXPECT_EQ(one.expectations[6].name, "# not a comment");
  EXPECT_EQ(one.expectations[7].name, "word");
  EXPECT_TRUE(scenarios[1].traced);
  EXPECT_EQ(scenarios[1].limit_seconds, 60U);
}

TEST(ProgramFile, NamesTheLineThatIsWrong) {
  const std::string head = std::string(kHead) + "scenario one\nrun x\n";
  struct Row {
    std::string text;
    std::string_view said;
  };
  const Row rows[] = {
      {"", "file:0: the file is empty"},
      {"# nothing\n", "file:1: the file is empty"},
      {"scenario x\n", "file:1: expected 'sealvisor-scenarios 1': scenario x"},
      {"sealvisor-scenarios 2\n", "file:1: expected"},
      {std::string(kHead), "file:1: there is no scenario"},
      {std::string(kHead) + "run x\n", "file:2: expected 'scenario NAME': run x"},
      {std::string(kHead) + "scenario\n", "file:2: expected scenario and a name"},
      {std::string(kHead) + "scenario A\n", "file:2: expected scenario and a name"},
      {std::string(kHead) + "scenario a b\n", "file:2: expected scenario and a name"},
      {std::string(kHead) + "scenario one\n", "file:2: scenario one has no run line"},
      {std::string(kHead) + "scenario one\nscenario two\nrun x\n",
       "file:2: scenario one has no run line"},
      {head + "scenario one\nrun y\n", "file:4: a scenario of this name is there"},
      {head + "run y\n", "file:4: a second run line"},
      {head + "walk\n", "file:4: expected scenario, run, env, limit, untraced or expect: walk"},
      {head + "env A\n", "file:4: expected env NAME=TEXT"},
      {head + "limit\n", "file:4: expected limit 1 to 86400"},
      {head + "limit 0\n", "file:4: expected limit 1 to 86400"},
      {head + "limit 1x\n", "file:4: expected limit 1 to 86400"},
      {head + "untraced now\n", "file:4: expected nothing behind 'untraced'"},
      {head + "expect\n", "file:4: expected [sealed|unsealed] and"},
      {head + "expect sealed\n", "file:4: expected [sealed|unsealed] and"},
      {head + "expect exit\n", "file:4: expected [sealed|unsealed] and"},
      {head + "expect exit 256\n", "file:4: expected exit 0 to 255"},
      {head + "expect exit -1\n", "file:4: expected exit 0 to 255"},
      {head + "expect signal SIGNOTHING\n", "file:4: expected signal and a name as SIGSEGV"},
      {head + "expect [vdso] vanished\n", "file:4: expected kept, changed, unobserved"},
      {head + "expect vdso gone\n", "file:4: expected [sealed|unsealed] and"},
      {head + "expect output \"\"\n", "file:4: expected [sealed|unsealed] and"},
      {head + "env \"A=b\n", "file:4: a quote that does not end"},
      {head + "env \"A=b\"c\n", "file:4: expected a space behind a quote: env \"A=b\"c"},
      {head + "\x1b[31m\xff\n",
       "file:4: expected scenario, run, env, limit, untraced or expect: \\x1b[31m\\xff"},
  };
  for (const Row& row : rows) {
    const auto refused = parse_scenarios(row.text, "file");
    ASSERT_FALSE(refused) << row.said;
    EXPECT_EQ(refused.error().code, ExitCode::Usage);
    EXPECT_TRUE(refused.error().message.starts_with(row.said))
        << refused.error().message << "\nexpected " << row.said;
  }
}

TEST(ProgramFile, IsAFileOfBoundedLength) {
  const Temporary folder;
  const auto refusal = [&](const std::filesystem::path& path) {
    const auto text = read_scenarios(path);
    EXPECT_FALSE(text);
    return text ? std::string() : text.error().message;
  };
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(refusal(folder.path() / "fifo").ends_with("fifo: is not a regular file"));
  EXPECT_TRUE(refusal(folder.path()).ends_with(": is not a regular file"));
  EXPECT_TRUE(refusal(folder.path() / "none").ends_with("none: No such file or directory"));
  const auto longest = folder.file("long", std::string((1U << 20) + 1, '#'));
  EXPECT_TRUE(refusal(longest).ends_with(": longer than 1048576 bytes"));
  EXPECT_EQ(read_scenarios(folder.file("good", "text")).value(), "text");
}

report::Program program(Outcome outcome, std::int32_t value) {
  report::Program made;
  made.name = "one";
  made.outcome = outcome;
  made.value = value;
  made.output = "it is done\n";
  return made;
}

void add_space(report::Program& made, Change change, std::uint32_t absent = 0) {
  report::ProgramMapping mapping;
  mapping.name = "[vdso]";
  mapping.pages = mapping.seen = 2;
  mapping.change = change;
  mapping.absent = absent;
  made.spaces.emplace_back().mappings.push_back(mapping);
}

/// Texts of the findings that `expectations` make of `made` on a kernel that is sealed or not.
std::vector<std::string> findings(const report::Program& made, const std::string& expectations,
                                  bool sealed = true) {
  report::Run run;
  run.recipe = "kernel";
  run.sealed = sealed;
  run.programs.push_back(made);
  judge_scenarios(run, parsed_scenarios("scenario one\nrun x\n" + expectations), "file");
  std::vector<std::string> texts;
  for (const report::Finding& finding : run.findings) {
    EXPECT_EQ(finding.invariant, "expectation");
    EXPECT_TRUE(finding.id.starts_with("x86_64/kernel/program/one/line-")) << finding.id;
    texts.push_back(finding.text);
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST(ProgramFile, JudgesHowItEnds) {
  const auto good = program(Outcome::Exited, 0);
  EXPECT_EQ(findings(good, ""), Texts());
  EXPECT_EQ(findings(good, "expect exit 0\n"), Texts());
  EXPECT_EQ(findings(good, "expect exit 1\n"),
            Texts{"file:4: expected exit status 1, got exit status 0"});
  EXPECT_EQ(findings(good, "expect signal SEGV\n"),
            Texts{"file:4: expected the signal SIGSEGV, got exit status 0"});
  EXPECT_EQ(findings(good, "expect timeout\n"),
            Texts{"file:4: expected that its time is up, got exit status 0"});
  // Without a word of its own exit 0 is expected.
  const auto bad = program(Outcome::Exited, 4);
  EXPECT_EQ(findings(bad, ""), Texts{"file:2: expected exit status 0, got exit status 4"});
  EXPECT_EQ(findings(bad, "expect exit 4\n"), Texts());
  EXPECT_EQ(findings(bad, "expect unsealed exit 4\n"),
            Texts{"file:2: expected exit status 0, got exit status 4"});
  EXPECT_EQ(findings(bad, "expect unsealed exit 4\n", false), Texts());
  EXPECT_EQ(findings(program(Outcome::Killed, SIGSEGV), "expect signal SEGV\n"), Texts());
  EXPECT_EQ(findings(program(Outcome::TooLong, 0), "expect timeout\n"), Texts());
  EXPECT_EQ(findings(program(Outcome::NotRun, ENOENT), ""),
            Texts{"file:2: expected exit status 0, got could not be run: ENOENT"});
  // What the guest did not get to is said elsewhere.
  EXPECT_EQ(findings(program(Outcome::CutOff, 0), "expect exit 3\n"), Texts());
}

TEST(ProgramFile, JudgesWhatItWrites) {
  const auto made = program(Outcome::Exited, 0);
  EXPECT_EQ(findings(made, "expect output done\n"), Texts());
  EXPECT_EQ(findings(made, "expect output gone\n"),
            Texts{"file:4: expected \"gone\" in its output"});
  EXPECT_EQ(findings(made, "expect errors done\n"),
            Texts{"file:4: expected \"done\" in its errors"});
  // What was not kept may have held it.
  auto cut = made;
  cut.output_left_out = 9;
  EXPECT_EQ(findings(cut, "expect output gone\n"),
            Texts{"file:4: expected \"gone\" in its output, of which (and of the other) 9 bytes "
                  "were not kept: --output keeps more"});
}

TEST(ProgramFile, JudgesMappings) {
  auto kept = program(Outcome::Exited, 0);
  add_space(kept, Change::Unchanged);
  add_space(kept, Change::Refaulted);
  EXPECT_EQ(findings(kept, "expect [vdso] kept\n"), Texts());
  EXPECT_EQ(findings(kept, "expect [vdso] refaulted\n"), Texts());
  EXPECT_EQ(findings(kept, "expect [vdso] unchanged\n"),
            Texts{"file:4: expected [vdso] unchanged, observed refaulted"});
  EXPECT_EQ(findings(kept, "expect [vdso] changed\n"),
            Texts{"file:4: expected [vdso] changed, observed refaulted"});
  EXPECT_EQ(findings(kept, "expect [vvar] kept\n"),
            Texts{"file:4: expected [vvar] kept, observed that no address space of it has such a "
                  "mapping"});

  auto gone = kept;
  add_space(gone, Change::Gone);
  EXPECT_EQ(findings(gone, "expect [vdso] gone\n"), Texts());
  EXPECT_EQ(findings(gone, "expect [vdso] changed\n"), Texts());
  EXPECT_EQ(findings(gone, "expect [vdso] moved\n"),
            Texts{"file:4: expected [vdso] moved, observed gone"});
  EXPECT_EQ(findings(gone, "expect [vdso] kept\n"),
            Texts{"file:4: expected [vdso] kept, observed gone"});
  EXPECT_EQ(findings(gone, "expect sealed [vdso] kept\n", false), Texts());

  auto forced = program(Outcome::Exited, 0);
  add_space(forced, Change::Privatised);
  EXPECT_EQ(findings(forced, "expect [vdso] privatised\n"), Texts());
  EXPECT_EQ(findings(forced, "expect [vdso] changed\n"), Texts());
  EXPECT_EQ(findings(forced, "expect [vdso] kept\n"),
            Texts{"file:4: expected [vdso] kept, observed privatised"});

  // What is not known is neither kept nor gone.
  auto absent = program(Outcome::Exited, 0);
  add_space(absent, Change::Unchanged, 2);
  EXPECT_EQ(findings(absent, "expect [vdso] kept\n").size(), 1U);
  EXPECT_EQ(findings(absent, "expect [vdso] unchanged\n").size(), 1U);
  EXPECT_EQ(findings(absent, "expect [vdso] gone\n"),
            Texts{"file:4: expected [vdso] gone, observed unchanged, and 2 pages absent at the end "
                  "that nothing touched again"});

  auto counted = kept;
  counted.spaces_left_out = 5;
  EXPECT_EQ(
      findings(counted, "expect [vdso] kept\n"),
      Texts{"file:4: expected [vdso] kept, observed refaulted, and 5 address spaces more only "
            "counted"});
  EXPECT_EQ(findings(counted, "expect [vdso] changed\n").size(), 1U);

  auto unobserved = program(Outcome::Exited, 0);
  add_space(unobserved, Change::Unobserved);
  EXPECT_EQ(findings(unobserved, "expect [vdso] kept\n"),
            Texts{"file:4: expected [vdso] kept, observed unobserved"});
  EXPECT_EQ(findings(unobserved, "expect [vdso] unobserved\n"), Texts());
}

TEST(ProgramFile, AsksTheKernelWhereNoRecipeSays) {
  report::Run run;
  run.expectations = false;
  run.programs.push_back(program(Outcome::Exited, 4));
  const auto scenarios = parsed_scenarios("scenario one\nrun x\nexpect sealed exit 4\n");
  report::Run sealed = run;
  sealed.mappings.emplace_back().claims_sealed = true;
  judge_scenarios(sealed, scenarios, "file");
  EXPECT_TRUE(sealed.programs[0].judged);
  EXPECT_TRUE(sealed.findings.empty());
  run.mappings.emplace_back().claims_sealed = false;
  judge_scenarios(run, scenarios, "file");
  EXPECT_EQ(run.findings.size(), 1U);
}

}  // namespace
}  // namespace sealvisor::app
