#include "vmm/engine/kvm/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sealvisor::engine::kvm {
namespace {

using testing::HasSubstr;

TEST(KvmHost, FindsCpuFlagsAsWholeWords) {
  const std::string info = "processor\t: 0\nflags\t\t: fpu svm_lock vmx_x vmx\nbugs\t: svm\n";
  EXPECT_TRUE(has_cpu_flag(info, "vmx"));
  EXPECT_FALSE(has_cpu_flag(info, "svm"));
  EXPECT_FALSE(has_cpu_flag("", "vmx"));
}

TEST(KvmHost, ASoftwareKvmIsRecognisedByTheFlagsAlone) {
  EXPECT_TRUE(check_hardware("x86_64", "\nflags : fpu vmx tsc\n").ok());
  EXPECT_TRUE(check_hardware("x86_64", "\nflags : svm\n").ok());
  EXPECT_TRUE(check_hardware("aarch64", "").ok());
  const Status none = check_hardware("x86_64", "\nflags : fpu\n");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::HostLacks);
  EXPECT_THAT(none.error().message, HasSubstr("neither vmx nor svm"));
  EXPECT_THAT(none.error().message, HasSubstr("--engine tcg, or kvm-nested")) << "what to do";
}

TEST(KvmHost, KnowsItsOwnArchitecture) {
  EXPECT_EQ(host_arch("x86_64").value(), arch::Arch::X86_64);
  EXPECT_EQ(host_arch("aarch64").value(), arch::Arch::Arm64);
  const auto other = host_arch("riscv64");
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("riscv64"));
}

}  // namespace
}  // namespace sealvisor::engine::kvm
