#include "vmm/app/program_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/programs.h"
#include "vmm/report/layout.h"
#include "vmm/report/program.h"

namespace sealvisor::app {

namespace {

using report::Change;

constexpr std::string_view kHeader = "sealvisor-scenarios 1";
constexpr std::uint64_t kMostBytes = 1U << 20;
constexpr std::size_t kLongestName = 40;
/// Words for a change beside the report's own.
constexpr std::string_view kKept = "kept";
constexpr std::string_view kChanged = "changed";

constexpr Change kChanges[] = {Change::Unobserved, Change::Unchanged,         Change::Refaulted,
                               Change::Added,      Change::PermissionChanged, Change::Privatised,
                               Change::Gone,       Change::Replaced,          Change::Moved};

struct Word {
  std::string text;
};

class Parser {
 public:
  Parser(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  [[nodiscard]] Result<std::vector<UserScenario>> run() {
    bool headed = false;
    while (!text_.empty()) {
      const std::size_t end = text_.find('\n');
      const std::string_view line = text_.substr(0, end);
      text_ = end == std::string_view::npos ? std::string_view{} : text_.substr(end + 1);
      ++line_;
      auto words = split(line);
      if (!words) return words.error();
      if (words.value().empty()) continue;
      if (!headed) {
        if (words.value().size() != 2 ||
            words.value()[0].text + " " + words.value()[1].text != kHeader) {
          return bad(fmt::format("expected '{}'", kHeader), line);
        }
        headed = true;
        continue;
      }
      if (auto taken = take(words.value(), line); !taken) return taken.error();
    }
    if (!headed) return bad("the file is empty", "");
    if (scenarios_.empty()) return bad("there is no scenario", "");
    if (auto ended = end_scenario(); !ended) return ended.error();
    return std::move(scenarios_);
  }

 private:
  [[nodiscard]] Error bad(const std::string& what, std::string_view line) const {
    return bad_at(line_, what, line);
  }
  [[nodiscard]] Error bad_at(std::size_t number, const std::string& what,
                             std::string_view line) const {
    const std::string shown = report::printable(line.substr(0, 80));
    return Error{ExitCode::Usage, fmt::format("{}:{}: {}{}", name_, number, what,
                                              shown.empty() ? "" : ": " + shown)};
  }

  [[nodiscard]] Result<std::vector<Word>> split(std::string_view line) const {
    std::vector<Word> words;
    std::size_t at = 0;
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (at < line.size()) {
      if (is_space(line[at])) {
        ++at;
        continue;
      }
      if (line[at] == '#') break;
      Word word;
      if (line[at] == '"') {
        for (++at; at < line.size() && line[at] != '"'; ++at) {
          if (line[at] == '\\' && at + 1 < line.size()) ++at;
          word.text += line[at];
        }
        if (at == line.size()) return bad("a quote that does not end", line);
        ++at;
        if (at < line.size() && !is_space(line[at])) {
          return bad("expected a space behind a quote", line);
        }
      } else {
        while (at < line.size() && !is_space(line[at])) word.text += line[at++];
      }
      if (word.text.find('\0') != std::string::npos) return bad("holds a NUL", line);
      words.push_back(std::move(word));
    }
    return words;
  }

  [[nodiscard]] Status take(const std::vector<Word>& words, std::string_view line) {
    const std::string& verb = words[0].text;
    if (verb == "scenario") return begin_scenario(words, line);
    if (scenarios_.empty()) return bad("expected 'scenario NAME'", line);
    UserScenario& scenario = scenarios_.back();
    if (verb == "run") return take_run(scenario, words, line);
    if (verb == "env") {
      if (words.size() != 2 || words[1].text.find('=') == std::string::npos) {
        return bad("expected env NAME=TEXT", line);
      }
      if (scenario.environment.size() + 4 >= scenario::kMaxProgramWords) {
        return bad("too many variables", line);
      }
      scenario.environment.push_back(words[1].text);
      return {};
    }
    if (verb == "limit") {
      const auto seconds = words.size() == 2 ? number_of(words[1].text) : std::nullopt;
      if (!seconds || *seconds < 1 ||
          *seconds > static_cast<std::int32_t>(scenario::kMaxProgramSeconds)) {
        return bad(fmt::format("expected limit 1 to {}", scenario::kMaxProgramSeconds), line);
      }
      scenario.limit_seconds = static_cast<std::uint32_t>(*seconds);
      return {};
    }
    if (verb == "untraced") {
      if (words.size() != 1) return bad("expected nothing behind 'untraced'", line);
      scenario.traced = false;
      return {};
    }
    if (verb == "expect") return take_expectation(scenario, words, line);
    return bad("expected scenario, run, env, limit, untraced or expect", line);
  }

  [[nodiscard]] Status begin_scenario(const std::vector<Word>& words, std::string_view line) {
    if (auto ended = end_scenario(); !ended) return ended;
    const auto good = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    };
    if (words.size() != 2 || words[1].text.empty() || words[1].text.size() > kLongestName ||
        !std::all_of(words[1].text.begin(), words[1].text.end(), good)) {
      return bad(fmt::format("expected scenario and a name of at most {} small letters, digits, "
                             "'-', '_' and '.'",
                             kLongestName),
                 line);
    }
    if (!names_.insert(words[1].text).second) return bad("a scenario of this name is there", line);
    if (scenarios_.size() == scenario::kMaxProgramCount) {
      return bad(fmt::format("more than {} scenarios", scenario::kMaxProgramCount), line);
    }
    UserScenario& scenario = scenarios_.emplace_back();
    scenario.name = words[1].text;
    scenario.line = line_;
    return {};
  }

