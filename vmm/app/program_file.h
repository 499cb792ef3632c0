// The user's own scenarios: which programs to run, and what must come of it, without a compiler.
//
// Text. `#` begins a comment. The first line is `sealvisor-scenarios 1`; then, for each scenario, a
// line `scenario NAME` and the lines that belong to it:
//
//   run PROGRAM [ARGUMENT...]      its program, seen from the folder; a word in "quotes" may hold
//                                  spaces, with \" and \\ for these two
//   env NAME=TEXT                  a variable of its environment
//   limit SECONDS                  of the guest's clock (default 60)
//   untraced                       its processes are not followed by ptrace
//   expect [sealed|unsealed] WHAT  what must come of it, on such a kernel only if it is named
//
// WHAT is one of
//
//   exit N | signal NAME | timeout   how it ends; without such a line: exit 0
//   MAPPING CHANGE                   the worst that user mode saw happen to it, in any address
//                                    space of the program: kept, changed, or a word of the report
//                                    (report::name_of)
//   output "TEXT" | errors "TEXT"    what it writes holds this
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/report/report.h"

namespace sealvisor::app {

/// One `expect` line.
struct Expectation {
  enum class Kind : std::uint8_t { Exit, Signal, Timeout, Mapping, Output, Errors };
  Kind kind{};
  std::size_t line = 0;        ///< 0: of no line, the default.
  std::optional<bool> sealed;  ///< On such a kernel only; nullopt: on any.
  std::int32_t number = 0;     ///< Exit, Signal.
  std::string name;            ///< Mapping, its name; Output and Errors, the text.
  std::string change;          ///< Mapping: the word.
};

struct UserScenario {
  std::string name;
  std::size_t line = 0;
  std::vector<std::string> command;  ///< Program and arguments.
  std::vector<std::string> environment;
  std::uint32_t limit_seconds = 60;
  bool traced = true;
  std::vector<Expectation> expectations;
};

/// The name of the file in a folder of scenarios.
inline constexpr const char* kScenariosFile = "scenarios";

/// Reads the text of such a file; `name` is for messages. Errors (Usage): "NAME:LINE: ..." with
/// what is there and what was expected.
[[nodiscard]] Result<std::vector<UserScenario>> parse_scenarios(std::string_view text,
                                                                std::string_view name);

/// The text of a file. Error (Usage): unreadable, or too long.
[[nodiscard]] Result<std::string> read_scenarios(const std::filesystem::path& path);

/// Both at once.
[[nodiscard]] Result<std::vector<UserScenario>> load_scenarios(const std::filesystem::path& path);

/// Adds a finding ("expectation") to `run` for each expectation that its programs do not meet, and
/// marks them as judged.
/// `scenarios`: those that were run, in that order; `name`: of their file, for messages.
void judge_scenarios(report::Run& run, const std::vector<UserScenario>& scenarios,
                     std::string_view name);

}  // namespace sealvisor::app
