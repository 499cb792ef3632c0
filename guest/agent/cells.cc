#include "guest/agent/cells.h"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/operations.h"
#include "guest/agent/raw.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {
namespace {

using protocol::Moment;
using protocol::Skip;
using protocol::Touch;

[[noreturn]] void leave(int code) {
  for (;;) (void)raw_call(SYS_exit_group, code);
}

void touch_and_tell(Doorbell& doorbell, std::uint64_t token, Moment moment, std::uintptr_t start,
                    std::uintptr_t size) {
  std::array<Touch, protocol::kMaxPages> outcomes{};
  const std::size_t pages = std::min<std::size_t>(size / 4096, outcomes.size());
  const std::span<Touch> used = std::span(outcomes).first(pages);
  if (moment == Moment::AfterStores) {
    store_pages(start, used);
  } else {
    touch_pages(start, used);
  }
  doorbell.touched(token, moment, start, used);
}

/// The victim. After the operation nothing here needs the vdso: no clock, no libc wrapper, no
/// return from a signal handler.
[[noreturn]] void victim(Agent& agent, const scenario::PlanItem& item) {
  Doorbell& doorbell = agent.doorbell;
  const std::uint64_t token = item.cell;
  const scenario::Scenario& scenario = *item.scenario;
  const std::string_view operation = scenario::name_of(scenario.operation);
  const std::string_view form = scenario::name_of(scenario.form);

  MappingTable table;
  if (!announce_mappings(doorbell, token, table)) leave(EIO);
  const SystemMapping* mapping = table.find(item.mapping);
  if (mapping == nullptr) leave(ENOENT);  // Init has it, so its child must.
  Target target;
  const Skip skip = prepare(*mapping, scenario.operation, scenario.form, target);
  if (skip != Skip::No) {
    doorbell.cell_begin(token, item.mapping, operation, form, 0, 0);
    doorbell.cell_end(token, 0, skip);
    leave(0);
  }
  const auto start = static_cast<std::uintptr_t>(mapping->start);
  const auto size = static_cast<std::uintptr_t>(mapping->end - mapping->start);
  doorbell.cell_begin(token, item.mapping, operation, form, target.start, target.end);
  touch_and_tell(doorbell, token, Moment::BeforeOperation, start, size);
  doorbell.before(token);
  const Outcome outcome = perform(scenario.operation, target);
  const bool moved = outcome.new_start != 0 && outcome.new_start != target.start;
  doorbell.after(token, outcome.result, moved ? outcome.new_start : 0);
  touch_and_tell(doorbell, token, Moment::AfterOperation, start, size);
  if (outcome.new_start != 0) {
    touch_and_tell(doorbell, token, Moment::AtNewPlace, outcome.new_start, outcome.new_size);
  }
  if (asks_for_write(scenario.operation)) {
    touch_and_tell(doorbell, token, Moment::AfterStores, start, size);
  }
  doorbell.cell_end(token, 0, Skip::No);
  leave(0);
}

}  // namespace

int run_cell(Agent& agent, const MappingTable& known, const scenario::PlanItem& item) {
  if (agent.skip_all || known.find(item.mapping) == nullptr) {
    const scenario::Scenario& scenario = *item.scenario;
    agent.doorbell.cell_begin(item.cell, item.mapping, scenario::name_of(scenario.operation),
                              scenario::name_of(scenario.form), 0, 0);
    agent.doorbell.cell_end(item.cell, 0, Skip::NoMapping);
    return 0;
  }
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child < 0) return EAGAIN;
  if (child == 0) victim(agent, item);
  const Ending ending = wait_for(child);
  if (ending.signal != 0) {
    agent.doorbell.cell_end(item.cell, ending.signal, Skip::No);
    return 0;
  }
  if (ending.error != 0) say("cell %u: the victim gave up, error %d", item.cell, ending.error);
  return ending.error;
}

}  // namespace sealvisor::agent
