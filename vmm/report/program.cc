#include "vmm/report/program.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "vmm/report/report.h"

namespace sealvisor::report {

namespace {

std::string error_text(std::int32_t number) {
  const char* name = ::strerrorname_np(number);
  return name != nullptr ? name : fmt::format("errno {}", number);
}

std::string signal_text(std::int32_t number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
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
      return fmt::format("could not be run: {}", error_text(program.value));
    case Program::Outcome::NotTraced:
      return fmt::format("could not be traced: {}", error_text(program.value));
    case Program::Outcome::CutOff:
      return "cut off: the guest ended first";
  }
  return "?";
}

bool succeeded(const Program& program) {
  return program.outcome == Program::Outcome::Exited && program.value == 0;
}

std::size_t changed_mappings(const Program& program) {
  return count_mappings(program,
                        [](const ProgramMapping& one) { return one.change > Change::Refaulted; });
}

std::size_t forced_mappings(const Program& program) {
  return count_mappings(program,
                        [](const ProgramMapping& one) { return one.change == Change::Privatised; });
}

}  // namespace sealvisor::report
