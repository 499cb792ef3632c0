#include "vmm/engine/kvm/watch.h"

namespace sealvisor::engine::kvm {

using event::Event;
using event::Kind;

model::StoreSource Watch::source(const VcpuState& state) const {
  model::StoreSource source;
  source.pc = state.pc;
  source.icount = moment_;
  source.root = state.root;
  source.user_mode = state.user_mode;
  return source;
}

Event Watch::stamp(Kind kind, const VcpuState& state) const {
  Event event{};
  event.kind = kind;
  event.icount = moment_;
  event.pc = state.pc;
  event.root = state.root;
  return event;
}

void Watch::flush() {
  if (batch_.empty()) return;
  observer_.on_events(batch_);
  batch_.clear();
}

void Watch::note_paging(const VcpuState& state) {
  if (paging_ == state.paging) return;
  paging_ = state.paging;
  Event event = stamp(Kind::Registers, state);
  event.old_value = state.paging.first;
  event.new_value = state.paging.second;
  event.aux = state.paging.third;
  emit(event);
  // Paging of a kind that is refused is named by who gets the event.
  auto format = model::format_of(arch_, state.paging);
  if (!format) return;
  set_format(format.value());
  has_format_ = true;
}

void Watch::on_planted(const Planted& planted, const VcpuState& state) {
  if (planted.sites != 0 && planted.unplanted.empty()) return;
  on_limit(event::Limit::UntrappedReturn, arch::Gpa{}, state);
}

void Watch::on_limit(event::Limit limit, arch::Gpa gpa, const VcpuState& state) {
  Event event = stamp(Kind::Limit, state);
  event.gpa = gpa.value;
  event.aux = static_cast<std::uint64_t>(limit);
  emit(event);
  flush();
}

void Watch::on_user_return(const VcpuState& state) {
  ++user_returns_;
  next_moment();
  note_paging(state);
  if (has_format_) follow_user(state);
  Event event = stamp(Kind::UserEntry, state);
  event.aux = state.upper_root;
  emit(event);
  flush();
}

StopReply Watch::on_doorbell(const MachineExit& exit, const VcpuState& state) {
  note_paging(state);
  if (has_format_) {
    follow_user(state);
    follow_upper(state);
  }
  Event event = stamp(Kind::Doorbell, state);
  event.gpa = exit.gpa.value;
  event.size = exit.size;
  event.new_value = exit.value;
  event.flags = state.user_mode ? event::kUserMode : std::uint8_t{0};
  emit(event);
  flush();
  return observer_.on_stopped(event);
}

void Watch::on_content_write(arch::Gpa slot, std::uint64_t old_value, std::uint64_t new_value,
                             std::uint8_t size, const VcpuState& state) {
  Event event = stamp(Kind::ContentWrite, state);
  event.gpa = slot.value;
  event.size = size;
  event.parts = 1;
  event.old_value = old_value;
  event.new_value = new_value;
  event.flags = state.user_mode ? event::kUserMode : std::uint8_t{0};
  emit(event);
  flush();
}

void Watch::on_end() {
  Event event = stamp(Kind::RunEnd, {});
  event.aux = most_tables();
  emit(event);
  // No answer is asked for: the kernel was on its way down, and its tables are as it left them.
  flush();
}

}  // namespace sealvisor::engine::kvm
