// /init of an emulated host: runs one program, sends what it left in /out, ends the machine.
//
// Reads from the initramfs:
//   /job          the program and its arguments, one a line
//   /environment  NAME=VALUE, one a line; may be absent
//   /deadline     milliseconds that the program may run
// The program has the console as its standard streams. vmm/engine/nested is the other side.
#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/engine/nested/port_frame.h"

namespace {

using namespace sealvisor::engine::nested;  // NOLINT(google-build-using-namespace)
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostJobBytes = 65536;
constexpr std::chrono::milliseconds kPortTime{10'000};
constexpr unsigned kMostDepth = 8;

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
  std::array<char, 512> text{};
  va_list values;
  va_start(values, format);
  std::vsnprintf(text.data(), text.size(), format, values);
  va_end(values);
  ::dprintf(STDERR_FILENO, "sealvisor-host: %s\n", text.data());
}

/// Says what failed and why.
void say_errno(const char* what, const char* name) {
  say("%s %s: %s", what, name, std::strerror(errno));
}

/// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct DirectoryClose {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, DirectoryClose>;

/// Milliseconds until `until`, for poll(2): at least 0.
int left_until(Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

/// The contents of a small file; nullopt and errno if it can't be read or is too large.
std::optional<std::string> read_small(const char* path) {
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  std::string text;
  std::array<char, 4096> block{};
  for (;;) {
    const ssize_t count = ::read(file.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(count));
    if (text.size() > kMostJobBytes) {
      errno = EFBIG;
      return std::nullopt;
    }
  }
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

struct Job {
  std::vector<std::string> arguments;  ///< The program first.
  std::vector<std::string> environment;
  std::chrono::milliseconds deadline{0};
};

std::optional<Job> read_job() {
  const auto arguments = read_small("/job");
  if (!arguments) {
    say_errno("reading", "/job");
    return std::nullopt;
  }
  const auto deadline = read_small("/deadline");
  if (!deadline) {
    say_errno("reading", "/deadline");
    return std::nullopt;
  }
  Job job;
  job.arguments = lines_of(*arguments);
  if (job.arguments.empty()) {
    say("/job is empty, expected a program and its arguments, one a line");
    return std::nullopt;
  }
  char* end = nullptr;
  const unsigned long value = std::strtoul(deadline->c_str(), &end, 10);
  if (end == deadline->c_str() || *end != '\n' || value == 0 || value > 3'600'000) {
    say("/deadline: expected 1 to 3600000 milliseconds");
    return std::nullopt;
  }
  job.deadline = std::chrono::milliseconds(value);
  if (const auto environment = read_small("/environment")) job.environment = lines_of(*environment);
  return job;
}

bool mount_at(const char* type, const char* where) {
  ::mkdir(where, 0755);  // The initramfs may have it; mount says if it has not.
  if (::mount(type, where, type, 0, nullptr) == 0 || errno == EBUSY) return true;
  say_errno("mounting", where);
  return false;
}

/// Makes /dev/console the standard streams. The kernel did so if the initramfs has the node.
void take_console() {
  const int fd = ::open("/dev/console", O_RDWR);
  if (fd < 0) return;
  for (int stream = 0; stream <= 2; ++stream) ::dup2(fd, stream);
  if (fd > 2) ::close(fd);
}

struct End {
  FrameKind kind = FrameKind::NotStarted;
  std::uint64_t value = 0;
};

std::vector<char*> pointers_of(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In the child: becomes the program, or sends errno through `report`.
[[noreturn]] void become(Job& job, const sigset_t& signals, int report) {
  ::sigprocmask(SIG_SETMASK, &signals, nullptr);
  ::setsid();
  std::vector<char*> arguments = pointers_of(job.arguments);
  std::vector<char*> environment = pointers_of(job.environment);
  ::execve(arguments[0], arguments.data(), environment.data());
  const int error = errno;
  [[maybe_unused]] const ssize_t sent = ::write(report, &error, sizeof error);
  ::_exit(127);
}

/// Takes up ended children until `wanted` is among them, at most until `until`.
std::optional<int> await_child(pid_t wanted, const sigset_t& child_ended, Clock::time_point until) {
  for (;;) {
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == wanted) return status;
    }
    const int left = left_until(until);
    if (left == 0) return std::nullopt;
    const timespec time{left / 1000, (left % 1000) * 1'000'000L};
    ::sigtimedwait(&child_ended, nullptr, &time);
  }
}

/// Kills every process but this one, so that /out is at rest.
void kill_all() {
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
}

End run(Job& job) {
  // Blocked before the fork, so that sigtimedwait(2) misses no end.
  sigset_t child_ended;
  sigset_t before;
  ::sigemptyset(&child_ended);
  ::sigaddset(&child_ended, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_ended, &before);
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return {FrameKind::NotStarted, static_cast<unsigned>(errno)};
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const auto until = Clock::now() + job.deadline;
  const pid_t pid = ::fork();
  if (pid < 0) return {FrameKind::NotStarted, static_cast<unsigned>(errno)};
  if (pid == 0) become(job, before, writing.get());
  writing = Fd();
  const auto status = await_child(pid, child_ended, until);
  kill_all();
  if (!status) {
    say("%s was killed: it ran longer than %lld ms", job.arguments[0].c_str(),
        static_cast<long long>(job.deadline.count()));
    return {FrameKind::Deadline, 0};
  }
  int error = 0;
  if (::read(reading.get(), &error, sizeof error) == sizeof error) {
    errno = error;
    say_errno("running", job.arguments[0].c_str());
    return {FrameKind::NotStarted, static_cast<unsigned>(error)};
  }
  if (WIFSIGNALED(*status)) return {FrameKind::Killed, static_cast<unsigned>(WTERMSIG(*status))};
  return {FrameKind::Exited, static_cast<unsigned>(WEXITSTATUS(*status))};
}

/// The port, once the driver has made it. The kernel announces new devices on a netlink socket
/// (lib/kobject_uevent.c), so this waits for one of those between two looks.
class Port {
 public:
  [[nodiscard]] bool open() {
    const Fd news(
        ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;
    if (!news.valid() ||
        ::bind(news.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      say_errno("listening for", "new devices");
      return false;
    }
    const auto until = Clock::now() + kPortTime;
    for (;;) {
      fd_ = Fd(::open(kPortDevice, O_RDWR | O_CLOEXEC));
      if (fd_.valid()) return true;
      if (errno != ENOENT && errno != ENXIO) break;
      const int left = left_until(until);
      pollfd entry{news.get(), POLLIN, 0};
      if (left == 0 || ::poll(&entry, 1, left) <= 0) break;
      std::array<char, 4096> message{};
      while (::recv(news.get(), message.data(), message.size(), 0) > 0) {
      }
      errno = ENOENT;
    }
    say_errno("opening", kPortDevice);
    return false;
  }

  [[nodiscard]] bool send(const void* data, std::size_t size) const {
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t count = ::write(fd_.get(), at, size);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        say_errno("writing to", kPortDevice);
        return false;
      }
      at += count;
      size -= static_cast<std::size_t>(count);
    }
    return true;
  }

  /// Waits until the other side says that it has everything.
  void await_taken() const {
    pollfd entry{fd_.get(), POLLIN, 0};
    char answer = 0;
    if (::poll(&entry, 1, static_cast<int>(kPortTime.count())) <= 0 ||
        ::read(fd_.get(), &answer, 1) != 1 || answer != kTaken) {
      say("the receiver of %s did not say that it has everything", kPortDevice);
    }
  }

 private:
  Fd fd_;
};

bool send_file(const Port& port, const std::string& name, int file, std::uint64_t size) {
  const FrameHeader header{static_cast<std::uint32_t>(FrameKind::File),
                           static_cast<std::uint32_t>(name.size()), size};
  if (!port.send(&header, sizeof header) || !port.send(name.data(), name.size())) return false;
  std::array<char, 65536> block{};
  while (size > 0) {
    const std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(size, block.size()));
    const ssize_t count = ::read(file, block.data(), wanted);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      say("/out/%s became shorter while it was read", name.c_str());
      return false;
    }
    if (!port.send(block.data(), static_cast<std::size_t>(count))) return false;
    size -= static_cast<std::uint64_t>(count);
  }
  return true;
}

