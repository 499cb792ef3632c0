#include "guest/agent/rare_life.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <span>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/probes.h"
#include "guest/agent/process.h"
#include "guest/agent/raw.h"
#include "guest/agent/start.h"
#include "guest/scenario/numbers.h"

namespace sealvisor::agent {
namespace {

/// A forked child that announces itself and then does `work`, which returns its exit code.
template <typename Work>
pid_t child_with(Agent& agent, Work work) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child != 0) return child;
  MappingTable table;
  const int error = announce_and_use(agent, token, table);
  ::_exit(error != 0 ? error : work(table, token));
}

/// Waits for it, and says if it did not end by `signal` (0: by itself, well).
int ended_by(const char* what, pid_t child, int signal) {
  if (child < 0) return EAGAIN;
  const Ending ending = wait_for(child);
  if (ending.error == 0 && ending.signal == signal) return 0;
  say("%s: a child ended with error %d, signal %d; expected signal %d", what, ending.error,
      ending.signal, signal);
  return ending.error != 0 ? ending.error : EPROTO;
}

bool write_file(const char* path, const void* bytes, std::size_t size, mode_t mode) {
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return false;
  const bool written = ::write(fd, bytes, size) == static_cast<ssize_t>(size);
  ::close(fd);
  return written;
}

/// In a clone that shares its parent's memory, which the C library knows nothing of.
int touch_from_clone(void* argument) {
  const auto& table = *static_cast<const MappingTable*>(argument);
  for (const SystemMapping& mapping : table) {
    if (mapping.start >> 63 != 0 || !mapping.readable) continue;
    (void)*reinterpret_cast<const volatile unsigned char*>(mapping.start);
  }
  (void)raw_call(SYS_exit, 0);
  return 0;
}

int clone_and_touch(MappingTable& table) {
  constexpr std::size_t kStack = 16384;
  void* const stack =
      ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return errno;
  const pid_t clone =
      ::clone(touch_from_clone, static_cast<char*>(stack) + kStack, CLONE_VM | SIGCHLD, &table);
  if (clone < 0) return errno;
  const int status = wait_for(clone).status();
  touch_mappings(table);
  return status;
}

/// Execs with a stack of one page, which the words fill but for kRoom bytes. They fit, so the old
/// program goes and the new one gets its vdso; then its auxiliary vector finds no room (6.12:
/// fs/binfmt_elf.c, create_elf_tables, behind ARCH_SETUP_ADDITIONAL_PAGES). Returns if exec failed
/// earlier, with errno.
void exec_without_stack() {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kRoom = 128;
  static char word[kPage];
  char path[] = "/init";
  // Words lie below one pointer's room at the top, the path's own copy first (fs/exec.c).
  const std::size_t length = kPage - kRoom - sizeof(void*) - sizeof path;
  std::memset(word, 'x', length - 1);
  char* const arguments[] = {word, nullptr};
  const rlimit one_page{kPage, kPage};
  ::personality(ADDR_NO_RANDOMIZE);  // Else the words are moved by some bytes.
  if (::setrlimit(RLIMIT_STACK, &one_page) == 0) ::execve(path, arguments, arguments + 1);
}

struct ExecWork {
  Agent* agent;
  std::uint64_t token;
};

void* exec_from_thread(void* argument) {
  const ExecWork& work = *static_cast<const ExecWork*>(argument);
  ::_exit(exec_image(kStaticImage, work.agent->doorbell, work.token));
}

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#else
constexpr Elf64_Half kMachine = EM_AARCH64;
#endif

/// A program whose only segment is to lie where no program may: exec finds out once the old memory
/// is gone (6.12: fs/binfmt_elf.c, load_elf_binary, behind begin_new_exec).
bool make_bad_program(const char* path) {
  struct {
    Elf64_Ehdr head;
    Elf64_Phdr segment;
  } program{};
  std::memcpy(program.head.e_ident, ELFMAG, SELFMAG);
  program.head.e_ident[EI_CLASS] = ELFCLASS64;
  program.head.e_ident[EI_DATA] = ELFDATA2LSB;
  program.head.e_ident[EI_VERSION] = EV_CURRENT;
  program.head.e_type = ET_EXEC;
  program.head.e_machine = kMachine;
  program.head.e_version = EV_CURRENT;
  program.head.e_entry = 0x400000;
  program.head.e_phoff = sizeof(Elf64_Ehdr);
  program.head.e_ehsize = sizeof(Elf64_Ehdr);
  program.head.e_phentsize = sizeof(Elf64_Phdr);
  program.head.e_phnum = 1;
  program.segment.p_type = PT_LOAD;
  program.segment.p_flags = PF_R | PF_X;
  program.segment.p_vaddr = program.segment.p_paddr = std::uint64_t{1} << 63;
  program.segment.p_filesz = program.segment.p_memsz = sizeof program;
  program.segment.p_align = 4096;
  return write_file(path, &program, sizeof program, 0755);
}

