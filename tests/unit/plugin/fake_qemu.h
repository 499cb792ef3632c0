// A stand-in for the part of QEMU that the monitor talks to: translates blocks once, runs them on
// any vCPU, and has registers and memory that tests set. No emulation: a test says what an
// instruction stores. As QEMU does with vCPUs of one thread, it takes all of them for the first one
// when code calls back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/engine/tcg/plugin/qemu_api.h"

namespace sealvisor::test {

/// What an instruction stores: 8 bytes of RAM.
struct FakeStore {
  std::uint64_t vaddr = 0;
  std::uint64_t gpa = 0;
  std::uint64_t value = 0;
};

struct FakeInstruction {
  std::vector<std::uint8_t> bytes;
  std::optional<FakeStore> store{};
};

/// One in a process, as QEMU is.
class FakeQemu {
 public:
  static constexpr unsigned kVcpus = 2;
  using Registers = std::map<std::string, std::uint64_t>;

  [[nodiscard]] static FakeQemu& get();

  /// RAM from gpa 0 on.
  void set_ram(std::byte* ram) { ram_ = ram; }
  [[nodiscard]] Registers& registers(unsigned vcpu) { return registers_[vcpu]; }
  /// Translates a block at `vaddr` by `translate`, and runs it once on `vcpu`.
  void run(unsigned vcpu, std::uint64_t vaddr, std::vector<FakeInstruction> instructions,
           const std::function<void(qemu_plugin_tb*)>& translate);
  /// Calls `what` as QEMU does on that vCPU's thread.
  void on(unsigned vcpu, const std::function<void()>& what);

  // For the functions below.
  std::byte* ram_ = nullptr;
  unsigned now_ = 0;
  FakeStore storing_;
  std::array<Registers, kVcpus> registers_;
};

}  // namespace sealvisor::test
