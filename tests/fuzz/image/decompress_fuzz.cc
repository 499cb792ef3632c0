// Any bytes as something compressed: what comes out is within the bound, and what was packed and
// not changed comes out as it was.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "tests/fuzz/arch/input.h"
#include "tests/unit/image/compressed.h"
#include "vmm/image/decompress.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point
using image::Compression;

namespace {

constexpr std::array kAll = {Compression::Gzip, Compression::Xz, Compression::Lzma,
                             Compression::Zstd, Compression::Lz4};
constexpr std::uint64_t kMost = 256 * 1024;

/// Unpacks `packed`, in pieces of `piece` bytes; whether it went well.
bool unpack(Compression compression, std::string_view packed, std::size_t piece, std::string& out) {
  std::size_t at = 0;
  const auto count = image::decompress(
      compression,
      [&](std::span<std::byte> into) -> Result<std::size_t> {
        const std::size_t size = std::min({into.size(), piece, packed.size() - at});
        std::memcpy(into.data(), packed.data() + at, size);
        at += size;
        return size;
      },
      kMost,
      [&](std::span<const std::byte> bytes) -> Status {
        out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return {};
      });
  fuzz::require(out.size() <= kMost);
  if (count) fuzz::require(count.value() == out.size());
  return count.ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const Compression compression = kAll[input.take<std::uint8_t>() % kAll.size()];
  const std::size_t piece = 1 + input.take<std::uint8_t>();
  const unsigned changes = input.take<std::uint8_t>() % 4;
  const bool legacy = (input.take<std::uint8_t>() & 1) != 0;
  std::array<std::pair<std::uint16_t, std::uint8_t>, 4> where{};
  for (auto& [at, bits] : where) {
    at = input.take<std::uint16_t>();
    bits = input.take<std::uint8_t>();
  }
  const auto rest = input.rest();
  const std::string_view bytes(reinterpret_cast<const char*>(rest.data()), rest.size());
  std::string out;
  // As they are.
  static_cast<void>(unpack(compression, bytes, piece, out));
  // Packed, and then perhaps damaged: few bytes that come by chance get past the first header.
  std::string packed = compression == Compression::Lz4 && legacy && !bytes.empty()
                           ? test::lz4_legacy(bytes, piece)
                           : test::compressed(compression, bytes);
  for (unsigned i = 0; i < changes; ++i) {
    char& byte = packed[where[i].first % packed.size()];
    byte = static_cast<char>(byte ^ where[i].second);
  }
  out.clear();
  const bool good = unpack(compression, packed, piece, out);
  if (changes == 0) fuzz::require(good && out == bytes);
  return 0;
}