  [[nodiscard]] Status end_scenario() const {
    if (scenarios_.empty() || !scenarios_.back().command.empty()) return {};
    return bad_at(scenarios_.back().line,
                  fmt::format("scenario {} has no run line", scenarios_.back().name), "");
  }

  [[nodiscard]] Status take_run(UserScenario& scenario, const std::vector<Word>& words,
                                std::string_view line) const {
    if (!scenario.command.empty()) return bad("a second run line", line);
    if (words.size() < 2 || words[1].text.empty()) return bad("expected run PROGRAM", line);
    if (words.size() - 2 > scenario::kMaxProgramWords) {
      return bad(fmt::format("more than {} arguments", scenario::kMaxProgramWords), line);
    }
    for (std::size_t i = 1; i < words.size(); ++i) scenario.command.push_back(words[i].text);
    return {};
  }

  [[nodiscard]] Status take_expectation(UserScenario& scenario, const std::vector<Word>& words,
                                        std::string_view line) const {
    Expectation expectation;
    expectation.line = line_;
    std::size_t at = 1;
    if (at < words.size() && (words[at].text == "sealed" || words[at].text == "unsealed")) {
      expectation.sealed = words[at].text == "sealed";
      ++at;
    }
    const std::size_t left = words.size() - at;
    const std::string what = left > 0 ? words[at].text : "";
    const std::string value = left > 1 ? words[at + 1].text : "";
    if (what == "timeout" && left == 1) {
      expectation.kind = Expectation::Kind::Timeout;
    } else if (what == "exit" && left == 2) {
      const auto status = number_of(value);
      if (!status || *status > 255) return bad("expected exit 0 to 255", line);
      expectation.kind = Expectation::Kind::Exit;
      expectation.number = *status;
    } else if (what == "signal" && left == 2) {
      const auto signal = signal_of(value);
      if (!signal) return bad("expected signal and a name as SIGSEGV", line);
      expectation.kind = Expectation::Kind::Signal;
      expectation.number = *signal;
    } else if ((what == "output" || what == "errors") && left == 2 && !value.empty()) {
      expectation.kind = what == "output" ? Expectation::Kind::Output : Expectation::Kind::Errors;
      expectation.name = value;
    } else if (what.starts_with("[") && left == 2) {
      if (!is_change(value)) return bad(fmt::format("expected {}", changes()), line);
      expectation.kind = Expectation::Kind::Mapping;
      expectation.name = what;
      expectation.change = value;
    } else {
      return bad(
          "expected [sealed|unsealed] and exit N, signal NAME, timeout, MAPPING CHANGE, output "
          "\"TEXT\" or errors \"TEXT\"",
          line);
    }
    scenario.expectations.push_back(std::move(expectation));
    return {};
  }

  [[nodiscard]] static std::optional<std::int32_t> number_of(const std::string& text) {
    std::int32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
  }

  [[nodiscard]] static std::optional<std::int32_t> signal_of(std::string_view name) {
    if (name.starts_with("SIG")) name.remove_prefix(3);
    for (int signal = 1; signal < NSIG; ++signal) {
      const char* known = ::sigabbrev_np(signal);
      if (known != nullptr && name == known) return signal;
    }
    return std::nullopt;
  }

  [[nodiscard]] static bool is_change(std::string_view word) {
    return word == kKept || word == kChanged ||
           std::any_of(std::begin(kChanges), std::end(kChanges),
                       [&](Change change) { return word == report::name_of(change); });
  }

  [[nodiscard]] static std::string changes() {
    std::string text = fmt::format("{}, {}", kKept, kChanged);
    for (const Change change : kChanges) text += fmt::format(", {}", report::name_of(change));
    return text;
  }

