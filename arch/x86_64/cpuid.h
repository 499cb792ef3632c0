// What the guest's CPUID says: what the host's KVM supports, minus what would write guest memory
// unseen, hide a return to user mode, or promise what one vCPU of ours does not have.
//
// SDM = Intel SDM, volume 2A, "CPUID"; APM = AMD64 Architecture Programmer's Manual, volume 3,
// appendix E.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sealvisor::arch::x86_64 {

/// One answer of CPUID, as KVM_GET_SUPPORTED_CPUID gives it.
struct CpuidLeaf {
  std::uint32_t function = 0;  ///< EAX that was asked for.
  std::uint32_t index = 0;     ///< ECX that was asked for.
  bool index_matters = false;  ///< KVM_CPUID_FLAG_SIGNIFCANT_INDEX.
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;

  friend bool operator==(const CpuidLeaf&, const CpuidLeaf&) = default;
};

struct CpuidOptions {
  /// Show LA57, if the host has it: Linux then may use 5-level tables.
  bool five_level_tables = false;
  /// Show the APIC's TSC deadline mode. Precondition: in-kernel APIC and
  /// KVM_CAP_TSC_DEADLINE_TIMER; KVM never lists it by itself (Documentation/virt/kvm/api.rst,
  /// KVM_GET_SUPPORTED_CPUID).
  bool tsc_deadline = false;
};

/// The answers for a guest with one vCPU, APIC id 0, in the order of `supported`. A leaf that the
/// guest should not have is left out; KVM answers it with zeros then. On AMD, leaf 8000_0021 is
/// added at the end if it is missing.
///
/// The caller must also set IA32_ARCH_CAPABILITIES, see arch_capabilities(): CPUID alone does not
/// keep Linux from filling the padding before its returns to user mode with VERW.
[[nodiscard]] std::vector<CpuidLeaf> guest_cpuid(std::span<const CpuidLeaf> supported,
                                                 const CpuidOptions& options);

/// MSR number of IA32_ARCH_CAPABILITIES (SDM 4, table 2-2).
inline constexpr std::uint32_t kArchCapabilitiesMsr = 0x10a;

/// What the guest must read from IA32_ARCH_CAPABILITIES. `host` is the value that KVM_GET_MSRS on
/// the system fd gives (KVM_CAP_GET_MSR_FEATURES), 0 if it has none; set the result with
/// KVM_SET_MSRS on the vCPU after KVM_SET_CPUID2 and before the first KVM_RUN.
///
/// It says "not affected" by the four bugs of Intel CPUs that make Linux execute VERW on each
/// return to user mode: MDS, TAA, MMIO stale data, RFDS (arch/x86/kernel/cpu/common.c,
/// cpu_set_bug_bits). Without these bits Linux does so in a guest even if MD_CLEAR is hidden
/// ("Clear CPU buffers attempted, no microcode", bugs.c, mds_select_mitigation). A host that is
/// affected still clears its buffers itself when it enters the guest; what the guest gives up is
/// protection of its kernel from its own user mode, which is no goal of a watched guest. All other
/// bits stay, RDCL_NO (Meltdown) among them: page-table isolation is as on the host.
///
/// The result matters on Intel only. AMD's like bug (TSA) is hidden in leaf 8000_0021.
[[nodiscard]] std::uint64_t arch_capabilities(std::uint64_t host);

}  // namespace sealvisor::arch::x86_64
