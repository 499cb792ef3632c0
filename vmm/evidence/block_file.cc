#include "vmm/evidence/block_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "vmm/evidence/wire.h"

namespace sealvisor::evidence {

namespace {

/// Beyond it a trace gets little smaller: its records are coded by what is known already.
constexpr int kCompression = 3;

constexpr std::array<char, 4> kDataBlock = {'B', 'L', 'C', 'K'};
constexpr std::array<char, 4> kLastBlock = {'L', 'A', 'S', 'T'};

std::array<std::byte, kTraceHeadBytes> file_head() {
  std::array<std::byte, kTraceHeadBytes> head{};
  std::memcpy(head.data(), kTraceMagic.data(), kTraceMagic.size());
  put32(head.data() + 8, kTraceVersion);
  put32(head.data() + 12, kMostBlockBytes);
  return head;
}

/// What a block's digest is of.
Digest seal_block(const Digest& before, std::span<const std::byte> head,
                  std::span<const std::byte> packed) {
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(before)));
  hasher.add(head);
  hasher.add(packed);
  return hasher.end();
}

Digest first_digest(const Digest& seed) { return seal_block(seed, file_head(), {}); }

}  // namespace

BlockWriter::BlockWriter(std::string path, Fd file, const Digest& seed)
    : path_(std::move(path)), file_(std::move(file)), context_(ZSTD_createCCtx()) {
  if (!context_) throw std::bad_alloc();
  // What it can't take it says when it is used.
  ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kCompression);
  ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_contentSizeFlag, 1);
  plain_.reserve(kBlockBytes + kBlockBytes / 4);
  seal_.digest = first_digest(seed);
}

Result<BlockWriter> BlockWriter::create(const std::filesystem::path& file, const Digest& seed) {
  Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return errno_error(ExitCode::HostLacks, "trace file " + file.string());
  BlockWriter writer(file.string(), std::move(fd), seed);
  writer.write(file_head());
  return writer;
}

void BlockWriter::write(std::span<const std::byte> bytes) {
  if (failed_) return;
  if (write_all(file_, bytes)) {
    seal_.bytes += bytes.size();
  } else {
    failed_ = errno_error(ExitCode::HostLacks, "trace file " + path_);
  }
}

void BlockWriter::write_block(std::span<const std::byte> packed, std::size_t plain_bytes) {
  std::array<std::byte, kBlockHeadBytes> head{};
  std::memcpy(head.data(), (plain_bytes == 0 ? kLastBlock : kDataBlock).data(), 4);
  put32(head.data() + 4, seal_.blocks);
  put32(head.data() + 8, packed.size());
  put32(head.data() + 12, plain_bytes);
  seal_.digest = seal_block(seal_.digest, std::span(head).first(16), packed);
  std::memcpy(head.data() + 16, seal_.digest.data(), seal_.digest.size());
  write(head);
  write(packed);
  ++seal_.blocks;
}

void BlockWriter::flush() {
  if (failed_ || plain_.empty()) {
    plain_.clear();
    return;
  }
  packed_.resize(ZSTD_compressBound(plain_.size()));
  const std::size_t size =
      ZSTD_compress2(context_.get(), packed_.data(), packed_.size(), plain_.data(), plain_.size());
  if (ZSTD_isError(size) != 0) {
    failed_ = Error{ExitCode::HostLacks,
                    fmt::format("trace file {}: {}", path_, ZSTD_getErrorName(size))};
  } else {
    write_block(std::span(packed_).first(size), plain_.size());
  }
  plain_.clear();
}

Result<BlockSeal> BlockWriter::close() {
  flush();
  if (!failed_) write_block({}, 0);
  if (!failed_ && ::fsync(file_.get()) != 0 && errno != EINVAL) {
    failed_ = errno_error(ExitCode::HostLacks, "trace file " + path_);
  }
  file_.reset();
  if (failed_) return *failed_;
  return seal_;
}

BlockReader::BlockReader(std::string path, Fd file, const Digest& seed)
    : path_(std::move(path)), file_(std::move(file)), context_(ZSTD_createDCtx()) {
  if (!context_) throw std::bad_alloc();
  seal_.digest = first_digest(seed);
}

