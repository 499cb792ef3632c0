#include "arch/x86_64/cpuid.h"

#include <algorithm>
#include <array>

namespace sealvisor::arch::x86_64 {

namespace {

using Register = std::uint32_t CpuidLeaf::*;

constexpr std::uint32_t bit(unsigned number) { return std::uint32_t{1} << number; }
constexpr std::uint64_t bit64(unsigned number) { return std::uint64_t{1} << number; }

template <typename... Numbers>
constexpr std::uint32_t bits(Numbers... numbers) {
  return (bit(static_cast<unsigned>(numbers)) | ...);
}

constexpr std::uint32_t kExtended = 0x80000000;
/// arch/x86/include/uapi/asm/kvm_para.h: KVM_CPUID_SIGNATURE, KVM_CPUID_FEATURES.
constexpr std::uint32_t kSignature = 0x40000000;
constexpr std::uint32_t kFeatures = 0x40000001;
constexpr std::uint32_t kHypervisorEnd = 0x4fffffff;
constexpr std::uint32_t kAmdFeatures2 = kExtended + 0x21;

/// Bits that the guest does not see.
struct Hidden {
  std::uint32_t function;
  std::uint32_t index;
  Register reg;
  std::uint32_t mask;
};

constexpr auto kHidden = std::to_array<Hidden>({
    // SDM 01H ECX: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, PDCM. Debug store and performance
    // counters write guest memory from the CPU; a guest that waits by MONITOR may wait for ever;
    // a guest of the guest has tables that nobody watches.
    {0x1, 0, &CpuidLeaf::ecx, bits(2, 3, 4, 5, 6, 7, 8, 15)},
    // SDM 01H EDX: DS, HTT, TM. One thread only.
    {0x1, 0, &CpuidLeaf::edx, bits(21, 28, 29)},
    // SDM 04H EAX: "maximum number of addressable IDs" 31:26 and 25:14, each minus one.
    {0x4, 0, &CpuidLeaf::eax, 0xffffc000},
    {0x4, 1, &CpuidLeaf::eax, 0xffffc000},
    {0x4, 2, &CpuidLeaf::eax, 0xffffc000},
    {0x4, 3, &CpuidLeaf::eax, 0xffffc000},
    {0x4, 4, &CpuidLeaf::eax, 0xffffc000},
    // SDM 06H: all of power management but ARAT, "APIC timer always running".
    {0x6, 0, &CpuidLeaf::eax, ~bit(2)},
    {0x6, 0, &CpuidLeaf::ebx, 0xffffffff},
    {0x6, 0, &CpuidLeaf::ecx, 0xffffffff},
    // SDM 07H.0 EBX: SGX (memory that nobody else can read), HLE and RTM (stores that are undone;
    // and TAA), RDT-M, RDT-A, Intel PT (writes its trace to memory).
    {0x7, 0, &CpuidLeaf::ebx, bits(2, 4, 11, 12, 15, 25)},
    // SDM 07H.0 ECX: WAITPKG (waits like MONITOR), CET_SS (an entry that is not writable but dirty
    // means a shadow stack then, which the walker does not know), TME_EN, ENQCMD, SGX_LC.
    {0x7, 0, &CpuidLeaf::ecx, bits(5, 7, 13, 29, 30)},
    // SDM 07H.0 EDX: MD_CLEAR (VERW clears buffers), RTM_ALWAYS_ABORT, TSX_FORCE_ABORT, hybrid,
    // TSXLDTRK, PCONFIG, architectural LBR, IA32_CORE_CAPABILITIES (split lock detection traps).
    {0x7, 0, &CpuidLeaf::edx, bits(10, 11, 13, 15, 16, 18, 19, 30)},
    // SDM 07H.1 EAX: ArchPerfmonExt; FRED, whose return eretu has no padding before it in Linux
    // (arch/x86/entry/entry_64_fred.S, asm_fred_exit_user), so that no trap can be planted; HRESET.
    {0x7, 1, &CpuidLeaf::eax, bits(8, 17, 22)},
    // APM Fn8000_0001 ECX: CmpLegacy, SVM, ExtApicSpace, IBS, SKINIT, WDT, LWP, NodeId,
    // PerfCtrExtCore,
    // PerfCtrExtNB, PerfTsc, PerfCtrExtLLC, MONITORX.
    {kExtended + 0x1, 0, &CpuidLeaf::ecx, bits(1, 2, 3, 10, 12, 13, 15, 19, 23, 24, 27, 28, 29)},
    // APM Fn8000_0008 EBX: InstRetCntMsr, INVLPGB, RDPRU, MCOMMIT, PPIN, CPPC, branch sampling.
    {kExtended + 0x8, 0, &CpuidLeaf::ebx, bits(1, 3, 4, 8, 23, 27, 31)},
    // APM Fn8000_0008 ECX: PerfTscSize, ApicIdSize, NC. One thread only.
    {kExtended + 0x8, 0, &CpuidLeaf::ecx, 0xffffffff},
    // APM Fn8000_001D EAX 25:14, NumSharingCache, minus one.
    {kExtended + 0x1d, 0, &CpuidLeaf::eax, 0x03ffc000},
    {kExtended + 0x1d, 1, &CpuidLeaf::eax, 0x03ffc000},
    {kExtended + 0x1d, 2, &CpuidLeaf::eax, 0x03ffc000},
    {kExtended + 0x1d, 3, &CpuidLeaf::eax, 0x03ffc000},
    // APM Fn8000_001E: APIC id, compute unit, node: all 0.
    {kExtended + 0x1e, 0, &CpuidLeaf::eax, 0xffffffff},
    {kExtended + 0x1e, 0, &CpuidLeaf::ebx, 0xffffffff},
    {kExtended + 0x1e, 0, &CpuidLeaf::ecx, 0xffffffff},
    // VERW_CLEAR: "The memory form of VERW mitigates TSA", arch/x86/include/asm/cpufeatures.h.
    {kAmdFeatures2, 0, &CpuidLeaf::eax, bit(5)},
});

/// TSA_SQ_NO, TSA_L1_NO and TSA_FILL_NO: arch/x86/kernel/cpu/scattered.c (6.12). Without them a
/// Linux guest on any Zen executes VERW before it returns to user mode (cpu_set_bug_bits,
/// tsa_select_mitigation: "Forcing mitigation on in a VM").
constexpr std::uint32_t kNotAffectedByTsa = bits(1, 2, 7);

/// Leaves that the guest does not have at all.
constexpr auto kAbsent = std::to_array<std::uint32_t>({
    0x3,               // SDM: processor serial number
    0x5,               // SDM: MONITOR/MWAIT
    0xa,               // SDM: performance monitoring
    0xf,               // SDM: RDT monitoring
    0x10,              // SDM: RDT allocation
    0x12,              // SDM: SGX
    0x14,              // SDM: Intel PT
    0x19,              // SDM: Key Locker
    0x1b,              // SDM: PCONFIG, memory encryption
    0x1c,              // SDM: LBR
    0x1f,              // SDM: topology of the host; 0BH is ours
    0x20,              // SDM: HRESET
    0x21,              // Intel TDX module specification: TDX guest
    0x23,              // SDM: performance monitoring, extended
    kExtended + 0xa,   // APM: SVM
    kExtended + 0x1b,  // APM: IBS
    kExtended + 0x1c,  // APM: LWP
    kExtended + 0x1f,  // APM: SME, SEV
    kExtended + 0x20,  // APM: PQOS
    kExtended + 0x22,  // APM: performance monitoring, extended
    kExtended + 0x23,  // APM: multi-key memory encryption
    kExtended + 0x26,  // APM: topology of the host; 0BH is ours
});

bool is_absent(std::uint32_t function) {
  // Interfaces of hypervisors: only KVM's two leaves stay.
  if (function > kFeatures && function <= kHypervisorEnd) return true;
  return std::find(kAbsent.begin(), kAbsent.end(), function) != kAbsent.end();
}

/// One thread in one core in one package (SDM 0BH: ECX 15:8 is the level's type, 1 thread, 2 core;
/// EAX the shift to the next level's id; EBX the number of threads at this level; EDX the x2APIC
/// id).
CpuidLeaf topology(const CpuidLeaf& host) {
  CpuidLeaf leaf = host;
  leaf.eax = 0;
  leaf.ebx = host.index < 2 ? 1 : 0;
  leaf.ecx = (host.index & 0xff) | (host.index < 2 ? (host.index + 1) << 8 : 0);
  leaf.edx = 0;
  return leaf;
}

CpuidLeaf guest_leaf(const CpuidLeaf& host, const CpuidOptions& options) {
  CpuidLeaf leaf = host;
  for (const Hidden& hidden : kHidden) {
    if (hidden.function == leaf.function && hidden.index == leaf.index) {
      leaf.*hidden.reg &= ~hidden.mask;
    }
  }
  switch (leaf.function) {
    case 0x1:
      // SDM 01H EBX: initial APIC id 31:24, logical processors 23:16.
      leaf.ebx = (leaf.ebx & 0x0000ffff) | bit(16);
      leaf.ecx &= ~bit(24);  // TSC deadline
      if (options.tsc_deadline) leaf.ecx |= bit(24);
      break;
    case 0x7:
      if (leaf.index == 0 && !options.five_level_tables) leaf.ecx &= ~bit(16);  // LA57
      break;
    case 0xb:
      leaf = topology(leaf);
      break;
    case kSignature:
      leaf.eax = kFeatures;  // No hypervisor leaf above it.
      break;
    case kFeatures:
      // kvm_para.h: kvmclock, asynchronous page faults, steal time and PV EOI write guest memory
      // from the host; the rest is of use with more than one vCPU only.
      leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0;
      break;
    case kAmdFeatures2:
      leaf.ecx |= kNotAffectedByTsa;
      break;
    default:
      break;
  }
  return leaf;
}

/// Leaf 0 holds "AuthenticAMD" (APM Fn0000_0000) or "HygonGenuine".
bool is_amd(const CpuidLeaf& leaf) {
  constexpr std::uint32_t kAuth = 0x68747541;
  constexpr std::uint32_t kHygo = 0x6f677948;
  return leaf.function == 0 && (leaf.ebx == kAuth || leaf.ebx == kHygo);
}

/// Hosts of older kernels do not list leaf 8000_0021.
void add_amd_features(std::vector<CpuidLeaf>& leaves) {
  const auto function = [](std::uint32_t wanted) {
    return [wanted](const CpuidLeaf& leaf) { return leaf.function == wanted; };
  };
  if (std::none_of(leaves.begin(), leaves.end(), is_amd)) return;
  const auto largest = std::find_if(leaves.begin(), leaves.end(), function(kExtended));
  if (largest == leaves.end()) return;
  largest->eax = std::max(largest->eax, kAmdFeatures2);
  if (std::none_of(leaves.begin(), leaves.end(), function(kAmdFeatures2))) {
    leaves.push_back(CpuidLeaf{kAmdFeatures2, 0, false, 0, 0, kNotAffectedByTsa, 0});
  }
}

}  // namespace

std::vector<CpuidLeaf> guest_cpuid(std::span<const CpuidLeaf> supported,
                                   const CpuidOptions& options) {
  std::vector<CpuidLeaf> leaves;
  leaves.reserve(supported.size() + 1);
  for (const CpuidLeaf& host : supported) {
    if (!is_absent(host.function)) leaves.push_back(guest_leaf(host, options));
  }
  add_amd_features(leaves);
  return leaves;
}

std::uint64_t arch_capabilities(std::uint64_t host) {
  // SDM 4, table 2-2, IA32_ARCH_CAPABILITIES: MDS_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO,
  // RFDS_NO.
  constexpr std::uint64_t kNotAffected =
      bit64(5) | bit64(8) | bit64(13) | bit64(14) | bit64(15) | bit64(27);
  // TSX_CTRL (TSX is hidden), FB_CLEAR, FB_CLEAR_CTRL, RFDS_CLEAR.
  constexpr std::uint64_t kHiddenControls = bit64(7) | bit64(17) | bit64(18) | bit64(28);
  return (host & ~kHiddenControls) | kNotAffected;
}

}  // namespace sealvisor::arch::x86_64
