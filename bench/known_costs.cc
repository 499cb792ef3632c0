#include "bench/known_costs.h"

#include <cstdint>
#include <string>

#include "bench/boot.h"

namespace sealvisor::bench {

namespace {

bool execs(std::string_view name) {
  if (name == "exec/execve-end-mark") return false;
  if (name == "compat/execve") return true;
  return name == "exec/posix-spawn" ||
         (name.starts_with("exec/") && name.find("exec", 5) < name.size());
}

/// Calls of mremap in an operation: there and back, or once and refused.
std::uint64_t mremaps(std::string_view name) {
  if (!name.starts_with("mmap/mremap-")) return 0;
  return name.ends_with("-refused") ? 1 : 2;
}

}  // namespace

std::vector<KnownCost> known_costs(arch::Arch arch,
                                   const std::vector<std::string_view>& experiments) {
  const bool arm64 = arch == arch::Arch::Arm64;
  std::vector<KnownCost> costs;
  for (const std::string_view name : experiments) {
    if (execs(name)) {
      costs.push_back({arch, std::string(name), Space::Kernel, kSlowedExec, "begin_new_exec"});
    }
    if (const std::uint64_t calls = mremaps(name); calls != 0) {
      costs.push_back(
          {arch, std::string(name), Space::Kernel, calls * kSlowedMremap, "__do_sys_mremap"});
    }
    if (name == "vdso/gettimeofday") {
      costs.push_back({arch, std::string(name), Space::Vdso, kSlowedGettimeofday,
                       arm64 ? "__kernel_gettimeofday" : "__vdso_gettimeofday"});
    }
    // The 32-bit vdso is no place of its own: what it executes is of user mode.
    if (name == "compat/gettimeofday") {
      costs.push_back({arch, std::string(name), Space::User, kSlowedGettimeofday, kNoSymbol});
    }
  }
  return costs;
}

}  // namespace sealvisor::bench
