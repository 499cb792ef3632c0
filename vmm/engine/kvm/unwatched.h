// No watch: the guest's messages alone become events. For benchmarks without interception.
#pragma once

#include "vmm/engine/kvm/watch.h"

namespace sealvisor::engine::kvm {

class Unwatched final : public Watch {
 public:
  /// `observer` must outlive this.
  Unwatched(arch::Arch arch, Observer& observer) : Watch(arch, observer) {}

 private:
  void set_format(const arch::AnyFormat& /*format*/) override {}
  void follow_user(const VcpuState& /*state*/) override {}
  void follow_upper(const VcpuState& /*state*/) override {}
  [[nodiscard]] std::size_t most_tables() const override { return 0; }
};

}  // namespace sealvisor::engine::kvm
