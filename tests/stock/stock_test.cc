// Kernels as Debian ships them, verified: for `./bootstrap test --full`, for they come from the
// archive (guest/kernel/stock fetch NAME). One that was not fetched is a failure.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "vmm/app/capture.h"
#include "vmm/app/payload.h"
#include "vmm/app/scenarios.h"
#include "vmm/image/kernel_image.h"
#include "vmm/report/conclude.h"
#include "vmm/report/findings.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

using arch::Arch;
using report::Change;
using report::Verdict;

constexpr const char* kKernels[] = {"debian-12", "debian-12-backports"};

const std::vector<std::string> kCells = {"munmap/*", "mremap/*", "mprotect/*", "mmap/*"};

class Stock : public testing::TestWithParam<std::tuple<Arch, const char*>> {
 protected:
  /// A guest of the stock kernel, of which nothing but its version is expected: it is not sealed.
  run::RunRequest request(const std::vector<std::string>& scenarios,
                          image::BzImage bzimage = image::BzImage::Inner) {
    const auto& [arch, name] = GetParam();
    run::RunRequest made = request_for(arch, "lts-unsealed", scenarios);
    const auto answer = app::capture(SEALVISOR_SOURCE_DIR "/guest/kernel/stock",
                                     {"path", name, arch::name_of(arch)}, std::chrono::seconds(60));
    if (!answer || answer.value().status != 0) {
      ADD_FAILURE() << "guest/kernel/stock fetch " << name
                    << " fetches it: " << (answer ? answer.value().output : answer.error().message);
      made.kernel_image.clear();
      return made;
    }
    std::string path = answer.value().output;
    path.erase(path.find_last_not_of('\n') + 1);
    made.recipe = name;
    made.ours = false;
    made.symbols.clear();
    made.kernel_image = path;
    auto opened = image::open_kernel(path, arch, bzimage);
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      made.kernel_image.clear();
      return made;
    }
    made.kernel_file = std::make_shared<const image::KernelFile>(std::move(opened).value());
    return made;
  }
  [[nodiscard]] static bool is_6_1() { return std::string(std::get<1>(GetParam())) == "debian-12"; }
  [[nodiscard]] static Arch arch() { return std::get<0>(GetParam()); }

  /// As `verify` has it, with the reviewed file of known findings.
  static void expect_verified(const report::Run& run) {
    std::FILE* file = std::fopen(SEALVISOR_SOURCE_DIR "/docs/known-findings.json", "r");
    ASSERT_NE(file, nullptr);
    std::string text(65'536, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    const auto known = report::parse_known_findings(text, "known-findings.json");
    ASSERT_TRUE(known) << known.error().message;
    const report::Report report = report::conclude({run}, {}, known.value());
    EXPECT_EQ(report.exit_code, ExitCode::AsExpected)
        << report.conclusion << "\n"
        << text_of(report.findings) << run.ending.console_tail;
  }
  static void expect_cells(const report::Run& run) {
    EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
    EXPECT_EQ(run.counts.mismatches, 0U);
    std::size_t changed = 0;
    std::size_t judged = 0;
    for (const report::Cell& cell : run.cells) {
      EXPECT_TRUE(cell.verdict == Verdict::AsExpected || cell.verdict == Verdict::Skipped ||
                  cell.verdict == Verdict::Unobserved)
          << cell.mapping << " " << cell.operation << "/" << cell.form << ": "
          << report::name_of(cell.verdict) << ", " << cell.observation.text;
      judged += cell.verdict == Verdict::AsExpected ? 1U : 0U;
      changed += cell.observation.change > Change::Refaulted ? 1U : 0U;
    }
    EXPECT_GT(judged, 60U);
    EXPECT_GE(changed, 12U);
    expect_verified(run);
  }
};
INSTANTIATE_TEST_SUITE_P(Debian, Stock,
                         testing::Combine(testing::ValuesIn(arch::kAllArchs),
                                          testing::ValuesIn(kKernels)),
                         [](const testing::TestParamInfo<std::tuple<Arch, const char*>>& one) {
                           std::string name = std::string(arch::name_of(std::get<0>(one.param))) +
                                              "_" + std::get<1>(one.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(Stock, EachCellIsAsAnUnsealedKernelHasIt) {
  report::Run run;
  run_guest(request(kCells), run);
  if (HasFatalFailure()) return;
  expect_cells(run);
  EXPECT_TRUE(run.kernel.starts_with(is_6_1() ? "6.1." : "6.12.")) << run.kernel;
  const auto vdso = std::find_if(run.mappings.begin(), run.mappings.end(),
                                 [](const auto& mapping) { return mapping.name == "[vdso]"; });
  ASSERT_NE(vdso, run.mappings.end());
  EXPECT_EQ(vdso->claims_sealed, false);
  const auto has = [&](const std::string& what) {
    return std::find(vdso->identified_by.begin(), vdso->identified_by.end(), what) !=
           vdso->identified_by.end();
  };
  EXPECT_TRUE(has("content"));
  // 6.1 for arm64 lists no data: neither where the kernel lies nor its own symbol for the page.
  const bool data = arch() == Arch::X86_64 || !is_6_1();
  EXPECT_EQ(has("kernel image by kallsyms"), data);
  // The functions that wrote are named all the same.
  const report::Cell* cell = find_cell(run, "[vdso]", "munmap", "whole");
  ASSERT_TRUE(cell != nullptr && !cell->changes.empty());
  EXPECT_FALSE(cell->changes[0].function.starts_with("0x")) << cell->changes[0].function;
}

TEST_P(Stock, ProcessesLiveUnderTheInvariants) {
  report::Run run;
  run_guest(request({"life/fork", "life/vfork", "life/exec", "life/exec-dynamic", "life/threads",
                     "life/signals", "life/exit", "life/compat"}),
            run);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  for (const report::Life& life : run.lives) {
    EXPECT_EQ(life.violations, 0U) << life.name;
    EXPECT_EQ(life.status, 0) << life.name;
  }
  expect_verified(run);
}

TEST_P(Stock, WithPageTableIsolation) {
  run::RunRequest made = request(kCells);
  made.kernel_arguments = arch() == Arch::X86_64 ? "pti=on" : "kpti=1";
  report::Run run;
  run_guest(made, run);
  if (HasFatalFailure()) return;
  expect_cells(run);
}

/// x86-64: as a bzImage, whose start-up code turns five levels on; arm64: a kernel with 52-bit
/// addresses on a CPU without.
TEST_P(Stock, WithItsOwnStartUpCode) {
  run::RunRequest made = request({"munmap/*", "mmap/*"}, image::BzImage::AsItIs);
  if (arch() == Arch::X86_64) {
    made.cpu_model = "max,rdrand=off,rdseed=off,la57=on,erms=off,fsrm=off";
  }
  report::Run run;
  run_guest(made, run);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_EQ(run.kernel_packing, "");
  expect_verified(run);
}

/// The agent needs /dev/mem for its doorbell, and says so where a kernel has none for it.
TEST_P(Stock, ALockedDownKernelIsNamed) {
  run::RunRequest made = request({"munmap/whole"});
  made.kernel_arguments = "lockdown=integrity";
  report::Run run;
  run_guest(made, run);
  if (HasFatalFailure()) return;
  EXPECT_FALSE(run.ending.good);
  EXPECT_NE(run.ending.text.find("/dev/mem: Operation not permitted"), std::string::npos)
      << run.ending.text;
}

TEST_P(Stock, ProgramsOfTheUsersAreObserved) {
  run::RunRequest made = request({"munmap/whole"});
  made.plan.clear();
  auto payload = app::gather_payload(
      fs::path(SEALVISOR_BUILD_DIR) / "guest" / arch::name_of(arch()) / "payload", arch(),
      64ULL << 20);
  ASSERT_TRUE(payload) << payload.error().message;
  made.payload = payload.value().items;
  for (const char* word : {"unmap", "move"}) {
    run::ProgramRequest program;
    program.name = word;
    program.root = app::kPayloadRoot;
    program.run = "/payload";
    program.arguments = {word, "[vdso]"};
    made.programs.push_back(std::move(program));
  }
  report::Run run;
  run_guest(made, run);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  ASSERT_EQ(run.programs.size(), 2U);
  for (const report::Program& program : run.programs) {
    EXPECT_TRUE(report::succeeded(program)) << report::outcome_text(program) << program.errors;
    EXPECT_EQ(report::changed_mappings(program), 1U);
  }
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

}  // namespace
}  // namespace sealvisor::test
