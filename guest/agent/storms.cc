#include "guest/agent/storms.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/physical.h"
#include "guest/agent/rare_life.h"
#include "guest/agent/raw.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {
namespace {

#ifndef CLONE_NEWTIME
constexpr int CLONE_NEWTIME = 0x80;  // include/uapi/linux/sched.h
#endif

/// A forked child that announces itself and then does `work`, which returns its exit code.
template <typename Work>
pid_t child_with(Agent& agent, Work work) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child != 0) return child;
  MappingTable table;
  const int error = announce_and_use(agent, token, table);
  ::_exit(error != 0 ? error : work(table));
}

int ended_well(const char* what, pid_t child) {
  if (child < 0) return EAGAIN;
  const int status = wait_for(child).status();
  if (status != 0) say("%s: a child ended with %d", what, status);
  return status;
}

/// A process that tells nothing: what it shows as vvar is not what the first process had.
template <typename Work>
int in_quiet_child(Work work) {
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(work());
  return wait_for(child).status();
}

int exec_nothing() {
  char path[] = "/init";
  char word[] = "nothing";
  char* const arguments[] = {path, word, nullptr};
  char* const environment[] = {nullptr};
  ::execve(path, arguments, environment);
  return errno;
}

/// Touches, enters, touches, and lets children be born there and exec.
int enter_time_namespace(const MappingTable& table) {
  if (::unshare(CLONE_NEWTIME) != 0) return errno;
  // By fork: the child is in it.
  const int forked = in_quiet_child([&] {
    touch_mappings(table);
    use_vdso();
    return exec_nothing();  // And a program that begins there.
  });
  if (forked != 0) return forked;
  // By setns: this process, which has shown its own vvar until now.
  const File space("/proc/self/ns/time_for_children", O_RDONLY);
  if (!space.good() || ::setns(space.get(), CLONE_NEWTIME) != 0) return errno;
  touch_mappings(table);
  use_vdso();
  return in_quiet_child([&] {
    touch_mappings(table);
    use_vdso();
    return 0;
  });
}

bool write_word(const char* path, const char* word) {
  const File file(path, O_WRONLY);
  return file.good() && ::write(file.get(), word, std::strlen(word)) > 0;
}

/// Reads a page of `child`'s [vdso] in every way that there is for another process.
int inspect(pid_t child, const MappingTable& table) {
  const SystemMapping* const vdso = table.find("[vdso]");
  if (vdso == nullptr) return ENOENT;
  char path[64];
  std::array<char, 4096> page{};
  std::snprintf(path, sizeof path, "/proc/%d/mem", static_cast<int>(child));
  const File memory(path, O_RDONLY);
  const auto at = static_cast<off64_t>(vdso->start);
  if (!memory.good() || ::pread64(memory.get(), page.data(), page.size(), at) <= 0) return errno;
  iovec to{page.data(), page.size()};
  iovec from{reinterpret_cast<void*>(static_cast<std::uintptr_t>(vdso->start)), page.size()};
  if (::process_vm_readv(child, &to, 1, &from, 1, 0) <= 0) return errno;
  errno = 0;
  (void)::ptrace(PTRACE_PEEKDATA, child, from.iov_base, nullptr);
  if (errno != 0) return errno;
  for (const char* const name : {"smaps", "pagemap", "maps"}) {
    std::snprintf(path, sizeof path, "/proc/%d/%s", static_cast<int>(child), name);
    const File file(path, O_RDONLY);
    if (file.good()) {
      while (::read(file.get(), page.data(), page.size()) > 0) {
        if (std::strcmp(name, "pagemap") == 0)
          break;  // It has a word for each page there could be.
      }
    }
  }
  // Accessed bits of all pages: Documentation/filesystems/proc.rst, clear_refs.
  std::snprintf(path, sizeof path, "/proc/%d/clear_refs", static_cast<int>(child));
  return write_word(path, "1") ? 0 : errno;
}

