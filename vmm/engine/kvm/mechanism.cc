#include "vmm/engine/kvm/mechanism.h"

#include <algorithm>
#include <string_view>

#include "vmm/engine/kvm/host.h"

namespace sealvisor::engine::kvm {

namespace {

bool has(const std::vector<Capability>& capabilities, std::string_view name) {
  return std::any_of(capabilities.begin(), capabilities.end(),
                     [&](const Capability& one) { return one.name == name && one.value > 0; });
}

}  // namespace

Choice choose_mechanism(arch::Arch arch, const std::vector<Capability>& capabilities,
                        const WalkerWrites& walker) {
  if (arch == arch::Arch::Arm64) {
    return {Mechanism::Exact,
            "each store to a guarded table is done in the guest's stead, and no walker writes to "
            "tables (a guest that lets the hardware set access flags is audited)"};
  }
  if (!has(capabilities, kSetGuestDebug)) {
    return {Mechanism::Audited,
            "no exact mechanism: the host's KVM can't step over a store (KVM_CAP_SET_GUEST_DEBUG)"};
  }
  if (const Status quiet = check_walker(walker); !quiet) {
    return {Mechanism::Audited, "no exact mechanism: " + quiet.error().message};
  }
  return {Mechanism::Exact,
          walker.eptad == "N" && walker.ept != "N"
              ? "guarded tables are stepped over store by store, and EPT has no accessed flags "
                "(eptad=N), so that a table walk is no write"
              : "guarded tables are stepped over store by store, and with shadow paging no "
                "hardware walks the guest's tables"};
}

Result<Choice> host_choice(arch::Arch arch) {
  auto system = System::open(kDevice);
  if (!system) return system.error();
  return choose_mechanism(arch, probe(system.value()), walker_writes());
}

}  // namespace sealvisor::engine::kvm
