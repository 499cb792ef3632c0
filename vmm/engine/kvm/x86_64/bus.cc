#include "vmm/engine/kvm/x86_64/bus.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "vmm/engine/kvm/exits.h"

namespace sealvisor::engine::kvm::x86_64 {

namespace {

constexpr std::uint16_t kSerialPort = 0x3f8;  // COM1, eight ports
constexpr std::uint16_t kKeyboardCommand = 0x64;
constexpr std::byte kKeyboardReset{0xfe};  // pulses the reset line (Linux, machine_real_restart)
constexpr std::uint16_t kRtcIndex = 0x70;
constexpr std::uint16_t kRtcData = 0x71;
constexpr std::uint64_t kTrapBytes = 2;  // out imm8, al
constexpr int kEmptyBus = 0xff;

}  // namespace

std::optional<PortAccess> port_access(const kvm_run& run, std::span<std::byte> shared) {
  const auto& io = run.io;
  const std::uint64_t bytes = std::uint64_t{io.size} * io.count;
  if (bytes == 0 || bytes > shared.size() || io.data_offset > shared.size() - bytes) {
    return std::nullopt;
  }
  return PortAccess{io.port, io.direction == KVM_EXIT_IO_OUT, io.size, io.count,
                    shared.subspan(io.data_offset, bytes)};
}

bool is_planted(std::span<const std::uint64_t> planted, std::uint64_t rip) {
  const auto at = std::upper_bound(planted.begin(), planted.end(), rip);
  // KVM may have stepped over the instruction already, or not yet.
  return at != planted.begin() && rip - *std::prev(at) <= kTrapBytes;
}

void Bus::set_planted(std::vector<std::uint64_t> planted) {
  planted_ = std::move(planted);
  std::sort(planted_.begin(), planted_.end());
}

Status Bus::on_serial(const PortAccess& access) {
  const auto offset = static_cast<std::uint16_t>(access.port - kSerialPort);
  for (std::span<std::byte> left = access.data; !left.empty(); left = left.subspan(access.size)) {
    // A register has one byte; what is beside it is an empty bus.
    if (access.out) {
      serial_.uart().write(offset, std::to_integer<std::uint8_t>(left.front()));
    } else {
      std::memset(left.data(), kEmptyBus, access.size);
      left.front() = std::byte{serial_.uart().read(offset)};
    }
  }
  return serial_.settle(lines_);
}

Result<MachineExit> Bus::on_port(const PortAccess& access, std::uint64_t rip) {
  if (access.out && access.port == kTrapPort && is_planted(planted_, rip)) {
    counters_.count(Counted::UserReturn);
    return MachineExit{ExitKind::UserReturn};
  }
  if (access.port >= kSerialPort && access.port < kSerialPort + Uart8250::kRegisters) {
    counters_.count(Counted::Serial);
    if (auto done = on_serial(access); !done) return done.error();
    return MachineExit{};
  }
  counters_.count(Counted::OtherDevice);
  if (access.out) {
    if (access.port == kKeyboardCommand && access.data.front() == kKeyboardReset) {
      return reset("keyboard controller");
    }
    return MachineExit{};
  }
  // An empty bus reads as ones; the keyboard controller is ready, the clock stands at zero.
  const bool zero =
      access.port == kKeyboardCommand || access.port == kRtcIndex || access.port == kRtcData;
  std::memset(access.data.data(), zero ? 0 : kEmptyBus, access.data.size());
  return MachineExit{};
}

MachineExit Bus::on_mmio(kvm_run& run, std::uint64_t rip) {
  if (run.mmio.is_write == 0) {
    counters_.count(Counted::OtherDevice);
    std::memset(run.mmio.data, kEmptyBus, sizeof run.mmio.data);
    return {};
  }
  MachineExit exit = on_store(run, doorbell_, ram_, counters_);
  if (exit.kind != ExitKind::ReadOnly || !guard_.holds(arch::frame_of(exit.gpa))) return exit;
  // KVM emulated the instruction (it does so with shadow paging) and could not store.
  const std::span<std::byte> to = ram_.at(exit.gpa, exit.size);
  std::memcpy(to.data(), &exit.value, to.size());
  counters_.count(Counted::GuardedStore);
  MachineExit stored;
  stored.kind = ExitKind::Stored;
  stored.pc = rip;
  stored.stores = {{exit.gpa, exit.size}};
  return stored;
}

}  // namespace sealvisor::engine::kvm::x86_64
