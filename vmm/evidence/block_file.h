// A file of compressed blocks, each of which seals what is before it. docs/evidence.md has the
// format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <zstd.h>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/evidence/digest.h"

namespace sealvisor::evidence {

/// First bytes of a trace, with the version of its format behind them.
inline constexpr std::string_view kTraceMagic = "SLVTRACE";
/// Raised with every change of the blocks or of the records in them.
inline constexpr std::uint32_t kTraceVersion = 6;
inline constexpr std::size_t kTraceHeadBytes = 16;

/// A block is written once it has this many bytes before compression.
inline constexpr std::size_t kBlockBytes = 256U << 10;
/// No block that is read may unpack to more.
inline constexpr std::size_t kMostBlockBytes = 1U << 20;
inline constexpr std::size_t kBlockHeadBytes = 16 + sizeof(Digest);

/// What a whole file is known by.
struct BlockSeal {
  std::uint64_t blocks = 0;  ///< The last, empty one included.
  std::uint64_t bytes = 0;   ///< Of the file.
  Digest digest{};           ///< Of the last block, and so of all.
};

/// Writes one. A failed write (disk full) stops it, keeps what is there and is told by close().
class BlockWriter {
 public:
  /// Creates or empties `file`. `seed`: what the first block seals. Errors (HostLacks) name the
  /// path.
  [[nodiscard]] static Result<BlockWriter> create(const std::filesystem::path& file,
                                                  const Digest& seed);

  /// Bytes of the block in progress, to append whole records to; follow with written().
  [[nodiscard]] std::vector<std::byte>& plain() { return plain_; }
  /// Writes the block if it is full. Opens no file.
  void written() {
    if (plain_.size() >= kBlockBytes) flush();
  }
  /// Writes the rest and the mark of the end.
  [[nodiscard]] Result<BlockSeal> close();

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  BlockWriter(std::string path, Fd file, const Digest& seed);
  void flush();
  void write(std::span<const std::byte> bytes);
  void write_block(std::span<const std::byte> packed, std::size_t plain_bytes);

  std::string path_;
  Fd file_;
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
  std::vector<std::byte> plain_;
  std::vector<std::byte> packed_;
  BlockSeal seal_;
  std::optional<Error> failed_;
};

/// Where something is wrong in a file of blocks.
struct BlockFault {
  std::uint64_t block = 0;   ///< Counted from 0.
  std::uint64_t offset = 0;  ///< Of that block in the file.
  std::string text;
};

/// Reads one, block by block, and checks each before it is unpacked.
class BlockReader {
 public:
  /// `seed` as when it was written. Errors (Usage): it can't be read, is no trace, is of another
  /// version.
  [[nodiscard]] static Result<BlockReader> open(const std::filesystem::path& file,
                                                const Digest& seed);

  /// The next block's contents, valid until the next call; empty behind the last one, once all of
  /// the file was seen to be whole. An Error (Failed) is the text of fault().
  [[nodiscard]] Result<std::span<const std::byte>> next();
  /// The first thing that is wrong; nullopt: nothing so far.
  [[nodiscard]] const std::optional<BlockFault>& fault() const { return fault_; }
  /// Number of the block that next() gave last, and where it is.
  [[nodiscard]] std::uint64_t block() const { return seal_.blocks == 0 ? 0 : seal_.blocks - 1; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  /// Of what was read so far; of the file once next() gave nothing more.
  [[nodiscard]] const BlockSeal& seal() const { return seal_; }

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  BlockReader(std::string path, Fd file, const Digest& seed);
  /// Fills `bytes` as far as the file goes; how far that was.
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> bytes);
  [[nodiscard]] Error fail(std::string text);

  std::string path_;
  Fd file_;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  std::vector<std::byte> plain_;
  std::vector<std::byte> packed_;
  std::uint64_t offset_ = 0;
  BlockSeal seal_;
  bool ended_ = false;
  std::optional<BlockFault> fault_;
};

}  // namespace sealvisor::evidence
