#include "vmm/engine/kvm/walker.h"

#include <fstream>

namespace sealvisor::engine::kvm {

WalkerWrites walker_writes(const std::filesystem::path& modules) {
  const auto read = [&](const char* name) {
    std::ifstream file(modules / name);
    std::string value;
    file >> value;
    return value;
  };
  return {read("kvm_intel/parameters/ept"), read("kvm_intel/parameters/eptad"),
          read("kvm_amd/parameters/npt")};
}

Status check_walker(const WalkerWrites& parameters) {
  if (parameters.ept == "N" || parameters.eptad == "N" || parameters.npt == "N") return {};
  if (!parameters.npt.empty()) {
    return Error{ExitCode::HostLacks,
                 "with nested paging of AMD each table walk counts as a write (kvm_amd npt=0 would "
                 "do without it, slowly)"};
  }
  if (!parameters.ept.empty()) {
    return Error{ExitCode::HostLacks,
                 "with accessed flags in EPT each table walk counts as a write (kvm_intel eptad=0 "
                 "turns them off)"};
  }
  return Error{ExitCode::HostLacks,
               "neither kvm_intel nor kvm_amd says whether table walks count as writes"};
}

}  // namespace sealvisor::engine::kvm
