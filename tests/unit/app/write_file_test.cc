#include "vmm/app/write_file.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <iterator>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

namespace fs = std::filesystem;

std::ptrdiff_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(WriteFile, MakesAndReplacesAFileWhole) {
  const Temporary folder;
  const fs::path path = folder.path() / "report.json";
  ASSERT_TRUE(write_file(path, "one, and rather long").ok());
  EXPECT_EQ(Temporary::read(path), "one, and rather long");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  ASSERT_TRUE(write_file(path, "two").ok());
  EXPECT_EQ(Temporary::read(path), "two");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(files_in(folder.path()), 1) << "nothing is left over";
}

TEST(WriteFile, KeepsALinkALink) {
  const Temporary folder;
  const fs::path target = folder.file("target", "old");
  const fs::path link = folder.path() / "link";
  fs::create_symlink(target, link);
  ASSERT_TRUE(write_file(link, "new").ok());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(Temporary::read(target), "new");
}

TEST(WriteFile, SaysWhatFailedAndLeavesNothing) {
  const Temporary folder;
  const auto missing = write_file(folder.path() / "no/such/report.json", "x");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ExitCode::HostLacks);
  EXPECT_NE(missing.error().message.find("no/such/report.json"), std::string::npos);
  EXPECT_NE(missing.error().message.find("No such file"), std::string::npos);

  const auto directory = write_file(folder.path(), "x");
  ASSERT_FALSE(directory.ok());
  EXPECT_EQ(files_in(folder.path()), 0);
}

TEST(WriteFile, ADiskThatIsFullIsNamed) {
  const auto full = write_file("/dev/full", "x");
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ExitCode::HostLacks);
  EXPECT_NE(full.error().message.find("/dev/full: No space left on device"), std::string::npos)
      << full.error().message;
  EXPECT_TRUE(fs::is_character_file("/dev/full")) << "a device stays a device";
}

TEST(CheckOutside, KnowsABundleByWhereItIs) {
  const Temporary folder;
  const fs::path bundle = folder.path() / "bundle";
  fs::create_directories(bundle / "runs");
  fs::create_directories(folder.path() / "bundle2");
  folder.file("bundle/report.json", "{}");
  fs::create_symlink(bundle, folder.path() / "link");
  fs::create_symlink(bundle / "report.json", folder.path() / "file");
  for (const char* inside : {"bundle/x", "bundle/runs/x", "bundle/runs/none/x",
                             "bundle2/../bundle/x", "link/x", "file"}) {
    const auto status = check_outside("--out", folder.path() / inside, bundle);
    ASSERT_FALSE(status.ok()) << inside;
    EXPECT_EQ(status.error().code, ExitCode::Usage);
    EXPECT_NE(status.error().message.find(inside), std::string::npos) << status.error().message;
    EXPECT_FALSE(check_outside("--out", folder.path() / inside, bundle / "").ok()) << inside;
    EXPECT_FALSE(check_outside("--out", folder.path() / inside, folder.path() / "link").ok());
  }
  for (const char* outside : {"x", "bundle2/x", "bundle/../x", "none/x"}) {
    EXPECT_TRUE(check_outside("--out", folder.path() / outside, bundle).ok()) << outside;
  }
  EXPECT_TRUE(check_outside("--out", "", bundle).ok());
  EXPECT_TRUE(check_outside("--json", folder.path() / "x", "").ok());
  // One that is yet to be made.
  EXPECT_FALSE(check_outside("--json", folder.path() / "new/x", folder.path() / "new").ok());
}

}  // namespace
}  // namespace sealvisor::app
