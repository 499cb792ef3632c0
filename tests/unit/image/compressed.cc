#include "tests/unit/image/compressed.h"

#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace sealvisor::test {

namespace {

/// What compresses must not fail: a test without its input says nothing.
void require(bool holds) {
  if (!holds) std::abort();
}

std::string little_endian(std::uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> 8 * i & 0xff);
  return bytes;
}

std::string gzip(std::string_view plain) {
  z_stream stream{};
  require(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, plain.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string xz(std::string_view plain, bool alone) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_options_lzma options{};
  require(!lzma_lzma_preset(&options, 1));
  require((alone ? lzma_alone_encoder(&stream, &options)
                 : lzma_easy_encoder(&stream, 1, LZMA_CHECK_CRC32)) == LZMA_OK);
  std::string out(plain.size() * 2 + 4096, '\0');
  stream.next_in = reinterpret_cast<const std::uint8_t*>(plain.data());
  stream.avail_in = plain.size();
  stream.next_out = reinterpret_cast<std::uint8_t*>(out.data());
  stream.avail_out = out.size();
  require(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
  out.resize(stream.total_out);
  lzma_end(&stream);
  return out;
}

}  // namespace

std::string compressed(image::Compression compression, std::string_view plain) {
  std::string out;
  switch (compression) {
    case image::Compression::Gzip:
      return gzip(plain);
    case image::Compression::Xz:
      return xz(plain, false);
    case image::Compression::Lzma:
      return xz(plain, true);
    case image::Compression::Zstd:
      out.resize(ZSTD_compressBound(plain.size()));
      out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
      return out;
    case image::Compression::Lz4:
      out.resize(LZ4F_compressFrameBound(plain.size(), nullptr));
      out.resize(LZ4F_compressFrame(out.data(), out.size(), plain.data(), plain.size(), nullptr));
      return out;
  }
  return out;
}

std::string lz4_legacy(std::string_view plain, std::size_t block) {
  std::string out = little_endian(0x184C2102);
  for (std::size_t at = 0; at < plain.size(); at += block) {
    const std::string_view part = plain.substr(at, block);
    std::string packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(part.size()))),
                       '\0');
    packed.resize(static_cast<std::size_t>(LZ4_compress_default(part.data(), packed.data(),
                                                                static_cast<int>(part.size()),
                                                                static_cast<int>(packed.size()))));
    out += little_endian(static_cast<std::uint32_t>(packed.size())) + packed;
  }
  return out;
}

std::string size_behind(std::string_view plain) {
  return little_endian(static_cast<std::uint32_t>(plain.size()));
}

std::string some_text(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; text.size() < bytes; ++i) text += std::to_string(i * 7919 % 10007) + " ";
  text.resize(bytes);
  return text;
}

}  // namespace sealvisor::test
