#include "vmm/run/call_paths.h"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

namespace sealvisor::run {
namespace {

constexpr std::uint64_t kText = 0xffffffff81000000;
constexpr std::uint64_t kStack = 0xffffc90000003000;

/// Three functions, 0x100 apart: "store" (pop rbx; ret), "middle" (call; add rsp, 0x10; ret) and
/// "entry_SYSCALL_64" (call; sysretq).
class Kernel {
 public:
  Kernel() {
    put(0x000, {0x5B, 0xC3});
    put(0x100, {0xE8, 0, 0, 0, 0, 0x48, 0x83, 0xC4, 0x10, 0xC3});
    put(0x200, {0xE8, 0, 0, 0, 0, 0x48, 0x0F, 0x07});
  }
  KernelCode code() {
    KernelCode code;
    code.read = [this](std::uint64_t address, std::span<std::uint8_t> room) -> std::size_t {
      ++reads_;
      const std::uint64_t offset = address - kText;
      if (offset >= text_.size()) return 0;
      const auto size = std::min<std::size_t>(room.size(), text_.size() - offset);
      std::copy_n(text_.begin() + static_cast<std::ptrdiff_t>(offset), size, room.begin());
      return size;
    };
    code.function = [](std::uint64_t address) -> std::optional<std::string> {
      switch ((address - kText) >> 8) {
        case 0:
          return "store";
        case 1:
          return "middle";
        case 2:
          return "entry_SYSCALL_64";
        default:
          return std::nullopt;
      }
    };
    return code;
  }
  [[nodiscard]] unsigned reads() const { return reads_; }

 private:
  void put(std::size_t at, std::vector<std::uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), text_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  std::vector<std::uint8_t> text_ = std::vector<std::uint8_t>(0x300, 0xCC);
  unsigned reads_ = 0;
};

event::Event stack_copy() {
  event::Event copy{};
  copy.kind = event::Kind::StackCopy;
  copy.pc = kText;
  copy.old_value = kStack;
  return copy;
}

/// rbx of store's caller, then its return into middle, middle's 16 bytes, then its return.
arch::Table whole_stack() { return {0x1111, kText + 0x105, 0x2222, 0x3333, kText + 0x205}; }

TEST(CallPaths, ClimbsToWhereTheKernelWasEntered) {
  Kernel kernel;
  CallPaths paths(arch::Arch::X86_64, kernel.code());
  const std::size_t number = paths.of(stack_copy(), whole_stack());
  const CallPath& path = paths.path(number);
  EXPECT_TRUE(path.complete);
  EXPECT_EQ(path.functions, (std::vector<std::string>{"store", "middle", "entry_SYSCALL_64"}));
  const unsigned reads = kernel.reads();
  EXPECT_EQ(paths.of(stack_copy(), whole_stack()), number);
  EXPECT_EQ(kernel.reads(), reads) << "what was found out is kept";
  EXPECT_EQ(paths.size(), 1U);
}

TEST(CallPaths, StopsWhereTheStackMakesNoSense) {
  struct Case {
    const char* name;
    std::size_t word;
    std::uint64_t value;
    std::size_t functions;
  };
  for (const Case& one : {Case{"no address of the kernel", 1, 0x401000, 1},
                          Case{"an address of no function", 1, kText + 0x10005, 1},
                          Case{"a place that no call is before", 1, kText + 0x104, 1},
                          Case{"the second one is wrong", 4, 7, 2}}) {
    Kernel kernel;
    CallPaths paths(arch::Arch::X86_64, kernel.code());
    arch::Table stack = whole_stack();
    stack[one.word] = one.value;
    const CallPath& path = paths.path(paths.of(stack_copy(), stack));
    EXPECT_FALSE(path.complete) << one.name;
    EXPECT_EQ(path.functions.size(), one.functions) << one.name;
  }
}

TEST(CallPaths, EndsWithTheCopy) {
  Kernel kernel;
  CallPaths paths(arch::Arch::X86_64, kernel.code());
  arch::Table stack{};
  stack.fill(kText + 0x105);  // middle calls itself, for ever
  const CallPath& path = paths.path(paths.of(stack_copy(), stack));
  EXPECT_FALSE(path.complete);
  EXPECT_LE(path.functions.size(), CallPaths::kMostFunctions);
}

// The entry's way out is a jump into another function, as asm_exc_page_fault's is: by its code
// alone it would return to the word on top, which is a register of user mode's.
TEST(CallPaths, WhatUserModeHadInItsRegistersIsNoCaller) {
  Kernel kernel;
  KernelCode code = kernel.code();
  const auto text = code.read;
  code.read = [text](std::uint64_t address, std::span<std::uint8_t> room) {
    const std::size_t size = text(address, room);
    constexpr std::uint64_t kBehindCall = kText + 0x205;
    constexpr std::uint8_t kJump[] = {0xE9, 0xF6, 0xFD, 0xFF, 0xFF};  // to "store"
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t at = address + i - kBehindCall;
      if (at < sizeof kJump) room[i] = kJump[at];
    }
    return size;
  };
  CallPaths paths(arch::Arch::X86_64, code);
  arch::Table stack = whole_stack();
  stack[5] = kText + 0x105;  // Where "middle" could go on, were it a return address.
  const CallPath& path = paths.path(paths.of(stack_copy(), stack));
  EXPECT_TRUE(path.complete);
  EXPECT_EQ(path.functions, (std::vector<std::string>{"store", "middle", "entry_SYSCALL_64"}));
}

TEST(CallPaths, KeepsNoMoreThanSoMany) {
  Kernel kernel;
  CallPaths paths(arch::Arch::X86_64, kernel.code());
  std::size_t last = 0;
  for (std::size_t i = 0; i < CallPaths::kMostPaths + 10; ++i) last = paths.of_pc(0x400000 + i);
  EXPECT_EQ(paths.size(), CallPaths::kMostPaths + 1);
  EXPECT_FALSE(paths.path(last).complete);
  EXPECT_EQ(paths.of_pc(0x400000), 0U) << "those that are told apart still are";
}

TEST(CallPaths, OfAStoreWithoutAStack) {
  Kernel kernel;
  CallPaths paths(arch::Arch::X86_64, kernel.code());
  const CallPath& path = paths.path(paths.of_pc(kText + 1));
  EXPECT_EQ(path.functions, std::vector<std::string>{"store"});
  EXPECT_FALSE(path.complete);
  EXPECT_EQ(paths.path(paths.of_pc(7)).functions, std::vector<std::string>{"0x7"});
}

TEST(IsEntry, ByItsName) {
  for (const char* name :
       {"entry_SYSCALL_64_after_hwframe", "asm_exc_page_fault", "ret_from_fork_asm",
        "ret_from_fork", "el0t_64_sync", "el1h_64_irq", "do_exit"}) {
    EXPECT_TRUE(is_entry(name)) << name;
  }
  for (const char* name : {"do_syscall_64", "exc_page_fault", "do_group_exit", "el_svc"}) {
    EXPECT_FALSE(is_entry(name)) << name;
  }
}

}  // namespace
}  // namespace sealvisor::run
