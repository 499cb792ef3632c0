#include "vmm/engine/kvm/runner.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "vmm/base/cpu_time.h"
#include "vmm/engine/kvm/audit.h"
#include "vmm/engine/kvm/unwatched.h"

namespace sealvisor::engine::kvm {

void Runner::finish(End end, std::string text) {
  if (end_) return;
  end_ = end;
  text_ = std::move(text);
}

Status Runner::begin() {
  if (auto begun = io_.start(); !begun) return begun;
  if (terminal_ != nullptr && (config_.console_ready.empty() || terminal_->raw())) {
    io_.begin_input("");
  } else if (terminal_ != nullptr) {
    ready_.emplace(config_.console_ready);
  }
  // A figure and no more: a guest runs as well without it.
  if (auto counter = InstructionCounter::open()) counter_.emplace(std::move(counter).value());
  return {};
}

Status Runner::run_once() {
  auto exit = machine_.run();
  if (!exit) return exit.error();
  if (auto handled = handle(exit.value()); !handled) return handled;
  return config_.step_check && watch_ ? check_by_step(exit.value().kind) : Status();
}

Result<Outcome> Runner::run() {
  const auto started = std::chrono::steady_clock::now();
  start_.cpu_seconds = thread_cpu_seconds() + io_.start_cpu_seconds();
  while (!end_) {
    auto done = run_once();
    if (done) continue;
    if (!watch_) return done.error();
    finish(End::EngineDied, done.error().message);
  }
  if (watch_) watch_->on_end();
  // Where a guest hangs is what one asks next.
  if (end_ == End::Deadline || end_ == End::Interrupted) {
    if (auto state = machine_.state()) text_ += fmt::format(" (pc {:#x})", state.value().pc);
  }
  Outcome outcome;
  outcome.end = *end_;
  outcome.text = text_;
  outcome.started = started;
  outcome.wall_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  outcome.quit = io_.quit();
  outcome.engine_cpu_seconds = thread_cpu_seconds();
  describe(outcome);
  return outcome;
}

Status Runner::pass_input() {
  const std::size_t room = machine_.input_room();
  if (room == 0) return {};
  const std::string typed = io_.take_input(room);
  input_waits_ = typed.size() == room;
  return typed.empty() ? Status() : machine_.type(typed);
}

Status Runner::handle(const MachineExit& exit) {
  show_console();
  if (exit.kind == ExitKind::Kicked) input_waits_ = true;
  // With any exit the guest may have read some of what it had.
  if (input_waits_) {
    if (auto passed = pass_input(); !passed) return passed;
  }
  switch (exit.kind) {
    case ExitKind::Handled:
    case ExitKind::Stepped:
      break;
    case ExitKind::Kicked:
      if (auto request = io_.requested()) finish(request->end, std::move(request->text));
      break;
    case ExitKind::Doorbell:
      if (!start_.exits) note_init();
      return on_doorbell(exit);
    case ExitKind::UserReturn: {
      auto state = machine_.user_state();
      if (!state) return state.error();
      if (watch_) watch_->on_user_return(state.value());
      if (auto guarded = update_guards(); !guarded) return guarded;
      break;
    }
    case ExitKind::ReadOnly:
      return on_read_only(exit);
    case ExitKind::Stored:
    case ExitKind::Unfollowed:
      return on_stored(exit);
    case ExitKind::Reset:
      finish(End::GuestReset, exit.text);
      break;
    case ExitKind::Broken:
      finish(End::GuestCrashed, exit.text);
      break;
  }
  return {};
}

Status Runner::on_doorbell(const MachineExit& exit) {
  if (!config_.watch) return config_.messages ? on_message(exit) : Status();
  auto state = machine_.state();
  if (!state) return state.error();
  if (!planted_) {
    // The first message comes from the agent, before anything hostile runs, and with the kernel's
    // text as boot has patched it.
    auto planted = machine_.plant(state.value());
    if (!planted && planted.error().code == ExitCode::GuestFailed) {
      finish(End::GuestCrashed, planted.error().message);
      return {};
    }
    if (!planted) return planted.error();
    planted_ = std::move(planted).value();
    if (auto begun = begin_watch(state.value()); !begun) return begun;
  }
  const StopReply reply = watch_->on_doorbell(exit, state.value());
  if (reply.give_up) finish(End::GaveUp, *reply.give_up);
  if (auto guarded = update_guards(); !guarded) return guarded;
  return machine_.protect(reply.watch_content);
}

Status Runner::on_message(const MachineExit& exit) {
  auto state = machine_.state();
  if (!state) return state.error();
  if (!watch_) watch_ = std::make_unique<Unwatched>(config_.arch, observer_);
  const StopReply reply = watch_->on_doorbell(exit, state.value());
  if (reply.give_up) finish(End::GaveUp, *reply.give_up);
  return {};
}

Status Runner::begin_watch(const VcpuState& state) {
  if (config_.step_check) {
    if (auto can = machine_.can_step(); !can) return can;
  }
  if (config_.mechanism != Mechanism::Audited) {
    Status can = machine_.can_guard(state);
    if (!can && config_.mechanism == Mechanism::Exact) {
      return Error{can.error().code, "no exact mechanism here: " + can.error().message};
    }
    if (can) {
      auto exact = std::make_unique<Exact>(config_.arch, memory_, observer_);
      exact_ = exact.get();
      watch_ = std::move(exact);
    } else {
      not_exact_ = can.error().message;
    }
  }
  if (!watch_) watch_ = std::make_unique<Audit>(config_.arch, memory_, observer_);
  watch_->on_planted(*planted_, state);
  return {};
}

Status Runner::check_by_step(ExitKind kind) {
  const bool trapped = kind == ExitKind::UserReturn;
  if (trapped) step_check_.on_trap();
  const bool stepping = step_check_.stepping();
  if (!stepping && !step_check_.due()) return {};
  auto user_mode = machine_.in_user_mode();
  if (!user_mode) return user_mode.error();
  if (!stepping) {
    auto begun = machine_.begin_steps();
    if (!begun) return begun.error();
    if (begun.value()) step_check_.begin(user_mode.value());
    return {};
  }
  if (!step_check_.on_stop(trapped, user_mode.value())) {
    auto state = machine_.state();
    if (!state) return state.error();
    watch_->on_limit(event::Limit::UntrappedReturn, arch::Gpa{}, state.value());
  }
  return step_check_.stepping() ? Status() : machine_.end_steps();
}

Status Runner::update_guards() {
  if (exact_ == nullptr) return {};
  const GuardChange change = exact_->take_change();
  if (change.empty()) return {};
  return machine_.guard(change.on, change.off);
}

Status Runner::on_stored(const MachineExit& exit) {
  // Only exact_ has anything guarded.
  auto state = machine_.state();
  if (!state) return state.error();
  state.value().pc = exit.pc;
  if (exit.kind == ExitKind::Unfollowed) {
    exact_->on_limit(event::Limit::UnfollowedStore, exit.gpa, state.value());
  }
  exact_->on_stores(exit.stores, exit.stepped, state.value());
  ++stores_;
  return update_guards();
}

Status Runner::on_read_only(const MachineExit& exit) {
  // A store to code of a system mapping: done for the guest, and told.
  auto state = machine_.state();
  if (!state) return state.error();
  const std::span<std::byte> to = ram_.at(exit.gpa, exit.size);
  if (to.size() != exit.size || exit.size > sizeof exit.value) {
    finish(End::GuestCrashed, fmt::format("a store of {} bytes to {:#x}, which is no memory",
                                          exit.size, exit.gpa.value));
    return {};
  }
  const arch::Gpa first{exit.gpa.value & ~std::uint64_t{7}};
  const std::uint64_t last = (exit.gpa.value + exit.size - 1) & ~std::uint64_t{7};
  std::array<std::uint64_t, 2> before{};
  const auto slots = (last - first.value) / 8 + 1;
  const auto word = [&](std::uint64_t slot) {
    std::uint64_t value = 0;
    const std::span<std::byte> at = ram_.at(arch::Gpa{first.value + slot * 8}, 8);
    if (at.size() == 8) std::memcpy(&value, at.data(), 8);
    return value;
  };
  for (std::uint64_t slot = 0; slot < slots; ++slot) before.at(slot) = word(slot);
  std::memcpy(to.data(), &exit.value, exit.size);
  if (!exit.goes_on) watch_->on_content_store();
  for (std::uint64_t slot = 0; slot < slots; ++slot) {
    watch_->on_content_write(arch::Gpa{first.value + slot * 8}, before.at(slot), word(slot),
                             exit.size, state.value());
  }
  return {};
}

std::vector<Cost> Runner::exit_costs(const char* prefix) const {
  std::vector<Cost> costs;
  for (const ExitCount& exit : machine_.exits()) {
    costs.push_back({fmt::format("{}{}", prefix, exit.name()), exit.count, exit.microseconds});
  }
  return costs;
}

double Runner::microseconds_of(Counted which) const {
  for (const ExitCount& exit : machine_.exits()) {
    if (exit.which == which) return exit.microseconds;
  }
  return 0;
}

void Runner::note_init() {
  start_.exits = exit_costs("");
  if (counter_) start_.instructions = counter_->read();
  counter_.reset();
}

void Runner::describe(Outcome& outcome) const {
  outcome.start = start_;
  outcome.costs = exit_costs("exits: ");
  outcome.limits = machine_.limits();
  if (!planted_) {
    outcome.lane = "audited";
    if (config_.watch) outcome.limits.emplace_back("nothing was planted: the agent never rang");
    return;
  }
  outcome.lane = exact_ != nullptr ? "exact" : "audited";
  outcome.mechanism = fmt::format(
      "{}traps at {} return(s) to user mode, found in {} KiB of kernel text once the agent first "
      "rang; code of system mappings in read-only slots",
      exact_ != nullptr
          ? fmt::format("tables guarded against stores, {}; ", machine_.guarded_stores())
          : std::string(),
      planted_->sites, planted_->text_bytes >> 10);
  if (!not_exact_.empty()) outcome.limits.push_back("not exact: " + not_exact_);
  if (!planted_->unplanted.empty()) {
    outcome.limits.push_back(
        fmt::format("returns without a trap: {}", fmt::join(planted_->unplanted, ", ")));
  }
  if (config_.step_check) outcome.stepped = step_check_.counts();
  outcome.costs.push_back(
      {"judgements of user mode", watch_->user_returns(), microseconds_of(Counted::UserReturn)});
  if (exact_ != nullptr) {
    outcome.costs.push_back(
        {"stores to tables told", stores_, microseconds_of(Counted::GuardedStore)});
  }
}

void Runner::show_console() {
  const std::string bytes = machine_.take_console();
  if (bytes.empty()) return;
  if (terminal_ != nullptr) {
    observer_.on_console(bytes);
    if (ready_ && ready_->shown(bytes)) io_.begin_input(std::string(1, kEndOfInput));
    const auto stop = [this] { return io_.requested().has_value(); };
    // Why it stopped is said by who handles the request.
    if (!terminal_->write(bytes, stop) && !stop()) {
      finish(End::Interrupted, "the terminal takes no more output");
    }
    return;
  }
  const std::uint64_t room =
      config_.console_limit - std::min(console_bytes_, config_.console_limit);
  console_bytes_ += bytes.size();
  const auto passed = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), room));
  if (passed > 0) observer_.on_console({bytes.data(), passed});
  if (passed < bytes.size()) {
    finish(End::ConsoleFlood,
           fmt::format("more than {} bytes on the console", config_.console_limit));
  }
}

}  // namespace sealvisor::engine::kvm
