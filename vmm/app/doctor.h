// `sealvisor doctor`: what this host can do and why, one line for each lane.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arch/arch.h"
#include "vmm/app/nested.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/mechanism.h"

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
  /// The same of kernels that only a variant needs: if one is not built, the lane is ready.
  std::vector<std::pair<std::string, Status>> kernels_of_variants{};
};
[[nodiscard]] Lane tcg_lane(const TcgFacts& facts);

/// What the state of the kvm lane depends on. Nothing is ever run on the device here.
struct KvmFacts {
  std::string machine;                               ///< uname -m.
  bool present = false;                              ///< /dev/kvm exists.
  bool accessible = false;                           ///< It can be opened for reading and writing.
  std::string cpuinfo;                               ///< /proc/cpuinfo.
  Result<std::string> capabilities = std::string();  ///< What it can do, for people.
  /// Mechanism that it would use, and why. Counts if there are capabilities.
  Result<engine::kvm::Choice> choice = engine::kvm::Choice{};
};
[[nodiscard]] Lane kvm_lane(const KvmFacts& facts);

/// What the state of the kvm-nested lane of one architecture depends on.
struct NestedFacts {
  arch::Arch arch{};
  Result<std::string> qemu;
  NestedParts parts;
};
[[nodiscard]] Lane nested_lane(const NestedFacts& facts);

/// The whole command. Returns the exit code: 0 if both tcg lanes are ready, else HostLacks.
[[nodiscard]] int doctor();

}  // namespace sealvisor::app
