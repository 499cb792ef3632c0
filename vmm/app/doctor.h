// `sealvisor doctor`: what this host can do and why, one line for each lane.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

struct Lane {
  std::string name;   ///< "tcg x86_64".
  std::string state;  ///< "ready", "not ready", "not used".
  std::string why;
};

/// What the state of the tcg lane of one architecture depends on.
struct TcgFacts {
  arch::Arch arch{};
  Result<std::string> qemu;                             ///< "QEMU 10.0.2 (/usr/bin/...)".
  Result<std::string> plugin;                           ///< "plugin loads".
  Result<std::string> agents;                           ///< "guest programs built".
  std::vector<std::pair<std::string, Status>> kernels;  ///< Recipe; an error if it is not built.
  std::string space;                                    ///< Free disk space and where, for people.
};
[[nodiscard]] Lane tcg_lane(const TcgFacts& facts);

/// What the state of the kvm lane depends on. Nothing is ever run on the device here.
struct KvmFacts {
  std::string machine;      ///< uname -m.
  bool present = false;     ///< /dev/kvm exists.
  bool accessible = false;  ///< It can be opened for reading and writing.
  std::string cpuinfo;      ///< /proc/cpuinfo.
};
/// A /dev/kvm on an x86 host whose CPU shows neither vmx (Intel SDM vol. 3, 24.6) nor svm (AMD APM
/// vol. 2, 15.4) is a software KVM, which cannot run an unmodified kernel.
[[nodiscard]] Lane kvm_lane(const KvmFacts& facts);

/// Whether the "flags" of /proc/cpuinfo have `flag` as a word of its own.
[[nodiscard]] bool has_cpu_flag(std::string_view cpuinfo, std::string_view flag);

/// The whole command. Returns the exit code: 0 if both tcg lanes are ready, else HostLacks.
[[nodiscard]] int doctor();

}  // namespace sealvisor::app
