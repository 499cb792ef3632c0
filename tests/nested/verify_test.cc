// `verify` in emulated hosts says what it says in the tcg lane, cell by cell.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "tests/nested/hosts.h"
#include "vmm/app/capture.h"
#include "vmm/app/kernels.h"
#include "vmm/app/options.h"
#include "vmm/image/kernel_image.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

struct VerifyRow {
  const char* name;
  arch::Arch arch;
  const char* cpu;  ///< Of the emulated host.
  const char* recipe;
  const char* scenario;
  const char* mechanism;
};

/// What is compared of a cell: what the guest claims, what was seen, what is made of it.
using Cells = std::map<std::string, std::string>;

Cells cells_of(const VerifyRow& row, std::vector<std::string> more, nlohmann::json& run,
               ExitCode expected = ExitCode::AsExpected,
               std::chrono::seconds longest = std::chrono::seconds(280)) {
  const fs::path file = fs::path(SEALVISOR_BUILD_DIR) / fmt::format("nested-out/{}.json", row.name);
  fs::create_directories(file.parent_path());
  fs::remove(file);
  std::vector<std::string> words = {"verify",     "--arch",   arch::name_of(row.arch),
                                    "--recipe",   row.recipe, "--scenario",
                                    row.scenario, "--json",   file.string()};
  words.insert(words.end(), more.begin(), more.end());
  const auto answer = app::capture(SEALVISOR_BUILD_DIR "/sealvisor", words, longest);
  Cells cells;
  if (!answer) {
    ADD_FAILURE() << answer.error().message;
    return cells;
  }
  EXPECT_EQ(answer.value().status, static_cast<int>(expected)) << answer.value().output;
  std::ifstream in(file);
  const auto report = nlohmann::json::parse(in, nullptr, false);
  if (report.is_discarded() || report["runs"].size() != 1) {
    ADD_FAILURE() << "no report of one run in " << file << "\n" << answer.value().output;
    return cells;
  }
  run = report["runs"][0];
  for (const auto& cell : run["cells"]) {
    const std::string name =
        fmt::format("{} {}/{}", cell["mapping"].get<std::string>(),
                    cell["operation"].get<std::string>(), cell["form"].get<std::string>());
    cells[name] = fmt::format("{} | {} {} | {}", cell["claim"]["text"].dump(),
                              cell["observation"]["change"].dump(),
                              cell["observation"]["pages"].dump(), cell["verdict"].dump());
  }
  return cells;
}

class NestedVerify : public testing::TestWithParam<VerifyRow> {};

constexpr const char* kSvm = "EPYC-v4,+svm";

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedVerify,
    testing::Values(
        VerifyRow{"X86Sealed", kX86, kSvm, "lts-sealed", "m*/*", "audited"},
        VerifyRow{"X86Unsealed", kX86, kSvm, "lts-unsealed", "m*/*", "audited"},
        VerifyRow{"X86Lying", kX86, kSvm, "lying", "m*/*", "audited"},
        VerifyRow{"VheSealed", kArm, "cortex-a76", "lts-sealed", "m*/*", "audited"},
        VerifyRow{"VheUnsealed", kArm, "cortex-a76", "lts-unsealed", "m*/*", "audited"},
        VerifyRow{"VheLying", kArm, "cortex-a76", "lying", "m*/*", "audited"},
        VerifyRow{"NvheUnsealed", kArm, "cortex-a57", "lts-unsealed", "m*/*", "audited"},
        VerifyRow{"VheSealedExact", kArm, "cortex-a76", "lts-sealed", "m*/*", "exact"},
        VerifyRow{"VheUnsealedExact", kArm, "cortex-a76", "lts-unsealed", "m*/*", "exact"},
        VerifyRow{"VheLyingExact", kArm, "cortex-a76", "lying", "m*/*", "exact"},
        VerifyRow{"NvheSealedExact", kArm, "cortex-a57", "lts-sealed", "m*/*", "exact"},
        VerifyRow{"NvheUnsealedExact", kArm, "cortex-a57", "lts-unsealed", "m*/*", "exact"},
        VerifyRow{"NvheLyingExact", kArm, "cortex-a57", "lying", "m*/*", "exact"}),
    [](const testing::TestParamInfo<VerifyRow>& row) { return std::string(row.param.name); });

