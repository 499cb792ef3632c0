#include "guest/agent/cells.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "guest/agent/console.h"
#include "guest/agent/victim.h"

namespace sealvisor::agent {
namespace {

using protocol::Skip;

/// Becomes the 32-bit program that is the victim (main_helper.cc). Returns errno if that fails.
int exec_victim(const Doorbell& doorbell, const scenario::PlanItem& item) {
  const scenario::Operation& operation = *item.scenario->operation;
  const std::array words = {std::to_string(item.cell), std::string(item.mapping->smaps_name),
                            std::string(operation.name), std::string(name_of(item.scenario->form))};
  return exec_helper32(doorbell, "victim", words);
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