/// Takes memory until the kernel takes this process.
int take_all_memory() {
  if (!write_file("/proc/self/oom_score_adj", "1000", 4, 0)) return errno;
  constexpr std::size_t kChunk = std::size_t{4} << 20;
  for (;;) {
    void* const chunk = ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (chunk == MAP_FAILED) return errno;
    (void)::madvise(chunk, kChunk, MADV_HUGEPAGE);
    for (std::size_t page = 0; page < kChunk; page += 4096) {
      static_cast<volatile unsigned char*>(chunk)[page] = 1;
    }
  }
}

/// Stopped, so that it is killed only once it has lived.
int wait_until_stopped(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, WUNTRACED) < 0) {
    if (errno != EINTR) return errno;
  }
  return WIFSTOPPED(status) ? 0 : EPROTO;
}

int kill_and_release(pid_t child) {
#if defined(SYS_process_mrelease)
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  if (fd < 0) return errno;
  int error = ::kill(child, SIGKILL) == 0 ? 0 : errno;
  if (error == 0 && ::syscall(SYS_process_mrelease, fd, 0) != 0) error = errno;
  ::close(fd);
  return error;
#else
  (void)child;
  return ENOSYS;
#endif
}

/// Whether the kernel's log says, behind what `log` has given so far, that the reaper took the
/// memory of `child` (6.12: mm/oom_kill.c, oom_reap_task_mm).
bool says_reaped(int log, pid_t child) {
  std::array<char, 64> wanted{};
  std::snprintf(wanted.data(), wanted.size(), "reaped process %d ", static_cast<int>(child));
  std::array<char, 1024> record{};
  for (;;) {
    const ssize_t size = ::read(log, record.data(), record.size() - 1);
    if (size < 0 && errno == EPIPE) continue;  // Older records are gone.
    if (size <= 0) return false;
    record[static_cast<std::size_t>(size)] = '\0';
    if (std::strstr(record.data(), wanted.data()) != nullptr) return true;
  }
}

/// Lets `child` go on until the OOM killer has killed it, and holds it where it would give up its
/// memory itself until the reaper has taken that, two seconds later (OOM_REAPER_DELAY). 0, or
/// errno.
int hold_until_reaped(pid_t child) {
  constexpr int kLooks = 100;
  const int log = ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (log < 0) return errno;
  int error = 0;
  if (::ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_TRACEEXIT) != 0 ||
      ::kill(child, SIGCONT) != 0) {
    error = errno;
  }
  int status = 0;
  while (error == 0 && status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
    if (::waitpid(child, &status, __WALL) < 0 && errno != EINTR) error = errno;
    if (error == 0 && !WIFSTOPPED(status)) error = EPROTO;
    // Stops on the way there, for the signal that started it.
    const bool there = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8);
    if (error == 0 && !there && ::ptrace(PTRACE_CONT, child, nullptr, nullptr) != 0) error = errno;
  }
  const timespec pause{0, 100'000'000};
  bool reaped = false;
  for (int look = 0; error == 0 && !reaped && look < kLooks; ++look) {
    ::nanosleep(&pause, nullptr);
    reaped = says_reaped(log, child);
  }
  ::close(log);
  return error != 0 ? error : reaped ? 0 : ETIMEDOUT;
}

}  // namespace

int announce_and_use(Agent& agent, std::uint64_t token, MappingTable& table) {
  if (!announce_mappings(agent.doorbell, token, table)) return EIO;
  use_vdso();
  return 0;
}

int run_clone_vm(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const pid_t child = child_with(
        agent, [](MappingTable& table, std::uint64_t) { return clone_and_touch(table); });
    if (const int error = ended_by("clone(CLONE_VM)", child, 0); error != 0) return error;
  }
  return 0;
}

int run_exec_thread(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [&agent](MappingTable&, std::uint64_t token) {
      ExecWork work{&agent, token};
      pthread_t thread{};
      const int error = ::pthread_create(&thread, nullptr, exec_from_thread, &work);
      if (error == 0) ::pthread_join(thread, nullptr);  // The exec ends this wait.
      return error != 0 ? error : EPROTO;
    });
    if (const int error = ended_by("exec from a thread", child, 0); error != 0) return error;
  }
  return 0;
}

int run_exec_failed(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  constexpr const char* kProgram = "/tmp/bad-program";
  if (!make_bad_program(kProgram)) return errno;
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [](MappingTable&, std::uint64_t) {
      char path[] = "/tmp/bad-program";
      char* const arguments[] = {path, nullptr};
      ::execve(path, arguments, arguments + 1);
      return errno;  // Too early: the old program is still there.
    });
    if (const int error = ended_by("exec that fails late", child, SIGSEGV); error != 0)
      return error;
  }
  return 0;
}