Error BlockReader::fail(std::string text) {
  fault_ = BlockFault{seal_.blocks, offset_, std::move(text)};
  ended_ = true;
  return Error{ExitCode::Failed, fmt::format("{}: block {}, at byte {}: {}", path_, fault_->block,
                                             fault_->offset, fault_->text)};
}

Result<std::size_t> BlockReader::read(std::span<std::byte> bytes) {
  const auto done = read_all(file_, bytes);
  if (!done) return errno_error(ExitCode::Usage, "reading " + path_);
  seal_.bytes += *done;
  return *done;
}

Result<BlockReader> BlockReader::open(const std::filesystem::path& file, const Digest& seed) {
  auto fd = open_plain(file, ExitCode::Usage, "trace " + file.string());
  if (!fd) return fd.error();
  BlockReader reader(file.string(), std::move(fd).value(), seed);
  std::array<std::byte, kTraceHeadBytes> head{};
  const auto count = reader.read(head);
  if (!count) return count.error();
  if (count.value() != head.size() ||
      std::memcmp(head.data(), kTraceMagic.data(), kTraceMagic.size()) != 0) {
    return Error{ExitCode::Usage,
                 fmt::format("{}: block 0, at byte 0: no trace, expected '{}' at its start",
                             file.string(), kTraceMagic)};
  }
  if (head != file_head()) {
    return Error{ExitCode::Usage,
                 fmt::format("{}: block 0, at byte 8: format {} with blocks of {} bytes, this "
                             "sealvisor reads {} with {}",
                             file.string(), get32(head.data() + 8), get32(head.data() + 12),
                             kTraceVersion, kMostBlockBytes)};
  }
  return reader;
}

Result<std::span<const std::byte>> BlockReader::next() {
  if (fault_) return Error{ExitCode::Failed, path_ + ": " + fault_->text};
  if (ended_) return std::span<const std::byte>();
  offset_ = seal_.bytes;
  std::array<std::byte, kBlockHeadBytes> head{};
  const auto count = read(head);
  if (!count) return count.error();
  if (count.value() == 0) return fail("cut off: the last block is not there");
  if (count.value() != head.size()) return fail("cut off within the head of a block");
  const bool last = std::memcmp(head.data(), kLastBlock.data(), 4) == 0;
  if (!last && std::memcmp(head.data(), kDataBlock.data(), 4) != 0) {
    return fail("no block begins here");
  }
  const std::uint32_t number = get32(head.data() + 4);
  const std::uint32_t packed_bytes = get32(head.data() + 8);
  const std::uint32_t plain_bytes = get32(head.data() + 12);
  if (number != seal_.blocks) return fail(fmt::format("block {} is in its place", number));
  if (plain_bytes > kMostBlockBytes || packed_bytes > ZSTD_compressBound(kMostBlockBytes) ||
      last != (plain_bytes == 0) || last != (packed_bytes == 0)) {
    return fail(fmt::format("{} bytes that unpack to {}, expected at most {}", packed_bytes,
                            plain_bytes, kMostBlockBytes));
  }
  packed_.resize(packed_bytes);
  const auto got = read(packed_);
  if (!got) return got.error();
  if (got.value() != packed_bytes) return fail("cut off within a block");
  Digest told{};
  std::memcpy(told.data(), head.data() + 16, told.size());
  const Digest found = seal_block(seal_.digest, std::span(head).first(16), packed_);
  if (found != told) return fail("its digest is not that of what it and the blocks before it hold");
  seal_.digest = found;
  ++seal_.blocks;
  if (last) {
    std::byte more{};
    const auto behind = read(std::span(&more, 1));
    if (!behind) return behind.error();
    if (behind.value() != 0) {
      offset_ = seal_.bytes - 1;
      return fail("bytes behind the last block");
    }
    ended_ = true;
    return std::span<const std::byte>();
  }
  plain_.resize(plain_bytes);
  const std::size_t size = ZSTD_decompressDCtx(context_.get(), plain_.data(), plain_.size(),
                                               packed_.data(), packed_.size());
  if (ZSTD_isError(size) != 0 || size != plain_bytes) {
    --seal_.blocks;
    return fail(fmt::format("does not unpack to {} bytes: {}", plain_bytes,
                            ZSTD_isError(size) != 0 ? ZSTD_getErrorName(size) : "it has fewer"));
  }
  return std::span<const std::byte>(plain_);
}

}  // namespace sealvisor::evidence
