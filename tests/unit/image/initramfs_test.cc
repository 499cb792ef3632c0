#include "vmm/image/initramfs.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sealvisor::image {
namespace {

/// What the kernel reads from one header (buffer-format.rst): thirteen numbers of 8 hex digits.
struct Member {
  std::string name;
  std::string contents;
  unsigned long inode, mode, uid, gid, links, mtime, major, minor;
};

std::string bytes_of(const Initramfs& initramfs) {
  std::ifstream file(initramfs.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Member> members_of(const std::string& archive) {
  std::vector<Member> members;
  std::size_t at = 0;
  const auto aligned = [](std::size_t value) { return (value + 3) & ~std::size_t{3}; };
  while (at + 110 <= archive.size()) {
    EXPECT_EQ(archive.substr(at, 6), "070701");
    const auto field = [&](std::size_t index) {
      return std::stoul(archive.substr(at + 6 + index * 8, 8), nullptr, 16);
    };
    Member member{"",       "",       field(0), field(1), field(2),
                  field(3), field(4), field(5), field(9), field(10)};
    const std::size_t size = field(6);
    const std::size_t name_size = field(11);
    member.name = archive.substr(at + 110, name_size - 1);
    at = aligned(at + 110 + name_size);
    if (member.name == "TRAILER!!!") return members;
    member.contents = archive.substr(at, size);
    at = aligned(at + size);
    members.push_back(member);
  }
  ADD_FAILURE() << "no trailer";
  return members;
}

std::vector<InitramfsItem> sample() {
  return {InitramfsItem::directory("dev"), InitramfsItem::character_device("dev/console", 5, 1),
          InitramfsItem::text("plan", "one\ntwo\n", 0644),
          InitramfsItem::file_from("shell", "/bin/sh", 0755)};
}

TEST(Initramfs, HoldsWhatWasAskedFor) {
  const auto built = Initramfs::build(sample());
  ASSERT_TRUE(built) << built.error().message;
  const auto members = members_of(bytes_of(built.value()));
  ASSERT_EQ(members.size(), 4U);
  EXPECT_EQ(members[0].name, "dev");
  EXPECT_EQ(members[0].mode, static_cast<unsigned long>(S_IFDIR | 0755));
  EXPECT_EQ(members[1].name, "dev/console");
  EXPECT_EQ(members[1].mode, static_cast<unsigned long>(S_IFCHR | 0600));
  EXPECT_EQ(members[1].major, 5U);
  EXPECT_EQ(members[1].minor, 1U);
  EXPECT_EQ(members[2].name, "plan");
  EXPECT_EQ(members[2].mode, static_cast<unsigned long>(S_IFREG | 0644));
  EXPECT_EQ(members[2].contents, "one\ntwo\n");
  EXPECT_EQ(members[3].name, "shell");
  EXPECT_EQ(members[3].mode, static_cast<unsigned long>(S_IFREG | 0755));
  EXPECT_EQ(members[3].contents.substr(0, 4),
            "\x7f"
            "ELF");
}

TEST(Initramfs, IsTheSameToTheByteEachTime) {
  const auto first = Initramfs::build(sample());
  const auto second = Initramfs::build(sample());
  ASSERT_TRUE(first && second);
  const std::string bytes = bytes_of(first.value());
  EXPECT_GT(bytes.size(), 512U);
  EXPECT_EQ(bytes, bytes_of(second.value()));
  unsigned long inode = 0;
  for (const Member& member : members_of(bytes)) {
    EXPECT_EQ(member.inode, ++inode);
    EXPECT_EQ(member.mtime, 1767225600U);
    EXPECT_EQ(member.uid, 0U);
    EXPECT_EQ(member.gid, 0U);
  }
}

TEST(Initramfs, RefusesPathsByName) {
  struct Case {
    std::vector<InitramfsItem> items;
    const char* expected;
  };
  const std::vector<Case> cases = {
      {{InitramfsItem::text("", "", 0644)}, "entry '': expected a relative path"},
      {{InitramfsItem::text("/init", "", 0644)}, "entry '/init': expected a relative path"},
      {{InitramfsItem::text("../x", "", 0644)}, "entry '../x'"},
      {{InitramfsItem::text("a//b", "", 0644)}, "entry 'a//b'"},
      {{InitramfsItem::directory("a/")}, "entry 'a/'"},
      {{InitramfsItem::text("a/b", "", 0644)}, "its folder 'a' was not listed before it"},
      {{InitramfsItem::text("a", "", 0644), InitramfsItem::text("a/b", "", 0644)},
       "its folder 'a' was not listed before it"},
      {{InitramfsItem::text("a", "", 0644), InitramfsItem::text("a", "", 0644)}, "is there twice"},
  };
  for (const Case& bad : cases) {
    const auto built = Initramfs::build(bad.items);
    ASSERT_FALSE(built.ok()) << bad.expected;
    EXPECT_EQ(built.error().code, ExitCode::Usage);
    EXPECT_NE(built.error().message.find(bad.expected), std::string::npos) << built.error().message;
  }
}

TEST(Initramfs, NamesASourceThatCantBeRead) {
  for (const char* source : {"/nonexistent/init", "/tmp"}) {
    const std::vector<InitramfsItem> items = {InitramfsItem::file_from("init", source, 0755)};
    const auto built = Initramfs::build(items);
    ASSERT_FALSE(built.ok());
    EXPECT_EQ(built.error().code, ExitCode::Usage);
    EXPECT_NE(built.error().message.find(source), std::string::npos) << built.error().message;
  }
}

}  // namespace
}  // namespace sealvisor::image
