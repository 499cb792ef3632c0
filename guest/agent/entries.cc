#include "guest/agent/entries.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "guest/agent/console.h"
#include "guest/agent/physical.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

/// Interrupts that the kernel has served: the first number of the line "intr" of /proc/stat
/// (Documentation/filesystems/proc.rst, 1.7).
std::optional<std::uint64_t> interrupts() {
  const File file("/proc/stat", O_RDONLY);
  std::array<char, 4096> text{};
  if (!file.good() || ::pread(file.get(), text.data(), text.size() - 1, 0) <= 0)
    return std::nullopt;
  const char* const line = std::strstr(text.data(), "\nintr ");
  if (line == nullptr) return std::nullopt;
  return std::strtoull(line + 6, nullptr, 10);
}

bool syscalls(std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) (void)raw_call(SYS_getppid);
  return true;
}

#if defined(__x86_64__)
/// Another way in, and another way out: entry_INT80_compat, iret.
bool interrupts_by_software(std::uint32_t count) {
  constexpr int kGetppid32 = 64;  // arch/x86/entry/syscalls/syscall_32.tbl
  for (std::uint32_t i = 0; i < count; ++i) {
    int result = kGetppid32;
    asm volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory");
    if (result < 0) return false;
  }
  return true;
}
#endif

/// Memory that is mapped before the count begins, and there for each page fault.
class Fresh {
 public:
  explicit Fresh(std::uint32_t pages) : size_(std::size_t{pages} * kPage) {
    place_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // One fault for each page; a kernel without huge pages refuses, and needs no telling.
    if (good()) (void)::madvise(place_, size_, MADV_NOHUGEPAGE);
  }
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;
  ~Fresh() {
    if (good()) ::munmap(place_, size_);
  }
  [[nodiscard]] bool good() const { return place_ != MAP_FAILED; }
  void touch() const {
    for (std::size_t at = 0; at < size_; at += kPage) {
      static_cast<volatile unsigned char*>(place_)[at] = 1;
    }
  }

 private:
  std::size_t size_;
  void* place_;
};

/// Counts deliveries; a handler has no argument that could carry an object.
volatile std::sig_atomic_t delivered = 0;

void on_signal(int) { delivered = delivered + 1; }

/// Goes on behind the undefined instruction.
void on_undefined(int, siginfo_t*, void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__aarch64__)
  machine.pc += 4;
#else
  machine.gregs[REG_RIP] += 2;
#endif
  delivered = delivered + 1;
}

bool handle(int signal, void (*with_info)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  if (with_info != nullptr) {
    action.sa_sigaction = with_info;
    action.sa_flags = SA_SIGINFO;
  } else {
    action.sa_handler = on_signal;
  }
  return ::sigaction(signal, &action, nullptr) == 0;
}

/// To the handler, and back from it.
bool signals(std::uint32_t count) {
  const auto before = delivered;
  const long pid = ::getpid();
  for (std::uint32_t i = 0; i < count; ++i) (void)raw_call(SYS_tgkill, pid, pid, SIGUSR1);
  return delivered - before == static_cast<std::sig_atomic_t>(count);
}

bool undefined_instructions(std::uint32_t count) {
  const auto before = delivered;
  for (std::uint32_t i = 0; i < count; ++i) {
#if defined(__aarch64__)
    asm volatile("udf #0");
#else
    asm volatile("ud2");
#endif
  }
  return delivered - before == static_cast<std::sig_atomic_t>(count);
}

int leave(void*) {
  (void)raw_call(SYS_exit, 0);
  return 0;
}

/// The child's first entry, the parent's return from clone and from wait4.
bool children(std::uint32_t count) {
  alignas(16) std::array<std::byte, 4096> stack;
  for (std::uint32_t i = 0; i < count; ++i) {
    // The child shares the memory: no page is copied, so none faults.
    const int child =
        ::clone(leave, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr);
    if (child < 0) return false;
    if (raw_call(SYS_wait4, child, 0, 0, 0) != child) return false;
  }
  return true;
}

struct Way {
  const char* name;
  std::uint32_t entries;  ///< For each of `count`.
  bool (*run)(std::uint32_t count);
};

constexpr auto kWays = std::to_array<Way>({
  {"syscall", 1, syscalls},
#if defined(__x86_64__)
      {"int 0x80", 1, interrupts_by_software},
#endif
      {"signal", 2, signals}, {"undefined instruction", 2, undefined_instructions},
      {"child", 3, children},
});

/// Rings, runs, rings.
template <typename Run>
int block(Doorbell& doorbell, const char* name, std::uint32_t entries, Run run) {
  protocol::Entries message{};
  std::strncpy(message.name, name, sizeof message.name - 1);
  message.entries = entries;
  const auto before = interrupts();
  doorbell.entries(message);
  const bool good = run();
  message.end = 1;
  const auto after = interrupts();
  // Three system calls of interrupts() itself lie between the messages.
  message.entries += 3;
  if (before && after) message.interrupts = *after - *before;
  doorbell.entries(message);
  if (good && before && after) return 0;
  say("entries by %s: not all could be made", name);
  return EPROTO;
}

}  // namespace

int enter_user_mode(Doorbell& doorbell, std::uint32_t count, std::uint32_t& entries) {
  if (!handle(SIGUSR1, nullptr) || !handle(SIGILL, on_undefined)) return errno;
  const Fresh fresh(count);
  if (!fresh.good()) return ENOMEM;
  // What faults the first time (code, stacks, copies of pages that the parent shares) does it here.
  for (const Way& way : kWays) {
    if (!way.run(1)) return EPROTO;
  }
  for (const Way& way : kWays) {
    const std::uint32_t all = count * way.entries;
    if (const int error = block(doorbell, way.name, all, [&] { return way.run(count); });
        error != 0) {
      return error;
    }
    entries += all;
  }
  const int error = block(doorbell, "page fault", count, [&] {
    fresh.touch();
    return true;
  });
  if (error == 0) entries += count;
  return error;
}

}  // namespace sealvisor::agent
