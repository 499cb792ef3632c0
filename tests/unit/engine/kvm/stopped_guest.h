// A guest whose vCPU stands still, without a vCPU: RAM, registers and interrupt lines of a test.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/interrupt_lines.h"
#include "vmm/engine/kvm/register_file.h"

namespace sealvisor::engine::kvm {

/// Registers that were never written hold 0.
class FakeRegisters final : public Registers {
 public:
  Result<std::uint64_t> get(std::uint64_t id) const override {
    if (id == broken) return Error{ExitCode::HostLacks, "no such register"};
    const auto found = values.find(id);
    return found == values.end() ? 0 : found->second;
  }
  Status set(std::uint64_t id, std::uint64_t value) override {
    if (id == broken) return Error{ExitCode::HostLacks, "no such register"};
    values[id] = value;
    ++writes;
    return {};
  }
  Result<std::array<std::byte, 16>> get_vector(std::uint64_t id) const override {
    const auto found = vectors.find(id);
    return found == vectors.end() ? std::array<std::byte, 16>{} : found->second;
  }
  std::map<std::uint64_t, std::uint64_t> values;
  std::map<std::uint64_t, std::array<std::byte, 16>> vectors;
  std::uint64_t broken = ~std::uint64_t{0};  ///< The one that the host does not have.
  unsigned writes = 0;
};

class FakeLines final : public InterruptLines {
 public:
  Status set_irq(std::uint32_t line, bool level) override {
    changes.emplace_back(line, level);
    if (fails) return Error{ExitCode::HostLacks, "KVM_IRQ_LINE: no"};
    return {};
  }
  std::vector<std::pair<std::uint32_t, bool>> changes;
  bool fails = false;
};

class StoppedRam : public testing::Test {
 protected:
  explicit StoppedRam(arch::Arch arch)
      : memory(std::move(memory::GuestMemory::create(arch, 64 << 20)).value()),
        ram(std::move(GuestRam::map(memory)).value()) {}

  [[nodiscard]] arch::Frame frame(std::uint64_t number) const {
    return arch::Frame{arch::frame_of(memory.base()).number + number};
  }
  void put(arch::Gpa gpa, std::uint64_t value) { std::memcpy(ram.at(gpa, 8).data(), &value, 8); }
  [[nodiscard]] std::uint64_t at(arch::Gpa gpa) const {
    std::uint64_t value = 0;
    std::memcpy(&value, ram.at(gpa, 8).data(), 8);
    return value;
  }
  /// An access to no RAM or to a read-only slot, as KVM tells it.
  static kvm_run access(std::uint64_t gpa, std::uint32_t bytes, bool write, std::uint64_t value) {
    kvm_run run{};
    run.exit_reason = KVM_EXIT_MMIO;
    run.mmio.phys_addr = gpa;
    run.mmio.len = bytes;
    run.mmio.is_write = write ? 1 : 0;
    std::memcpy(run.mmio.data, &value, sizeof run.mmio.data);
    return run;
  }
  static std::uint64_t answer(const kvm_run& run) {
    std::uint64_t value = 0;
    std::memcpy(&value, run.mmio.data, sizeof value);
    return value;
  }
  [[nodiscard]] std::uint64_t count(Counted which) { return counters.count_of(which); }

  memory::GuestMemory memory;
  GuestRam ram;
  Guard guard{ram};
  FakeLines lines;
  FakeRegisters registers;
  Counters counters{};
};

}  // namespace sealvisor::engine::kvm
