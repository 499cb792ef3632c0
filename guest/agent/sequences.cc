#include "guest/agent/sequences.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guest/agent/console.h"
#include "guest/compat/list.h"

namespace sealvisor::agent {
namespace {

int exec_sequence(const Doorbell& doorbell, std::uint64_t token, const char* name) {
  static char high[] = "/helpers/compat";
  static char low[] = "/helpers/compat-low";
  const compat::Sequence* const sequence = compat::find(name);
  char* const path = sequence != nullptr && sequence->low ? low : high;
  char gpa[24];
  char number[24];
  char word[protocol::kNameSize];
  std::snprintf(gpa, sizeof gpa, "%llx", static_cast<unsigned long long>(doorbell.gpa()));
  std::snprintf(number, sizeof number, "%llu", static_cast<unsigned long long>(token));
  std::snprintf(word, sizeof word, "%s", name);
  char* const arguments[] = {path, gpa, number, word, nullptr};
  char* const environment[] = {nullptr};
  ::execve(path, arguments, environment);
  return errno;
}

}  // namespace

int run_sequence(Agent& agent, const scenario::Scenario& scenario, std::uint32_t& done) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child < 0) return EAGAIN;
  // Names of scenarios end in a NUL (scenario.h).
  if (child == 0) ::_exit(exec_sequence(agent.doorbell, token, scenario.name.data()));
  const Ending ending = wait_for(child);
  if (ending.signal != 0) {
    // It can't say so itself.
    agent.doorbell.sequence_killed(token, ending.signal);
    done = 1;
    return 0;
  }
  if (ending.error == 0) done = 1;
  if (ending.error != 0) say("%s: ended with %d", scenario.name.data(), ending.error);
  return ending.error;
}

}  // namespace sealvisor::agent
