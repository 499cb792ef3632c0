// The user's programs that one run of a guest is to start: /programs in the initramfs, made by the
// VMM and read by the agent.
//
// Text, lines that end in '\n'. The first line is `sealvisor-programs 1`. Then, for each program in
// the order in which they run, a line `program` and the lines that belong to it:
//
//   root <path>       what it has as its root folder
//   run <path>        its image, seen from there
//   arg <text>        one argument behind its name; in order
//   env <NAME=text>   one variable of its environment
//   limit <seconds>   of the guest's clock; what is still there then is ended
//   output <bytes>    most of its output and of its errors, each, that is passed on
//   untraced          its processes are not followed
//
// A text is the rest of the line, whatever it holds. Anything else is an error that names the line,
// and then no program is run at all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/scenario/words.h"

namespace sealvisor::scenario {

inline constexpr std::string_view kProgramsHeader = "sealvisor-programs 1";
/// Most bytes of the list, programs in it, arguments and variables of one.
inline constexpr std::size_t kMaxProgramsSize = 262'144;
inline constexpr std::size_t kMaxProgramCount = 64;
inline constexpr std::size_t kMaxProgramWords = 64;
/// Most seconds and bytes of output.
inline constexpr std::uint32_t kMaxProgramSeconds = 86'400;
inline constexpr std::uint32_t kMaxProgramOutput = 16U << 20;

/// One program. Pointers lead into the text that it was read from.
struct ProgramItem {
  const char* root = nullptr;
  const char* run = nullptr;
  std::array<char*, kMaxProgramWords> arguments{};
  std::size_t argument_count = 0;
  std::array<char*, kMaxProgramWords> variables{};
  std::size_t variable_count = 0;
  std::uint32_t limit_seconds = 60;
  std::uint32_t output_bytes = 65'536;
  bool traced = true;
};

struct ProgramList {
  std::array<ProgramItem, kMaxProgramCount> items{};
  std::size_t size = 0;
  std::string_view error{};  ///< Empty: the list is good.
  std::size_t line = 0;      ///< 1-based line of the error.
};

namespace detail {

/// What is wrong with a line that belongs to `item`; empty: nothing.
[[nodiscard]] constexpr std::string_view read_program_line(ProgramItem& item, std::string_view verb,
                                                           char* text, std::string_view rest) {
  if (verb == "untraced") {
    item.traced = false;
    return rest.empty() ? std::string_view{} : "words behind 'untraced'";
  }
  if (verb == "root" || verb == "run") {
    if (rest.empty() || rest.front() != '/') return "expected a path that begins with a slash";
    (verb == "root" ? item.root : item.run) = text;
    return {};
  }
  if (verb == "arg" || verb == "env") {
    auto& words = verb == "arg" ? item.arguments : item.variables;
    std::size_t& count = verb == "arg" ? item.argument_count : item.variable_count;
    if (count == words.size()) return "more than 64 arguments or variables";
    words[count++] = text;
    return {};
  }
  if (verb == "limit") {
    item.limit_seconds = number(rest, kMaxProgramSeconds);
    return item.limit_seconds == 0 ? "expected 1 to 86400 seconds" : std::string_view{};
  }
  if (verb == "output") {
    item.output_bytes = number(rest, kMaxProgramOutput);
    return item.output_bytes == 0 ? "expected 1 to 16777216 bytes" : std::string_view{};
  }
  return "no such line";
}

}  // namespace detail

/// Reads a whole list. Each '\n' of `text` becomes a NUL, so that its texts are strings; `list`
/// points into it. True if it is good; else `list.error` says why not.
[[nodiscard]] constexpr bool parse_programs(std::span<char> text, ProgramList& list) {
  list.size = 0;
  list.error = {};
  list.line = 0;
  const auto fail = [&](std::string_view why) {
    list.error = why;
    return false;
  };
  if (text.size() > kMaxProgramsSize) return fail("longer than 262144 bytes");
  for (std::size_t at = 0; at < text.size();) {
    ++list.line;
    std::size_t end = at;
    while (end < text.size() && text[end] != '\n') ++end;
    if (end == text.size()) return fail("cut short: the last line does not end");
    text[end] = '\0';
    const std::string_view line(text.data() + at, end - at);
    if (line.find('\0') != std::string_view::npos) return fail("holds a NUL");
    if (list.line == 1) {
      if (line != kProgramsHeader) return fail("not a list of this version");
    } else if (line == "program") {
      if (list.size == list.items.size()) return fail("more than 64 programs");
      list.items[list.size++] = ProgramItem{};
    } else if (list.size == 0) {
      return fail("expected 'program'");
    } else {
      std::string_view rest = line;
      const std::string_view verb = next_word(rest);
      char* const behind = text.data() + end - rest.size();
      const std::string_view error =
          detail::read_program_line(list.items[list.size - 1], verb, behind, rest);
      if (!error.empty()) return fail(error);
    }
    at = end + 1;
  }
  if (list.line == 0) return fail("empty");
  for (std::size_t i = 0; i < list.size; ++i) {
    if (list.items[i].root == nullptr || list.items[i].run == nullptr) {
      return fail("a program without 'root' or without 'run'");
    }
  }
  return true;
}

}  // namespace sealvisor::scenario
