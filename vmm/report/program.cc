#include "vmm/report/program.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "vmm/report/report.h"
#include "vmm/report/words.h"

namespace sealvisor::report {

namespace {

std::string signal_text(std::int32_t number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

/// The last process that was seen in `space`.
const ProgramProcess* process_of(const Program& program, const ProgramSpace& space) {
  if (space.pids.empty()) return nullptr;
  const auto found =
      std::find_if(program.processes.rbegin(), program.processes.rend(),
                   [&](const ProgramProcess& one) { return one.pid == space.pids.back(); });
  return found == program.processes.rend() ? nullptr : &*found;
}

template <typename Is>
std::size_t count_mappings(const Program& program, Is is) {
  std::size_t count = 0;
  for (const ProgramSpace& space : program.spaces) {
    count +=
        static_cast<std::size_t>(std::count_if(space.mappings.begin(), space.mappings.end(), is));
  }
  return count;
}

}  // namespace

std::string outcome_text(const Program& program) {
  switch (program.outcome) {
    case Program::Outcome::Exited:
      return fmt::format("exit status {}", program.value);
    case Program::Outcome::Killed:
      return fmt::format("killed by {}", signal_text(program.value));
    case Program::Outcome::TooLong:
      return "ended from outside: its time was up";
    case Program::Outcome::NotRun:
      return fmt::format("could not be run: {}", name_of_errno(program.value));
    case Program::Outcome::NotTraced:
      return fmt::format("could not be traced: {}", name_of_errno(program.value));
    case Program::Outcome::CutOff:
      return "cut off: the guest ended first";
  }
  return "?";
}

bool succeeded(const Program& program) {
  return program.outcome == Program::Outcome::Exited && program.value == 0;
}

bool failed_by_itself(const Program& program) {
  return !program.judged && !succeeded(program) && program.outcome != Program::Outcome::CutOff;
}

bool not_observed(const Program& program) {
  using Outcome = Program::Outcome;
  const bool ran = program.outcome == Outcome::Exited || program.outcome == Outcome::Killed ||
                   program.outcome == Outcome::TooLong;
  return ran && program.spaces.empty();
}

std::size_t changed_mappings(const Program& program) {
  return count_mappings(program,
                        [](const ProgramMapping& one) { return one.change > Change::Refaulted; });
}

std::size_t forced_mappings(const Program& program) {
  return count_mappings(program,
                        [](const ProgramMapping& one) { return one.change == Change::Privatised; });
}

std::size_t unobserved_mappings(const Program& program) {
  return count_mappings(program,
                        [](const ProgramMapping& one) { return one.change == Change::Unobserved; });
}

std::size_t absent_mappings(const Program& program) {
  return count_mappings(program, [](const ProgramMapping& one) { return one.absent != 0; });
}

std::string change_text(const ProgramMapping& mapping) {
  std::string text = name_of(mapping.change);
  if (!mapping.text.empty()) text += " (" + mapping.text + ")";
  if (mapping.seen < mapping.pages && mapping.seen != 0) {
    text += fmt::format(", {} of {} pages seen", mapping.seen, mapping.pages);
  }
  if (mapping.absent != 0) {
    text += fmt::format(", {} page{} absent at the end and not touched again", mapping.absent,
                        mapping.absent == 1 ? "" : "s");
  }
  return text;
}

std::string claim_text(const Program& program, const ProgramSpace& space,
                       const ProgramMapping& mapping) {
  const ProgramProcess* const process = process_of(program, space);
  if (process == nullptr) return "-";
  const auto listed = [&](const std::vector<ProcessMapping>& claims) {
    return std::find_if(claims.begin(), claims.end(), [&](const ProcessMapping& one) {
      return mapping.name.starts_with(one.name) && one.start == mapping.place;
    });
  };
  // A fork that ran no image of its own has the list of its end alone.
  const std::vector<ProcessMapping>& first =
      process->first.empty() && process->last ? *process->last : process->first;
  const auto begun = listed(first);
  std::string text = begun == first.end() ? "not listed" : begun->sealed ? "sl" : "no sl";
  if (process->last && begun != first.end() && listed(*process->last) == process->last->end()) {
    text += ", not listed at its end";
  }
  return text;
}

}  // namespace sealvisor::report
