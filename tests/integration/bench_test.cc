// `sealvisor bench` on real guests: what it must find, and what must make it fail.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "bench/experiment.h"
#include "tests/integration/program.h"
#include "vmm/base/result.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// `sealvisor bench` of the experiments called `filters`, with as few layouts as decide anything.
std::vector<std::string> bench(const std::vector<std::string>& filters,
                               const std::vector<std::string>& more,
                               const std::string& layouts = "6") {
  std::vector<std::string> words = {program_path(), "bench", "--layouts", layouts};
  for (const std::string& filter : filters) {
    words.insert(words.end(), {"--filter", filter});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Json read(const fs::path& path) { return Json::parse(std::ifstream(path)); }

class Bench : public testing::TestWithParam<arch::Arch> {
 protected:
  [[nodiscard]] static std::string arch_name() { return arch::name_of(GetParam()); }
  [[nodiscard]] fs::path json() const { return folder_.path() / "bench.json"; }
  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Bench, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

/// Runs each experiment whose name begins with one of `parts`, and looks that none is missing.
void measures_all_of(arch::Arch arch, const std::vector<std::string>& parts, const fs::path& json) {
  std::vector<std::string> filters;
  for (const std::string& part : parts) filters.push_back(part + "*");
  Child child(bench(filters, {"--arch", arch::name_of(arch), "--json", json.string()}));
  EXPECT_EQ(child.finish(), 0) << child.text();
  const Json report = read(json)["sealvisor"];
  EXPECT_TRUE(report["missing"].empty()) << report["missing"];
  EXPECT_TRUE(report["failures"].empty()) << report["failures"];
  std::set<std::string> measured;
  for (const Json& metric : report["metrics"]) measured.insert(metric["experiment"]);
  for (const bench::Experiment& one : bench::experiments()) {
    const std::string name(one.name);
    const bool asked = std::any_of(parts.begin(), parts.end(),
                                   [&](const std::string& part) { return name.starts_with(part); });
    const bool there =
        one.on == bench::On::Both || (one.on == bench::On::X86_64) == (arch == arch::Arch::X86_64);
    EXPECT_EQ(measured.contains(name), asked && there) << name;
  }
}

// Each experiment there is, on a real guest: one that a kernel can't do is left out of a report
// without a failure, and would not be missed. In two runs, each within a test's time.
TEST_P(Bench, MeasuresAllOfProcessesAndOfTheVdso) {
  measures_all_of(GetParam(), {"exec/", "vdso/", "compat/"}, json());
}

TEST_P(Bench, MeasuresAllOfMemory) { measures_all_of(GetParam(), {"mmap/"}, json()); }

// The sensitivity control: one experiment of each slowed path, one of none.
TEST_P(Bench, FindsWhatTheSlowedKernelCostsToTheInstruction) {
  Child child(bench({"exec/execve", "mmap/mremap-refused", "vdso/gettimeofday", "mmap/brk-vmas-1"},
                    {"--full", "--arch", arch_name(), "--json", json().string()}));
  ASSERT_EQ(child.finish(), 0) << child.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/bench.schema.json", json().string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
  const Json report = read(json())["sealvisor"];
  const Json& sensitivity = report["sensitivity"];
  EXPECT_EQ(sensitivity["good"], true) << sensitivity;
  EXPECT_EQ(sensitivity["lines"].size(), 3U);
  for (const Json& line : sensitivity["lines"]) {
    EXPECT_EQ(line["in_function"], line["added"]) << line;
  }
  EXPECT_TRUE(sensitivity["others"].empty());
  // And the same seed gives the same figures, to the digit.
  EXPECT_GT(report["repeats"]["samples"], 0);
  EXPECT_TRUE(report["repeats"]["differing"].empty());
}

TEST_P(Bench, ARegressionFailsTheRunAndIsExplained) {
  Child child(bench({"mmap/mremap-refused", "mmap/brk-vmas-1"},
                    {"--arch", arch_name(), "--b", "slowed", "--fail-on", "slower", "--explain",
                     "--json", json().string()}));
  EXPECT_EQ(child.finish(), static_cast<int>(ExitCode::Failed)) << child.text();
  EXPECT_NE(child.output().find("REGRESSION"), std::string::npos) << child.text();
  EXPECT_NE(child.output().find("sys_mremap"), std::string::npos) << child.text();
  for (const Json& metric : read(json())["sealvisor"]["metrics"]) {
    const bool slowed =
        metric["experiment"] == "mmap/mremap-refused" && metric["measure"] != "user";
    EXPECT_EQ(metric["cost"]["verdict"], slowed ? "slower" : "equivalent") << metric["experiment"];
    EXPECT_EQ(metric["cost"]["shift"]["estimate"], slowed ? 400 : 0) << metric["experiment"];
  }
}

// A tool that nobody here wrote says the same of the sealed kernel, and sees what the slowed one
// costs. `guest/tools/fetch` gets it.
TEST_P(Bench, AToolOfOthersAgrees) {
  Child child(bench({"mmap/mremap-move-vmas-16"},
                    {"--arch", arch_name(), "--cross-check", "--json", json().string()}));
  ASSERT_EQ(child.finish(), 0) << child.text();
  const Json report = read(json())["sealvisor"];
  ASSERT_EQ(report["cross_checks"].size(), 1U);
  const Json& check = report["cross_checks"][0];
  EXPECT_EQ(check["tool"], "stress-ng --mremap");
  EXPECT_EQ(check["agrees"], true) << check;
  EXPECT_EQ(check["seen"], true) << check;
  // Both have it in mremap, of which an operation of the tool is several.
  EXPECT_EQ(check["ours"]["in_function"], 800);
  EXPECT_GE(check["foreign"]["in_function"], 2 * 400);
  // And it is no metric of ours.
  for (const Json& metric : report["metrics"]) {
    EXPECT_EQ(metric["experiment"], "mmap/mremap-move-vmas-16");
  }
  EXPECT_EQ(report["context"]["tools"].size(), 2U);
}

// A control that is another kernel than it says: the run must be void.
TEST_P(Bench, IsVoidWhereTheControlIsNotTheSameKernel) {
  const fs::path kernels = folder_.path() / "kernels";
  for (const std::string recipe : {"lts-unsealed", "lts-sealed", "slowed"}) {
    Child path({SEALVISOR_SOURCE_DIR "/guest/kernel/build", "path", recipe, arch_name()});
    ASSERT_EQ(path.finish(), 0) << path.text();
    const std::string folder = path.output().substr(0, path.output().find('\n'));
    const std::string name = recipe == "slowed" ? "lts-unsealed-padded" : recipe;
    fs::create_directories(kernels / name);
    fs::create_symlink(folder, kernels / name / arch_name());
  }
  ::setenv("SEALVISOR_KERNELS", kernels.c_str(), 1);
  Child child(bench({"mmap/mremap-refused"}, {"--arch", arch_name()}));
  const int status = child.finish();
  ::unsetenv("SEALVISOR_KERNELS");
  EXPECT_EQ(status, static_cast<int>(ExitCode::Failed)) << child.text();
  EXPECT_NE(child.output().find("VOID"), std::string::npos) << child.text();
}

TEST_P(Bench, AnInterruptedRunReportsWhatIsComplete) {
  Child child(bench({"mmap/brk-vmas-1"}, {"--arch", arch_name()}, "256"));
  ASSERT_TRUE(child.wait_for("6 of ")) << child.text();
  ::kill(child.pid(), SIGINT);
  EXPECT_EQ(child.finish(), static_cast<int>(ExitCode::GuestFailed)) << child.text();
  EXPECT_NE(child.output().find("INTERRUPTED"), std::string::npos) << child.text();
  EXPECT_NE(child.output().find("mmap/brk-vmas-1"), std::string::npos) << child.text();
  EXPECT_TRUE(child.processes("qemu-system").empty());
}

TEST(BenchBaseline, IsComparedAndRefusedWhereItIsOfOtherKernels) {
  const Folder folder;
  const std::string saved = (folder.path() / "saved.json").string();
  Child first(bench({"mmap/brk-vmas-1"}, {"--arch", "x86_64", "--save", saved}));
  ASSERT_EQ(first.finish(), 0) << first.text();
  Child same(bench({"mmap/brk-vmas-1"}, {"--arch", "x86_64", "--baseline", saved}));
  EXPECT_EQ(same.finish(), 0) << same.text();
  Child other(
      bench({"mmap/brk-vmas-1"}, {"--arch", "x86_64", "--b", "slowed", "--baseline", saved}));
  EXPECT_EQ(other.finish(), static_cast<int>(ExitCode::Usage)) << other.text();
  EXPECT_NE(other.errors().find("lts-sealed"), std::string::npos) << other.text();
  EXPECT_EQ(other.errors().find("guests"), std::string::npos) << "before one has run";
}

TEST(BenchUsage, NamesWhatIsWrong) {
  Child filter(bench({"exec/nothing"}, {}));
  EXPECT_EQ(filter.finish(), static_cast<int>(ExitCode::Usage));
  EXPECT_NE(filter.errors().find("exec/nothing"), std::string::npos) << filter.text();
  Child place(bench({}, {"--html", "/no/such/folder/page.html"}));
  EXPECT_EQ(place.finish(), static_cast<int>(ExitCode::Usage));
  EXPECT_NE(place.errors().find("--html /no/such/folder/page.html"), std::string::npos);
  EXPECT_EQ(place.errors().find("guests"), std::string::npos) << "before one has run";
// Of a host without KVM, or of another architecture's: politely, and before anything runs.
#if defined(__x86_64__)
  const std::string other = "arm64";
#else
  const std::string other = "x86_64";
#endif
  Child kvm(bench({}, {"--engine", "kvm", "--arch", other}));
  EXPECT_EQ(kvm.finish(), static_cast<int>(ExitCode::HostLacks)) << kvm.text();
  EXPECT_NE(kvm.errors().find("the host's own architecture"), std::string::npos) << kvm.text();
  EXPECT_NE(kvm.errors().find("--engine tcg"), std::string::npos) << "what to do instead";
  EXPECT_EQ(kvm.errors().find("guests, "), std::string::npos) << "before one has run";
  Child recipe(bench({}, {"--a", "lying"}));
  EXPECT_EQ(recipe.finish(), static_cast<int>(ExitCode::Usage));
  EXPECT_NE(recipe.errors().find("lying-padded"), std::string::npos) << recipe.text();
}

TEST(BenchUsage, NamesWhatGetsTheToolsOfOthers) {
  const Folder empty;
  const char* const before = std::getenv("SEALVISOR_CACHE");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("SEALVISOR_CACHE", empty.path().c_str(), 1);
  Child tools(bench({"exec/fork-exit"}, {"--cross-check"}));
  const int status = tools.finish();
  if (before == nullptr) {
    ::unsetenv("SEALVISOR_CACHE");
  } else {
    ::setenv("SEALVISOR_CACHE", kept.c_str(), 1);
  }
  EXPECT_EQ(status, static_cast<int>(ExitCode::HostLacks)) << tools.text();
  EXPECT_NE(tools.errors().find("`guest/tools/fetch x86_64` does it"), std::string::npos)
      << tools.text();
}

}  // namespace
}  // namespace sealvisor::test
