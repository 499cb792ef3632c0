#include "arch/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sealvisor::arch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> texts(const std::vector<ListedInstruction>& lines) {
  std::vector<std::string> result;
  for (const ListedInstruction& line : lines) result.push_back(line.text);
  return result;
}

constexpr std::uint64_t kCodeStart = 0xffffffff81000000;

// push rbp; mov rbp, rsp; mov qword ptr [rbx], 0; pop rbp; ret
const std::vector<std::uint8_t> kX86Code = {0x55, 0x48, 0x89, 0xE5, 0x48, 0xC7, 0x03,
                                            0x00, 0x00, 0x00, 0x00, 0x5D, 0xC3};

TEST(Listing, ShowsInstructionsAroundOne) {
  const auto lines = list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart + 4);
  EXPECT_THAT(texts(lines),
              ElementsAre("push rbp", "mov rbp, rsp", "mov qword ptr [rbx], 0", "pop rbp", "ret"));
  EXPECT_EQ(lines[2].address, kCodeStart + 4);
  EXPECT_THAT(lines[2].bytes, ElementsAre(0x48, 0xC7, 0x03, 0, 0, 0, 0));
}

TEST(Listing, ShowsNoMoreThanIsAskedFor) {
  EXPECT_THAT(texts(list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart + 4, {1, 1})),
              ElementsAre("mov rbp, rsp", "mov qword ptr [rbx], 0", "pop rbp"));
  EXPECT_THAT(texts(list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart, {1, 0})),
              ElementsAre("push rbp"));
}

TEST(Listing, WhereTheWayDoesNotComeByNothingIsShownBefore) {
  // Within mov rbp, rsp.
  EXPECT_THAT(texts(list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart + 2, {8, 1})),
              ElementsAre("mov ebp, esp", "mov qword ptr [rbx], 0"));
}

TEST(Listing, WhatIsNoInstructionIsAByteOfItsOwn) {
  // 06 is none in 64-bit mode; the last one is cut off.
  const std::vector<std::uint8_t> bytes = {0x06, 0x90, 0x48, 0xC7};
  const auto lines = list_around(Arch::X86_64, bytes, kCodeStart, kCodeStart + 1);
  EXPECT_THAT(texts(lines), ElementsAre(".byte 06", "nop", ".byte 48", ".byte c7"));
}

TEST(Listing, Arm64HasAWordForEach) {
  // stp x29, x30, [sp, #-16]!; a word that is none; str xzr, [x0]; half a one.
  const std::vector<std::uint8_t> bytes = {0xFD, 0x7B, 0xBF, 0xA9, 0x41, 0x90, 0x20,
                                           0x38, 0x1F, 0x00, 0x00, 0xF9, 0x1F, 0x00};
  const auto lines = list_around(Arch::Arm64, bytes, kCodeStart, kCodeStart + 8);
  EXPECT_THAT(texts(lines), ElementsAre("stp x29, x30, [sp, #-0x10]!", ".inst 0x38209041",
                                        "str xzr, [x0]", ".byte 1f 00"));
}

TEST(Listing, OutsideThereIsNothing) {
  EXPECT_THAT(list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart - 1), IsEmpty());
  EXPECT_THAT(list_around(Arch::X86_64, kX86Code, kCodeStart, kCodeStart + kX86Code.size()),
              IsEmpty());
  EXPECT_THAT(list_around(Arch::X86_64, {}, kCodeStart, kCodeStart), IsEmpty());
}

}  // namespace
}  // namespace sealvisor::arch