std::vector<std::string> nested(const VerifyRow& row) {
  return {"--engine", "kvm-nested", "--cpu", row.cpu, "--mechanism", row.mechanism};
}

/// Of each change in each cell: the entry before and after, without what differs from boot to boot,
/// and the kernel function that stored.
std::multiset<std::string> changes_of(const nlohmann::json& run) {
  std::multiset<std::string> changes;
  for (const auto& cell : run["cells"]) {
    for (const auto& change : cell["changes"]) {
      // The text of an entry ends in its address, and that of one that maps nothing in its word.
      const auto flags = [&](const char* member) {
        const auto text = change[member].get<std::string>();
        return text.substr(0, std::min(text.find(" gpa "), text.find(") 0x")));
      };
      // The offset differs where a CPU has LSE atomics and another has not: the kernel patches
      // itself for either.
      const auto function = change["function"].get<std::string>();
      changes.insert(fmt::format(
          "{} {}/{} {} level {}: {} -> {} by {}", cell["mapping"].get<std::string>(),
          cell["operation"].get<std::string>(), cell["form"].get<std::string>(),
          change["gva"].get<std::string>(), change["level"].get<int>(), flags("old_text"),
          flags("new_text"), function.substr(0, function.find('+'))));
    }
  }
  return changes;
}

/// The tcg lane on a CPU of the same features. The emulated host's has no protection keys, with
/// which mprotect(PROT_EXEC) makes a mapping execute-only (arch/x86/mm/pkeys.c, execute_only_pkey);
/// without them there is nothing to change.
std::vector<std::string> tcg_like(const VerifyRow& row) {
  if (row.arch != kX86) return {};
  return {"--cpu", "max,rdrand=off,rdseed=off,la57=off,erms=off,fsrm=off,pku=off"};
}

TEST_P(NestedVerify, GivesTheVerdictsOfTheTcgLane) {
  nlohmann::json tcg;
  nlohmann::json kvm;
  const Cells expected = cells_of(GetParam(), tcg_like(GetParam()), tcg);
  const Cells cells = cells_of(GetParam(), nested(GetParam()), kvm);
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(cells.size(), expected.size());
  for (const auto& [name, outcome] : expected) {
    const auto found = cells.find(name);
    EXPECT_EQ(found == cells.end() ? "not there" : found->second, outcome) << name;
  }
  EXPECT_EQ(tcg["lane"], "exact");
  EXPECT_EQ(kvm["lane"], GetParam().mechanism);
  EXPECT_EQ(kvm["engine"], "kvm");
  EXPECT_EQ(kvm["counts"]["mismatches"], 0);
  EXPECT_GT(kvm["counts"]["user_entries"], 0);
  if (kvm["lane"] == "exact") {
    EXPECT_EQ(changes_of(kvm), changes_of(tcg));
  }
}

/// The control of exactness: a known number of stores of every class, compared one by one.
class NestedControl : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedControl,
                         testing::Values(VerifyRow{"VheStores", kArm, "cortex-a76", "lts-sealed",
                                                   "control/stores", "exact"},
                                         VerifyRow{"NvheStores", kArm, "cortex-a57", "lts-sealed",
                                                   "control/stores", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });

TEST_P(NestedControl, SeesEachKnownStore) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), nested(GetParam()), run));
  ASSERT_EQ(run["lane"], "exact");
  EXPECT_GE(run["counts"]["known_stores"], 1000);
  EXPECT_EQ(run["counts"]["mismatches"], 0);
}

/// The same of stores to code, which read-only slots stop: with or without LSE atomics, most of
/// them by instructions whose data the hardware does not tell.
class NestedCodeStores : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedCodeStores,
                         testing::Values(VerifyRow{"X86CodeStores", kX86, kSvm, "lts-sealed",
                                                   "control/stores-code", "audited"},
                                         VerifyRow{"VheCodeStores", kArm, "cortex-a76",
                                                   "lts-sealed", "control/stores-code", "exact"},
                                         VerifyRow{"VheCodeStoresAudited", kArm, "cortex-a76",
                                                   "lts-sealed", "control/stores-code", "audited"},
                                         VerifyRow{"NvheCodeStores", kArm, "cortex-a57",
                                                   "lts-sealed", "control/stores-code", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });

