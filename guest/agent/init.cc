#include "guest/agent/init.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "guest/agent/announce.h"
#include "guest/agent/boot_words.h"
#include "guest/agent/console.h"
#include "guest/agent/controls.h"
#include "guest/agent/cpus.h"
#include "guest/agent/machine.h"
#include "guest/agent/process.h"
#include "guest/agent/programs.h"
#include "guest/agent/prompt.h"
#include "guest/agent/run_plan.h"
#include "guest/agent/start.h"
#include "guest/agent/symbols.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {
namespace {

/// A plan that can't be run is a scenario that failed, so that the VMM sees it too.
void refuse_plan(Doorbell& doorbell, int status) {
  doorbell.scenario_begin("plan");
  doorbell.scenario_end("plan", status, 0);
}

bool load_plan(Doorbell& doorbell, scenario::Plan& plan) {
  // One byte more than a plan may have, so that a longer one shows.
  static std::array<char, scenario::kMaxPlanSize + 1> text;
  const ssize_t size = read_whole("/plan", text);
  if (size < 0) {
    refuse_plan(doorbell, ENOENT);
    return false;
  }
  if (!scenario::parse_plan({text.data(), static_cast<std::size_t>(size)}, plan)) {
    const std::size_t shown = std::min<std::size_t>(plan.text.size(), 64);
    say("/plan line %zu: %.*s: \"%.*s\"", plan.line, static_cast<int>(plan.error.size()),
        plan.error.data(), static_cast<int>(shown), plan.text.data());
    refuse_plan(doorbell, EINVAL);
    return false;
  }
  return true;
}

bool asks_for(const scenario::Plan& plan, std::string_view scenario) {
  return std::any_of(
      plan.items.begin(), plan.items.begin() + static_cast<std::ptrdiff_t>(plan.size),
      [&](const scenario::PlanItem& item) { return item.scenario->name == scenario; });
}

/// Announces this process and does what the plan says.
void follow_plan(Agent& agent, const scenario::Plan& plan) {
  MappingTable known;
  agent.skip_all = asks_for(plan, "lie/skip");
  bool announced = false;
  if (asks_for(plan, "lie/vvar-from-boot")) {
    announced = announce_false_vvar(agent.doorbell, known);
  } else if (asks_for(plan, "lie/omit-vdso")) {
    announced = announce_without_vdso(agent.doorbell, known);
  } else {
    announced = announce_mappings(agent.doorbell, 0, known);
  }
  if (!announced) return;
  run_plan(agent, known, plan);
  run_programs(agent);
}

/// Everything between set-up and reset.
void work() {
  if (!mount_at("proc", "/proc") || !mount_at("devtmpfs", "/dev")) return;
  take_console();
  if (!mount_at("tmpfs", "/tmp")) return;
  std::array<char, 4096> command_line{};
  const ssize_t size = read_whole("/proc/cmdline", command_line);
  if (size < 0) return;
  const BootWords words = parse_boot_words({command_line.data(), static_cast<std::size_t>(size)});
  if (words.doorbell == 0) {
    say("kernel command line: expected sealvisor.doorbell=0x<gpa>");
    return;
  }
  static Agent agent;
  if (!agent.doorbell.open(words.doorbell, words.verbose) || !install_guard()) return;
  agent.doorbell.hello();
  visit_cpus();
  if (words.symbols) pass_symbols(agent.doorbell);
  if (words.prompt) {
    MappingTable known;
    if (announce_mappings(agent.doorbell, 0, known)) prompt(agent, known);
  } else {
    static scenario::Plan plan;
    if (load_plan(agent.doorbell, plan)) follow_plan(agent, plan);
  }
  agent.doorbell.bye();
}

}  // namespace

void init_main() {
  work();
  reset_machine();
}

}  // namespace sealvisor::agent
