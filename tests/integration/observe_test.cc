// The user's own programs in real guests: what they do to their mappings, and what is said of it.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/app/observe.h"
#include "vmm/app/payload.h"
#include "vmm/report/program.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

using arch::Arch;
using report::Change;
using Outcome = report::Program::Outcome;

fs::path payload_of(Arch arch, const char* name = "payload") {
  return fs::path(SEALVISOR_BUILD_DIR) / "guest" / arch::name_of(arch) / name;
}

/// A guest of `recipe` that runs the test's program once for each of `commands`.
run::RunRequest programs_request(Arch arch, const std::string& recipe,
                                 const std::vector<std::vector<std::string>>& commands) {
  run::RunRequest request = request_for(arch, recipe, {"munmap/whole"});
  request.plan.clear();
  auto payload = app::gather_payload(payload_of(arch), arch, 64ULL << 20);
  if (!payload) {
    ADD_FAILURE() << payload.error().message;
    return request;
  }
  request.payload = payload.value().items;
  for (const auto& command : commands) {
    run::ProgramRequest program;
    program.name = fmt::format("{}", fmt::join(command, "-"));
    program.root = app::kPayloadRoot;
    program.run = "/payload";
    program.arguments = command;
    request.programs.push_back(std::move(program));
  }
  return request;
}

const report::ProgramMapping* mapping_of(const report::Program& program, const std::string& name) {
  const report::ProgramMapping* worst = nullptr;
  for (const report::ProgramSpace& space : program.spaces) {
    for (const report::ProgramMapping& one : space.mappings) {
      if (one.name == name && (worst == nullptr || one.change > worst->change)) worst = &one;
    }
  }
  return worst;
}

void expect_mapping_change(const report::Program& program, const std::string& name, Change change) {
  const report::ProgramMapping* one = mapping_of(program, name);
  ASSERT_NE(one, nullptr) << program.name << " has no " << name;
  EXPECT_EQ(one->change, change) << program.name << ": " << name << " "
                                 << report::name_of(one->change) << " " << one->text;
}

void expect_trusted(const report::Run& run, std::size_t programs) {
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_EQ(run.counts.mismatches, 0U);
  ASSERT_EQ(run.programs.size(), programs);
}

class Observe : public testing::TestWithParam<Arch> {};
INSTANTIATE_TEST_SUITE_P(Both, Observe, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<Arch>& one) {
                           return arch::name_of(one.param);
                         });

/// One system call on [vdso]: what each kernel answers, and what is seen.
struct ObserveRow {
  std::vector<std::string> command;
  const char* said;  ///< On the unsealed kernel; on the sealed one EPERM.
  Change change;     ///< There.
};

const ObserveRow kObserveRows[] = {
    {{"unmap", "[vdso]"}, "unmap [vdso]: ok", Change::Gone},
    {{"unmap", "[vvar]"}, "unmap [vvar]: ok", Change::Gone},
    {{"move", "[vdso]"}, "move [vdso]: ok", Change::Moved},
    {{"none", "[vdso]"}, "none [vdso]: ok", Change::PermissionChanged},
    {{"write", "[vdso]"}, "write [vdso]: ok", Change::Replaced},
    {{"over", "[vdso]"}, "over [vdso]: ok", Change::Replaced},
};

std::vector<std::vector<std::string>> commands_of_rows() {
  std::vector<std::vector<std::string>> commands;
  for (const ObserveRow& row : kObserveRows) commands.push_back(row.command);
  return commands;
}

