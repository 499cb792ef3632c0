#include "tests/nested/faults/checks.h"

#include <filesystem>
#include <set>
#include <system_error>

#include <fmt/format.h>

namespace sealvisor::test {

namespace fs = std::filesystem;

void Checks::pass(std::string_view name, std::string_view detail) {
  ++passed_;
  fmt::print("PASS {}: {}\n", name, detail);
  std::fflush(stdout);
}

void Checks::fail(std::string_view name, std::string_view why) {
  ++failed_;
  fmt::print("FAIL {}: {}\n", name, why);
  std::fflush(stdout);
}

void Checks::result(std::string_view name, std::string_view detail, const std::string& why) {
  if (why.empty()) {
    pass(name, detail);
  } else {
    fail(name, fmt::format("{} ({})", why, detail));
  }
}

int Checks::finish() const {
  fmt::print("{} checks passed, {} failed\n", passed_, failed_);
  return failed_ == 0 && passed_ != 0 ? 0 : 1;
}

std::string open_files() {
  std::set<std::string> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc/self/fd", error)) {
    // That of the listing itself is gone by now.
    const fs::path to = fs::read_symlink(entry.path(), error);
    if (!error && to.string().find("/fd") == std::string::npos) {
      files.insert(fmt::format("{}:{}", entry.path().filename().string(), to.string()));
    }
  }
  return fmt::format("{}", fmt::join(files, " "));
}

std::string threads() {
  std::set<std::string> tasks;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc/self/task", error)) {
    tasks.insert(entry.path().filename().string());
  }
  return fmt::format("{}", fmt::join(tasks, " "));
}

}  // namespace sealvisor::test
