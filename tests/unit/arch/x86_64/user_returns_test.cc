#include "arch/x86_64/user_returns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace sealvisor::arch::x86_64 {
namespace {

// Byte sequences marked "live" are quoted from memory of the lts-sealed guest (Linux 6.12), booted
// in QEMU with -cpu EPYC-v4; upstream-sealed (7.3) and pti=on have the same ones. Those marked
// "verw" are from -cpu Skylake-Client-v1 with mds=full, those marked "image" from vmlinux.

constexpr std::uint64_t kText = 0xffffffff81000000;

/// Kernel text: int3 where nothing was put.
class Text {
 public:
  explicit Text(std::size_t size = 0x400) : bytes_(size, std::byte{0xcc}) {}

  /// Puts hexadecimal bytes, blanks ignored. Returns the offset behind them.
  std::size_t put(std::size_t at, std::string_view hex) {
    std::string digits(hex);
    std::erase(digits, ' ');
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2, ++at) {
      bytes_.at(at) =
          static_cast<std::byte>(std::strtoul(digits.substr(i, 2).c_str(), nullptr, 16));
    }
    return at;
  }
  [[nodiscard]] UserReturns search(std::uint64_t first = kText) const {
    return find_user_returns(bytes_, Gva{first});
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

Gva gva(std::size_t offset) { return Gva{kText + offset}; }

void expect_only_site(const Text& text, const ReturnSite& site) {
  const UserReturns found = text.search();
  EXPECT_EQ(found.sites, std::vector{site});
  EXPECT_TRUE(found.bare.empty());
}

void expect_only_bare(const Text& text, const BareReturn& bare) {
  const UserReturns found = text.search();
  EXPECT_TRUE(found.sites.empty());
  ASSERT_EQ(found.bare.size(), 1U);
  EXPECT_EQ(found.bare[0].instruction, bare.instruction);
  EXPECT_EQ(name_of(found.bare[0].kind), std::string(name_of(bare.kind)));
  EXPECT_EQ(name_of(found.bare[0].why), std::string(name_of(bare.why)));
}

TEST(UserReturnsTest, Sysretq) {
  Text text;
  // live, entry_SYSCALL_64: pop %rdi; pop %rsp; swapgs; pad; sysretq; int3
  text.put(0x100, "5f 5c 0f01f8 0f1f8000000000 480f07 cc");
  expect_only_site(text, {gva(0x10c), ReturnKind::Sysretq, gva(0x105), 7});
}

TEST(UserReturnsTest, SysretlOfCompatCalls) {
  Text text;
  // live, entry_SYSCALL_compat: swapgs; pad; sysretl; int3
  text.put(0x100, "0f01f8 0f1f8000000000 0f07 cc");
  expect_only_site(text, {gva(0x10a), ReturnKind::Sysretl, gva(0x103), 7});
}

TEST(UserReturnsTest, SysretlOfIgnoredCalls) {
  Text text;
  // live, entry_SYSCALL32_ignore: mov $-ENOSYS, %eax; pad; sysretl
  text.put(0x100, "b8daffffff 0f1f8000000000 0f07 6690");
  expect_only_site(text, {gva(0x10c), ReturnKind::Sysretl, gva(0x105), 7});
}

// live, swapgs_restore_regs_and_return_to_usermode: pop %rdi; add $8, %rsp; swapgs; pad;
// testb $3, 8(%rsp); jnz 149 bytes on; ud2.
constexpr std::string_view kCommonReturn =
    "5f 4883c408 0f01f8 0f1f8000000000 f644240803 0f8595000000 0f0b";
constexpr std::size_t kCommonPad = 8;
constexpr std::size_t kCommonIretq = 0xaf;

TEST(UserReturnsTest, CommonIretq) {
  Text text;
  text.put(0x100, kCommonReturn);
  // live, restore_regs_and_return_to_kernel falls into the iretq: pop %rdi; add $8, %rsp; iretq
  text.put(0x100 + kCommonIretq - 5, "5f 4883c408 48cf 0f1f4000");
  expect_only_site(text, {gva(0x100 + kCommonIretq), ReturnKind::Iretq, gva(0x108), 7});
}

TEST(UserReturnsTest, CommonIretqWithEspfix) {
  Text text;
  text.put(0x100, kCommonReturn);
  // CONFIG_X86_ESPFIX64: testb $4, 32(%rsp); jnz native_irq_return_ldt; iretq
  text.put(0x100 + kCommonIretq, "f644242004 7502 48cf");
  expect_only_site(text, {gva(0x100 + kCommonIretq + 7), ReturnKind::Iretq, gva(0x108), 7});
  text.put(0x100 + kCommonIretq, "f644242004 0f8510000000 48cf");
  expect_only_site(text, {gva(0x100 + kCommonIretq + 11), ReturnKind::Iretq, gva(0x108), 7});
}

TEST(UserReturnsTest, CommonIretqByAShortJumpAndBackwards) {
  Text text;
  text.put(0x100, "48cf");
  // jnz rel8: from 0x12e back to 0x100.
  text.put(0x120, "0f1f8000000000 f644240803 75d2 0f0b");
  expect_only_site(text, {gva(0x100), ReturnKind::Iretq, gva(0x120), 7});
}

TEST(UserReturnsTest, AnAssertionThatLeadsElsewhereClaimsNothing) {
  // No iretq at the target.
  Text text;
  text.put(0x100, kCommonReturn);
  EXPECT_TRUE(text.search().sites.empty());
  EXPECT_TRUE(text.search().bare.empty());
  // Out of the text, both ways.
  for (const std::string_view distance : {"ffffff7f", "00000080", "f0feffff"}) {
    Text out;
    const std::size_t at = out.put(0x100, "0f1f8000000000 f644240803 0f85");
    out.put(out.put(at, distance), "0f0b");
    EXPECT_TRUE(out.search().sites.empty()) << distance;
  }
  // No ud2: another test of the same bits, as in error_entry.
  Text other;
  other.put(0x100, "0f1f8000000000 f644240803 7502 90 90 48cf");
  const UserReturns found = other.search();
  EXPECT_TRUE(found.sites.empty());
  ASSERT_EQ(found.bare.size(), 1U);
  EXPECT_EQ(found.bare[0], (BareReturn{gva(0x110), ReturnKind::Iretq, NoTrap::NoPad}));
}

TEST(UserReturnsTest, FredHasNoPad) {
  Text text;
  // asm_fred_exit_user: pop %rdi; eretu
  text.put(0x100, "5f f30f01ca");
  expect_only_bare(text, {gva(0x101), ReturnKind::Eretu, NoTrap::NoPad});
  // A kernel that had one would be covered.
  text.put(0x100, "5f 0f1f8000000000 f30f01ca");
  expect_only_site(text, {gva(0x108), ReturnKind::Eretu, gva(0x101), 7});
  // erets returns to the kernel.
  text.put(0x100, "5f 0f1f8000000000 f20f01ca");
  EXPECT_TRUE(text.search().sites.empty());
  EXPECT_TRUE(text.search().bare.empty());
}

TEST(UserReturnsTest, EveryPadSize) {
  for (std::size_t size = kLeastPadBytes; size <= kMostPadBytes; ++size) {
    Text text;
    const auto nop = nop_of(size);
    ASSERT_EQ(nop.size(), size);
    std::copy(nop.begin(), nop.end(), text.bytes().begin() + 0x100);
    text.put(0x100 + size, "480f07");
    expect_only_site(text, {gva(0x100 + size), ReturnKind::Sysretq, gva(0x100), size});
  }
}

TEST(UserReturnsTest, APrefixOfTheInstructionBeforeIsNoPad) {
  Text text;
  // mov $0x66909090, %eax ends in the byte that the 6-byte NOP begins with.
  text.put(0x100, "b890909066 0f1f440000 480f07");
  expect_only_site(text, {gva(0x10a), ReturnKind::Sysretq, gva(0x105), 5});
}

TEST(UserReturnsTest, FilledPads) {
  Text sysretq;
  sysretq.put(0x100, "5f 5c 0f01f8 0f002dc7feffff 480f07 cc");  // verw
  expect_only_bare(sysretq, {gva(0x10c), ReturnKind::Sysretq, NoTrap::PadFilled});
  Text sysretl;
  sysretl.put(0x100, "b8daffffff 0f002db4eeffff 0f07 6690");  // verw
  expect_only_bare(sysretl, {gva(0x10c), ReturnKind::Sysretl, NoTrap::PadFilled});
  Text iretq;
  iretq.put(0x100, "0f01f8 0f002d06f3ffff f644240803 0f8595000000 0f0b");  // verw
  iretq.put(0x100 + 3 + 7 + 5 + 6 + 0x95, "48cf");
  expect_only_bare(iretq, {gva(0x1aa), ReturnKind::Iretq, NoTrap::PadFilled});
}

TEST(UserReturnsTest, PadsThatAreNotPatchedYet) {
  Text text;
  text.put(0x100, "5f 5c 0f01f8 90909090909090 480f07 cc");  // image
  expect_only_bare(text, {gva(0x10c), ReturnKind::Sysretq, NoTrap::NotPatched});
}

TEST(UserReturnsTest, SyncCoreReturnsToItself) {
  // live, sync_core(): push %rax; push $ of the byte behind; iretq. Here as if at 0x8106eb9d.
  Text text;
  text.put(0x100, "8cd0 50 54 4883042408 9c 8cc8 50 689feb0681 48cf e99dfeffff");
  const std::size_t iretq = 0x112;
  const std::uint64_t first = 0xffffffff8106eb9d - iretq;
  const UserReturns found = text.search(first);
  EXPECT_TRUE(found.sites.empty());
  ASSERT_EQ(found.bare.size(), 1U);
  EXPECT_EQ(found.bare[0],
            (BareReturn{Gva{0xffffffff8106eb9d}, ReturnKind::Iretq, NoTrap::ReturnsToKernel}));
  // At any other address the same bytes go somewhere else.
  const UserReturns moved = text.search(first + 1);
  ASSERT_EQ(moved.bare.size(), 1U);
  EXPECT_EQ(moved.bare[0].why, NoTrap::NoPad);
}

TEST(UserReturnsTest, NmisOfTheKernelReturnToIt) {
  Text nested;
  nested.put(0x100, "4883c430 5a 48cf");  // live
  expect_only_bare(nested, {gva(0x105), ReturnKind::Iretq, NoTrap::ReturnsToKernel});
  Text first;
  first.put(0x100, "4883c430 fd 48c744242800000000 48cf");  // live
  expect_only_bare(first, {gva(0x10e), ReturnKind::Iretq, NoTrap::ReturnsToKernel});
}

TEST(UserReturnsTest, BytesOfOtherInstructions) {
  // live, cmovs %rdi, %rcx (48 0f 48 cf) and what stands before it.
  Text cmov;
  const std::size_t cmov_end =
      cmov.put(0x100,
               "ef024801fa4c89c7488d049248c1e0024829c7488d50644883ff18480f47c2"
               "488b15206a7f004889c74801f24829f74839c2480f48cf4889c8c3");
  expect_only_bare(cmov, {gva(cmov_end - 6), ReturnKind::Iretq, NoTrap::InsideAnother});
  // live, jne rel32 (0f 85 0f 07 00 00) and what stands before it.
  Text jump;
  const std::size_t jump_end =
      jump.put(0x100,
               "f6488b4b30498b06a8010f85fa050000a802740d83e0074883f8060f846102"
               "00004885c90f84eb0500004989ce31f6f6c1010f850f070000488b");
  expect_only_bare(jump, {gva(jump_end - 6), ReturnKind::Sysretl, NoTrap::InsideAnother});
}

TEST(UserReturnsTest, AReturnOfItsOwnIsNotTakenForAPart) {
  Text text;
  // pop %rsi; pop %rdi; nop; pop %rsp; iretq
  text.put(0x100, "5e 5f 90 5c 48cf");
  expect_only_bare(text, {gva(0x104), ReturnKind::Iretq, NoTrap::NoPad});
}

TEST(UserReturnsTest, AllAtOnceInAddressOrder) {
  Text text(0x800);
  text.put(0x600, "0f01f8 0f1f8000000000 480f07");
  text.put(0x100, kCommonReturn);
  text.put(0x100 + kCommonIretq, "48cf");
  text.put(0x400, "0f01f8 0f1f8000000000 0f07");
  text.put(0x300, "fd 48c744242800000000 48cf");
  text.put(0x500, "f30f01ca");
  const UserReturns found = text.search();
  EXPECT_EQ(found.sites,
            (std::vector<ReturnSite>{
                {gva(0x100 + kCommonIretq), ReturnKind::Iretq, gva(0x100 + kCommonPad), 7},
                {gva(0x40a), ReturnKind::Sysretl, gva(0x403), 7},
                {gva(0x60a), ReturnKind::Sysretq, gva(0x603), 7}}));
  EXPECT_EQ(found.bare,
            (std::vector<BareReturn>{{gva(0x30a), ReturnKind::Iretq, NoTrap::ReturnsToKernel},
                                     {gva(0x500), ReturnKind::Eretu, NoTrap::NoPad}}));
}

TEST(UserReturnsTest, AnyCutOfATextIsSafe) {
  Text text(0x200);
  text.put(0x100, kCommonReturn);
  text.put(0x100 + kCommonIretq, "48cf");
  text.put(0x1c0, "0f01f8 0f1f8000000000 480f07");
  const std::span<const std::byte> all = text.bytes();
  for (std::size_t start = 0; start <= all.size(); ++start) {
    const auto found = find_user_returns(all.subspan(start), gva(start));
    ASSERT_EQ(found.sites.size(), (start <= 0x108 ? 1U : 0U) + (start <= 0x1c3 ? 1U : 0U)) << start;
  }
  for (std::size_t end = 0; end < all.size(); ++end) {
    const auto found = find_user_returns(all.first(end), gva(0));
    ASSERT_EQ(found.sites.size(), (end >= 0x1b1 ? 1U : 0U) + (end >= 0x1cd ? 1U : 0U)) << end;
  }
}

TEST(UserReturnsTest, TheSearchGivesUpAtTooMany) {
  Text text(0x200);
  for (const std::size_t at : {0x80U, 0x100U, 0x180U}) text.put(at, "48cf");
  const UserReturns all = find_user_returns(text.bytes(), Gva{0}, 3);
  EXPECT_EQ(all.sites.size() + all.bare.size(), 3U);
  EXPECT_FALSE(all.too_many);
  EXPECT_TRUE(find_user_returns(text.bytes(), Gva{0}, 2).too_many);
}

TEST(UserReturnsTest, EmptyText) {
  const UserReturns found = find_user_returns({}, Gva{0});
  EXPECT_TRUE(found.sites.empty());
  EXPECT_TRUE(found.bare.empty());
}

std::string hex_of(const std::vector<std::byte>& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : bytes) {
    hex += kDigits[std::to_integer<std::size_t>(byte >> 4)];
    hex += kDigits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return hex;
}

TEST(UserReturnsTest, TrapsFillTheirPad) {
  EXPECT_EQ(hex_of(trap_bytes(3, 0xf5)), "e6f590");
  EXPECT_EQ(hex_of(trap_bytes(4, 0xf5)), "e6f56690");
  EXPECT_EQ(hex_of(trap_bytes(5, 0xf5)), "e6f50f1f00");
  EXPECT_EQ(hex_of(trap_bytes(6, 0xf5)), "e6f50f1f4000");
  EXPECT_EQ(hex_of(trap_bytes(7, 0xf5)), "e6f50f1f440000");
  EXPECT_EQ(hex_of(trap_bytes(8, 0x10)), "e610660f1f440000");
  EXPECT_TRUE(trap_bytes(2, 0xf5).empty());
  EXPECT_TRUE(trap_bytes(9, 0xf5).empty());
  EXPECT_TRUE(trap_bytes(0, 0xf5).empty());
}

TEST(UserReturnsTest, PlantedTextStillHasANopBeforeTheReturn) {
  Text text;
  text.put(0x100, "0f01f8 0f1f8000000000 480f07");
  const ReturnSite site = text.search().sites.at(0);
  const auto trap = trap_bytes(site.pad_bytes, 0xf5);
  std::copy(trap.begin(), trap.end(),
            text.bytes().begin() + static_cast<std::ptrdiff_t>(site.pad.value - kText));
  // Which is why the precondition says that nothing is planted yet.
  EXPECT_EQ(text.search().sites,
            (std::vector<ReturnSite>{{gva(0x10a), ReturnKind::Sysretq, gva(0x105), 5}}));
}

}  // namespace
}  // namespace sealvisor::arch::x86_64