/// Traced from its first instruction on, so that it stands still while it is looked at.
int inspect_child(Agent& agent) {
  MappingTable table;  // The child's is the same: it is forked.
  if (!read_mappings(table)) return EIO;
  const pid_t child = child_with(agent, [](const MappingTable& own) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return errno;
    ::raise(SIGSTOP);
    touch_mappings(own);
    use_vdso();
    return 0;
  });
  if (child < 0) return EAGAIN;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  int error = WIFSTOPPED(status) ? inspect(child, table) : EPROTO;
  // What it touches next may raise a signal, which is its own.
  if (error == 0 && ::ptrace(PTRACE_DETACH, child, nullptr, nullptr) != 0) error = errno;
  if (error != 0) {
    say("inspecting a child: %s", std::strerror(error));
    ::kill(child, SIGKILL);
    (void)wait_for(child);
    return error;
  }
  return ended_well("inspection", child);
}

/// Pages that are stored to, a MiB at a time, until only `left` pages are free.
int take_memory(long left) {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  while (::sysconf(_SC_AVPHYS_PAGES) > left) {
    void* const chunk =
        ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) return errno;
    for (std::size_t at = 0; at < kChunk; at += 4096) {
      static_cast<volatile unsigned char*>(chunk)[at] = 1;
    }
  }
  return 0;
}

int run_short(const MappingTable& table) {
  constexpr long kPagesLeft = 4096;  // 16 MiB: reclaim runs, and nobody is killed.
  // A kernel without these files has no such thing.
  (void)write_word("/proc/sys/vm/drop_caches", "3");
  (void)write_word("/proc/sys/vm/compact_memory", "1");
  if (::mlockall(MCL_CURRENT) != 0 || ::munlockall() != 0) return errno;
  if (const int error = take_memory(kPagesLeft); error != 0) return error;
  (void)write_word("/proc/sys/vm/compact_memory", "1");
  (void)write_word("/proc/sys/vm/drop_caches", "3");
  touch_mappings(table);
  use_vdso();
  return 0;
}

[[noreturn]] void leave(int code) {
  for (;;) (void)raw_call(SYS_exit_group, code);
}

constexpr std::uintptr_t kAway = 0x2000'0000'0000;

/// From here on nothing needs the vdso, which may be gone: no clock, no return from a handler.
[[noreturn]] void call_on(const SystemMapping& mapping, std::uint32_t which) {
  const auto start = static_cast<std::uintptr_t>(mapping.start);
  const auto size = static_cast<std::uintptr_t>(mapping.end - mapping.start);
  switch (which % 4) {
    case 0:
      (void)raw_call(SYS_munmap, arg(start), arg(size));
      break;
    case 1:
      (void)raw_call(SYS_mremap, arg(start), arg(size), arg(size), MREMAP_MAYMOVE | MREMAP_FIXED,
                     arg(kAway));
      break;
    case 2:
      (void)raw_call(SYS_mprotect, arg(start), arg(size), PROT_NONE);
      break;
    default:
      (void)raw_call(SYS_madvise, arg(start), arg(size), MADV_DONTNEED);
      break;
  }
  (void)touch_page(start);
  (void)touch_page(kAway);
  (void)touch_page(start);
  leave(0);
}

}  // namespace

int run_time_namespaces(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const int status = ended_well(
        "time namespace",
        child_with(agent, [](const MappingTable& table) { return enter_time_namespace(table); }));
    if (status != 0) return status;
  }
  return 0;
}

int run_inspections(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    if (const int error = inspect_child(agent); error != 0) return error;
  }
  return 0;
}

int run_shortage(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const int status = ended_well(
        "shortage", child_with(agent, [](const MappingTable& table) { return run_short(table); }));
    if (status != 0) return status;
  }
  return 0;
}

int run_own_calls(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < 4 * count; ++done) {
    const std::uint32_t which = done;
    const pid_t child = child_with(agent, [which](const MappingTable& table) {
      const SystemMapping* const mapping = table.find("[vdso]");
      if (mapping == nullptr) return ENOENT;
      call_on(*mapping, which);
    });
    if (const int status = ended_well("own calls", child); status != 0) return status;
  }
  return 0;
}

}  // namespace sealvisor::agent
