#include "vmm/engine/kvm/mechanism.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

using testing::HasSubstr;

const std::vector<Capability> kSteps = {{kSetGuestDebug, false, "", 1}};
const std::vector<Capability> kMute = {{kSetGuestDebug, false, "", 0}};

TEST(Mechanism, OnX86NeedsAWalkerThatDoesNotWriteAndAKvmThatSteps) {
  const struct {
    const std::vector<Capability>& capabilities;
    WalkerWrites walker;
    Mechanism mechanism;
    const char* says;
  } rows[] = {
      {kSteps, {"Y", "N", ""}, Mechanism::Exact, "eptad=N"},
      {kSteps, {"N", "N", ""}, Mechanism::Exact, "shadow paging"},
      {kSteps, {"", "", "N"}, Mechanism::Exact, "shadow paging"},
      {kSteps, {"Y", "Y", ""}, Mechanism::Audited, "eptad=0"},
      {kSteps, {"", "", "Y"}, Mechanism::Audited, "npt=0"},
      {kSteps, {"", "", ""}, Mechanism::Audited, "neither kvm_intel nor kvm_amd"},
      {kMute, {"Y", "N", ""}, Mechanism::Audited, "KVM_CAP_SET_GUEST_DEBUG"},
      {{}, {"", "", "N"}, Mechanism::Audited, "KVM_CAP_SET_GUEST_DEBUG"},
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
    asked = asked || std::string_view(one.name) == kSetGuestDebug;
  }
  EXPECT_TRUE(asked);
}
#endif

}  // namespace
}  // namespace sealvisor::engine::kvm
