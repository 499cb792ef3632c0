// Taking compressed bytes apart, in pieces: what holds a kernel image may be larger than anybody
// wants in memory, and may be made to be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "vmm/base/result.h"

namespace sealvisor::image {

/// What Linux's build makes kernel images with and this can take apart (scripts/Makefile.lib,
/// "Decompressor"; lzop and bzip2 are left out).
enum class Compression : std::uint8_t {
  Gzip,  ///< RFC 1952; each member with its checksum.
  Xz,    ///< The .xz format, with the filters for machine code.
  Lzma,  ///< The older .lzma format.
  Zstd,  ///< RFC 8878, windows of up to 128 MiB.
  Lz4,   ///< The frame format, and the legacy one that the kernel's build uses.
};
/// "gzip", "xz", "lzma", "zstd", "lz4".
[[nodiscard]] const char* name_of(Compression compression);

/// How the bytes that begin with `head` are compressed; nullopt: in none of these ways.
[[nodiscard]] std::optional<Compression> compression_of(std::span<const std::byte> head);

/// Fills `into` as far as it can and says how many bytes it was; 0: there are no more.
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte> into)>;
/// Takes bytes, in order. An Error ends the whole.
using ByteSink = std::function<Status(std::span<const std::byte> bytes)>;

/// Gives `to` what `from` holds, at most `most` bytes in all, and says how many it was. Members
/// that follow each other count as one, and zeroes may stand behind the last. Errors (exit code
/// Usage): "is damaged: ...", "is cut off", "unpacks to more than ... bytes"; what `from` or `to`
/// say.
[[nodiscard]] Result<std::uint64_t> decompress(Compression compression, const ByteSource& from,
                                               std::uint64_t most, const ByteSink& to);

}  // namespace sealvisor::image
