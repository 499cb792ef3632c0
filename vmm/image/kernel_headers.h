// What the first bytes of a file say about the kernel image that it may be.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/image/decompress.h"
#include "vmm/image/kernel_image.h"

namespace sealvisor::image {

/// Start of the file: holds every header that is read here.
inline constexpr std::size_t kHeadBytes = 4096;

/// A file that is being looked at. Bytes past its end read as zero.
struct Candidate {
  std::string name;  ///< For messages: its path, and what it was unpacked from.
  const Fd& fd;
  std::uint64_t size = 0;
  std::array<char, kHeadBytes> head{};

  /// Errors: not a regular file, empty, unreadable.
  [[nodiscard]] static Result<Candidate> read(std::string name, const Fd& fd);

  [[nodiscard]] Error refuse(const std::string& why) const {
    return Error{ExitCode::Usage, "kernel " + name + ": " + why};
  }
  [[nodiscard]] bool has(std::size_t offset, std::string_view bytes) const {
    return std::string_view(head.data(), head.size()).substr(offset, bytes.size()) == bytes;
  }
  template <typename Number>
  [[nodiscard]] Number number(std::size_t offset) const {
    Number value{};
    std::memcpy(&value, head.data() + offset, sizeof(value));
    return value;
  }
};

/// Bytes of a file that hold something compressed.
struct Packed {
  std::string what;  ///< "gzip"; "EFI zboot, zstd".
  Compression compression{};
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;  ///< Inside the file: checked.
  /// What it must unpack to, where that is written down behind it.
  std::optional<std::uint64_t> unpacked_bytes;
};

/// An image that can be booted, or one that has to be unpacked first. Errors: as open_kernel()'s.
[[nodiscard]] Result<std::variant<KernelImage, Packed>> look_at(const Candidate& file);

/// What is inside a bzImage (boot.rst, payload_offset and payload_length); nullopt: it does not
/// say, or it is compressed in a way that is not known. Precondition: look_at() found a bzImage.
/// Errors: it says that it lies outside the file.
[[nodiscard]] Result<std::optional<Packed>> payload_of(const Candidate& file);

}  // namespace sealvisor::image
