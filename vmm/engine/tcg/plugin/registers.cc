#include "vmm/engine/tcg/plugin/registers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace sealvisor::engine::tcg {

namespace {

// In the order of the encoding (Intel SDM vol. 2, table 2-2 and REX.B).
constexpr std::array<const char*, 16> kX86General = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                     "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                     "r12", "r13", "r14", "r15"};

/// SPSR_EL1.M of an exception return to AArch32 user mode (Arm ARM C5.2.19).
constexpr std::uint64_t kAArch32User = 0x10;

using Handles = std::unordered_map<std::string, qemu_plugin_register*>;

Handles all_registers() {
  Handles handles;
  GArray* array = qemu_plugin_get_registers();
  if (array == nullptr) return handles;
  const auto* descriptors = reinterpret_cast<const qemu_plugin_reg_descriptor*>(array->data);
  for (unsigned i = 0; i < array->len; ++i) {
    if (descriptors[i].name != nullptr) handles.emplace(descriptors[i].name, descriptors[i].handle);
  }
  g_array_free(array, 1);
  return handles;
}

}  // namespace

Result<Registers> Registers::find(arch::Arch arch) {
  const Handles handles = all_registers();
  std::string missing;
  const auto get = [&](const std::string& name) -> qemu_plugin_register* {
    const auto found = handles.find(name);
    if (found != handles.end()) return found->second;
    missing += missing.empty() ? name : ", " + name;
    return nullptr;
  };
  Registers registers;
  registers.arch_ = arch;
  registers.buffer_ = g_byte_array_new();
  if (arch == arch::Arch::X86_64) {
    for (const char* name : kX86General) registers.general_.push_back(get(name));
    registers.stack_ = get("rsp");
    registers.first_ = get("cr0");
    registers.second_ = get("cr4");
    registers.third_ = get("efer");
    registers.lower_root_ = get("cr3");
    registers.mode_ = get("cs");
    registers.own_ = get("gs_base");
    registers.swapped_ = get("k_gs_base");
  } else {
    for (unsigned i = 0; i < 31; ++i) registers.general_.push_back(get("x" + std::to_string(i)));
    registers.stack_ = get("sp");
    registers.first_ = get("TCR_EL1");
    registers.second_ = get("SCTLR");
    registers.lower_root_ = get("TTBR0_EL1");
    registers.upper_root_ = get("TTBR1_EL1");
    registers.mode_ = get("cpsr");
    registers.saved_ = get("SPSR_EL1");
    registers.own_ = get("TPIDR_EL1");
  }
  if (!missing.empty()) {
    return Error{ExitCode::HostLacks, "this QEMU does not show plugins the register(s) " + missing};
  }
  return registers;
}

std::uint64_t Registers::read(qemu_plugin_register* handle) const {
  if (handle == nullptr) return 0;
  g_byte_array_set_size(buffer_, 0);
  const int size = qemu_plugin_read_register(handle, buffer_);
  std::uint64_t value = 0;
  if (size > 0) {
    std::memcpy(&value, buffer_->data,
                std::min<std::size_t>(sizeof(value), static_cast<std::size_t>(size)));
  }
  return value;
}

std::uint64_t Registers::general(unsigned number) const {
  return number < general_.size() ? read(general_[number]) : 0;
}

std::uint64_t Registers::stack_pointer() const { return read(stack_); }

std::uint64_t Registers::frame_pointer() const {
  return general(arch_ == arch::Arch::X86_64 ? 5 : 29);
}

std::uint64_t Registers::link_register() const {
  return arch_ == arch::Arch::X86_64 ? 0 : general(30);
}

model::PagingRegisters Registers::paging() const {
  return {read(first_), read(second_), read(third_)};
}

std::uint64_t Registers::lower_root() const { return read(lower_root_); }

std::uint64_t Registers::upper_root() const { return read(upper_root_); }

std::uint64_t Registers::own_word() const {
  if (arch_ == arch::Arch::Arm64) return read(own_);
  // Before and behind `swapgs` in the kernel it is in the one or the other; user mode has an
  // address of its own in GS, or none.
  if (mode() == Mode::User) return read(swapped_);
  const std::uint64_t now = read(own_);
  return now >> 63 != 0 ? now : read(swapped_);
}

Mode Registers::mode() const {
  // CS: bits 1:0 (Intel SDM vol. 3, 5.5). PSTATE.EL: bits 3:2 of the SPSR layout (Arm ARM C5.2.19).
  if (arch_ == arch::Arch::X86_64) return (read(mode_) & 3) == 3 ? Mode::User : Mode::Kernel;
  if ((read(mode_) & 0xC) == 0) return Mode::User;
  return (read(saved_) & 0x1F) == kAArch32User ? Mode::User32 : Mode::Kernel;
}

}  // namespace sealvisor::engine::tcg
