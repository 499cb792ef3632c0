// Guest-physical memory as a privileged process sees it: /dev/mem, /proc/self/pagemap, /proc/iomem.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/agent/iomem.h"

namespace sealvisor::agent {

inline constexpr std::uint64_t kPage = 4096;
/// Bytes that a last-level table maps.
inline constexpr std::uint64_t kTableReach = 2ULL * 1024 * 1024;

/// Bits of a leaf entry that hold the frame's address: Intel SDM vol. 3A table 4-20 (51:12), Arm
/// ARM D8.3.1 (47:12, 4 KiB granule).
#if defined(__aarch64__) || defined(__arm__)
inline constexpr std::uint64_t kAddressBits = 0x0000'FFFF'FFFF'F000;
#else
inline constexpr std::uint64_t kAddressBits = 0x000F'FFFF'FFFF'F000;
#endif

/// True if the entry is valid (bit 0, on both architectures) and holds the frame at `gpa`.
[[nodiscard]] constexpr bool leads_to(std::uint64_t entry, std::uint64_t gpa) {
  return (entry & 1) != 0 && (entry & kAddressBits) == gpa;
}

class File {
 public:
  /// Failure is said on the console.
  File(const char* path, int flags);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] bool good() const { return fd_ >= 0; }
  [[nodiscard]] int get() const { return fd_; }
  /// The 8 bytes at `offset`; nothing if they can't be read.
  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t offset) const;

 private:
  int fd_;
};

/// The gpa of the frame that `page` of this process lies in, 0 if it is not known.
/// Documentation/admin-guide/mm/pagemap.rst: bits 54:0 frame number, bit 63 present.
[[nodiscard]] std::uint64_t gpa_of(const File& pagemap, std::uintptr_t page);

/// The RAM that /proc/iomem lists. Nothing: said on the console.
[[nodiscard]] std::optional<RamRanges> read_ram_ranges();

/// The words of one frame.
using Words = std::span<const std::uint64_t, kPage / sizeof(std::uint64_t)>;

/// Calls `visit(gpa, words)` with each whole frame of `ram` that `memory` (/dev/mem) lets read,
/// until it answers false. False if it did.
template <typename Visit>
bool each_frame(const File& memory, const RamRanges& ram, Visit visit) {
  // Many at once: each system call is a return to user mode, which the kvm lanes stop at.
  constexpr std::size_t kAtOnce = 16;
  std::array<std::uint64_t, kAtOnce * Words::extent> buffer;
  for (const RamRange& range : ram) {
    const std::uint64_t end = range.end / kPage * kPage;
    std::uint64_t gpa = (range.start + kPage - 1) / kPage * kPage;
    while (gpa < end) {
      const auto wanted =
          static_cast<std::size_t>(std::min<std::uint64_t>(end - gpa, kAtOnce * kPage));
      const ssize_t got = ::pread64(memory.get(), buffer.data(), wanted, static_cast<off64_t>(gpa));
      const std::size_t frames = got > 0 ? static_cast<std::size_t>(got) / std::size_t{kPage} : 0;
      for (std::size_t i = 0; i < frames; ++i) {
        if (!visit(gpa + i * kPage, Words(&buffer[i * Words::extent], Words::extent))) return false;
      }
      // A hole, or memory that the kernel keeps to itself, ends a read early: go on behind it.
      gpa += (frames < wanted / kPage ? frames + 1 : frames) * kPage;
    }
  }
  return true;
}

}  // namespace sealvisor::agent