/// What one stream may carry is counted here too, so that a refusal names the file.
struct Budget {
  std::uint64_t bytes = kMostTotalBytes;
  std::uint32_t files = kMostFiles;
};

bool send_entry(const Port& port, int folder, const std::string& prefix, const char* entry,
                Budget& budget, unsigned depth);

/// Sends what is in the folder `fd`. False: the port does not work, or a file went short.
bool send_folder(const Port& port, Fd fd, const std::string& prefix, Budget& budget,
                 unsigned depth) {
  const int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3);
  const Directory directory(copy < 0 ? nullptr : ::fdopendir(copy));
  if (directory == nullptr) {
    say_errno("reading", "/out");
    return true;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (!send_entry(port, fd.get(), prefix, entry->d_name, budget, depth)) return false;
  }
  return true;
}

bool send_entry(const Port& port, int folder, const std::string& prefix, const char* entry,
                Budget& budget, unsigned depth) {
  const std::string name = prefix + entry;
  const auto pass_over = [&name](const char* why) {
    say("/out/%s is not sent: %s", name.c_str(), why);
    return true;
  };
  if (!valid_name(name)) return pass_over("its name has other characters than the port takes");
  Fd file(::openat(folder, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return pass_over(std::strerror(errno));
  if (S_ISDIR(status.st_mode)) {
    if (depth == kMostDepth) return pass_over("too many folders in folders");
    return send_folder(port, std::move(file), name + "/", budget, depth + 1);
  }
  if (!S_ISREG(status.st_mode)) return pass_over("not a file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > kMostFileBytes || size > budget.bytes) return pass_over("too large");
  if (budget.files == 0) return pass_over("too many files");
  budget.bytes -= size;
  --budget.files;
  return send_file(port, name, file.get(), size);
}

void report(End end) {
  Port port;
  if (!port.open()) return;
  const StreamHeader header;
  if (!port.send(&header, sizeof header)) return;
  Budget budget;
  Fd out(::open("/out", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.valid()) {
    say_errno("opening", "/out");
  } else if (!send_folder(port, std::move(out), "", budget, 0)) {
    return;
  }
  const FrameHeader last{static_cast<std::uint32_t>(end.kind), 0, end.value};
  if (port.send(&last, sizeof last)) port.await_taken();
}

void work() {
  if (!mount_at("proc", "/proc") || !mount_at("sysfs", "/sys") || !mount_at("devtmpfs", "/dev")) {
    return;
  }
  take_console();
  if (!mount_at("tmpfs", "/tmp") || !mount_at("tmpfs", "/out")) return;
  ::mkdir("/dev/shm", 01777);
  auto job = read_job();
  report(job ? run(*job) : End{FrameKind::NotStarted, EINVAL});
}

/// QEMU runs with -no-reboot and ends.
[[noreturn]] void reset_machine() {
  ::sync();
  ::reboot(RB_AUTOBOOT);
  say_errno("resetting", "the machine");
  ::reboot(RB_POWER_OFF);
  // The deadline on the other side ends a machine that can't end itself.
  for (;;) ::pause();
}

}  // namespace

int main() {
  if (::getpid() != 1) {
    say("this is the first process of an emulated host and does nothing elsewhere");
    return 2;
  }
  work();
  reset_machine();
}
