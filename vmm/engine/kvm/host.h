// What this host's KVM can do, found out without running anything on it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

inline constexpr const char* kDevice = "/dev/kvm";

/// The architecture whose guests a host with this uname -m runs natively. Error: HostLacks.
[[nodiscard]] Result<arch::Arch> host_arch(std::string_view machine);
/// The same for this host.
[[nodiscard]] Result<arch::Arch> native_arch();

/// Whether "flags" in the text of /proc/cpuinfo have `flag` as a word of its own.
[[nodiscard]] bool has_cpu_flag(std::string_view cpuinfo, std::string_view flag);

/// Whether a KVM on a host with this uname -m and /proc/cpuinfo may run an unmodified kernel. An
/// x86 CPU that shows neither vmx (Intel SDM vol. 3, 24.6) nor svm (AMD APM vol. 2, 15.4) has a
/// software KVM, which cannot. Error: HostLacks, says so.
[[nodiscard]] Status check_hardware(std::string_view machine, std::string_view cpuinfo);

/// What the device can do, for people. Error: HostLacks: it can't be opened, or what is missing.
/// Precondition: check_hardware() is content, or nothing would be run there anyway.
[[nodiscard]] Result<std::string> capabilities_text();

/// All of the above for this host and a guest of `arch`. Error: HostLacks.
[[nodiscard]] Status check_host(arch::Arch arch);

}  // namespace sealvisor::engine::kvm
