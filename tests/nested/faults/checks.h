// What the checks of one host come to, a line each.
#pragma once

#include <string>
#include <string_view>

namespace sealvisor::test {

/// Prints and counts. "PASS name: detail" or "FAIL name: why".
class Checks {
 public:
  void pass(std::string_view name, std::string_view detail);
  void fail(std::string_view name, std::string_view why);
  /// Passes if `why` is empty.
  void result(std::string_view name, std::string_view detail, const std::string& why);
  /// Prints the counts. The program's exit code: 1 if one failed or none was made.
  [[nodiscard]] int finish() const;

 private:
  unsigned passed_ = 0;
  unsigned failed_ = 0;
};

/// The process's own open files and threads, for people and for comparison: "0:/dev/console ...".
[[nodiscard]] std::string open_files();
[[nodiscard]] std::string threads();

/// An engine is used as a library: each guest to its end, and by deadline, SIGINT and SIGTERM.
void try_engine(Checks& checks);
/// `sealvisor boot` and `sealvisor verify` with each guest.
void try_program(Checks& checks);
/// `sealvisor boot` on a terminal with a real guest, and what it leaves of the terminal.
void try_console(Checks& checks);
/// A `sealvisor` that is killed.
void try_kill(Checks& checks);

}  // namespace sealvisor::test
