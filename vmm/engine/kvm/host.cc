#include "vmm/engine/kvm/host.h"

#include <sys/utsname.h>

#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "vmm/engine/kvm/capabilities.h"

namespace sealvisor::engine::kvm {

Result<arch::Arch> host_arch(std::string_view machine) {
  if (machine == "x86_64") return arch::Arch::X86_64;
  if (machine == "aarch64") return arch::Arch::Arm64;
  return Error{ExitCode::HostLacks,
               fmt::format("host architecture {}: expected x86_64 or aarch64", machine)};
}

Result<arch::Arch> native_arch() {
  utsname names{};
  if (::uname(&names) != 0) return errno_error(ExitCode::HostLacks, "uname");
  return host_arch(names.machine);
}

bool has_cpu_flag(std::string_view cpuinfo, std::string_view flag) {
  const std::size_t start = cpuinfo.find("\nflags");
  if (start == std::string_view::npos) return false;
  std::string_view line = cpuinfo.substr(start + 1);
  line = line.substr(0, line.find('\n'));
  for (std::size_t at = line.find(flag); at != std::string_view::npos;
       at = line.find(flag, at + 1)) {
    const std::size_t end = at + flag.size();
    const bool starts = at == 0 || line[at - 1] == ' ';
    if (starts && (end == line.size() || line[end] == ' ')) return true;
  }
  return false;
}

Status check_hardware(std::string_view machine, std::string_view cpuinfo) {
  const bool x86 = machine == "x86_64" || machine == "i686";
  if (!x86 || has_cpu_flag(cpuinfo, "vmx") || has_cpu_flag(cpuinfo, "svm")) return {};
  return Error{ExitCode::HostLacks,
               "the CPU has neither vmx nor svm: a KVM here is done in software and cannot run an "
               "unmodified kernel; use --engine tcg, or kvm-nested, which emulates a host that has "
               "it"};
}

Result<std::string> capabilities_text() {
  auto system = System::open(kDevice);
  if (!system) return system.error();
  const std::vector<Capability> capabilities = probe(system.value());
  if (auto all = check_needed(capabilities); !all) return all.error();
  return describe(capabilities);
}

Status check_host(arch::Arch arch) {
  utsname names{};
  if (::uname(&names) != 0) return errno_error(ExitCode::HostLacks, "uname");
  const auto native = host_arch(names.machine);
  if (!native) return native.error();
  if (native.value() != arch) {
    return Error{
        ExitCode::HostLacks,
        fmt::format("the kvm engine runs guests of the host's own architecture, {}, not {}; "
                    "--engine tcg runs both on any host",
                    arch::name_of(native.value()), arch::name_of(arch))};
  }
  const std::ifstream file("/proc/cpuinfo");
  std::stringstream text;
  text << file.rdbuf();
  return check_hardware(names.machine, text.str());
}

}  // namespace sealvisor::engine::kvm
