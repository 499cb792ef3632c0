#include "vmm/image/decompress.h"

#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace sealvisor::image {

namespace {

using namespace std::string_view_literals;

constexpr std::size_t kPiece = 64 * 1024;
/// Of liblzma's decoder; a dictionary of the largest preset takes 65 MiB (xz(1), -9).
constexpr std::uint64_t kMostLzmaMemory = 256ULL << 20;
/// lz4_Block_format and lz4 -l: what a block of the legacy format holds at most.
constexpr std::size_t kLegacyBlock = 8UL << 20;
constexpr std::uint32_t kLegacyMagic = 0x184C2102;

Error damaged(std::string_view why) {
  return Error{ExitCode::Usage, fmt::format("is damaged: {}", why)};
}
Error cut_off() { return Error{ExitCode::Usage, "is cut off"}; }

/// The compressed bytes, a piece at a time.
class Input {
 public:
  explicit Input(const ByteSource& source) : source_(source), piece_(kPiece) {}

  /// Reads on if everything was used. Afterwards left() is empty only at the end.
  [[nodiscard]] Status fill() {
    if (!left_.empty() || ended_) return {};
    auto got = source_(piece_);
    if (!got) return got.error();
    left_ = std::span(piece_).first(std::min(got.value(), piece_.size()));
    ended_ = left_.empty();
    return {};
  }
  [[nodiscard]] std::span<const std::byte> left() const { return left_; }
  [[nodiscard]] bool at_end() const { return ended_ && left_.empty(); }
  void use(std::size_t bytes) { left_ = left_.subspan(std::min(bytes, left_.size())); }

  /// Takes as many of the bytes that follow as there are, at most `into.size()`.
  [[nodiscard]] Result<std::size_t> take(std::span<std::byte> into) {
    std::size_t taken = 0;
    while (taken < into.size()) {
      if (auto filled = fill(); !filled) return filled.error();
      if (left_.empty()) break;
      const std::size_t count = std::min(left_.size(), into.size() - taken);
      std::memcpy(into.data() + taken, left_.data(), count);
      use(count);
      taken += count;
    }
    return taken;
  }

 private:
  const ByteSource& source_;
  std::vector<std::byte> piece_;
  std::span<const std::byte> left_;
  bool ended_ = false;
};

/// What came out, counted.
class Output {
 public:
  Output(std::uint64_t most, const ByteSink& sink) : most_(most), sink_(sink) {}

  [[nodiscard]] Status put(std::span<const std::byte> bytes) {
    if (bytes.size() > most_ - count_) {
      return Error{ExitCode::Usage, fmt::format("unpacks to more than {} bytes", most_)};
    }
    count_ += bytes.size();
    return bytes.empty() ? Status() : sink_(bytes);
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::uint64_t most_;
  const ByteSink& sink_;
  std::uint64_t count_ = 0;
};

/// What one call of a library did.
struct Step {
  std::size_t used = 0;
  std::size_t made = 0;
  bool member_ended = false;
};

/// Pulls all of `input` through `step(in, out)`, which returns a Result<Step>. A member that ended
/// may be followed by another one (`more(in)`) or by zeroes.
template <typename Stepper>
Status pump(Input& input, Output& output, Stepper& stepper) {
  std::vector<std::byte> room(kPiece);
  bool ended = false;  // Behind a member.
  bool fresh = true;   // In front of one.
  for (;;) {
    if (auto filled = input.fill(); !filled) return filled;
    if (ended) {
      if (input.at_end()) return {};
      if (input.left().front() == std::byte{0}) {  // What a block device's image is filled up with.
        input.use(1);
        continue;
      }
      if (auto again = stepper.again(); !again) return again;
      ended = false;
      fresh = true;
    }
    auto step = stepper.step(input.left(), room);
    if (!step) return step.error();
    input.use(step.value().used);
    if (auto put = output.put(std::span(room).first(step.value().made)); !put) return put;
    ended = step.value().member_ended;
    // The last call for a member may have no more to do than to say that it has ended.
    const bool idle = step.value().used == 0 && step.value().made == 0;
    if (idle && (fresh || !ended)) {
      return input.at_end() ? cut_off() : damaged("it can't be gone on with");
    }
    fresh = false;
  }
}

class Gunzip {
 public:
  Gunzip() = default;
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;
  ~Gunzip() {
    if (good_) ::inflateEnd(&stream_);
  }
  /// 16: a gzip header is there, and its checksum is looked at (zlib.h, inflateInit2).
  [[nodiscard]] Status start() {
    good_ = ::inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK;
    return good_ ? Status() : Error{ExitCode::HostLacks, "zlib: out of memory"};
  }
  [[nodiscard]] Status again() {
    return ::inflateReset(&stream_) == Z_OK ? Status() : damaged("zlib can't start again");
  }
  [[nodiscard]] Result<Step> step(std::span<const std::byte> in, std::span<std::byte> out) {
    // zlib does not write to it.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));  // NOLINT
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = ::inflate(&stream_, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return damaged(stream_.msg != nullptr ? stream_.msg : "no gzip data");
    }
    return Step{in.size() - stream_.avail_in, out.size() - stream_.avail_out,
                result == Z_STREAM_END};
  }

