// Follows a program and all that it starts, by ptrace: what the kernel says of each process goes to
// the VMM.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// Most threads and processes at once. What comes on top is let go untraced, and said.
inline constexpr std::size_t kMaxTasks = 4096;

class Tracer {
 public:
  explicit Tracer(Doorbell& doorbell) : doorbell_(doorbell) {}
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  /// Before each program: nothing is followed. `root`: of the program, as tell_process() takes it.
  void restart(const char* root) {
    root_ = root;
    count_ = 0;
  }
  /// Follows `child`, which has not run an image of its own yet, and what it will start; all ends
  /// if this process does. 0, or an errno.
  [[nodiscard]] int follow(pid_t child);

  /// Takes what waitpid(2) with __WALL said.
  void take(pid_t tid, int status);

  /// Threads and processes that are there.
  [[nodiscard]] std::size_t tasks() const { return count_; }
  /// Of these, processes.
  [[nodiscard]] std::uint32_t processes() const;

 private:
  struct Task {
    pid_t tid = 0;
    pid_t process = 0;
    bool exiting = false;
    bool known = false;  ///< It has an image of the program's, or is a fork of one that has.
  };

  Task* find(pid_t tid);
  Task* add(pid_t tid);
  void remove(pid_t tid);
  void on_stop(pid_t tid, int signal, int event);
  void on_new(pid_t parent);
  void on_exec(pid_t tid);
  void on_exiting(Task& task);
  void ring_ended(pid_t process, int status);

  Doorbell& doorbell_;
  const char* root_ = "";
  std::array<Task, kMaxTasks> tasks_{};
  std::size_t count_ = 0;
};

}  // namespace sealvisor::agent
