#include "vmm/engine/kvm/capabilities.h"

#include <fmt/format.h>

namespace sealvisor::engine::kvm {

namespace {

struct Row {
  int number;
  Capability capability;
};

// clang-format off
constexpr Row kRows[] = {
    {KVM_CAP_USER_MEMORY, {"USER_MEMORY", true, "guest memory", 0}},
    {KVM_CAP_READONLY_MEM, {"READONLY_MEM", true, "code of system mappings in read-only slots", 0}},
    {KVM_CAP_IMMEDIATE_EXIT, {"IMMEDIATE_EXIT", true, "stopping the vCPU at any time", 0}},
    {KVM_CAP_IRQCHIP, {"IRQCHIP", true, "interrupt controller in the kernel", 0}},
#if defined(__x86_64__)
    {KVM_CAP_SYNC_REGS, {"SYNC_REGS", true, "registers at each exit", 0}},
    {KVM_CAP_PIT2, {"PIT2", true, "timer in the kernel", 0}},
    {KVM_CAP_EXT_CPUID, {"EXT_CPUID", true, "CPUID", 0}},
    {KVM_CAP_SET_TSS_ADDR, {"SET_TSS_ADDR", true, "a guest that starts without paging", 0}},
    {KVM_CAP_SET_GUEST_DEBUG, {kSetGuestDebug, false, "exact: stepping over a store", 0}},
    {KVM_CAP_GET_TSC_KHZ, {"GET_TSC_KHZ", false, "telling the guest its clock's rate", 0}},
#else
    {KVM_CAP_ONE_REG, {"ONE_REG", true, "registers", 0}},
    {KVM_CAP_ARM_PSCI_0_2, {"ARM_PSCI_0_2", true, "reset and power off", 0}},
    {KVM_CAP_DEVICE_CTRL, {"DEVICE_CTRL", true, "the interrupt controller", 0}},
    {KVM_CAP_SET_GUEST_DEBUG, {"SET_GUEST_DEBUG", true, "traps at returns to user mode", 0}},
    {KVM_CAP_ARM_NISV_TO_USER, {"ARM_NISV_TO_USER", false, "stores to read-only slots that hardware does not decode", 0}},
#endif
};
// clang-format on

}  // namespace

std::vector<Capability> known_capabilities() {
  std::vector<Capability> known;
  for (const Row& row : kRows) known.push_back(row.capability);
  return known;
}

std::vector<Capability> probe(const System& system) {
  std::vector<Capability> found;
  for (const Row& row : kRows) {
    found.push_back(row.capability);
    found.back().value = system.check(row.number);
  }
  return found;
}

Status check_needed(const std::vector<Capability>& capabilities) {
  std::vector<std::string> missing;
  for (const Capability& one : capabilities) {
    if (one.needed && one.value <= 0) {
      missing.push_back(fmt::format("KVM_CAP_{} ({})", one.name, one.what_for));
    }
  }
  if (missing.empty()) return {};
  return Error{ExitCode::HostLacks, fmt::format("the host's KVM lacks {}: a newer kernel has it",
                                                fmt::join(missing, ", "))};
}

std::string describe(const std::vector<Capability>& capabilities) {
  std::vector<std::string> has;
  std::vector<std::string> lacks;
  for (const Capability& one : capabilities) {
    if (one.value > 0) {
      has.emplace_back(one.name);
    } else {
      lacks.push_back(fmt::format("{} ({})", one.name, one.what_for));
    }
  }
  std::string text = fmt::format("API {}; has {}", KVM_API_VERSION, fmt::join(has, ", "));
  if (!lacks.empty()) text += fmt::format("; lacks {}", fmt::join(lacks, ", "));
  return text;
}

}  // namespace sealvisor::engine::kvm
