#include "vmm/engine/kvm/audit.h"

#include <utility>

namespace sealvisor::engine::kvm {

using event::Event;
using event::Kind;

Audit::Audit(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer)
    : arch_(arch),
      observer_(observer),
      scanner_(memory, {arch::frame_of(memory.base()), memory.size() >> arch::kPageShift}, *this) {}

model::StoreSource Audit::source(const VcpuState& state) const {
  model::StoreSource source;
  source.icount = user_returns_;
  source.root = state.root;
  return source;
}

Event Audit::stamp(Kind kind, const VcpuState& state) const {
  Event event{};
  event.kind = kind;
  event.icount = user_returns_;
  event.pc = state.pc;
  event.root = state.root;
  return event;
}

void Audit::flush() {
  if (batch_.empty()) return;
  observer_.on_events(batch_);
  batch_.clear();
}

void Audit::note_paging(const VcpuState& state) {
  if (paging_ == state.paging) return;
  paging_ = state.paging;
  Event event = stamp(Kind::Registers, state);
  event.old_value = state.paging.first;
  event.new_value = state.paging.second;
  event.aux = state.paging.third;
  emit(event);
  // Paging of a kind that is refused is named by who gets the event.
  auto format = model::format_of(arch_, state.paging);
  if (format) scanner_.set_format(format.value());
}

void Audit::on_planted(const Planted& planted, const VcpuState& state) {
  if (planted.sites != 0 && planted.unplanted.empty()) return;
  Event event = stamp(Kind::Limit, state);
  event.aux = static_cast<std::uint64_t>(event::Limit::UntrappedReturn);
  emit(event);
  flush();
}

void Audit::on_user_return(const VcpuState& state) {
  ++user_returns_;
  note_paging(state);
  if (scanner_.format()) scanner_.scan_user(state.root, source(state));
  Event event = stamp(Kind::UserEntry, state);
  event.aux = state.upper_root;
  emit(event);
  flush();
}

StopReply Audit::on_doorbell(const MachineExit& exit, const VcpuState& state) {
  note_paging(state);
  if (scanner_.format()) {
    scanner_.scan_user(state.root, source(state));
    scanner_.scan_upper(state.upper_root, source(state));
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

void Audit::on_content_write(arch::Gpa slot, std::uint64_t old_value, std::uint64_t new_value,
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

void Audit::on_end() {
  Event event = stamp(Kind::RunEnd, {});
  event.aux = scanner_.most_tables();
  emit(event);
  // No answer is asked for: the kernel was on its way down, and its tables are as it left them.
  flush();
}

}  // namespace sealvisor::engine::kvm
