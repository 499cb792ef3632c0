// Whether an x86 host's page walker counts as a writer of the guest's tables.
#pragma once

#include <filesystem>
#include <string>

#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

/// Parameters of KVM's modules, "Y" or "N"; empty: there is no such module or parameter.
struct WalkerWrites {
  std::string ept;    ///< kvm_intel: nested paging
  std::string eptad;  ///< kvm_intel: accessed and dirty flags in it
  std::string npt;    ///< kvm_amd: nested paging
};

/// Reads them below `modules`.
[[nodiscard]] WalkerWrites walker_writes(const std::filesystem::path& modules = "/sys/module");

/// Fails, HostLacks, if each walk of the guest's tables may count as a write of them, so that a
/// read-only table would stop the guest at every TLB miss: with accessed and dirty flags in EPT
/// (Intel SDM vol. 3, "Accessed and Dirty Flags for EPT": then "processor accesses to guest
/// paging-structure entries are treated as writes"),
/// and always with NPT (AMD APM vol. 2, 15.25: nested walks of guest tables are user writes).
/// Shadow paging (ept=N, npt=N) and EPT without these flags (eptad=N) are content.
[[nodiscard]] Status check_walker(const WalkerWrites& parameters);

}  // namespace sealvisor::engine::kvm