/// The tcg lane's numbers for the same CPU model; tests/integration/runs_test.cc has them as they
/// are.
TEST_P(NestedCodeStores, AreTheTcgLanesOneByOne) {
  const VerifyRow& row = GetParam();
  std::vector<std::string> model;
  if (row.arch == kArm) model = {"--cpu", row.cpu};
  nlohmann::json tcg;
  nlohmann::json kvm;
  static_cast<void>(cells_of(row, model, tcg));
  static_cast<void>(cells_of(row, nested(row), kvm));
  EXPECT_EQ(kvm["lane"], row.mechanism);
  EXPECT_TRUE(kvm["good"]) << kvm["findings"].dump(2);
  EXPECT_EQ(kvm["counts"]["mismatches"], 0);
  EXPECT_GE(kvm["counts"]["known_code_stores"], 1000);
  for (const char* count :
       {"known_code_stores", "known_code_store_classes", "known_changes", "known_changes_judged"}) {
    EXPECT_EQ(kvm["counts"][count], tcg["counts"][count]) << count;
  }
  if (row.arch != kArm) return;  // KVM emulates wide ones of x86-64 in pieces, an exit each.
  const auto& costs = kvm["costs"];
  EXPECT_TRUE(std::any_of(costs.begin(), costs.end(), [&](const auto& cost) {
    return cost["name"] == "exits: read-only stores" &&
           cost["count"] == kvm["counts"]["known_code_stores"];
  })) << costs.dump(2);
}

/// Changes that are known, past every check of the kernel, and entries to user mode that are known:
/// a mechanism that misses one, or a return that has no trap, shows here.
class NestedKnown : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedKnown,
    testing::Values(
        VerifyRow{"X86Entries", kX86, kSvm, "lts-sealed", "control/entries", "audited"},
        VerifyRow{"X86Entry", kX86, kSvm, "lts-sealed", "control/tamper-entry", "audited"},
        VerifyRow{"X86Compat", kX86, kSvm, "lts-sealed", "control/tamper-compat", "audited"},
        VerifyRow{"X86Code", kX86, kSvm, "lts-sealed", "control/tamper-code", "audited"},
        VerifyRow{"VheEntries", kArm, "cortex-a76", "lts-sealed", "control/entries", "audited"},
        VerifyRow{"VheEntry", kArm, "cortex-a76", "lts-sealed", "control/tamper-entry", "audited"},
        VerifyRow{"VheCompat", kArm, "cortex-a76", "lts-sealed", "control/tamper-compat",
                  "audited"},
        VerifyRow{"VheCode", kArm, "cortex-a76", "lts-sealed", "control/tamper-code", "audited"},
        VerifyRow{"VheEntryExact", kArm, "cortex-a76", "lts-sealed", "control/tamper-entry",
                  "exact"},
        VerifyRow{"VheCompatExact", kArm, "cortex-a76", "lts-sealed", "control/tamper-compat",
                  "exact"},
        VerifyRow{"VheCodeExact", kArm, "cortex-a76", "lts-sealed", "control/tamper-code", "exact"},
        VerifyRow{"NvheEntries", kArm, "cortex-a57", "lts-sealed", "control/entries", "exact"},
        VerifyRow{"NvheEntry", kArm, "cortex-a57", "lts-sealed", "control/tamper-entry", "audited"},
        VerifyRow{"NvheCompat", kArm, "cortex-a57", "lts-sealed", "control/tamper-compat",
                  "audited"},
        VerifyRow{"NvheCode", kArm, "cortex-a57", "lts-sealed", "control/tamper-code", "audited"}),
    [](const testing::TestParamInfo<VerifyRow>& row) { return std::string(row.param.name); });

