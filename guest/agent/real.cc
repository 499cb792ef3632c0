#include "guest/agent/real.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/lines.h"
#include "guest/agent/start.h"

namespace sealvisor::agent {
namespace {

/// Most seconds of the guest's own time that one program may take.
constexpr unsigned kSeconds = 120;

constexpr const char* kUmlRuns = "sealvisor: user mode of UML runs";

/// One line of what a program printed; what a console can't show is left out.
void tell(std::string_view line) {
  char text[160];
  std::size_t size = 0;
  for (const char c : line) {
    if (size == sizeof text - 1) break;
    if (c >= 0x20 && c <= 0x7E) text[size++] = c;
  }
  text[size] = '\0';
  if (size != 0) say("real: %s", text);
}

struct Ran {
  int error = 0;  ///< errno that kept it from being run at all: then nothing of it failed.
  int code = 0;   ///< Its exit code; 128 and the signal that killed it.
};

/// Runs `arguments` and calls `take` with each line of its output.
template <typename Take>
Ran run_program(const char* const* arguments, Take take) {
  int ends[2];
  int told[2];  // The errno of an exec that fails; one that does not closes it.
  if (::pipe(ends) != 0) return {errno, 0};
  if (::pipe2(told, O_CLOEXEC) != 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return {error, 0};
  }
  const pid_t child = ::fork();
  const int fork_error = errno;
  if (child == 0) {
    ::alarm(kSeconds);
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    const char* const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp",
                                       "TMPDIR=/tmp", "TERM=dumb", nullptr};
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): execve takes it so and writes nothing.
    ::execve(arguments[0], const_cast<char* const*>(arguments),
             const_cast<char* const*>(environment));  // NOLINT
    const int error = errno;
    (void)!::write(told[1], &error, sizeof error);
    ::_exit(127);
  }
  ::close(ends[1]);
  ::close(told[1]);
  if (child < 0) {
    ::close(ends[0]);
    ::close(told[0]);
    return {fork_error, 0};
  }
  int error = 0;
  ssize_t size = 0;
  do {
    size = ::read(told[0], &error, sizeof error);
  } while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(sizeof error)) error = 0;
  ::close(told[0]);
  std::array<char, 1024> buffer{};
  std::size_t held = 0;
  for (;;) {
    const ssize_t got = ::read(ends[0], buffer.data() + held, buffer.size() - held);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    held += static_cast<std::size_t>(got);
    std::string_view rest(buffer.data(), held);
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      take(rest.substr(0, end));
      rest = rest.substr(end + 1);
    }
    if (rest.size() == buffer.size()) rest = {};
    std::memmove(buffer.data(), rest.data(), rest.size());
    held = rest.size();
  }
  ::close(ends[0]);
  const Ending ending = wait_for(child);
  return {error, ending.signal != 0 ? 128 + ending.signal : ending.error};
}

int run_uml(std::uint32_t& done) {
  const char* const arguments[] = {"/usr/bin/linux.uml",
                                   "mem=64M",
                                   "initrd=/real/uml-initrd",
                                   "con=null",
                                   "con0=null,fd:1",
                                   "ssl=null",
                                   "quiet",
                                   nullptr};
  bool runs = false;
  const Ran ran = run_program(arguments, [&](std::string_view line) {
    if (line.find(kUmlRuns) != std::string_view::npos) runs = true;
    tell(line);
  });
  if (ran.error != 0) return ran.error;
  say("real: linux.uml ended with %d", ran.code);
  done = runs ? 1 : 0;
  return 0;
}

/// The lines of a log of CRIU's that say what went wrong.
void tell_errors(const char* path) {
  (void)each_line(path, [](std::string_view line) {
    if (line.find("Error") != std::string_view::npos ||
        line.find("Warn") != std::string_view::npos) {
      tell(line);
    }
    return true;
  });
}

pid_t start_target() {
  const pid_t target = ::fork();
  if (target == 0) {
    const char* const arguments[] = {"/real/target", nullptr};
    const char* const environment[] = {nullptr};
    ::execve(arguments[0], const_cast<char* const*>(arguments),  // NOLINT
             const_cast<char* const*>(environment));             // NOLINT
    ::_exit(errno);
  }
  return target;
}

void nap() {
  constexpr std::timespec kNap{0, 300'000'000};
  ::nanosleep(&kNap, nullptr);
}

bool is_alive(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/exe", static_cast<int>(pid));
  char target[64];
  const ssize_t size = ::readlink(path, target, sizeof target);
  return size > 0 && std::string_view(target, static_cast<std::size_t>(size)) == "/real/target";
}

/// Ends a process that is not to be any more.
int end_target(pid_t target, int error) {
  ::kill(target, SIGKILL);
  (void)wait_for(target);
  return error;
}

/// CRIU binds a socket to 127.0.0.1 before anything else. 0, or an errno.
int turn_loopback_on() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP;
  const int error = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

int run_criu(std::uint32_t& done) {
  for (const char* const folder : {"/run", "/tmp/image"}) ::mkdir(folder, 0755);
  if (!mount_at("sysfs", "/sys")) return errno;
  if (const int error = turn_loopback_on(); error != 0) return error;
  const pid_t target = start_target();
  if (target < 0) return errno;
  constexpr int kMostNaps = 30;
  for (int naps = 0; naps < kMostNaps && !is_alive(target); ++naps) nap();
  if (!is_alive(target)) return end_target(target, ECHILD);
  nap();  // It has asked its vdso for the time by then.
  char pid[16];
  std::snprintf(pid, sizeof pid, "%d", static_cast<int>(target));
  const char* const dump[] = {
      "/usr/sbin/criu",          "dump", "-t", pid, "-D", "/tmp/image", "-o", "dump.log", "-v4",
      "--manage-cgroups=ignore", nullptr};
  Ran ran = run_program(dump, tell);
  if (ran.error != 0) return end_target(target, ran.error);
  say("real: criu dump ended with %d", ran.code);
  tell_errors("/tmp/image/dump.log");
  if (ran.code != 0) return end_target(target, 0);
  (void)wait_for(target);  // CRIU has killed it.
  if (!is_alive(target)) done = 1;
  const char* const restore[] = {
      "/usr/sbin/criu",          "restore", "-d", "-D", "/tmp/image", "-o", "restore.log", "-v4",
      "--manage-cgroups=ignore", nullptr};
  ran = run_program(restore, tell);
  if (ran.error != 0) return ran.error;
  say("real: criu restore ended with %d", ran.code);
  tell_errors("/tmp/image/restore.log");
  nap();
  // It has its old number again, and has used its vdso since.
  if (ran.code == 0 && is_alive(target)) done = 2;
  ::kill(target, SIGKILL);
  return 0;
}

}  // namespace

int run_real(Agent& /*agent*/, const scenario::Scenario& scenario, std::uint32_t& done) {
  if (scenario.name == "real/uml") return run_uml(done);
  if (scenario.name == "real/criu") return run_criu(done);
  return EINVAL;
}

}  // namespace sealvisor::agent
