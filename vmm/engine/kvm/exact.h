// The exact watch: frames that hold tables are guarded, so that each store to them ends KVM_RUN, is
// done by the machine and becomes an event with its old and new value and its instruction.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <vector>

#include "vmm/engine/kvm/watch.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::engine::kvm {

/// Frames whose guarding changes.
struct GuardChange {
  std::vector<arch::Frame> on;
  std::vector<arch::Frame> off;
  [[nodiscard]] bool empty() const { return on.empty() && off.empty(); }
};

/// A root is learnt when user mode is about to run on it; from then on every table that is linked
/// from it is followed. What was written before, while the kernel built the address space, is found
/// as it is then. The upper half is followed from the first doorbell on.
///
/// Between two user returns no root is in use, so a generation ends with the store that empties the
/// user half of its root.
class Exact final : public Watch {
 public:
  /// `memory` and `observer` must outlive this.
  Exact(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer);

  /// The instruction at state.pc stored to these places, which are guarded, and it is done.
  /// `stepped`: they are what differs, and bits that the hardware sets by itself are no store.
  void on_stores(std::vector<Stored> stores, bool stepped, const VcpuState& state);
  /// What to guard and what no longer, since the last call.
  [[nodiscard]] GuardChange take_change();

  void emit(const event::Event& event) override;

 private:
  void set_format(const arch::AnyFormat& format) override { tracker_.set_format(format); }
  void follow_user(const VcpuState& state) override;
  void follow_upper(const VcpuState& state) override;
  [[nodiscard]] std::size_t most_tables() const override { return tracker_.most_tables(); }
  [[nodiscard]] bool is_own_write(const Stored& store) const;
  void load(std::uint64_t raw, arch::Half half, const VcpuState& state);

  const memory::GuestMemory& memory_;
  model::RamRange ram_;
  model::TableTracker tracker_;
  std::array<std::optional<arch::Frame>, 2> told_;  ///< Roots that were told last, by half.
  std::vector<arch::Frame>
      touched_;  ///< Frames that became tables or ceased to, since the last call.
  std::set<arch::Frame> guarded_;
};

}  // namespace sealvisor::engine::kvm
