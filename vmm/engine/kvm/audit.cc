#include "vmm/engine/kvm/audit.h"

namespace sealvisor::engine::kvm {

Audit::Audit(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer)
    : Watch(arch, observer),
      scanner_(memory, {arch::frame_of(memory.base()), memory.size() >> arch::kPageShift}, *this) {}

model::StoreSource Audit::unknown_writer(const VcpuState& state) const {
  model::StoreSource source = this->source(state);
  source.pc = 0;
  source.user_mode = false;
  return source;
}

void Audit::follow_user(const VcpuState& state) {
  scanner_.scan_user(state.root, unknown_writer(state));
}

void Audit::follow_upper(const VcpuState& state) {
  scanner_.scan_upper(state.upper_root, unknown_writer(state));
}

}  // namespace sealvisor::engine::kvm
