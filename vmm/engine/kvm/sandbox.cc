#include "vmm/engine/kvm/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "vmm/engine/terminal.h"

namespace sealvisor::engine::kvm {

namespace {

// What both loops need: memory without code, locks, clocks, signals, files that are open already.
// allow_some() has those that depend on an argument.
constexpr int kCommon[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(munmap),
    // realloc(3) of a large block.
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getrandom),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    // epoll_ctl: how one thread wakes the other's loop.
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(getrusage),
    // qsort(3) of the C library asks how much memory there is.
    SCMP_SYS(sysinfo),
#if defined(SEALVISOR_SANITIZED)
    // By which the sanitizers try whether memory can be read, wait and end a thread.
    SCMP_SYS(pipe2),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sigaltstack),
#endif
};
// poll: a full terminal is waited for.
constexpr int kVcpuOnly[] = {SCMP_SYS(poll), SCMP_SYS(ppoll)};
constexpr int kIoOnly[] = {SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(timerfd_settime),
                           SCMP_SYS(rt_sigaction)};

// Requests of ioctl(2). Both: what the C library asks of a file before it first writes to it, and
// how a terminal in raw mode is restored (its newer versions use the second pair).
constexpr unsigned long kTcgets2 = 0x802C542A;  // asm-generic/ioctls.h
constexpr unsigned long kTcsets2 = 0x402C542B;
// FIONBIO: Asio, of what it waits for. TIOCGWINSZ: how long a line of progress may be.
constexpr unsigned long kTerminal[] = {TCGETS, TCSETS, kTcgets2, kTcsets2, FIONBIO, TIOCGWINSZ};
// The vCPU's: to run it, to read and change it between two runs, memory slots, interrupts. None
// makes a machine, a vCPU or a device.
constexpr unsigned long kVcpuRequests[] = {
    KVM_RUN,     KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_SET_GUEST_DEBUG, KVM_SET_USER_MEMORY_REGION,
    KVM_IRQ_LINE};

constexpr std::size_t kNames = 512;
constexpr std::size_t kNameBytes = 32;
using Names = std::array<std::array<char, kNameBytes>, kNames>;

/// Names of the system calls by number: a signal handler can't ask the library.
const Names& names() {
  static const Names kTable = [] {
    Names table{};
    for (std::size_t i = 0; i < kNames; ++i) {
      const std::unique_ptr<char, decltype(&std::free)> name(
          ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(i)), &std::free);
      if (name) std::strncpy(table[i].data(), name.get(), kNameBytes - 1);
    }
    return table;
  }();
  return kTable;
}

void say(std::string_view text) {
  // There is nobody to tell if this fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

void on_forbidden(int /*signal*/, siginfo_t* info, void* /*context*/) {
  say("sealvisor: the sandbox does not allow the system call ");
  const auto number = static_cast<std::size_t>(info->si_syscall);
  if (number < kNames && names()[number][0] != '\0') {
    say(names()[number].data());
  } else {
    std::array<char, 8> digits{};
    std::size_t at = digits.size();
    std::size_t rest = number;
    do {
      digits[--at] = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0 && at > 0);
    say({digits.data() + at, digits.size() - at});
  }
  say("; this is a bug of the VMM, or a guest that made use of one\n");
  restore_terminal();
  ::_exit(static_cast<int>(ExitCode::HostLacks));
}

Error failed(const char* what, int result) {
  errno = -result;
  return errno_error(ExitCode::HostLacks, fmt::format("sandbox: {}", what));
}

Status drop_capabilities() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> none{};
  if (::syscall(SYS_capset, &head, none.data()) != 0) {
    return errno_error(ExitCode::HostLacks, "sandbox: dropping capabilities");
  }
  return {};
}

/// Allows `call` if the argument fulfils `condition`.
Status allow(scmp_filter_ctx filter, int call, const scmp_arg_cmp& condition) {
  const int result = ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, condition);
  return result == 0 ? Status() : Status(failed("seccomp_rule_add", result));
}

Status allow_calls(scmp_filter_ctx filter, std::span<const int> calls) {
  for (const int call : calls) {
    const int result = ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    if (result != 0) return failed("seccomp_rule_add", result);
  }
  return {};
}

Status allow_requests(scmp_filter_ctx filter, std::span<const unsigned long> requests) {
  // The kernel takes 32 bits of it.
  constexpr scmp_datum_t kRequest = 0xffff'ffff;
  for (const unsigned long request : requests) {
    const scmp_datum_t number = request & kRequest;
    auto done = allow(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, kRequest, number));
    if (!done) return done;
  }
  return {};
}

Status allow_some(scmp_filter_ctx filter) {
  const auto own = static_cast<scmp_datum_t>(::getpid());
  constexpr scmp_datum_t kNone = 0;
  constexpr scmp_datum_t kCode = PROT_EXEC;
  constexpr scmp_datum_t kOfDescriptor = AT_EMPTY_PATH;
  const Status done[] = {
      // Memory yes, code no.
      allow(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, kCode, kNone)),
      allow(filter, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, kCode, kNone)),
      // Signals to this process: a kick of the vCPU, abort(3).
      allow(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, own, kNone)),
      // fstat(3) of newer C libraries.
      allow(filter, SCMP_SYS(newfstatat),
            SCMP_A3(SCMP_CMP_MASKED_EQ, kOfDescriptor, kOfDescriptor)),
  };
  for (const Status& one : done) {
    if (!one) return one;
  }
  return {};
}

Status install_filter(Confined which) {
  const std::unique_ptr<void, decltype(&::seccomp_release)> filter(::seccomp_init(SCMP_ACT_TRAP),
                                                                   &::seccomp_release);
  if (!filter) return Error{ExitCode::HostLacks, "sandbox: seccomp_init"};
  const bool vcpu = which == Confined::Vcpu;
  const Status done[] = {
      allow_calls(filter.get(), kCommon),
      allow_calls(filter.get(), vcpu ? std::span<const int>(kVcpuOnly) : kIoOnly),
      allow_some(filter.get()),
      allow_requests(filter.get(), kTerminal),
      allow_requests(filter.get(), vcpu ? std::span<const unsigned long>(kVcpuRequests)
                                        : std::span<const unsigned long>()),
  };
  for (const Status& one : done) {
    if (!one) return one;
  }
  if (const int result = ::seccomp_load(filter.get()); result != 0) {
    return failed("seccomp_load", result);
  }
  return {};
}

}  // namespace

Status confine(Confined which) {
  static_cast<void>(names());
#if !defined(SEALVISOR_SANITIZED)  // which has an allocator of its own
  // Before the C library gives back memory from the end of a thread's heap it reads a file of /proc
  // (malloc/arena.c, shrink_heap): it is to keep it.
  if (::mallopt(M_TRIM_THRESHOLD, -1) != 1) {
    return Error{ExitCode::HostLacks, "sandbox: keeping free memory"};
  }
#endif
  struct sigaction action {};
  action.sa_sigaction = on_forbidden;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) {
    return errno_error(ExitCode::HostLacks, "sandbox: handling SIGSYS");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return errno_error(ExitCode::HostLacks, "sandbox: no new privileges");
  }
  if (auto dropped = drop_capabilities(); !dropped) return dropped;
  return install_filter(which);
}

}  // namespace sealvisor::engine::kvm
