#include "guest/agent/boot_words.h"

#include <gtest/gtest.h>

namespace sealvisor::agent {
namespace {

TEST(BootWords, ReadsTheDoorbell) {
  const BootWords words =
      parse_boot_words("console=ttyS0 sealvisor.doorbell=0xfeb00000 panic=-1\n");
  EXPECT_EQ(words.doorbell, 0xfeb00000U);
  EXPECT_FALSE(words.verbose);
}

TEST(BootWords, TheLastCopyCounts) {
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x1000 sealvisor.doorbell=0xa000000").doorbell,
            0xa000000U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x1000 sealvisor.doorbell=0x").doorbell, 0U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x1000 sealvisor.doorbell=zz").doorbell, 0U);
}

TEST(BootWords, RefusesWhatIsNoNumber) {
  EXPECT_EQ(parse_boot_words("").doorbell, 0U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=4096").doorbell, 0U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x10g0").doorbell, 0U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x11112222333344445").doorbell, 0U);
  EXPECT_EQ(parse_boot_words("xsealvisor.doorbell=0x1000").doorbell, 0U);
}

TEST(BootWords, ALayoutIsANumberToo) {
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x1000 sealvisor.layout=0x11").layout, 0x11U);
  EXPECT_EQ(parse_boot_words("sealvisor.layout=17").layout, 0U);
  EXPECT_EQ(parse_boot_words("sealvisor.doorbell=0x1000").layout, 0U);
}

TEST(BootWords, VerboseAndPromptAreWords) {
  EXPECT_TRUE(parse_boot_words("sealvisor.verbose sealvisor.prompt").prompt);
  EXPECT_FALSE(parse_boot_words("sealvisor.verbose").prompt);
  EXPECT_TRUE(parse_boot_words("quiet sealvisor.verbose\n").verbose);
  EXPECT_FALSE(parse_boot_words("sealvisor.verbosely").verbose);
}

}  // namespace
}  // namespace sealvisor::agent
