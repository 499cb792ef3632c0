// Guest RAM as KVM sees it: the VMM's writable view of it, and the memory slots that it is made of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "arch/address.h"
#include "arch/boot_plan.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/api.h"
#include "vmm/memory/guest_memory.h"

namespace sealvisor::engine::kvm {

/// A run of frames of guest RAM that becomes one memory slot.
struct SlotPiece {
  arch::Gpa gpa{};
  std::uint64_t bytes = 0;
  bool read_only = false;
  friend bool operator==(const SlotPiece&, const SlotPiece&) = default;
};

/// Cuts RAM into pieces so that `frames`, in any order and some maybe outside RAM, are read-only.
[[nodiscard]] std::vector<SlotPiece> cut(arch::RamLayout ram, std::vector<arch::Frame> frames);

class GuestRam {
 public:
  /// Maps the memory of `memory`, which must outlive this, for writing: once for the VMM and once
  /// for KVM.
  [[nodiscard]] static Result<GuestRam> map(const memory::GuestMemory& memory);

  [[nodiscard]] arch::RamLayout layout() const { return {base_, mapping_.size()}; }
  /// The host's bytes of `bytes` from `gpa` on; empty unless all of them are RAM.
  [[nodiscard]] std::span<std::byte> at(arch::Gpa gpa, std::uint64_t bytes) const;

  /// Copies what `plan` says from the two files. Errors: a file can't be read or is too short
  /// (exit code Usage), a piece is outside RAM (Usage).
  [[nodiscard]] Status load(const arch::BootPlan& plan, const std::filesystem::path& kernel,
                            const std::filesystem::path& initramfs) const;

  /// Gives RAM to `vm` with `read_only` frames of it in read-only slots (KVM_MEM_READONLY: a store
  /// there ends KVM_RUN with KVM_EXIT_MMIO). Precondition: the vCPU does not run.
  [[nodiscard]] Status install(Vm& vm, const std::vector<arch::Frame>& read_only);
  /// Whether KVM finds the page of `frame` writable (see guard.h); what at() gives always is.
  /// Preconditions: the frame is RAM; the vCPU does not run.
  [[nodiscard]] Status let_write(arch::Frame frame, bool allowed);

 private:
  GuestRam(int file, Mapping mapping, Mapping for_kvm, arch::Gpa base)
      : file_(file), mapping_(std::move(mapping)), for_kvm_(std::move(for_kvm)), base_(base) {}
  [[nodiscard]] Status load_file(std::span<const arch::FilePiece> pieces,
                                 const std::filesystem::path& path) const;

  int file_;  ///< The memory's own.
  Mapping mapping_;
  Mapping for_kvm_;
  arch::Gpa base_;
  std::vector<SlotPiece> installed_;
};

}  // namespace sealvisor::engine::kvm
