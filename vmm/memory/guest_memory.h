// Guest RAM.
#pragma once

#include <cstdint>
#include <span>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/memory/memory.h"

namespace sealvisor::memory {

/// Name of the memory file that is guest RAM: mappings of it are told by it.
inline constexpr const char* kRamFile = "sealvisor-ram";

/// Where RAM begins: 0 on the x86-64 microvm machine, 1 GiB on arm64's virt machine (QEMU,
/// hw/arm/virt.c, VIRT_MEM).
[[nodiscard]] arch::Gpa ram_base(arch::Arch arch);

/// Guest RAM: one shared memory file, mapped read-only here. The guest changes it while it is read;
/// an aligned 8-byte word never tears.
class GuestMemory final : public Memory {
 public:
  /// Makes `bytes` of zeroed RAM. Precondition of the machines: a multiple of 2 MiB, at least
  /// 64 MiB, at most 2 GiB (one piece below the x86 device hole); else an error (Usage).
  [[nodiscard]] static Result<GuestMemory> create(arch::Arch arch, std::uint64_t bytes);

  /// The file, inheritable by the engine's process.
  [[nodiscard]] const Fd& fd() const { return fd_; }
  [[nodiscard]] arch::Gpa base() const { return base_; }
  [[nodiscard]] std::uint64_t size() const { return mapping_.size(); }

  [[nodiscard]] RamBounds bounds() const { return {base_, size()}; }

  [[nodiscard]] bool is_ram(arch::Frame frame) const override { return bounds().holds(frame); }
  [[nodiscard]] bool read(arch::Gpa gpa, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;
  [[nodiscard]] bool holds(arch::Frame frame, const arch::Table& known,
                           std::uint64_t bits) const override;

 private:
  GuestMemory(Fd fd, Mapping mapping, arch::Gpa base)
      : fd_(std::move(fd)), mapping_(std::move(mapping)), base_(base) {}
  Fd fd_;
  Mapping mapping_;
  arch::Gpa base_;
};

}  // namespace sealvisor::memory
