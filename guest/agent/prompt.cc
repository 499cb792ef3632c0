#include "guest/agent/prompt.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "guest/agent/announce.h"
#include "guest/agent/boot_words.h"
#include "guest/agent/run_plan.h"
#include "guest/scenario/plan.h"
#include "guest/scenario/select.h"

namespace sealvisor::agent {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
#if defined(__x86_64__)
constexpr arch::Arch kOwnArch = arch::Arch::X86_64;
#else
constexpr arch::Arch kOwnArch = arch::Arch::Arm64;
#endif

using Answer = void (*)(Agent& agent, const MappingTable& known, const char* argument);

struct Command {
  std::string_view word;
  const char* help;
  Answer answer;
};

void show_mappings(Agent& /*agent*/, const MappingTable& /*known*/, const char* /*argument*/) {
  MappingTable now;
  if (!read_mappings(now)) return;
  for (const SystemMapping& one : now) {
    ::dprintf(STDOUT_FILENO, "%#14llx-%#llx %c%c%c %s %s\n",
              static_cast<unsigned long long>(one.start), static_cast<unsigned long long>(one.end),
              one.readable ? 'r' : '-', one.writable ? 'w' : '-', one.executable ? 'x' : '-',
              one.sealed ? "sl" : "--", one.name.data());
  }
}

void show_scenarios(Agent& /*agent*/, const MappingTable& /*known*/, const char* pattern) {
  for (const scenario::Scenario& one : scenario::kScenarios) {
    if (*pattern != '\0' && !scenario::matches(one, pattern)) continue;
    ::dprintf(STDOUT_FILENO, "%-26.*s %.*s\n", static_cast<int>(one.name.size()), one.name.data(),
              static_cast<int>(one.description.size()), one.description.data());
  }
}

void run_scenarios(Agent& agent, const MappingTable& known, const char* pattern) {
  if (*pattern == '\0') {
    ::dprintf(STDOUT_FILENO, "run needs a pattern, such as munmap/*; `scenarios` lists them\n");
    return;
  }
  static scenario::Plan plan;
  plan = {};
  const auto add = [](const scenario::PlanItem& item) {
    if (plan.size < plan.items.size()) plan.items[plan.size++] = item;
  };
  std::uint32_t cell = 0;
  for (const scenario::Scenario& one : scenario::kScenarios) {
    if (scenario::matches(one, pattern)) scenario::expand(one, kOwnArch, true, cell, add);
  }
  if (plan.size == 0) {
    ::dprintf(STDOUT_FILENO, "no scenario matches '%s'; `scenarios` lists them\n", pattern);
    return;
  }
  run_plan(agent, known, plan);
}

void show_file(Agent& /*agent*/, const MappingTable& /*known*/, const char* path) {
  if (*path == '\0') {
    ::dprintf(STDOUT_FILENO, "cat needs a file\n");
    return;
  }
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  std::array<char, 4096> block{};
  ssize_t got = fd < 0 ? -1 : 0;
  while (fd >= 0 && (got = ::read(fd, block.data(), block.size())) > 0) {
    if (::write(STDOUT_FILENO, block.data(), static_cast<std::size_t>(got)) != got) break;
  }
  if (got < 0) ::dprintf(STDOUT_FILENO, "%s: %s\n", path, std::strerror(errno));
  if (fd >= 0) ::close(fd);
}

void show_help(Agent& agent, const MappingTable& known, const char* argument);

constexpr auto kCommands = std::to_array<Command>({
    {"mappings", "             this process's system mappings; sl: sealed", show_mappings},
    {"scenarios", " [GLOB]     what can be tried", show_scenarios},
    {"run", " GLOB             try it, and trace each message to the monitor", run_scenarios},
    {"cat", " FILE             a file, such as /proc/self/smaps", show_file},
    {"help", "                 this list", show_help},
});

void show_help(Agent& /*agent*/, const MappingTable& /*known*/, const char* /*argument*/) {
  for (const Command& one : kCommands) {
    ::dprintf(STDOUT_FILENO, "%s%s\n", one.word.data(), one.help);
  }
  ::dprintf(STDOUT_FILENO,
            "exit                 end the guest, as the end of input and Ctrl-A x do\n"
            "In a trace, a letter for each page that was touched: r read, w stored to, S SIGSEGV, "
            "B SIGBUS.\n");
}

/// Carries one line out. False: it asked for the end.
bool obey(Agent& agent, const MappingTable& known, std::string_view line) {
  const std::size_t first = std::min(line.find_first_not_of(kBlank), line.size());
  line.remove_prefix(first);
  line = line.substr(0, line.find_last_not_of(kBlank) + 1);
  const std::size_t space = std::min(line.find_first_of(kBlank), line.size());
  const std::string_view word = line.substr(0, space);
  std::string_view rest = line.substr(space);
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlank), rest.size()));
  std::array<char, 256> argument{};
  rest.copy(argument.data(), argument.size() - 1);
  if (word.empty()) return true;
  if (word == "exit" || word == "quit") return false;
  for (const Command& one : kCommands) {
    if (one.word != word) continue;
    one.answer(agent, known, argument.data());
    return true;
  }
  ::dprintf(STDOUT_FILENO, "no command '%.*s'; `help` lists them\n",
            static_cast<int>(std::min<std::size_t>(word.size(), 64)), word.data());
  return true;
}

}  // namespace

void prompt(Agent& agent, const MappingTable& known) {
  utsname system{};
  ::uname(&system);
  ::dprintf(STDOUT_FILENO, "sealvisor agent, Linux %s %s; `help` lists the commands\n",
            system.release, system.machine);
  std::array<char, 256> line{};
  for (;;) {
    ::dprintf(STDOUT_FILENO, "%s", kPrompt);
    // The terminal hands over a line at a time; one that is longer counts as several.
    const ssize_t got = ::read(STDIN_FILENO, line.data(), line.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    if (!obey(agent, known, {line.data(), static_cast<std::size_t>(got)})) return;
  }
}

}  // namespace sealvisor::agent