 private:
  z_stream stream_{};
  bool good_ = false;
};

class Unlzma {
 public:
  explicit Unlzma(bool alone) : alone_(alone) {}
  Unlzma(const Unlzma&) = delete;
  Unlzma& operator=(const Unlzma&) = delete;
  ~Unlzma() { ::lzma_end(&stream_); }
  [[nodiscard]] Status start() { return again(); }
  [[nodiscard]] Status again() {
    const lzma_ret result = alone_ ? ::lzma_alone_decoder(&stream_, kMostLzmaMemory)
                                   : ::lzma_stream_decoder(&stream_, kMostLzmaMemory, 0);
    return result == LZMA_OK ? Status() : Error{ExitCode::HostLacks, "liblzma: out of memory"};
  }
  [[nodiscard]] Result<Step> step(std::span<const std::byte> in, std::span<std::byte> out) {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret result = ::lzma_code(&stream_, LZMA_RUN);
    if (result == LZMA_MEMLIMIT_ERROR) {
      return damaged(fmt::format("it needs more than {} MiB to unpack", kMostLzmaMemory >> 20));
    }
    if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR) {
      return damaged(fmt::format("liblzma says {}", static_cast<int>(result)));
    }
    return Step{in.size() - stream_.avail_in, out.size() - stream_.avail_out,
                result == LZMA_STREAM_END};
  }

