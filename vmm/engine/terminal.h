// The caller's terminal as the guest's console.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::engine {

/// Filters what is typed: Ctrl-A x quits, Ctrl-A a (or a second Ctrl-A) sends one Ctrl-A, and
/// Ctrl-A before any other key is passed on with it.
class EscapeFilter {
 public:
  /// What to send to the guest. After a quit the rest of `typed` is dropped.
  [[nodiscard]] std::string filter(std::string_view typed);
  [[nodiscard]] bool quit() const { return quit_; }

 private:
  bool escaped_ = false;
  bool quit_ = false;
};

/// What the end of input becomes: Ctrl-D, which the guest's terminal takes for it (termios(3),
/// VEOF).
inline constexpr char kEndOfInput = 0x04;

/// Waits for a text on the console, in however many pieces it comes.
class ReadyWatch {
 public:
  /// `text`: not empty.
  explicit ReadyWatch(std::string text) : text_(std::move(text)) {}
  /// Takes what the console shows. True once: the text is complete.
  [[nodiscard]] bool shown(std::string_view bytes);

 private:
  std::string text_;
  std::string tail_;  ///< Until it is complete.
  bool ready_ = false;
};

/// Sets the terminal that a Terminal holds in raw mode back to what it was; nothing if there is
/// none. Only system calls: for handlers of signals that end the process.
void restore_terminal() noexcept;

/// Standard input and output, with a terminal in raw mode until the object ends.
///
/// A signal that ends the process (a crash, SIGHUP, SIGQUIT) restores the terminal first; what else
/// ends it without unwinding calls restore_terminal(). Only SIGKILL leaves a raw terminal behind.
class Terminal {
 public:
  /// Uses `input` and `output`, which are only borrowed. If `input` is a terminal it is set to raw
  /// mode: Ctrl-C then goes to the guest. One terminal at a time can be raw, for signals have one
  /// place to look. Errors: raw mode is refused, another one is raw (exit code HostLacks).
  [[nodiscard]] static Result<Terminal> open(int input, int output);

  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  /// Whether the input is a terminal, in raw mode now.
  [[nodiscard]] bool raw() const { return raw_; }
  /// The input, opened anew so that it can be made non-blocking without that reaching others who
  /// share it. Not valid if the input can't be waited for (a plain file, /dev/null): then the guest
  /// gets no input.
  [[nodiscard]] const Fd& input() const { return own_input_; }
  /// Writes all, waiting while the output is full. False: it is gone, or full for five seconds, or
  /// `give_up`, which is asked at least every 20 ms of waiting, says so.
  [[nodiscard]] bool write(
      std::string_view bytes, const std::function<bool()>& give_up = [] { return false; }) const;

 private:
  Terminal(int input, int output) : input_(input), output_(output) {}

  int input_;
  int output_;
  bool raw_ = false;
  Fd own_input_;
};

}  // namespace sealvisor::engine
