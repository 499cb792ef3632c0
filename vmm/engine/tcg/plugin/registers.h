// Reading the vCPU's registers through QEMU, by the names of its gdb descriptions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/engine/tcg/plugin/qemu_api.h"
#include "vmm/model/paging.h"

namespace sealvisor::engine::tcg {

/// Who runs, as far as registers tell.
enum class Mode : std::uint8_t { Kernel, User, User32 };

/// Handles of the registers that the plugin reads. Reads are valid only in callbacks that were
/// registered with QEMU_PLUGIN_CB_R_REGS, on the vCPU's own thread.
class Registers {
 public:
  /// Looks the handles up. Precondition: called on the vCPU's thread (vcpu init). An error names
  /// the register that this QEMU does not expose (exit code HostLacks).
  [[nodiscard]] static Result<Registers> find(arch::Arch arch);

  /// General register `number` as an instruction encodes it: x86-64 rax rcx rdx rbx rsp rbp rsi rdi
  /// r8..r15; arm64 x0..x30, 31 = xzr.
  [[nodiscard]] std::uint64_t general(unsigned number) const;
  /// RSP, or SP of the current exception level.
  [[nodiscard]] std::uint64_t stack_pointer() const;
  /// RBP, or X29.
  [[nodiscard]] std::uint64_t frame_pointer() const;
  /// X30; 0 on x86-64.
  [[nodiscard]] std::uint64_t link_register() const;
  [[nodiscard]] model::PagingRegisters paging() const;
  /// CR3, or TTBR0_EL1.
  [[nodiscard]] std::uint64_t lower_root() const;
  /// TTBR1_EL1; 0 on x86-64.
  [[nodiscard]] std::uint64_t upper_root() const;
  /// What a kernel keeps in a register for each CPU, to find its data of that CPU: x86-64: the GS
  /// base of the kernel, which is in IA32_KERNEL_GS_BASE while user mode runs (Intel SDM vol. 2,
  /// SWAPGS; 6.12: arch/x86/include/asm/percpu.h); arm64: TPIDR_EL1 (6.12:
  /// arch/arm64/include/asm/percpu.h). 0: none yet.
  [[nodiscard]] std::uint64_t own_word() const;
  /// Precondition: code of the lower half runs. User: CS.RPL = 3 (x86-64), PSTATE.EL = 0 (arm64).
  /// User32, of arm64: SPSR_EL1 is as an exception return to AArch32 needs it. In that state QEMU
  /// goes on to show the PSTATE that was left, EL1's (QEMU 10.0: target/arm/gdbstub64.c,
  /// helper-a64.c). A kernel that leaves SPSR_EL1 so and runs at low addresses itself looks the
  /// same.
  [[nodiscard]] Mode mode() const;

 private:
  Registers() = default;
  [[nodiscard]] std::uint64_t read(qemu_plugin_register* handle) const;

  arch::Arch arch_{};
  std::vector<qemu_plugin_register*> general_;
  qemu_plugin_register* stack_ = nullptr;
  qemu_plugin_register* lower_root_ = nullptr;
  qemu_plugin_register* upper_root_ = nullptr;
  qemu_plugin_register* first_ = nullptr;
  qemu_plugin_register* second_ = nullptr;
  qemu_plugin_register* third_ = nullptr;
  qemu_plugin_register* mode_ = nullptr;
  qemu_plugin_register* saved_ = nullptr;  ///< arm64: SPSR_EL1.
  qemu_plugin_register* own_ = nullptr;
  qemu_plugin_register* swapped_ = nullptr;  ///< x86-64: IA32_KERNEL_GS_BASE.
  GByteArray* buffer_ = nullptr;  // lives as long as the process; QEMU's allocator owns it
};

}  // namespace sealvisor::engine::tcg
