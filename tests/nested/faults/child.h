// A program on a terminal or a pipe, with deadlines for everything.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/fd.h"

namespace sealvisor::test {

inline constexpr std::chrono::seconds kLongest{120};

/// Becomes the program `words`. Returns if it can't, which it has said then.
void become(std::vector<std::string> words);

/// How a child ended: the exit code, or 1000 + the number of the signal, or kLate.
inline constexpr int kLate = -1;

class Child {
 public:
  /// Runs `words` in a session of its own whose terminal is a new one.
  explicit Child(const std::vector<std::string>& words);
  /// The same with a function instead of a program; it must end the process.
  explicit Child(const std::function<void()>& work);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// Kills it if it runs.
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// All that came so far.
  [[nodiscard]] const std::string& text() const { return text_; }
  void type(std::string_view keys) const;
  /// Reads until `wanted` comes behind what was waited for before. False: it ended, or is late.
  [[nodiscard]] bool wait_for(std::string_view wanted);
  /// Whether it still runs after this long; nothing is read meanwhile.
  [[nodiscard]] bool runs_for(std::chrono::milliseconds stretch) const;
  /// Reads nothing and waits until it has ended. `took`: since the call.
  [[nodiscard]] int await_end(std::chrono::duration<double, std::milli>& took);
  /// Reads all that is left, then the end.
  [[nodiscard]] int finish();
  /// The terminal's settings, as they are now and as they were at first.
  [[nodiscard]] bool settings_are_restored() const;
  [[nodiscard]] bool is_raw() const;

 private:
  void start(const std::function<void()>& work);
  [[nodiscard]] bool read_more();

  pid_t pid_ = 0;
  Fd pidfd_;
  Fd terminal_;   ///< Our end.
  Fd their_end_;  ///< Kept open, so that its settings stay.
  termios first_{};
  std::string text_;
  std::size_t waited_ = 0;
  std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::now() + kLongest;
  bool late_ = false;
};

}  // namespace sealvisor::test
