// What a host without a usable KVM is told. Nothing is asked of a real one.
#include "vmm/engine/kvm/api.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "vmm/engine/kvm/capabilities.h"

namespace sealvisor::engine::kvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(KvmDevice, ThatIsNotThereIsNamed) {
  const auto none = System::open("/nowhere/kvm");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::HostLacks);
  EXPECT_THAT(none.error().message,
              AllOf(HasSubstr("/nowhere/kvm: No such file or directory"),
                    HasSubstr("has no KVM, or the CPU's virtualisation is switched off")));
}

TEST(KvmDevice, ThatIsSomethingElseIsNamed) {
  const auto other = System::open("/dev/null");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, ExitCode::HostLacks);
  EXPECT_THAT(other.error().message, HasSubstr("/dev/null is not KVM: "));
}

/// Ends the process with the error's exit code and its message.
[[noreturn]] void open_as_nobody(const std::string& path) {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(99);
  const auto denied = System::open(path);
  std::fprintf(stderr, "%s\n", denied ? "opened" : denied.error().message.c_str());
  ::_exit(denied ? 98 : static_cast<int>(denied.error().code));
}

TEST(KvmDeviceDeathTest, ThatMayNotBeOpenedSaysWhoMay) {
  app::Temporary tree;
  tree.file("kvm", "");
  const std::string path = tree.path() / "kvm";
  ASSERT_EQ(::chmod(tree.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  EXPECT_EXIT(open_as_nobody(path), testing::ExitedWithCode(3),
              "kvm: Permission denied; the user must be root or in the group that owns it .kvm.");
}

TEST(KvmDevice, OfAnotherVersionIsNamed) {
  EXPECT_TRUE(check_version("/dev/kvm", 12).ok());
  for (const int version : {0, 11, 13}) {
    const Status other = check_version("/dev/kvm", version);
    ASSERT_FALSE(other.ok());
    EXPECT_EQ(other.error().code, ExitCode::HostLacks);
    EXPECT_THAT(other.error().message,
                HasSubstr("KVM API version " + std::to_string(version) + ", expected 12"));
  }
}

/// All capabilities that are looked for, each there.
std::vector<Capability> all_there() {
  std::vector<Capability> all = known_capabilities();
  for (Capability& one : all) one.value = 1;
  return all;
}

TEST(KvmCapabilities, EachThatIsNeededAndMissingIsNamedAlone) {
  EXPECT_TRUE(check_needed(all_there()).ok());
  unsigned needed = 0;
  for (std::size_t i = 0; i < all_there().size(); ++i) {
    std::vector<Capability> most = all_there();
    most[i].value = 0;
    const Status checked = check_needed(most);
    EXPECT_EQ(checked.ok(), !most[i].needed) << most[i].name;
    EXPECT_THAT(describe(most), HasSubstr(std::string("lacks ") + most[i].name)) << most[i].name;
    if (checked.ok()) continue;
    ++needed;
    EXPECT_EQ(checked.error().code, ExitCode::HostLacks);
    EXPECT_EQ(checked.error().message, std::string("the host's KVM lacks KVM_CAP_") + most[i].name +
                                           " (" + most[i].what_for + "): a newer kernel has it");
  }
  EXPECT_GE(needed, 8U);
}

TEST(KvmCapabilities, ThatAreMissingAreNamedTogether) {
  std::vector<Capability> none = all_there();
  for (Capability& one : none) one.value = -1;
  const Status checked = check_needed(none);
  ASSERT_FALSE(checked.ok());
  for (const Capability& one : none) {
    const std::string name = std::string("KVM_CAP_") + one.name + " (";
    EXPECT_THAT(checked.error().message,
                one.needed ? testing::Matcher<std::string>(HasSubstr(name)) : Not(HasSubstr(name)));
  }
}

}  // namespace
}  // namespace sealvisor::engine::kvm
