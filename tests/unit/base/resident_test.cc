#include "vmm/base/resident.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "vmm/base/fd.h"

namespace sealvisor {
namespace {

constexpr std::string_view kSmaps =
    "55d0c0a00000-55d0c0a21000 r--p 00000000 08:01 131 /usr/bin/sealvisor\n"
    "Size:                132 kB\n"
    "Rss:                 128 kB\n"
    "Pss:                  64 kB\n"
    "VmFlags: rd mr mw me\n"
    "7f0000000000-7f0010000000 rw-s 00000000 00:01 7 /memfd:sealvisor-ram (deleted)\n"
    "Rss:              262144 kB\n"
    "7ffd0a000000-7ffd0a021000 rw-p 00000000 00:00 0 [stack]\n"
    "Rss:                  12 kB\n";

TEST(Resident, AddsAllMappingsButThoseOfTheName) {
  EXPECT_EQ(resident_in(kSmaps, "sealvisor-ram"), 140U * 1024);
  EXPECT_EQ(resident_in(kSmaps, "no such name"), (140U + 262144) * 1024);
}

TEST(Resident, SaysSoIfItCantBeTold) {
  EXPECT_EQ(resident_in("", "x"), std::nullopt);
  EXPECT_EQ(resident_in("0-1 r--p 0 0:0 0\nSize: 4 kB\n", "x"), std::nullopt);
  for (const char* line : {"Rss:\n", "Rss: 12\n", "Rss: many kB\n", "Rss: -1 kB\n"}) {
    EXPECT_EQ(resident_in(line, "x"), std::nullopt) << line;
  }
}

TEST(Resident, SeesThisProcessButNotItsGuestMemory) {
  constexpr std::size_t kBytes = 8 << 20;
  auto file = memory_file("sealvisor-test-ram", kBytes, false);
  ASSERT_TRUE(file);
  auto mapping = Mapping::map(file.value(), kBytes, PROT_READ | PROT_WRITE, "a test");
  ASSERT_TRUE(mapping);
  std::fill(mapping.value().bytes().begin(), mapping.value().bytes().end(), std::byte{1});
  const auto with = resident_bytes("no such name");
  const auto without = resident_bytes("sealvisor-test-ram");
  ASSERT_TRUE(with && without);
  // They are taken one after the other, and pages of the process come and go.
  constexpr std::size_t kSlack = 1 << 20;
  EXPECT_GE(*with + kSlack, *without + kBytes);
  EXPECT_GT(*without, 0U);
}

}  // namespace
}  // namespace sealvisor
