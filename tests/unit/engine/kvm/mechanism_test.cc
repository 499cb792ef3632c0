#include "vmm/engine/kvm/mechanism.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

using testing::HasSubstr;

const std::vector<Capability> kTells = {{kMemoryFaultInfo, false, "", 1}};
const std::vector<Capability> kMute = {{kMemoryFaultInfo, false, "", 0}};

TEST(Mechanism, OnX86NeedsAWalkerThatDoesNotWriteAndAKvmThatTells) {
  const struct {
    const std::vector<Capability>& capabilities;
    WalkerWrites walker;
    Mechanism mechanism;
    const char* says;
  } rows[] = {
      {kTells, {"Y", "N", ""}, Mechanism::Exact, "eptad=N"},
      {kTells, {"N", "N", ""}, Mechanism::Exact, "shadow paging"},
      {kTells, {"", "", "N"}, Mechanism::Exact, "shadow paging"},
      {kTells, {"Y", "Y", ""}, Mechanism::Audited, "eptad=0"},
      {kTells, {"", "", "Y"}, Mechanism::Audited, "npt=0"},
      {kTells, {"", "", ""}, Mechanism::Audited, "neither kvm_intel nor kvm_amd"},
      {kMute, {"Y", "N", ""}, Mechanism::Audited, "KVM_CAP_MEMORY_FAULT_INFO"},
      {{}, {"", "", "N"}, Mechanism::Audited, "KVM_CAP_MEMORY_FAULT_INFO"},
  };
  for (const auto& row : rows) {
    const Choice choice = choose_mechanism(arch::Arch::X86_64, row.capabilities, row.walker);
    EXPECT_EQ(choice.mechanism, row.mechanism) << row.says;
    EXPECT_THAT(choice.why, HasSubstr(row.says));
  }
}

TEST(Mechanism, OnArm64IsExactUnlessTheGuestHasHardwareAccessFlags) {
  const Choice choice = choose_mechanism(arch::Arch::Arm64, {}, {});
  EXPECT_EQ(choice.mechanism, Mechanism::Exact);
  EXPECT_THAT(choice.why, HasSubstr("access flags"));
}

#if defined(__x86_64__)
TEST(Mechanism, AsksForWhatItRestsOn) {
  bool asked = false;
  for (const Capability& one : known_capabilities()) {
    asked = asked || std::string_view(one.name) == kMemoryFaultInfo;
  }
  EXPECT_TRUE(asked);
}
#endif

}  // namespace
}  // namespace sealvisor::engine::kvm
