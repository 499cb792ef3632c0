// The program itself as a child process, for tests: its output, its files, what it leaves behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/fd.h"

namespace sealvisor::test {

/// Path of `build/sealvisor`.
[[nodiscard]] const std::string& program_path();

/// Bytes of a file; empty: it can't be read.
[[nodiscard]] std::string whole_file(const std::filesystem::path& path);

/// A folder that goes with the test.
class Folder {
 public:
  Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A program with pipes for its input, its standard output and its standard error. Everything that
/// it starts carries a mark in its environment, by which it is found however it was left behind.
class Child {
 public:
  /// What standard error is.
  enum class Errors {
    Pipe,
    Terminal,  ///< A terminal that controls it: Ctrl-C can be typed there, progress is shown.
  };
  explicit Child(std::vector<std::string> words, Errors errors = Errors::Pipe);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] pid_t pid() const { return child_; }
  /// All that came so far: both outputs as they came, or one of them.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::string& output() const { return output_text_; }
  [[nodiscard]] const std::string& errors() const { return errors_text_; }

  /// To its standard input.
  void type(std::string_view line) const;
  /// To its terminal, as the keyboard would. Precondition: Errors::Terminal.
  void type_at_terminal(std::string_view keys) const;

  /// Reads until `wanted` comes behind what was waited for before. False: the output ended, or it
  /// took too long.
  [[nodiscard]] bool wait_for(std::string_view wanted);
  /// Reads all that is left. The exit code; -1: a signal ended it, or it took too long.
  [[nodiscard]] int finish();
  /// Processes with its mark whose command is called `name`, or all if that is empty.
  [[nodiscard]] std::vector<pid_t> processes(std::string_view name = "") const;

 private:
  bool read_more();

  std::string mark_;
  pid_t child_ = 0;
  Fd input_;
  Fd output_;
  Fd errors_;
  std::string text_;
  std::string output_text_;
  std::string errors_text_;
  std::size_t waited_ = 0;
  std::chrono::steady_clock::time_point end_;
  bool late_ = false;
};

/// Waits until `process` has ended. False: it still runs after ten seconds.
[[nodiscard]] bool ends(pid_t process);

}  // namespace sealvisor::test
