// Owner of one child process that can't outlive us.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor {

/// How a child ended.
struct ChildExit {
  int status = 0;          ///< Exit status; meaningful if signal == 0.
  int signal = 0;          ///< Signal that killed it, or 0.
  double cpu_seconds = 0;  ///< User and system time.
};

/// What to start.
struct ChildPlan {
  std::filesystem::path program;
  std::vector<std::string> arguments;  ///< Without the program's name.
  std::vector<int> inherited;          ///< Stay open, under the same numbers; nothing else does.
  int output = -1;                     ///< Becomes its standard output and error.
};

/// A running child. It gets standard input from /dev/null, default signal dispositions, a process
/// group of its own (so that a terminal's Ctrl-C reaches us alone), and SIGKILL when the thread
/// that started it ends (prctl(2), PR_SET_PDEATHSIG). The destructor kills and reaps it.
class Child {
 public:
  /// Errors: the program can't be run (exit code HostLacks).
  [[nodiscard]] static Result<Child> start(const ChildPlan& plan);

  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  /// Readable once the child has ended (pidfd_open(2)).
  [[nodiscard]] const Fd& pidfd() const { return pidfd_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// Kills it and what it started. Does nothing once it was reaped.
  void kill();
  /// Waits for its end, at most `limit`; nullopt if that passes. Once it has returned a value, the
  /// child is gone and further calls return the same.
  [[nodiscard]] std::optional<ChildExit> wait(std::chrono::milliseconds limit);

 private:
  Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  void reap();

  pid_t pid_ = -1;
  Fd pidfd_;
  std::optional<ChildExit> exit_;
};

}  // namespace sealvisor
