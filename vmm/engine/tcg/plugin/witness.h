// The second witness: page protection of the host, instead of QEMU's store callbacks.
//
// Audit mode only (`witness=on`): each store to a watched frame costs a signal and two mprotect
// calls. QEMU's own mapping of a watched frame is kept read-only. A store to it faults; the handler
// opens the page, notes it, and asks for a check; at the next translation block the frame must
// equal the shadow that the callbacks built, and is closed again. So a store that had no callback,
// by whatever instruction, shows as a difference at once.
//
// It compares what frames hold, not stores: a store without a callback that changes nothing, or
// that the rest of its block undoes or overwrites with a reported one, leaves no difference.
// Accessed and dirty bits are left out.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::engine::tcg {

class Witness {
 public:
  static constexpr std::uint64_t kWanted = 2;

  /// `ram_fd` is the memory file that QEMU mapped; `own` our own mapping of it, which stays
  /// writable. `base` is the gpa of its first byte.
  Witness(int ram_fd, const Mapping& own, arch::Gpa base);
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() = default;

  /// To ask for a check the handler stores kWanted to `*word`, if that is 0, for each vCPU: it does
  /// not know which of them comes to a block boundary next. `word` must stay valid as long as the
  /// witness, or until the next call for `vcpu`.
  void wants(unsigned vcpu, volatile std::uint64_t* word) { wanted_[vcpu] = word; }
  /// Finds QEMU's mapping and installs the handler. An error if there is none (yet).
  [[nodiscard]] Status start();
  void close(arch::Frame frame);  ///< Makes the frame read-only to QEMU.
  /// A callback reported a store to `frame`.
  void reported(arch::Frame frame);
  /// Whether a store was caught, or reported, since the last check.
  [[nodiscard]] bool pending() const { return opened_count_ != 0 || !reported_.empty(); }
  /// At a block boundary: compares each opened frame with the tracker's shadow, closes them.
  void check(const model::TableTracker& tracker, const arch::TableReader& memory);

  [[nodiscard]] std::uint64_t stores() const { return stores_; }
  [[nodiscard]] std::uint64_t differences() const { return differences_; }

 private:
  static void on_fault(int number, siginfo_t* info, void* context);
  void protect(arch::Frame frame, int protection);
  [[nodiscard]] bool handle_fault(std::uintptr_t address);

  // One instruction stores to at most two frames, but one block to many.
  static constexpr std::size_t kMostOpened = 1024;

  int ram_fd_;
  const Mapping& own_;
  arch::Gpa base_;
  std::array<volatile std::uint64_t*, event::kMostVcpus> wanted_{};
  std::byte* qemu_ = nullptr;
  std::size_t qemu_size_ = 0;
  std::array<arch::Frame, kMostOpened> opened_{};
  volatile std::size_t opened_count_ = 0;
  std::vector<arch::Frame> reported_;
  struct sigaction previous_ {};
  std::uint64_t stores_ = 0;
  std::uint64_t differences_ = 0;
};

}  // namespace sealvisor::engine::tcg
