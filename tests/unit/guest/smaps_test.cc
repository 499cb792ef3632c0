#include "guest/agent/smaps.h"

#include <gtest/gtest.h>

#include <string>

namespace sealvisor::agent {
namespace {

/// Feeds `text` line by line.
MappingTable read(std::string_view text) {
  SmapsReader reader;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    reader.line(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return reader.table();
}

constexpr std::string_view kProcess =
    "00400000-00401000 r--p 00000000 00:02 1234                               /init\n"
    "Size:                  4 kB\n"
    "VmFlags: rd mr mw me sl \n"
    "00500000-00521000 rw-p 00000000 00:00 0                                  [heap]\n"
    "VmFlags: rd wr mr mw me ac \n"
    "7ffff7fa0000-7ffff7fb0000 rw-p 00000000 00:00 0 \n"
    "VmFlags: rd wr mr mw me ac sl \n"
    "7ffff7fb0000-7ffff7fb1000 rw-p 00000000 00:00 0                          [anon:pool]\n"
    "7ffff7ff6000-7ffff7ffa000 r--p 00000000 00:00 0                          [vvar]\n"
    "Size:                 16 kB\n"
    "KernelPageSize:        4 kB\n"
    "VmFlags: rd mr pf io de dd \n"
    "7ffff7ffa000-7ffff7ffc000 r-xp 00000000 00:00 0                          [vdso]\n"
    "Size:                  8 kB\n"
    "VmFlags: rd ex mr mw me de sl \n"
    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"
    "VmFlags: rd wr mr mw me gd ac \n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    "VmFlags: ex \n";

// /proc/PID/maps has the same lines without what stands below them in smaps.
TEST(Smaps, ReadsMapsToo) {
  const MappingTable table = read(
      "00400000-00401000 r--p 00000000 00:02 1234                               /init\n"
      "7ffff7ff6000-7ffff7ffa000 r--p 00000000 00:00 0                          [vvar]\n"
      "7ffff7ffa000-7ffff7ffc000 r-xp 00000000 00:00 0                          [vdso]\n");
  EXPECT_FALSE(table.broken);
  ASSERT_EQ(table.count, 2U);
  const SystemMapping* vdso = table.find("[vdso]");
  ASSERT_NE(vdso, nullptr);
  EXPECT_EQ(vdso->start, 0x7ffff7ffa000U);
  EXPECT_EQ(vdso->end, 0x7ffff7ffc000U);
}

TEST(Smaps, TakesWhatTheKernelInstalledAndNothingElse) {
  const MappingTable table = read(kProcess);
  EXPECT_FALSE(table.broken);
  ASSERT_EQ(table.count, 3U);

  const SystemMapping& vvar = table.mappings[0];
  EXPECT_EQ(vvar.name_view(), "[vvar]");
  EXPECT_EQ(vvar.start, 0x7ffff7ff6000U);
  EXPECT_EQ(vvar.end, 0x7ffff7ffa000U);
  EXPECT_TRUE(vvar.readable);
  EXPECT_FALSE(vvar.writable);
  EXPECT_FALSE(vvar.executable);
  EXPECT_FALSE(vvar.sealed);

  const SystemMapping& vdso = table.mappings[1];
  EXPECT_EQ(vdso.name_view(), "[vdso]");
  EXPECT_EQ(vdso.start, 0x7ffff7ffa000U);
  EXPECT_EQ(vdso.end, 0x7ffff7ffc000U);
  EXPECT_TRUE(vdso.readable);
  EXPECT_TRUE(vdso.executable);
  EXPECT_TRUE(vdso.sealed);

  EXPECT_EQ(table.mappings[2].name_view(), "[vsyscall]");
  EXPECT_EQ(table.mappings[2].end, 0xffffffffff601000U);
  EXPECT_FALSE(table.mappings[2].readable);
}

TEST(Smaps, FindsByName) {
  const MappingTable table = read(kProcess);
  ASSERT_NE(table.find("[vdso]"), nullptr);
  EXPECT_EQ(table.find("[vdso]"), &table.mappings[1]);
  EXPECT_EQ(table.find("[heap]"), nullptr);
  EXPECT_EQ(table.find("vdso"), nullptr);
}

TEST(Smaps, TheSealIsAWholeWordOfTheRightMapping) {
  const MappingTable table = read(
      "1000-2000 r-xp 00000000 00:00 0   [vdso]\n"
      "VmFlags: rd ex slx xsl \n"
      "3000-4000 r--p 00000000 08:01 5   /lib/x\n"
      "VmFlags: sl \n");
  ASSERT_EQ(table.count, 1U);
  EXPECT_FALSE(table.mappings[0].sealed);
}

TEST(Smaps, SystemNames) {
  EXPECT_TRUE(is_system_name("[vvar_vclock]"));
  EXPECT_TRUE(is_system_name("[sigpage]"));
  EXPECT_TRUE(is_system_name("[uprobes]"));
  EXPECT_FALSE(is_system_name("[stack:12]"));
  EXPECT_FALSE(is_system_name("[anon_shmem:x]"));
  EXPECT_FALSE(is_system_name("[]"));
  EXPECT_FALSE(is_system_name("/tmp/[x]"));
  EXPECT_FALSE(is_system_name(""));
}

TEST(Smaps, AFileWhoseNameLooksLikeAMappingKeepsItsPath) {
  EXPECT_EQ(read("1000-2000 r-xp 00000000 08:01 5   /tmp/a [vdso]\n").count, 0U);
}

TEST(Smaps, SaysSoWhenALineCannotBeRead) {
  EXPECT_TRUE(read("xyz-2000 r-xp 00000000 00:00 0 [vdso]\n").broken);
  EXPECT_TRUE(read("2000-1000 r-xp 00000000 00:00 0 [vdso]\n").broken);
  EXPECT_TRUE(read("11112222333344445-2 r-xp 00000000 00:00 0 [vdso]\n").broken);
  EXPECT_TRUE(read("1000-2000 r-x\n").broken);
  EXPECT_TRUE(
      read("1000-2000 r-xp 00000000 00:00 0 [a_name_that_is_longer_than_a_message_has_room_for]\n")
          .broken);
}

TEST(Smaps, SaysSoWhenThereAreTooMany) {
  std::string text;
  for (std::uint32_t i = 0; i < protocol::kMaxMappings; ++i) {
    text += "1000-2000 r-xp 00000000 00:00 0 [vdso]\n";
  }
  EXPECT_FALSE(read(text).broken);
  EXPECT_EQ(read(text).count, protocol::kMaxMappings);
  EXPECT_TRUE(read(text + "1000-2000 r-xp 00000000 00:00 0 [vdso]\n").broken);
}

}  // namespace
}  // namespace sealvisor::agent