TEST_P(NestedKnown, AreAllSeen) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), nested(GetParam()), run));
  EXPECT_TRUE(run["good"]) << run["findings"].dump(2);
  EXPECT_EQ(run["counts"]["mismatches"], 0);
  const std::string scenario = GetParam().scenario;
  if (scenario == "control/entries") {
    EXPECT_GE(run["counts"]["known_entries"], 8000);
    EXPECT_GE(run["counts"]["known_entries_counted"], run["counts"]["known_entries"]);
    return;
  }
  EXPECT_EQ(run["counts"]["known_changes"], scenario == "control/tamper-code" ? 33 : 1000);
  EXPECT_EQ(run["counts"]["known_changes_judged"], run["counts"]["known_changes"]);
}

/// A small campaign of tamperings: each lane reports what it promises (docs/lanes.md), and nothing
/// that is not so.
class NestedCampaign : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedCampaign,
                         testing::Values(VerifyRow{"X86Campaign", kX86, kSvm, "tampering",
                                                   "control/campaign", "audited"},
                                         VerifyRow{"VheCampaign", kArm, "cortex-a76", "tampering",
                                                   "control/campaign", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });
/// For `./bootstrap test --full`.
INSTANTIATE_TEST_SUITE_P(InFull, NestedCampaign,
                         testing::Values(VerifyRow{"VheCampaignAudited", kArm, "cortex-a76",
                                                   "tampering", "control/campaign", "audited"},
                                         VerifyRow{"NvheCampaign", kArm, "cortex-a57", "tampering",
                                                   "control/campaign", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });

TEST_P(NestedCampaign, IsReportedAsItIs) {
  constexpr int kCount = 120;
  std::vector<std::string> words = nested(GetParam());
  words.insert(words.end(), {"--seed", "1", "--count", std::to_string(kCount)});
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), words, run));
  EXPECT_EQ(run["lane"], GetParam().mechanism);
  EXPECT_TRUE(run["good"]) << run["findings"].dump(2);
  EXPECT_EQ(run["counts"]["mismatches"], 0);
  const auto& campaign = run["campaign"];
  ASSERT_TRUE(campaign.is_object());
  EXPECT_EQ(campaign["made"], kCount);
  EXPECT_GT(campaign["visible"], kCount / 3);
  EXPECT_EQ(campaign["reported"], campaign["visible"]);
  EXPECT_EQ(campaign["false_alarms"], 0);
  EXPECT_GT(campaign["transient"], 0);
  // What is undone before a return to user mode, the audited lane does not see.
  if (run["lane"] == "exact") {
    EXPECT_EQ(campaign["recorded"], campaign["transient"]);
  } else {
    EXPECT_EQ(campaign["recorded"], 0);
  }
}

/// Entries to user mode, counted by single step: without a look at a trap, and so an answer to
/// whether each return has one.
class NestedStep : public testing::TestWithParam<VerifyRow> {
 protected:
  std::vector<std::string> words(const std::vector<std::string>& more) {
    std::vector<std::string> all = nested(GetParam());
    all.emplace_back("--step-check");
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedStep,
                         testing::Values(VerifyRow{"VheStepAudited", kArm, "cortex-a76",
                                                   "lts-sealed", "control/entries", "audited"},
                                         VerifyRow{"VheStepExact", kArm, "cortex-a76", "lts-sealed",
                                                   "control/entries", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });

TEST_P(NestedStep, FindsATrapAtEachEntry) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), words({}), run));
  EXPECT_GE(run["counts"]["stepped_instructions"], 50'000);
  EXPECT_GE(run["counts"]["stepped_entries"], 40);
  EXPECT_EQ(run["counts"]["stepped_untrapped"], 0);
  EXPECT_EQ(run["counts"]["mismatches"], 0);
}

/// The check must be able to fail: of the five returns of 6.12 the second, ret_to_user, is the one
/// that nearly all entries go through (arch/arm64/kernel/entry.S).
TEST_P(NestedStep, FindsAReturnThatHasNone) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), words({"--leave-return", "2"}), run, ExitCode::Failed));
  EXPECT_GT(run["counts"]["stepped_untrapped"], 0);
  const auto& findings = run["findings"];
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [](const auto& finding) {
    return finding["text"].template get<std::string>().find(
               "a return to user mode that has no trap") != std::string::npos;
  })) << findings.dump(2);
}

