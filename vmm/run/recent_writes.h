// Who made a violation: the latest store to an entry on the way to the page, or the load of the
// root.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/address.h"
#include "vmm/event/event.h"

namespace sealvisor::run {

/// The last stores to tables that changed them, and the last loads of roots of the lower half.
class RecentWrites {
 public:
  /// An event that is number `number` of its run, which only grows. Others than these are left out.
  /// Precondition: event.vcpu < event::kMostVcpus.
  void on_event(const event::Event& event, std::uint64_t number);
  /// The latest store to one of `slots` after event `since`; else the latest load of `root` after
  /// it; else nothing: it was too long ago, or no store that was told.
  [[nodiscard]] std::optional<event::Event> cause(std::span<const arch::Gpa> slots,
                                                  arch::Frame root, std::uint64_t since) const;

  /// Instructions that user mode began on `root` from `cause` on, at which its vCPU had loaded the
  /// root `then`, up to `moment`. They are counted on all vCPUs together: while any has loaded
  /// `root`, what the others begin counts too. `cause`: one of those that cause() returned.
  [[nodiscard]] std::uint64_t begun_since(const event::Event& cause, arch::Frame then,
                                          arch::Frame root, const event::Event& moment) const;

  static constexpr std::size_t kMost = 4096;

 private:
  struct Numbered {
    std::uint64_t number = 0;
    event::Event event{};
  };
  std::vector<Numbered> ring_;
  std::size_t next_ = 0;  ///< Where the next one goes: the oldest, once the ring is full.
  /// By vCPU: the lower root that it had loaded before all of these; nullopt: none, or it is there.
  std::array<std::optional<arch::Frame>, event::kMostVcpus> before_;
};

}  // namespace sealvisor::run
