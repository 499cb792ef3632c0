#include "vmm/engine/kvm/sandbox.h"

#include <pty.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "vmm/base/fd.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine::kvm {
namespace {

/// Ends the process with 0 if the thread got to its end.
template <typename Act>
void in_confined_thread(Confined which, Act act) {
  std::thread thread([&] {
    if (const Status confined = confine(which); !confined) {
      std::fprintf(stderr, "%s\n", confined.error().message.c_str());
      ::_exit(99);
    }
    act();
  });
  thread.join();
  ::_exit(0);
}

TEST(SandboxDeathTest, AForbiddenCallEndsTheProcessAndIsNamed) {
  EXPECT_EXIT(in_confined_thread(Confined::Vcpu, [] { ::socket(AF_UNIX, SOCK_STREAM, 0); }),
              testing::ExitedWithCode(3), "sandbox does not allow the system call socket;");
  EXPECT_EXIT(in_confined_thread(Confined::Io, [] { std::fopen("/etc/passwd", "r"); }),
              testing::ExitedWithCode(3), "sandbox does not allow the system call openat;");
}

TEST(Sandbox, AForbiddenCallRestoresTheTerminal) {
  int ours = -1;
  int theirs = -1;
  ASSERT_EQ(::openpty(&ours, &theirs, nullptr, nullptr, nullptr), 0);
  const Fd our_end(ours);
  const Fd their_end(theirs);
  termios before{};
  ASSERT_EQ(::tcgetattr(theirs, &before), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto terminal = Terminal::open(theirs, theirs);
    termios raw{};
    if (!terminal || ::tcgetattr(theirs, &raw) != 0 || (raw.c_lflag & ICANON) != 0) ::_exit(99);
    in_confined_thread(Confined::Vcpu, [] { ::socket(AF_UNIX, SOCK_STREAM, 0); });
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  termios after{};
  ASSERT_EQ(::tcgetattr(theirs, &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST(SandboxDeathTest, NoMemoryBecomesCode) {
  const auto make_code = [] {
    ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  EXPECT_EXIT(in_confined_thread(Confined::Vcpu, make_code), testing::ExitedWithCode(3),
              "system call mmap;");
}

TEST(SandboxDeathTest, WhatTheLoopsNeedIsAllowed) {
  const auto work = [] {
    // From the heap and from the system.
    std::vector<std::unique_ptr<std::vector<char>>> blocks;
    for (std::size_t i = 0; i < 64; ++i) {
      blocks.push_back(std::make_unique<std::vector<char>>(std::size_t{1} << 20));
    }
    blocks.clear();
    // From the thread's heap, whose end is free again then.
    for (std::size_t i = 0; i < 512; ++i) {
      blocks.push_back(std::make_unique<std::vector<char>>(std::size_t{60} << 10));
    }
    while (!blocks.empty()) blocks.pop_back();
    std::fputs("still here\n", stderr);
  };
  EXPECT_EXIT(in_confined_thread(Confined::Vcpu, work), testing::ExitedWithCode(0), "still here");
}

TEST(SandboxDeathTest, OnlyTheThreadItselfIsConfined) {
  const auto confine_one_and_use_another = [] {
    std::thread([] { static_cast<void>(confine(Confined::Vcpu)); }).join();
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    std::fprintf(stderr, "socket %s\n", fd >= 0 ? "made" : "refused");
    ::_exit(0);
  };
  EXPECT_EXIT(confine_one_and_use_another(), testing::ExitedWithCode(0), "socket made");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
