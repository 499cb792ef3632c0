// Guest-physical memory as the monitor reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "arch/walk.h"

namespace sealvisor::memory {

/// The one checked way to what a guest has in its memory: guest RAM itself while the guest runs, or
/// what was read of it then, once there is no guest any more.
class Memory : public arch::TableReader {
 public:
  /// Whether `frame` is RAM. Reads nothing.
  [[nodiscard]] virtual bool is_ram(arch::Frame frame) const = 0;
  /// Copies out.size() bytes from `gpa`. False, and `out` unspecified, unless all are RAM.
  [[nodiscard]] virtual bool read(arch::Gpa gpa, std::span<std::byte> out) const = 0;
  /// The 8 bytes at `gpa`, a multiple of 8; else, or if they are no RAM, nullopt.
  [[nodiscard]] std::optional<std::uint64_t> read_u64(arch::Gpa gpa) const {
    std::uint64_t value = 0;
    if (!read_entry(gpa, value)) return std::nullopt;
    return value;
  }

 protected:
  Memory() = default;
  Memory(const Memory&) = default;
  Memory& operator=(const Memory&) = default;
};

/// A piece of RAM: where it begins and how long it is. Precondition: whole frames.
struct RamBounds {
  arch::Gpa base{};
  std::uint64_t bytes = 0;
  /// Whether all of [gpa, gpa + size) is in it.
  [[nodiscard]] bool holds(arch::Gpa gpa, std::uint64_t size) const {
    const std::uint64_t offset = gpa.value - base.value;
    return offset < bytes && bytes - offset >= size;
  }
  [[nodiscard]] bool holds(arch::Frame frame) const {
    return frame.number - arch::frame_of(base).number < bytes >> arch::kPageShift;
  }
};

}  // namespace sealvisor::memory
