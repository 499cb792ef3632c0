// What one process reads and writes of another's memory, or of its own, past the permissions of its
// mappings or not: proc_pid_mem(5), ptrace(2), process_vm_readv(2).
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guest/agent/acts/act.h"
#include "guest/agent/acts/forced_write.h"
#include "guest/agent/acts/helper.h"
#include "guest/agent/raw.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

long seek(int file, std::uintptr_t place) {
#if defined(SYS__llseek)
  std::int64_t now = 0;
  return raw_call(SYS__llseek, file, 0, arg(place), arg(&now), SEEK_SET);
#else
  return raw_call(SYS_lseek, file, arg(place), SEEK_SET);
#endif
}

/// `number`: SYS_read or SYS_write, of the word of each page.
long each_word(int file, std::uintptr_t start, std::uintptr_t end, long number) {
  long done = 0;
  for (std::uintptr_t page = start; page < end; page += kPage) {
    std::uint64_t word = other_word(page);
    const long found = seek(file, page + kWordOffset);
    if (is_error(found)) return found;
    const long moved = raw_call(number, file, arg(&word), sizeof word);
    if (is_error(moved)) return moved;
    done += moved;
  }
  return done;
}

Skip open_own_memory(Target& t, std::uint32_t) {
  t.fd = open_memory_of(0);
  return t.fd >= 0 ? Skip::No : Skip::NoRoom;
}

/// Stops `victim` and is its tracer until release().
bool seize(pid_t victim) {
  if (::ptrace(PTRACE_SEIZE, victim, nullptr, nullptr) != 0 ||
      ::ptrace(PTRACE_INTERRUPT, victim, nullptr, nullptr) != 0) {
    return false;
  }
  int status = 0;
  while (::waitpid(victim, &status, __WALL) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFSTOPPED(status);
}
void release(pid_t victim) { ::ptrace(PTRACE_DETACH, victim, nullptr, nullptr); }

long poke(const Target& t, std::uint32_t, pid_t victim) {
  if (!seize(victim)) return -EPROTO;
  long result = 0;
  for (std::uintptr_t page = t.start; page < t.end && result == 0; page += kPage) {
    // One word of the machine, as many as ours has.
    const std::uint64_t word = other_word(page);
    for (std::size_t at = 0; at < sizeof word && result == 0; at += sizeof(long)) {
      const auto part = static_cast<unsigned long>(word >> 8 * at);
      if (::ptrace(PTRACE_POKEDATA, victim, page + kWordOffset + at, part) != 0) result = -errno;
    }
  }
  release(victim);
  return result;
}

long write_memory_of(const Target& t, pid_t victim) {
  const int file = open_memory_of(victim);
  return file < 0 ? file : write_words(file, t.start, t.end);
}

long write_as_tracer(const Target& t, std::uint32_t, pid_t victim) {
  if (!seize(victim)) return -EPROTO;
  const long result = write_memory_of(t, victim);
  release(victim);
  return result;
}

/// process_vm_writev or process_vm_readv of the word of each page.
long move_words(const Target& t, pid_t victim, bool write) {
  long done = 0;
  for (std::uintptr_t page = t.start; page < t.end; page += kPage) {
    std::uint64_t word = write ? other_word(page) : 0;
    const iovec here{&word, sizeof word};
    const iovec there{reinterpret_cast<void*>(page + kWordOffset), sizeof word};
    const ssize_t moved = write ? ::process_vm_writev(victim, &here, 1, &there, 1, 0)
                                : ::process_vm_readv(victim, &here, 1, &there, 1, 0);
    if (moved < 0) return -errno;
    done += moved;
  }
  return done;
}

long write_from_beside(const Target& t, std::uint32_t, pid_t victim) {
  return write_memory_of(t, victim);
}
long push_words(const Target& t, std::uint32_t, pid_t victim) {
  return move_words(t, victim, true);
}
long pull_words(const Target& t, std::uint32_t, pid_t victim) {
  return move_words(t, victim, false);
}

template <Job kJob>
Skip with_helper(Target& t, std::uint32_t argument) {
  return start_helper(t, argument, kJob);
}
long told(Target& t, std::uint32_t) { return run_helper(t); }

}  // namespace

int open_memory_of(pid_t pid) {
  char path[32] = "/proc/self/mem";
  if (pid != 0) std::snprintf(path, sizeof path, "/proc/%d/mem", static_cast<int>(pid));
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

std::uint64_t other_word(std::uintptr_t page) {
  // A page that can't be read gets any word.
  if (touch_page(page) != protocol::Touch::Read) return 1;
  return ~*reinterpret_cast<const volatile std::uint64_t*>(page + kWordOffset);
}

long write_words(int file, std::uintptr_t start, std::uintptr_t end) {
  return each_word(file, start, end, SYS_write);
}
long read_words(int file, std::uintptr_t start, std::uintptr_t end) {
  return each_word(file, start, end, SYS_read);
}

void add_force_ways(Ways& ways) {
  way_of(ways, Call::PtracePoke) = {told, with_helper<poke>};
  way_of(ways, Call::ProcMemSelf) = {
      [](Target& t, std::uint32_t) { return write_words(t.fd, t.start, t.end); }, open_own_memory};
  way_of(ways, Call::ProcMemRead) = {
      [](Target& t, std::uint32_t) { return read_words(t.fd, t.start, t.end); }, open_own_memory};
  way_of(ways, Call::ProcMemOther) = {told, with_helper<write_from_beside>};
  way_of(ways, Call::ProcMemTracer) = {told, with_helper<write_as_tracer>};
  way_of(ways, Call::VmWritev) = {told, with_helper<push_words>};
  way_of(ways, Call::VmReadv) = {told, with_helper<pull_words>};
}

}  // namespace sealvisor::agent
