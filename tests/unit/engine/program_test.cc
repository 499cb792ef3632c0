#include "vmm/engine/tcg/qemu/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/stand_in.h"

namespace sealvisor::engine::tcg {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST(ParseVersion, ReadsWhatQemuPrints) {
  const auto version = parse_version(
      "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025\n");
  ASSERT_TRUE(version);
  EXPECT_EQ(*version, (QemuVersion{10, 0, 2}));
  EXPECT_EQ(text_of(*version), "QEMU 10.0.2");
  EXPECT_EQ(parse_version("QEMU emulator version 11.1.50"), (QemuVersion{11, 1, 50}));
}

TEST(ParseVersion, RefusesAnythingElse) {
  for (const char* text : {"", "QEMU", "QEMU emulator version ", "QEMU emulator version 10",
                           "QEMU emulator version 10.0", "QEMU emulator version 10.x.2",
                           "qemu emulator version 10.0.2", "QEMU emulator version -1.0.0",
                           "QEMU emulator version 99999999999999999999.0.0"}) {
    EXPECT_EQ(parse_version(text), std::nullopt) << text;
  }
}

TEST(ParseVersion, OrdersByPart) {
  EXPECT_LT((QemuVersion{9, 2, 4}), kOldestQemu);
  EXPECT_LT((QemuVersion{7, 2, 22}), kOldestQemu);
  EXPECT_GE((QemuVersion{10, 0, 0}), kOldestQemu);
  EXPECT_GE((QemuVersion{11, 0, 0}), kOldestQemu);
}

TEST(FindQemu, TakesOneThatIsNewEnough) {
  const StandIn qemu("exit 0");
  const auto found = find_qemu(arch::Arch::X86_64);
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found.value().path, qemu.program());
  EXPECT_EQ(found.value().version, (QemuVersion{10, 0, 2}));
}

TEST(FindQemu, SaysWhatIsTooOldAndWhatToInstall) {
  const StandIn qemu("exit 0", "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
  const auto found = find_qemu(arch::Arch::X86_64);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ExitCode::HostLacks);
  EXPECT_THAT(found.error().message,
              AllOf(HasSubstr(qemu.program().string()), HasSubstr("QEMU 7.2.22"),
                    HasSubstr("QEMU 10.0.0 or newer"), HasSubstr("qemu-system-x86")));
}

TEST(FindQemu, SaysWhatIsMissing) {
  const StandIn qemu("exit 0");
  const auto found = find_qemu(arch::Arch::Arm64);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ExitCode::HostLacks);
  EXPECT_THAT(found.error().message,
              AllOf(HasSubstr("qemu-system-aarch64"), HasSubstr(qemu.folder().string())));
}

TEST(FindQemu, DoesNotTakeAFileThatCantRun) {
  const StandIn qemu("exit 0");
  std::filesystem::permissions(qemu.program(), std::filesystem::perms::owner_read);
  EXPECT_FALSE(find_qemu(arch::Arch::X86_64).ok());
}

TEST(FindQemu, LooksThroughPath) {
  const StandIn qemu("exit 0", "10.1.0");
  ::unsetenv("SEALVISOR_QEMU_DIR");
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", ("/nonexistent::" + qemu.folder().string() + ":" + before).c_str(), 1);
  const auto found = find_qemu(arch::Arch::X86_64);
  ::setenv("PATH", "/nonexistent", 1);
  const auto missing = find_qemu(arch::Arch::X86_64);
  ::setenv("PATH", before.c_str(), 1);
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found.value().path, qemu.program());
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, AllOf(HasSubstr("PATH"), HasSubstr("install")));
}

TEST(FindQemu, QuotesAnAnswerThatMakesNoSense) {
  const StandIn qemu(StandIn::Whole{"echo 'Welcome to something else'; echo more"});
  const auto found = find_qemu(arch::Arch::X86_64);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ExitCode::HostLacks);
  EXPECT_THAT(found.error().message, HasSubstr("'Welcome to something else'"));
}

TEST(FindQemu, StopsReadingAnAnswerThatNeverEnds) {
  const StandIn qemu(StandIn::Whole{"exec yes"});
  const auto before = std::chrono::steady_clock::now();
  EXPECT_FALSE(find_qemu(arch::Arch::X86_64, 20s).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - before, 15s);
}

TEST(FindQemu, WaitsNoLongerThanItsLimit) {
  const StandIn qemu(StandIn::Whole{"exec sleep 100"});
  const auto before = std::chrono::steady_clock::now();
  const auto found = find_qemu(arch::Arch::X86_64, 200ms);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 15s);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message, HasSubstr("200 ms"));
}

TEST(FindQemu, SaysWhyItCantBeRun) {
  const StandIn qemu("exit 0");
  std::ofstream(qemu.program()) << "#!/nonexistent/interpreter\n";
  const auto found = find_qemu(arch::Arch::X86_64);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ExitCode::HostLacks);
  EXPECT_EQ(found.error().sys_errno, ENOENT);
}

}  // namespace
}  // namespace sealvisor::engine::tcg
