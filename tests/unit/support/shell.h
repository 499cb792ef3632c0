// Commands of a shell for tests.
#pragma once

#include <array>
#include <cstdio>
#include <string>

namespace sealvisor::test {

struct ShellAnswer {
  int status = -1;     ///< As pclose() gives it; -1: it did not begin.
  std::string output;  ///< Of both outputs.
};

/// Runs `command` to its end.
inline ShellAnswer run_in_shell(const std::string& command) {
  ShellAnswer answer;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return answer;
  std::array<char, 4096> bytes{};
  while (const std::size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
    answer.output.append(bytes.data(), got);
  }
  answer.status = ::pclose(pipe);
  return answer;
}

}  // namespace sealvisor::test
