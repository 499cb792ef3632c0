// Frames that the guest may read but not write: a store there makes KVM_RUN fail with EFAULT.
//
// KVM maps a guest page as the VMM's page allows (Linux, virt/kvm/kvm_main.c, hva_to_pfn_slow):
// with the VMM's page read-only a store finds no page that it could write, and KVM gives up. Unlike
// a read-only memory slot this can be switched for one page at a time, and costs a system call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "arch/address.h"
#include "arch/walk.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/guest_ram.h"

namespace sealvisor::engine::kvm {

/// A store that was done, or the part of it in one frame.
struct Stored {
  arch::Gpa gpa{};
  std::uint32_t bytes = 0;
  friend bool operator==(const Stored&, const Stored&) = default;
};

class Guard {
 public:
  /// `ram` must outlive this.
  explicit Guard(GuestRam& ram) : ram_(ram) {}

  /// Guards `on` and no longer guards `off`; frames outside RAM are passed over.
  /// Precondition: the vCPU does not run.
  [[nodiscard]] Status change(std::span<const arch::Frame> on, std::span<const arch::Frame> off);
  [[nodiscard]] bool holds(arch::Frame frame) const { return frames_.contains(frame); }
  [[nodiscard]] bool empty() const { return frames_.empty(); }

  /// Lets the guest write to `frame`, or to all guarded frames, until close(). Remembers what is
  /// there.
  [[nodiscard]] Status open(arch::Frame frame);
  [[nodiscard]] Status open_all();
  [[nodiscard]] bool is_open(arch::Frame frame) const { return open_.contains(frame); }
  /// Guards again what was opened, and tells the 8-byte slots that differ. A store of what was
  /// there already does not show.
  [[nodiscard]] Result<std::vector<Stored>> close();

 private:
  GuestRam& ram_;
  std::set<arch::Frame> frames_;
  std::map<arch::Frame, arch::Table> open_;
};

}  // namespace sealvisor::engine::kvm