int run_exec_failed_late(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [](MappingTable&, std::uint64_t) {
      exec_without_stack();
      return errno;  // Too early: the old program is still there.
    });
    if (const int error = ended_by("exec without room for its tables", child, SIGSEGV); error != 0)
      return error;
  }
  return 0;
}

int run_core_dump(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  constexpr const char* kPattern = "/tmp/core";
  if (!write_file("/proc/sys/kernel/core_pattern", kPattern, std::strlen(kPattern), 0))
    return errno;
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [](MappingTable&, std::uint64_t) {
      const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
      ::setrlimit(RLIMIT_CORE, &all);
      ::signal(SIGABRT, SIG_DFL);
      ::raise(SIGABRT);
      return EPROTO;
    });
    if (const int error = ended_by("core dump", child, SIGABRT); error != 0) return error;
    if (::access(kPattern, R_OK) != 0 || ::unlink(kPattern) != 0) {
      say("core dump: no %s: %s", kPattern, std::strerror(errno));
      return ENOENT;
    }
  }
  return 0;
}

int run_personality(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  constexpr std::array<unsigned long, 4> kPersonas = {ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT,
                                                      READ_IMPLIES_EXEC, ADDR_LIMIT_3GB};
  for (; done < count; ++done) {
    const unsigned long persona = kPersonas[done % kPersonas.size()];
    const pid_t child = child_with(agent, [&agent, persona](MappingTable&, std::uint64_t token) {
      if (::personality(persona) < 0) return errno;
      return exec_image(kStaticImage, agent.doorbell, token);
    });
    if (const int error = ended_by("exec under a personality", child, 0); error != 0) return error;
  }
  return 0;
}

int run_knobs(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const scenario::Knob& knob = scenario::kKnobs[done % scenario::kKnobs.size()];
    std::array<char, 32> before{};
    // vm.drop_caches can't be read, and has nothing to be put back.
    const ssize_t size = read_whole(knob.path, std::span(before).first(before.size() - 1));
    if (!write_file(knob.path, knob.value, std::strlen(knob.value), 0)) return errno;
    const pid_t child = child_with(agent, [&agent](MappingTable&, std::uint64_t token) {
      return exec_image(kStaticImage, agent.doorbell, token);
    });
    const int error = ended_by(knob.path, child, 0);
    if (size > 0 && !write_file(knob.path, before.data(), static_cast<std::size_t>(size), 0)) {
      return errno;
    }
    if (error != 0) return error;
  }
  return 0;
}

int run_uprobes(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  constexpr std::uint32_t kTimes = 16;
  for (; done < count; ++done) {
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent, token);
    if (child == 0) {
      // [uprobes] is there before the announcement, and used again behind it.
      int error = -set_probes(kMostProbes);
      if (error == 0) error = -static_cast<int>(hit_probes(kMostProbes, 1));
      MappingTable table;
      if (error == 0) error = announce_and_use(agent, token, table);
      if (error == 0 && table.find("[uprobes]") == nullptr) error = ENOENT;
      // Its tables change in between: user mode is judged again only where they do.
      for (std::uint32_t i = 0; i < kTimes && error == 0; ++i) {
        void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (page == MAP_FAILED) error = errno;
        if (error == 0) error = -static_cast<int>(hit_probes(kMostProbes, 1));
      }
      touch_mappings(table);
      ::_exit(error);
    }
    if (const int error = ended_by("probes", child, 0); error != 0) return error;
  }
  return 0;
}

int run_mrelease(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [](MappingTable&, std::uint64_t) {
      ::raise(SIGSTOP);
      return EPROTO;
    });
    if (child < 0) return EAGAIN;
    int error = wait_until_stopped(child);
    if (error == 0) error = kill_and_release(child);
    if (error != 0) {
      say("process_mrelease: %s", std::strerror(error));
      ::kill(child, SIGKILL);
    }
    const int ended = ended_by("process_mrelease", child, SIGKILL);
    if (error != 0 || ended != 0) return error != 0 ? error : ended;
  }
  return 0;
}

int run_oom(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const pid_t child = child_with(agent, [](MappingTable&, std::uint64_t) {
      // Until its parent traces it.
      ::raise(SIGSTOP);
      return take_all_memory();
    });
    if (child < 0) return EAGAIN;
    int error = wait_until_stopped(child);
    if (error == 0) error = hold_until_reaped(child);
    if (error != 0) {
      say("OOM reaper: %s", std::strerror(error));
      ::kill(child, SIGKILL);
    }
    ::ptrace(PTRACE_DETACH, child, nullptr, nullptr);
    const int ended = ended_by("OOM killer", child, SIGKILL);
    if (error != 0 || ended != 0) return error != 0 ? error : ended;
  }
  return 0;
}

}  // namespace sealvisor::agent
