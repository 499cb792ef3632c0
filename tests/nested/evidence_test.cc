// Bundles of the kvm lane, made in emulated hosts and audited here: another machine, of another
// architecture where the host is arm64.
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "arch/arch.h"
#include "vmm/app/audit.h"
#include "vmm/app/capture.h"
#include "vmm/base/result.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

struct EvidenceRow {
  const char* name;
  arch::Arch arch;
  const char* cpu;  ///< Of the emulated host.
  const char* recipe;
  const char* mechanism;
};

class NestedEvidence : public testing::TestWithParam<EvidenceRow> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedEvidence,
    testing::Values(
        EvidenceRow{"X86Unsealed", arch::Arch::X86_64, "EPYC-v4,+svm", "lts-unsealed", "audited"},
        EvidenceRow{"VheSealed", arch::Arch::Arm64, "cortex-a76", "lts-sealed", "audited"},
        EvidenceRow{"VheLyingExact", arch::Arch::Arm64, "cortex-a76", "lying", "exact"},
        EvidenceRow{"VheUnsealedExact", arch::Arch::Arm64, "cortex-a76", "lts-unsealed", "exact"}),
    [](const testing::TestParamInfo<EvidenceRow>& row) { return std::string(row.param.name); });

TEST_P(NestedEvidence, AnAuditComesToTheSameVerdicts) {
  const EvidenceRow& row = GetParam();
  const fs::path bundle =
      fs::path(SEALVISOR_BUILD_DIR) / fmt::format("nested-out/bundle-{}", row.name);
  fs::remove_all(bundle);
  const auto answer =
      app::capture(SEALVISOR_BUILD_DIR "/sealvisor",
                   {"verify", "--engine", "kvm-nested", "--arch", arch::name_of(row.arch), "--cpu",
                    row.cpu, "--mechanism", row.mechanism, "--recipe", row.recipe, "--scenario",
                    "munmap/*", "--scenario", "life/fork", "--bundle", bundle.string()},
                   std::chrono::seconds(280));
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  ASSERT_EQ(answer.value().status, static_cast<int>(ExitCode::AsExpected)) << answer.value().output;
  const auto audit = app::audit_bundle(bundle);
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  EXPECT_TRUE(audit.value().confirmed()) << app::render_audit(audit.value(), bundle);
  EXPECT_GT(audit.value().comparison.cells, 0U);
  EXPECT_EQ(audit.value().comparison.lives, 1U);
  ASSERT_EQ(audit.value().runs.size(), 1U);
  EXPECT_GT(audit.value().runs[0].events, 100U);
}

}  // namespace
}  // namespace sealvisor::test