TEST_P(Observe, OnAnUnsealedKernelEachChangeIsSeen) {
  report::Run run;
  run_guest(programs_request(GetParam(), "lts-unsealed", commands_of_rows()), run);
  if (HasFatalFailure()) return;
  expect_trusted(run, std::size(kObserveRows));
  if (HasFatalFailure()) return;
  for (std::size_t i = 0; i < std::size(kObserveRows); ++i) {
    const report::Program& program = run.programs[i];
    EXPECT_TRUE(report::succeeded(program)) << report::outcome_text(program) << program.errors;
    EXPECT_NE(program.output.find(kObserveRows[i].said), std::string::npos) << program.output;
    expect_mapping_change(program, kObserveRows[i].command[1], kObserveRows[i].change);
    const report::ProgramMapping* one = mapping_of(program, kObserveRows[i].command[1]);
    EXPECT_FALSE(one == nullptr || one->changes.empty()) << program.name << ": no write is told";
  }
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Observe, OnASealedKernelNothingChanges) {
  report::Run run;
  run_guest(programs_request(GetParam(), "lts-sealed", commands_of_rows()), run);
  if (HasFatalFailure()) return;
  expect_trusted(run, std::size(kObserveRows));
  if (HasFatalFailure()) return;
  for (std::size_t i = 0; i < std::size(kObserveRows); ++i) {
    const report::Program& program = run.programs[i];
    EXPECT_NE(program.output.find(": EPERM"), std::string::npos) << program.output;
    for (const char* name : {"[vdso]", "[vvar]"}) {
      expect_mapping_change(program, name, Change::Unchanged);
    }
    ASSERT_FALSE(program.processes.empty());
    const auto& first = program.processes[0].first;
    EXPECT_TRUE(std::all_of(first.begin(), first.end(), [](const auto& one) {
      return one.sealed || one.name == "[vsyscall]";
    }));
    EXPECT_FALSE(first.empty());
  }
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

/// No seal keeps it out (docs/matrix.md): said, as a class of its own, and no finding.
TEST_P(Observe, WhatIsWrittenByForceIsNoFinding) {
  report::Run run;
  run_guest(programs_request(GetParam(), "lts-sealed", {{"force", "[vdso]"}}), run);
  if (HasFatalFailure()) return;
  expect_trusted(run, 1);
  if (HasFatalFailure()) return;
  const report::Program& program = run.programs[0];
  EXPECT_NE(program.output.find("force [vdso]: ok"), std::string::npos) << program.output;
  expect_mapping_change(program, "[vdso]", Change::Privatised);
  std::string broken;
  for (const report::ProgramSpace& space : program.spaces) {
    for (const report::ProgramViolation& one : space.violations) broken += one.invariant + " ";
  }
  EXPECT_NE(broken.find("S2"), std::string::npos) << broken;
  EXPECT_NE(broken.find("S5"), std::string::npos) << broken;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

/// docs/kernels.md: munmap of exactly the whole [vdso] answers EPERM there and is done.
TEST_P(Observe, ALieIsFoundOut) {
  report::Run run;
  run_guest(programs_request(GetParam(), "lying", {{"unmap", "[vdso]"}}), run);
  if (HasFatalFailure()) return;
  expect_trusted(run, 1);
  if (HasFatalFailure()) return;
  EXPECT_NE(run.programs[0].output.find("unmap [vdso]: EPERM"), std::string::npos);
  expect_mapping_change(run.programs[0], "[vdso]", Change::Gone);
  ASSERT_EQ(findings_of(run, "S1").size(), 1U) << text_of(run.findings);
}

/// What the kernel takes away and gives back is no change; what nobody touched again is not known.
/// On an unsealed kernel, for a seal refuses it (vmm/seal/rows/advise.h).
TEST_P(Observe, AZapIsNoChange) {
  run::RunRequest request = programs_request(
      GetParam(), "lts-unsealed", {{"again", "[vdso]"}, {"zap", "[vdso]"}, {"zap", "[vdso]"}});
  ASSERT_EQ(request.programs.size(), 3U);
  request.programs[2].traced = false;
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  expect_trusted(run, 3);
  if (HasFatalFailure()) return;
  for (const report::Program& program : run.programs) {
    EXPECT_NE(program.output.find("[vdso]: ok"), std::string::npos) << program.output;
  }
  expect_mapping_change(run.programs[0], "[vdso]", Change::Refaulted);
  // The agent's touch at the end brought it back.
  expect_mapping_change(run.programs[1], "[vdso]", Change::Refaulted);
  expect_mapping_change(run.programs[2], "[vdso]", Change::Unchanged);
  EXPECT_NE(mapping_of(run.programs[2], "[vdso]")->absent, 0U);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Observe, ProcessesAreFollowed) {
  report::Run run;
  run_guest(programs_request(
                GetParam(), "lts-sealed",
                {{"fork", "5"}, {"exec", "/payload", "say", "through exec"}, {"threads", "3"}}),
            run);
  if (HasFatalFailure()) return;
  expect_trusted(run, 3);
  if (HasFatalFailure()) return;
  const report::Program& forks = run.programs[0];
  EXPECT_TRUE(report::succeeded(forks)) << report::outcome_text(forks);
  ASSERT_EQ(forks.processes.size(), 6U);
  EXPECT_EQ(forks.spaces.size(), 6U);
  EXPECT_EQ(forks.processes[1].parent, forks.processes[0].pid);
  // Its children end one after the other, the last with a status of its own.
  EXPECT_EQ(forks.processes[5].status, 7);
  EXPECT_EQ(forks.processes[4].status, 0);
  for (const report::ProgramSpace& space : forks.spaces) {
    EXPECT_EQ(space.pids.size(), 1U) << space.id;
    EXPECT_TRUE(space.touched) << space.id;
    EXPECT_EQ(space.image, "/payload");
  }
  const report::Program& exec = run.programs[1];
  EXPECT_NE(exec.output.find("through exec"), std::string::npos);
  EXPECT_NE(exec.errors.find("through exec"), std::string::npos);
  EXPECT_EQ(exec.processes.size(), 1U);
  EXPECT_EQ(exec.spaces.size(), 2U);
  const report::Program& threads = run.programs[2];
  EXPECT_TRUE(report::succeeded(threads));
  EXPECT_EQ(threads.processes.size(), 1U);
  EXPECT_EQ(threads.spaces.size(), 1U);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Observe, EachEndIsTold) {
  run::RunRequest request = programs_request(GetParam(), "lts-sealed",
                                             {{"exit", "3"},
                                              {"crash"},
                                              {"hang"},
                                              {"leave"},
                                              {"spew", "100000"},
                                              {"memory"},
                                              {"say", "x"},
                                              {"trace"},
                                              {"trace"}});
  ASSERT_EQ(request.programs.size(), 9U);
  request.programs[2].limit_seconds = 2;
  request.programs[6].run = "/none";
  request.programs[8].traced = false;
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  expect_trusted(run, 9);
  if (HasFatalFailure()) return;
  const auto expect_end = [&](std::size_t index, Outcome outcome, std::int32_t value) {
    const report::Program& program = run.programs[index];
    EXPECT_EQ(program.outcome, outcome) << program.name << ": " << report::outcome_text(program);
    EXPECT_EQ(program.value, value) << program.name;
  };
  expect_end(0, Outcome::Exited, 3);
  expect_end(1, Outcome::Killed, SIGSEGV);
  expect_end(2, Outcome::TooLong, 0);
  expect_end(3, Outcome::Exited, 0);
  EXPECT_EQ(run.programs[3].left_running, 1U);
  expect_end(4, Outcome::Exited, 0);
  EXPECT_EQ(run.programs[4].output.size(), 65'536U);
  EXPECT_EQ(run.programs[4].output_left_out, 100'000U - 65'536U);
  // It can't reach the doorbell: that takes a capability that it has not.
  EXPECT_NE(run.programs[5].output.find("EPERM"), std::string::npos) << run.programs[5].output;
  expect_end(6, Outcome::NotRun, ENOENT);
  // A process has one tracer.
  expect_end(7, Outcome::Exited, 1);
  expect_end(8, Outcome::Exited, 0);
  EXPECT_NE(run.programs[8].output.find("traced"), std::string::npos);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

/// A program with its loader and its library, in a folder as `ldd` would list them.
TEST_P(Observe, AFolderWithLibrariesRuns) {
  const Folder folder;
  for (const std::string line : {SEALVISOR_PAYLOAD_LIBRARIES}) {
    const std::size_t space = line.find(' ');
    if (line.substr(0, space) != arch::name_of(GetParam())) continue;
    const fs::path library = line.substr(space + 1);
    fs::copy_file(fs::canonical(library), folder.path() / library.filename());
  }
  fs::copy_file(payload_of(GetParam(), "payload-dynamic"), folder.path() / "tool");
  Child child({program_path(), "observe", "--payload", folder.path().string(), "--json",
               (folder.path() / "report.json").string(), "--", "say", "hello there"});
  EXPECT_EQ(child.finish(), 0) << child.text();
  EXPECT_NE(child.output().find("out| hello there"), std::string::npos) << child.text();
  EXPECT_NE(child.output().find("AS EXPECTED: 1 program observed"), std::string::npos)
      << child.text();
}

/// The command: exit codes, and a folder of scenarios with its expectations.
class ObserveCommand : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override {
    fs::copy_file(payload_of(GetParam()), folder_.path() / "tool");
    fs::permissions(folder_.path() / "tool", fs::perms::owner_all);
  }
  int run(std::vector<std::string> words) {
    words.insert(words.begin(), {program_path(), "observe"});
    child_.emplace(words);
    const int code = child_->finish();
    text_ = child_->text();
    return code;
  }
  void scenarios(const std::string& text) const {
    std::ofstream(folder_.path() / "scenarios") << "sealvisor-scenarios 1\n" << text;
  }
  Folder folder_;
  std::optional<Child> child_;
  std::string text_;
};
INSTANTIATE_TEST_SUITE_P(Both, ObserveCommand, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<Arch>& one) {
                           return arch::name_of(one.param);
                         });

TEST_P(ObserveCommand, EndsWithTheCodeOfWhatCameOfIt) {
  const std::string tool = (folder_.path() / "tool").string();
  EXPECT_EQ(run({"--payload", tool, "say", "word"}), 0) << text_;
  EXPECT_EQ(run({"--payload", tool, "exit", "9"}), 5) << text_;
  EXPECT_NE(text_.find("PROGRAM FAILED: 1 program failed by its own account (tool: exit status 9)"),
            std::string::npos)
      << text_;
  EXPECT_EQ(run({"--payload", tool, "--recipe", "lts-unsealed", "unmap", "[vdso]"}), 0) << text_;
  EXPECT_NE(text_.find("gone"), std::string::npos) << text_;
  EXPECT_EQ(run({"--payload", tool, "--recipe", "lying", "unmap", "[vdso]"}), 1) << text_;
}

TEST_P(ObserveCommand, ScenariosAreHeldAgainstTheirExpectations) {
  scenarios(
      "scenario unmap\n"
      "  run tool unmap [vdso]\n"
      "  expect sealed [vdso] unchanged\n"
      "  expect sealed output EPERM\n"
      "  expect unsealed [vdso] gone\n"
      "  expect unsealed output \"unmap [vdso]: ok\"\n"
      "scenario crash\n"
      "  run tool crash\n"
      "  expect signal SIGSEGV\n"
      "  expect [vdso] kept\n");
  const std::string dir = folder_.path().string();
  EXPECT_EQ(run({"--scenarios", dir, "--recipe", "lts-sealed", "--recipe", "lts-unsealed"}), 0)
      << text_;
  // The control: an expectation that is not met fails, by its line.
  scenarios(
      "scenario unmap\n"
      "  run tool unmap [vdso]\n"
      "  expect [vdso] gone\n");
  EXPECT_EQ(run({"--scenarios", dir}), 1) << text_;
  EXPECT_NE(text_.find("line-4/expectation"), std::string::npos) << text_;
}

TEST_P(ObserveCommand, ItsReportsAreThoseOfVerify) {
  const std::string tool = (folder_.path() / "tool").string();
  const fs::path junit = folder_.path() / "report.xml";
  const fs::path html = folder_.path() / "report.html";
  EXPECT_EQ(run({"--payload", tool, "--recipe", "lts-unsealed", "--junit", junit.string(), "--html",
                 html.string(), "unmap", "[vdso]"}),
            0)
      << text_;
  const auto contents = [](const fs::path& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string xml = contents(junit);
  EXPECT_NE(xml.find(fmt::format("classname=\"{}.lts-unsealed.programs\" name=\"tool\"",
                                 arch::name_of(GetParam()))),
            std::string::npos)
      << xml;
  EXPECT_EQ(xml.find("<failure"), std::string::npos) << xml;
  EXPECT_NE(xml.find("observed: [vdso] gone"), std::string::npos) << xml;
  const std::string page = contents(html);
  EXPECT_NE(page.find("sealvisor observe: as expected"), std::string::npos);
  EXPECT_NE(page.find("id=\"r1-u1\""), std::string::npos);
  // The address space leads to its timeline, under the program's name.
  EXPECT_NE(page.find(": program tool: "), std::string::npos);
  EXPECT_NE(page.find("unmap [vdso]: ok"), std::string::npos);
  EXPECT_EQ(run({"--payload", tool, "--junit", "/nowhere/r", "say", "x"}), 2) << text_;
  EXPECT_NE(text_.find("--junit /nowhere/r"), std::string::npos) << text_;
}

TEST_P(ObserveCommand, WhatIsWrongIsNamed) {
  const std::string dir = folder_.path().string();
  const std::string tool = dir + "/tool";
  EXPECT_EQ(run({}), 2) << text_;
  EXPECT_EQ(run({"--scenarios", dir}), 2) << text_;
  EXPECT_NE(text_.find("scenarios: No such file"), std::string::npos) << text_;
  scenarios("scenario one\n  run none\n");
  EXPECT_EQ(run({"--scenarios", dir}), 2) << text_;
  EXPECT_NE(text_.find("scenarios:2: "), std::string::npos) << text_;
  EXPECT_NE(text_.find("no file 'none'"), std::string::npos) << text_;
  scenarios("scenario one\n  run tool\n  expect everything\n");
  EXPECT_EQ(run({"--scenarios", dir}), 2) << text_;
  EXPECT_NE(text_.find("scenarios:4: "), std::string::npos) << text_;
  EXPECT_EQ(run({"--payload", payload_of(GetParam(), "payload-dynamic").string()}), 2) << text_;
  EXPECT_NE(text_.find("is linked dynamically"), std::string::npos) << text_;
  const Arch other = GetParam() == Arch::Arm64 ? Arch::X86_64 : Arch::Arm64;
  EXPECT_EQ(run({"--payload", tool, "--arch", arch::name_of(other)}), 2) << text_;
  EXPECT_NE(text_.find("expected one for"), std::string::npos) << text_;
}

}  // namespace
}  // namespace sealvisor::test
