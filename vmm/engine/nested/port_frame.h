// What an emulated host sends over its virtio-console port: files, then how its program ended.
//
// A stream is one StreamHeader, then frames. A frame is a FrameHeader, then `name_bytes` bytes of
// name, then, for a file, `value` bytes of contents. Every frame but File ends the stream; the
// reader then answers with one byte, kTaken, for which the writer waits before it resets.
// All numbers are little-endian. Both ends include this header; it makes no calls.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sealvisor::engine::nested {

static_assert(std::endian::native == std::endian::little, "both ends copy these structures");

/// Raise it when a structure below changes its meaning.
inline constexpr std::uint32_t kPortVersion = 1;
inline constexpr std::array<char, 8> kPortMagic = {'S', 'V', 'H', 'O', 'S', 'T', '\r', '\n'};
/// The second port of the first virtio-console device; the first one is kept for a console (Linux,
/// drivers/char/virtio_console.c, add_port()).
inline constexpr const char* kPortDevice = "/dev/vport0p1";
inline constexpr char kTaken = '+';

inline constexpr std::uint32_t kMostNameBytes = 255;
inline constexpr std::uint64_t kMostFileBytes = 256ULL << 20;
inline constexpr std::uint64_t kMostTotalBytes = 1024ULL << 20;
inline constexpr std::uint32_t kMostFiles = 4096;

struct StreamHeader {
  std::array<char, 8> magic = kPortMagic;
  std::uint32_t version = kPortVersion;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(StreamHeader) == 16);

enum class FrameKind : std::uint32_t {
  File = 1,        ///< value: bytes of contents.
  Exited = 2,      ///< value: exit status, 0 to 255.
  Killed = 3,      ///< value: number of the signal.
  Deadline = 4,    ///< value: 0. The program was killed because its time was over.
  NotStarted = 5,  ///< value: errno of what failed.
};

struct FrameHeader {
  std::uint32_t kind = 0;
  std::uint32_t name_bytes = 0;  ///< 0 for all but File.
  std::uint64_t value = 0;
};
static_assert(sizeof(FrameHeader) == 16);

/// Whether a file may have this name: a relative path of letters, digits and `._+=,@-`, with `/`
/// between parts, no part empty, `.` or `..`, at most kMostNameBytes long.
[[nodiscard]] constexpr bool valid_name(std::string_view name) {
  if (name.empty() || name.size() > kMostNameBytes) return false;
  std::size_t start = 0;
  for (std::size_t at = 0; at <= name.size(); ++at) {
    if (at == name.size() || name[at] == '/') {
      const std::string_view part = name.substr(start, at - start);
      if (part.empty() || part == "." || part == "..") return false;
      start = at + 1;
      continue;
    }
    const char c = name[at];
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("._+=,@-").find(c) != std::string_view::npos;
    if (!good) return false;
  }
  return true;
}

}  // namespace sealvisor::engine::nested
