#include "vmm/engine/kvm/arm64/bus.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "vmm/engine/kvm/exits.h"

namespace sealvisor::engine::kvm::arm64 {

Result<MachineExit> Bus::on_mmio(kvm_run& run) {
  auto& mmio = run.mmio;
  const std::uint64_t offset = mmio.phys_addr - kUart.gpa.value;
  if (offset < kUart.bytes) {
    counters_.count(Counted::Serial);
    if (mmio.is_write != 0) {
      std::uint64_t value = 0;
      std::memcpy(&value, mmio.data, std::min<std::size_t>(mmio.len, sizeof mmio.data));
      serial_.uart().write(offset, static_cast<std::uint32_t>(value));
    } else {
      const std::uint64_t answer = serial_.uart().read(offset);
      std::memcpy(mmio.data, &answer, sizeof mmio.data);
    }
    if (auto settled = serial_.settle(lines_); !settled) return settled.error();
    return MachineExit{};
  }
  if (mmio.is_write != 0) return on_store(run, doorbell_, ram_, counters_);
  counters_.count(Counted::OtherDevice);
  std::memset(mmio.data, 0, sizeof mmio.data);
  return MachineExit{};
}

}  // namespace sealvisor::engine::kvm::arm64
