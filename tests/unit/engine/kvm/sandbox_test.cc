#include "vmm/engine/kvm/sandbox.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
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

/// Lines of /proc/self/task/TID/status that say what a thread may do.
std::string rights_of(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/status");
  std::string rights;
  for (std::string line; std::getline(file, line);) {
    for (const char* name :
         {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "NoNewPrivs:", "Seccomp:"}) {
      if (!line.starts_with(name)) continue;
      line.erase(std::remove(line.begin(), line.end(), '\t'), line.end());
      rights += line + ' ';
    }
  }
  return rights;
}

/// Prints what a thread may do before confine() and after it, read by another one.
void print_rights(Confined which) {
  std::promise<pid_t> begun;
  std::promise<void> go;
  std::promise<void> confined;
  std::promise<void> end;
  std::thread thread([&] {
    begun.set_value(static_cast<pid_t>(::syscall(SYS_gettid)));
    go.get_future().wait();
    if (!confine(which)) ::_exit(99);
    confined.set_value();
    end.get_future().wait();
  });
  const pid_t id = begun.get_future().get();
  const std::string before = rights_of(id);
  go.set_value();
  confined.get_future().wait();
  std::fprintf(stderr, "before: %s; after: %s\n", before.c_str(), rights_of(id).c_str());
  end.set_value();
  thread.join();
  ::_exit(0);
}

TEST(SandboxDeathTest, PrivilegesAndCapabilitiesAreGone) {
  const bool root = ::geteuid() == 0;
  // As root there is something to drop.
  const std::string before = root ? "before: .*CapEff:0*[1-9a-f][0-9a-f]* .*NoNewPrivs:0 Seccomp:"
                                  : "before: .*NoNewPrivs:0 Seccomp:";
  const std::string after =
      ".*; after: CapInh:0+ CapPrm:0+ CapEff:0+ CapAmb:0+ NoNewPrivs:1 Seccomp:2 ";
  for (const Confined which : {Confined::Vcpu, Confined::Io}) {
    EXPECT_EXIT(print_rights(which), testing::ExitedWithCode(0), before + after);
  }
}

TEST(SandboxDeathTest, WhatAnAttackerWouldCallIsForbidden) {
  const struct {
    const char* call;
    std::function<void()> act;
  } rows[] = {
    {"execve", [] { ::execl("/bin/true", "true", nullptr); }},
    {"ptrace", [] { ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
    {"mprotect",
     [] {
       void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       ::mprotect(page, 4096, PROT_READ | PROT_EXEC);
     }},
    {"ioctl", [] { ::ioctl(STDIN_FILENO, TIOCSTI, "x"); }},
    {"ioctl", [] { ::ioctl(STDIN_FILENO, KVM_CREATE_VM, 0); }},
    {"ioctl", [] { ::ioctl(STDIN_FILENO, KVM_CREATE_VCPU, 0); }},
    {"tgkill", [] { ::syscall(SYS_tgkill, 1, 1, 0); }},
    {"kill", [] { ::kill(::getpid(), 0); }},
    {"fcntl", [] { ::fcntl(STDIN_FILENO, F_SETOWN, 1); }},
    {"prctl", [] { ::prctl(PR_GET_DUMPABLE); }},
    {"newfstatat",
     [] {
       struct stat status {};
       ::stat("/etc/passwd", &status);
     }},
    {"process_vm_writev", [] { ::process_vm_writev(::getpid(), nullptr, 0, nullptr, 0, 0); }},
    {"set_robust_list", [] { ::syscall(SYS_set_robust_list, nullptr, 0); }},
    {"rseq", [] { ::syscall(SYS_rseq, nullptr, 0, 0, 0); }},
    {"gettimeofday", [] { ::syscall(SYS_gettimeofday, nullptr, nullptr); }},
#if !defined(SEALVISOR_SANITIZED)
    {"sched_yield", [] { ::syscall(SYS_sched_yield); }},
    {"sigaltstack", [] { ::syscall(SYS_sigaltstack, nullptr, nullptr); }},
#endif
  };
  for (const auto& row : rows) {
    for (const Confined which : {Confined::Vcpu, Confined::Io}) {
      EXPECT_EXIT(in_confined_thread(which, row.act), testing::ExitedWithCode(3),
                  std::string("does not allow the system call ") + row.call + ";")
          << row.call;
    }
  }
}

TEST(SandboxDeathTest, WhatOnlyTheOtherThreadNeedsIsForbidden) {
  EXPECT_EXIT(in_confined_thread(Confined::Io, [] { ::ioctl(STDIN_FILENO, KVM_RUN, 0); }),
              testing::ExitedWithCode(3), "system call ioctl;");
  EXPECT_EXIT(in_confined_thread(Confined::Vcpu, [] { std::signal(SIGUSR1, SIG_IGN); }),
              testing::ExitedWithCode(3), "system call rt_sigaction;");
}

TEST(SandboxDeathTest, WhatTheVcpuNeedsIsAllowed) {
  const auto work = [] {
    // None of them does anything to standard input.
    for (const unsigned long request :
         {std::size_t{KVM_RUN}, std::size_t{KVM_GET_ONE_REG}, std::size_t{KVM_SET_ONE_REG},
          std::size_t{KVM_SET_GUEST_DEBUG}, std::size_t{KVM_SET_USER_MEMORY_REGION},
          std::size_t{KVM_IRQ_LINE}}) {
      ::ioctl(STDIN_FILENO, request, nullptr);
    }
    winsize size{};
    ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size);  // of progress, before it writes a line
    termios mode{};
    if (::tcgetattr(STDIN_FILENO, &mode) == 0) ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);
    ::pthread_kill(::pthread_self(), 0);
    struct stat status {};
    ::fstat(STDIN_FILENO, &status);
    void* block = std::malloc(std::size_t{1} << 20);
    block = std::realloc(block, std::size_t{64} << 20);
    std::fputs(block != nullptr ? "still here\n" : "no memory\n", stderr);
    std::free(block);
  };
  EXPECT_EXIT(in_confined_thread(Confined::Vcpu, work), testing::ExitedWithCode(0), "still here");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