/// The recipes' x86-64 kernels boot as vmlinux, through the PVH entry. A bzImage comes the other
/// way, in 64-bit mode with a zero page, and unpacks itself first.
TEST(NestedX86Image, ABzImageBootsToTheAgent) {
  const fs::path out = fs::path(SEALVISOR_BUILD_DIR) / "nested-out/bzimage";
  app::VerifyOptions options;
  options.archs = {kX86};
  options.machine.scenarios = {"munmap/whole"};
  options.machine.mechanism = engine::Mechanism::Audited;
  const auto folder = kernel_folder("lts-sealed", kX86);
  ASSERT_TRUE(folder) << folder.error().message;
  options.machine.kernel = folder.value() / "image";
  options.machine.symbols = folder.value() / "vmlinux";
  const auto image = image::probe_kernel(options.machine.kernel, kX86);
  ASSERT_TRUE(image) << image.error().message;
  ASSERT_EQ(image.value().format, image::KernelFormat::BzImage);
  const Ran ran = run(verify_plan(options, "bzimage"));
  EXPECT_EQ(ran.outcome.end.kind, engine::nested::FrameKind::Exited) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, 0U) << ran.console;
  std::ifstream in(out / "report.json");
  const auto report = nlohmann::json::parse(in, nullptr, false);
  ASSERT_FALSE(report.is_discarded()) << ran.console;
  ASSERT_EQ(report["runs"].size(), 1U);
  const auto& guest = report["runs"][0];
  EXPECT_EQ(guest["recipe"], "image");
  EXPECT_EQ(guest["engine"], "kvm");
  EXPECT_TRUE(guest["ending"]["good"]) << guest["ending"].dump(2);
  EXPECT_TRUE(guest["good"]) << guest["findings"].dump(2);
  EXPECT_EQ(guest["counts"]["mismatches"], 0);
  EXPECT_GT(guest["counts"]["user_entries"], 0);
  const auto& cells = guest["cells"];
  const auto refused = [](const auto& cell) {
    return cell["mapping"] == "[vdso]" && cell["claim"]["text"] == "EPERM";
  };
  EXPECT_TRUE(std::any_of(cells.begin(), cells.end(), refused)) << cells.dump(2);
}

class NestedLife : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedLife,
    testing::Values(VerifyRow{"X86Exit", kX86, kSvm, "lts-sealed", "life/exit", "audited"},
                    VerifyRow{"VheFork", kArm, "cortex-a76", "lts-sealed", "life/fork", "audited"},
                    VerifyRow{"VheLife", kArm, "cortex-a76", "lts-sealed", "life/exit", "exact"}),
    [](const testing::TestParamInfo<VerifyRow>& row) { return std::string(row.param.name); });

void expect_a_whole_life(const nlohmann::json& run) {
  ASSERT_EQ(run["lives"].size(), 1U);
  EXPECT_EQ(run["lives"][0]["violations"], 0);
  EXPECT_GE(run["lives"][0]["address_spaces"], run["lives"][0]["count"]);
}

TEST_P(NestedLife, SeesEachProcessAndNoViolation) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), nested(GetParam()), run));
  expect_a_whole_life(run);
}

/// The longest of the default scenarios, which takes minutes there: with the default deadline of an
/// emulated host's guests it is to be done.
class NestedLong : public testing::TestWithParam<VerifyRow> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedLong,
                         testing::Values(VerifyRow{"VheThousand", kArm, "cortex-a76", "lts-sealed",
                                                   "life/thousand", "exact"}),
                         [](const testing::TestParamInfo<VerifyRow>& row) {
                           return std::string(row.param.name);
                         });

TEST_P(NestedLong, SeesEachProcessWithinTheDefaultDeadline) {
  nlohmann::json run;
  static_cast<void>(cells_of(GetParam(), nested(GetParam()), run, ExitCode::AsExpected,
                             app::kNestedGuestDeadline + std::chrono::seconds(120)));
  expect_a_whole_life(run);
  EXPECT_EQ(run["lives"][0]["count"], 1000);
  EXPECT_EQ(run["counts"]["mismatches"], 0);
}

}  // namespace
}  // namespace sealvisor::test