  std::string_view text_;
  std::string_view name_;
  std::size_t line_ = 0;
  std::vector<UserScenario> scenarios_;
  std::set<std::string> names_;
};

/// The worst that happened to a mapping in the address spaces of a program.
struct Worst {
  bool there = false;
  Change change = Change::Unobserved;
  std::uint64_t absent = 0;
  std::uint64_t spaces_left_out = 0;  ///< Of which nothing is known.
};

Worst worst_of(const report::Program& program, const std::string& mapping) {
  Worst worst;
  worst.spaces_left_out = program.spaces_left_out;
  for (const report::ProgramSpace& space : program.spaces) {
    for (const report::ProgramMapping& one : space.mappings) {
      if (one.name != mapping) continue;
      worst.there = true;
      worst.change = std::max(worst.change, one.change);
      worst.absent += one.absent;
    }
  }
  return worst;
}

/// What came instead of what `expectation` says; empty: it is met.
std::string against(const Expectation& expectation, const report::Program& program) {
  using Kind = Expectation::Kind;
  using Outcome = report::Program::Outcome;
  switch (expectation.kind) {
    case Kind::Exit:
      if (program.outcome == Outcome::Exited && program.value == expectation.number) return "";
      return fmt::format("expected exit status {}, got {}", expectation.number,
                         report::outcome_text(program));
    case Kind::Signal: {
      if (program.outcome == Outcome::Killed && program.value == expectation.number) return "";
      const char* name = ::sigabbrev_np(expectation.number);
      return fmt::format("expected the signal SIG{}, got {}", name == nullptr ? "?" : name,
                         report::outcome_text(program));
    }
    case Kind::Timeout:
      return program.outcome == Outcome::TooLong
                 ? ""
                 : "expected that its time is up, got " + report::outcome_text(program);
    case Kind::Output:
    case Kind::Errors: {
      const bool output = expectation.kind == Kind::Output;
      const std::string& text = output ? program.output : program.errors;
      if (text.find(expectation.name) != std::string::npos) return "";
      return fmt::format(
          "expected \"{}\" in its {}{}", report::printable(expectation.name),
          output ? "output" : "errors",
          program.output_left_out == 0
              ? ""
              : fmt::format(", of which (and of the other) {} bytes were not kept: --output keeps "
                            "more",
                            program.output_left_out));
    }
    case Kind::Mapping:
      break;
  }
  const Worst worst = worst_of(program, expectation.name);
  const std::string observed =
      !worst.there ? "that no address space of it has such a mapping"
                   : fmt::format("{}{}{}", report::name_of(worst.change),
                                 worst.absent == 0
                                     ? ""
                                     : fmt::format(", and {} pages absent at the end that nothing "
                                                   "touched again",
                                                   worst.absent),
                                 worst.spaces_left_out == 0
                                     ? ""
                                     : fmt::format(", and {} address spaces more only counted",
                                                   worst.spaces_left_out));
  const bool visible = worst.change > Change::Refaulted;
  const bool quiet = worst.there && worst.absent == 0 && worst.spaces_left_out == 0;
  const bool met = expectation.change == kKept
                       ? quiet && !visible && worst.change != Change::Unobserved
                   : expectation.change == kChanged
                       ? worst.there && visible
                       : worst.there && expectation.change == report::name_of(worst.change) &&
                             (visible || quiet);
  return met ? ""
             : fmt::format("expected {} {}, observed {}", expectation.name, expectation.change,
                           observed);
}

/// Whether the kernel is sealed: what its recipe promises, else what it says of its mappings.
bool is_sealed(const report::Run& run) {
  if (run.expectations) return run.sealed;
  return std::any_of(run.mappings.begin(), run.mappings.end(),
                     [](const auto& mapping) { return mapping.claims_sealed.value_or(false); });
}

}  // namespace

Result<std::vector<UserScenario>> parse_scenarios(std::string_view text, std::string_view name) {
  return Parser(text, name).run();
}

Result<std::string> read_scenarios(const std::filesystem::path& path) {
  // A FIFO would be waited for.
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return Error{ExitCode::Usage, path.string() + ": is not a regular file"};
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error(ExitCode::Usage, path.string());
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return errno_error(ExitCode::Usage, "reading " + path.string());
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMostBytes) {
    return Error{ExitCode::Usage,
                 fmt::format("{}: longer than {} bytes", path.string(), kMostBytes)};
  }
  return text;
}

Result<std::vector<UserScenario>> load_scenarios(const std::filesystem::path& path) {
  const auto text = read_scenarios(path);
  if (!text) return text.error();
  return parse_scenarios(text.value(), path.string());
}

void judge_scenarios(report::Run& run, const std::vector<UserScenario>& scenarios,
                     std::string_view name) {
  const bool sealed = is_sealed(run);
  const std::size_t count = std::min(scenarios.size(), run.programs.size());
  for (std::size_t i = 0; i < count; ++i) {
    report::Program& program = run.programs[i];
    program.judged = true;
    // Of one that the guest did not get to, that is said.
    if (program.outcome == report::Program::Outcome::CutOff) continue;
    std::vector<Expectation> all;
    bool has_end = false;
    for (const Expectation& expectation : scenarios[i].expectations) {
      if (expectation.sealed.value_or(sealed) != sealed) continue;
      has_end = has_end || expectation.kind <= Expectation::Kind::Timeout;
      all.push_back(expectation);
    }
    if (!has_end) all.emplace_back();
    for (const Expectation& expectation : all) {
      const std::string wrong = against(expectation, program);
      if (wrong.empty()) continue;
      const std::size_t line = expectation.line == 0 ? scenarios[i].line : expectation.line;
      run.findings.push_back({fmt::format("{}/{}/program/{}/line-{}/expectation",
                                          arch::name_of(run.arch), run.recipe, program.name, line),
                              "expectation", fmt::format("{}:{}: {}", name, line, wrong), false,
                              ""});
    }
  }
}

}  // namespace sealvisor::app
