#include "guest/agent/cells.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string>

#include "guest/agent/console.h"
#include "guest/agent/victim.h"

namespace sealvisor::agent {
namespace {

using protocol::Skip;

/// Becomes the 32-bit program that is the victim (main_helper.cc). Returns errno if that fails.
int exec_victim(const Doorbell& doorbell, const scenario::PlanItem& item) {
  const scenario::Scenario& scenario = *item.scenario;
  std::array<std::string, 7> words = {kCompatImage,
                                      "victim",
                                      std::to_string(doorbell.gpa()),
                                      std::to_string(item.cell),
                                      std::string(item.mapping->smaps_name),
                                      std::string(scenario.operation->name),
                                      std::string(name_of(scenario.form))};
  std::string verbose = "verbose";
  std::array<char*, words.size() + 2> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  if (doorbell.verbose()) arguments[words.size()] = verbose.data();
  char* const environment[] = {nullptr};
  ::execve(kCompatImage, arguments.data(), environment);
  return errno;
}

/// Whether this guest can have the mapping at all. Of a 32-bit process that program finds out.
bool may_have(const MappingTable& known, const scenario::Mapping& mapping) {
  return mapping.compat || mapping.smaps_name == "[uprobes]" ||
         known.find(mapping.smaps_name) != nullptr;
}

}  // namespace

int run_cell(Agent& agent, const MappingTable& known, const scenario::PlanItem& item) {
  if (agent.skip_all || !may_have(known, *item.mapping)) {
    skip_cell(agent.doorbell, item, Skip::NoMapping);
    return 0;
  }
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child < 0) return EAGAIN;
  if (child == 0) {
    if (!item.mapping->compat) run_victim(agent.doorbell, item);
    const int error = exec_victim(agent.doorbell, item);
    // A kernel that runs no such programs has no such mappings.
    if (error != ENOEXEC && error != ENOENT) ::_exit(error);
    skip_cell(agent.doorbell, item, Skip::NoMapping);
    ::_exit(0);
  }
  const Ending ending = wait_for(child);
  if (ending.signal != 0) {
    agent.doorbell.cell_end(item.cell, ending.signal, Skip::No);
    return 0;
  }
  if (ending.error != 0) say("cell %u: the victim gave up, error %d", item.cell, ending.error);
  return ending.error;
}

}  // namespace sealvisor::agent