 private:
  bool alone_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Unzstd {
 public:
  [[nodiscard]] Status start() {
    context_.reset(::ZSTD_createDCtx());
    return context_ != nullptr ? Status() : Error{ExitCode::HostLacks, "libzstd: out of memory"};
  }
  [[nodiscard]] Status again() { return {}; }  // It begins the next frame by itself.
  [[nodiscard]] Result<Step> step(std::span<const std::byte> in, std::span<std::byte> out) {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const std::size_t result = ::ZSTD_decompressStream(context_.get(), &to, &from);
    if (::ZSTD_isError(result) != 0) return damaged(::ZSTD_getErrorName(result));
    return Step{from.pos, to.pos, result == 0};
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ::ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
};

/// The frame format (lz4frame.h).
class Unlz4 {
 public:
  [[nodiscard]] Status start() {
    LZ4F_dctx* context = nullptr;
    if (::LZ4F_isError(::LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0) {
      return Error{ExitCode::HostLacks, "liblz4: out of memory"};
    }
    context_.reset(context);
    return {};
  }
  [[nodiscard]] Status again() { return {}; }
  [[nodiscard]] Result<Step> step(std::span<const std::byte> in, std::span<std::byte> out) {
    std::size_t used = in.size();
    std::size_t made = out.size();
    const std::size_t result =
        ::LZ4F_decompress(context_.get(), out.data(), &made, in.data(), &used, nullptr);
    if (::LZ4F_isError(result) != 0) return damaged(::LZ4F_getErrorName(result));
    return Step{used, made, result == 0};
  }

 private:
  struct Free {
    void operator()(LZ4F_dctx* context) const { ::LZ4F_freeDecompressionContext(context); }
  };
  std::unique_ptr<LZ4F_dctx, Free> context_;
};

template <typename Stepper>
Status run(Input& input, Output& output, Stepper&& stepper) {
  if (auto started = stepper.start(); !started) return started;
  return pump(input, output, stepper);
}

std::uint32_t little_endian(std::span<const std::byte, 4> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(bytes[i]) << 8 * i;
  return value;
}

/// What `lz4 -l` makes: a magic number, then blocks, each behind its size, until the bytes end. A
/// magic number in a size's place begins the next member (Linux, lib/decompress_unlz4.c).
Status unlz4_legacy(Input& input, Output& output) {
  const auto most = static_cast<std::size_t>(::LZ4_compressBound(static_cast<int>(kLegacyBlock)));
  std::vector<std::byte> block;
  std::vector<std::byte> plain(kLegacyBlock);
  for (bool first = true;; first = false) {
    std::array<std::byte, 4> number{};
    auto got = input.take(number);
    if (!got) return got.error();
    if (got.value() == 0 && !first) return {};
    if (got.value() != number.size()) return cut_off();
    const std::uint32_t size = little_endian(number);
    if (size == kLegacyMagic) continue;
    if (first) return damaged("no lz4 data");
    if (size == 0) return {};  // The same zeroes.
    if (size > most) {
      return damaged(fmt::format("a block of {} bytes, expected at most {}", size, most));
    }
    block.resize(size);
    got = input.take(block);
    if (!got) return got.error();
    if (got.value() != size) return cut_off();
    const int made = ::LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                                           reinterpret_cast<char*>(plain.data()),
                                           static_cast<int>(size), static_cast<int>(plain.size()));
    if (made < 0) return damaged("a block of it is no lz4 data");
    if (auto put = output.put(std::span(plain).first(static_cast<std::size_t>(made))); !put) {
      return put;
    }
  }
}

/// The format is told by the first four bytes, which are then read again.
Status unlz4(const ByteSource& from, Output& output) {
  std::array<std::byte, 4> head{};
  std::size_t held = 0;
  while (held < head.size()) {
    auto got = from(std::span(head).subspan(held));
    if (!got) return got.error();
    if (got.value() == 0) return cut_off();
    held += got.value();
  }
  std::size_t given = 0;
  const ByteSource all = [&](std::span<std::byte> into) -> Result<std::size_t> {
    if (given == head.size()) return from(into);
    const std::size_t count = std::min(into.size(), head.size() - given);
    std::copy_n(head.begin() + static_cast<std::ptrdiff_t>(given), count, into.begin());
    given += count;
    return count;
  };
  Input input(all);
  if (little_endian(head) == kLegacyMagic) return unlz4_legacy(input, output);
  return run(input, output, Unlz4());
}

}  // namespace

const char* name_of(Compression compression) {
  switch (compression) {
    case Compression::Gzip:
      return "gzip";
    case Compression::Xz:
      return "xz";
    case Compression::Lzma:
      return "lzma";
    case Compression::Zstd:
      return "zstd";
    case Compression::Lz4:
      return "lz4";
  }
  return "?";
}

std::optional<Compression> compression_of(std::span<const std::byte> head) {
  static constexpr std::pair<std::string_view, Compression> kMagics[] = {
      {"\x1f\x8b"sv, Compression::Gzip},
      {"\xfd"
       "7zXZ\0"sv,
       Compression::Xz},
      {"\x28\xb5\x2f\xfd"sv, Compression::Zstd},
      {"\x02\x21\x4c\x18"sv, Compression::Lz4},
      {"\x04\x22\x4d\x18"sv, Compression::Lz4},
      // lc=3 lp=0 pb=2 and a dictionary of whole 64 KiB: what lzma(1) makes by default.
      {"\x5d\0\0"sv, Compression::Lzma},
  };
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), head.size());
  for (const auto& [magic, compression] : kMagics) {
    if (bytes.starts_with(magic)) return compression;
  }
  return std::nullopt;
}

Result<std::uint64_t> decompress(Compression compression, const ByteSource& from,
                                 std::uint64_t most, const ByteSink& to) {
  Output output(most, to);
  Status done;
  if (compression == Compression::Lz4) {
    done = unlz4(from, output);
  } else {
    Input input(from);
    switch (compression) {
      case Compression::Gzip:
        done = run(input, output, Gunzip());
        break;
      case Compression::Xz:
        done = run(input, output, Unlzma(false));
        break;
      case Compression::Lzma:
        done = run(input, output, Unlzma(true));
        break;
      case Compression::Zstd:
        done = run(input, output, Unzstd());
        break;
      case Compression::Lz4:
        break;
    }
  }
  if (!done) return done.error();
  return output.count();
}

}  // namespace sealvisor::image
