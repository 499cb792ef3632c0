#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "vmm/base/fd.h"

namespace sealvisor {
namespace {

using testing::HasSubstr;

TEST(PlainFile, IsWrittenAndReadWhole) {
  const app::Temporary folder;
  const auto path = folder.path() / "file";
  const std::string text(100'000, 'x');
  {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(write_all(fd, std::as_bytes(std::span(text))));
  }
  EXPECT_EQ(app::Temporary::read(path), text);
  const auto fd = open_plain(path, ExitCode::Usage, "it");
  ASSERT_TRUE(fd.ok()) << fd.error().message;
  std::array<std::byte, 60'000> bytes{};
  EXPECT_EQ(read_all(fd.value(), bytes), 60'000U);
  EXPECT_EQ(read_all(fd.value(), bytes), 40'000U) << "the rest";
  EXPECT_EQ(read_all(fd.value(), bytes), 0U);
  EXPECT_EQ(read_all(Fd(), bytes), std::nullopt);
}

TEST(PlainFile, ThatCantBeWrittenSaysWhy) {
  const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const std::string text = "x";
  EXPECT_FALSE(write_all(full, std::as_bytes(std::span(text))));
  EXPECT_EQ(errno, ENOSPC);
}

TEST(PlainFile, IsNoLinkAndNoPipe) {
  const app::Temporary folder;
  const auto why = [&](const char* name) {
    const auto fd = open_plain(folder.path() / name, ExitCode::Usage, "it");
    EXPECT_FALSE(fd.ok());
    return fd ? std::string() : fd.error().message;
  };
  folder.file("file", "");
  std::filesystem::create_symlink(folder.path() / "file", folder.path() / "link");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(why("link"), HasSubstr("it: "));
  EXPECT_EQ(why("pipe"), "it: expected a plain file");
  EXPECT_EQ(why("none"), "it: No such file or directory");
}

}  // namespace
}  // namespace sealvisor
