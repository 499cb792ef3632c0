// A program for tests of `sealvisor observe`: does to itself what its words say.
//
//   say TEXT             writes TEXT to both streams
//   exit STATUS          ends with it
//   unmap|move|none|write|over MAPPING
//                        one system call on the whole mapping; writes what came of it
//   force MAPPING        writes to its last byte through /proc/self/mem, past its permissions
//   zap MAPPING          madvise(MADV_DONTNEED), and is never touched again
//   again MAPPING        the same, and it is touched again
//   fork COUNT           so many children, of which each reads a clock
//   exec PATH WORD...    runs another image
//   threads COUNT        so many threads, of which each reads a clock
//   trace                traces a child by ptrace, as a debugger does
//   leave                ends and leaves a child running
//   hang                 never ends
//   crash                SIGSEGV
//   spew BYTES           writes so many
//   memory               opens /dev/mem, which it must not be able to
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

namespace {

struct Place {
  unsigned long start = 0;
  unsigned long end = 0;
  char permissions[5] = {};
};

bool find_mapping(const char* name, Place& place) {
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return false;
  char line[512];
  bool found = false;
  while (!found && std::fgets(line, sizeof line, maps) != nullptr) {
    line[std::strcspn(line, "\n")] = '\0';
    const std::size_t length = std::strlen(line);
    const std::size_t wanted = std::strlen(name);
    found = length > wanted && std::strcmp(line + length - wanted, name) == 0 &&
            std::sscanf(line, "%lx-%lx %4s", &place.start, &place.end, place.permissions) == 3;
  }
  std::fclose(maps);
  return found;
}

void read_clock() {
  std::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
}

/// Loads a byte of each page that may be read.
void touch(const Place& place) {
  if (place.permissions[0] != 'r') return;
  for (unsigned long at = place.start; at < place.end; at += 4096) {
    // A page of [vvar] may be one that is never there.
    if (std::strchr(place.permissions, 'x') == nullptr && at != place.start) continue;
    (void)*reinterpret_cast<const volatile char*>(at);
  }
}

/// One byte; 0, or -1 with errno.
long write_by_force(unsigned long at) {
  const int memory = ::open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (memory < 0) return -1;
  const char byte = 1;
  const ssize_t wrote = ::pwrite64(memory, &byte, 1, static_cast<off64_t>(at));
  const int error = errno;
  ::close(memory);
  errno = error;
  return wrote == 1 ? 0 : -1;
}

int act(std::string_view what, const char* mapping) {
  Place place;
  if (!find_mapping(mapping, place)) {
    std::fprintf(stderr, "no %s\n", mapping);
    return 3;
  }
  read_clock();
  const unsigned long size = place.end - place.start;
  long result = -1;
  if (what == "unmap") {
    result = ::syscall(SYS_munmap, place.start, size);
  } else if (what == "move") {
    // As far away as two of our own pages are.
    void* room = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    result = ::syscall(SYS_mremap, place.start, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  } else if (what == "none") {
    result = ::syscall(SYS_mprotect, place.start, size, PROT_NONE);
  } else if (what == "write") {
    result = ::syscall(SYS_mprotect, place.start, size, PROT_READ | PROT_WRITE | PROT_EXEC);
    if (result == 0) *reinterpret_cast<volatile char*>(place.end - 1) = 1;
  } else if (what == "force") {
    touch(place);
    result = write_by_force(place.end - 1);
  } else if (what == "over") {
    result = ::syscall(SYS_mmap, place.start, size, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (result >= 0) touch(place);
  } else {
    touch(place);
    result = ::syscall(SYS_madvise, place.start, size, MADV_DONTNEED);
    if (what == "again") touch(place);
  }
  std::printf("%s %s: %s\n", what.data(), mapping, result == -1 ? ::strerrorname_np(errno) : "ok");
  std::fflush(stdout);
  // Not exit(3): nothing of the C library's may want what is gone.
  (void)::syscall(SYS_exit_group, 0);
  return 0;
}

int fork_children(int count) {
  int failed = 0;
  for (int i = 0; i < count; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      read_clock();
      ::_exit(i == count - 1 ? 7 : 0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    failed += WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 1 : 0;
  }
  return failed == 1 ? 0 : 1;
}

void* thread_main(void* /*argument*/) {
  read_clock();
  return nullptr;
}

int run_threads(int count) {
  for (int i = 0; i < count; ++i) {
    pthread_t thread{};
    if (::pthread_create(&thread, nullptr, thread_main, nullptr) != 0) return 1;
    ::pthread_join(thread, nullptr);
  }
  return 0;
}

int trace_child() {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(9);
    ::raise(SIGSTOP);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) {
    std::printf("not traced: %d\n", WEXITSTATUS(status));
    return 1;
  }
  ::ptrace(PTRACE_CONT, child, nullptr, nullptr);
  ::waitpid(child, &status, 0);
  std::printf("traced\n");
  return 0;
}

int spew(long bytes) {
  char block[1024];
  std::memset(block, 'x', sizeof block);
  while (bytes > 0) {
    const auto some = static_cast<std::size_t>(bytes < 1024 ? bytes : 1024);
    const ssize_t wrote = ::write(STDOUT_FILENO, block, some);
    if (wrote < 0) return 1;
    bytes -= wrote;
  }
  return 0;
}

int number(int argc, char** argv) { return argc > 2 ? std::atoi(argv[2]) : 0; }

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "say";
  if (what == "say") {
    const char* text = argc > 2 ? argv[2] : "nothing";
    std::printf("%s\n", text);
    std::fprintf(stderr, "%s\n", text);
    return 0;
  }
  if (what == "exit") return number(argc, argv);
  if (what == "fork") return fork_children(number(argc, argv));
  if (what == "threads") return run_threads(number(argc, argv));
  if (what == "trace") return trace_child();
  if (what == "spew") return spew(number(argc, argv));
  if (what == "exec" && argc > 2) {
    ::execv(argv[2], argv + 2);
    return errno;
  }
  if (what == "leave") {
    if (::fork() == 0) {
      for (;;) ::pause();
    }
    return 0;
  }
  if (what == "hang") {
    for (;;) ::pause();
  }
  if (what == "crash") {
    // Not raise(3): a real fault, at an address that the compiler does not know.
    const volatile std::uintptr_t nowhere = 16;
    *reinterpret_cast<volatile int*>(nowhere) = 1;  // NOLINT
    return 0;
  }
  if (what == "memory") {
    std::printf("%s\n", ::open("/dev/mem", O_RDWR) < 0 ? ::strerrorname_np(errno) : "open");
    return 0;
  }
  if (argc > 2) return act(what, argv[2]);
  std::fprintf(stderr, "%s: no such words\n", argv[0]);
  return 2;
}
