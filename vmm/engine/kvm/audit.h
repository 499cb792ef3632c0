// The audited watch: at each return to user mode, what differs in its tables becomes events.
#pragma once

#include "vmm/engine/kvm/watch.h"
#include "vmm/model/table_scanner.h"

namespace sealvisor::engine::kvm {

class Audit final : public Watch {
 public:
  /// `memory` and `observer` must outlive this.
  Audit(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer);

  [[nodiscard]] const model::TableScanner& scanner() const { return scanner_; }

 private:
  void set_format(const arch::AnyFormat& format) override { scanner_.set_format(format); }
  void follow_user(const VcpuState& state) override;
  void follow_upper(const VcpuState& state) override;
  [[nodiscard]] std::size_t most_tables() const override { return scanner_.most_tables(); }
  /// Who wrote what a scan finds is not known.
  [[nodiscard]] model::StoreSource unknown_writer(const VcpuState& state) const;

  model::TableScanner scanner_;
};

}  // namespace sealvisor::engine::kvm
