// SHA-256, of what is kept (FIPS 180-4; done by Nettle).
#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sealvisor::evidence {

using Digest = std::array<std::uint8_t, SHA256_DIGEST_SIZE>;

/// Takes bytes piece by piece.
class Hasher {
 public:
  Hasher() { sha256_init(&state_); }
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  /// Of everything since the last end().
  [[nodiscard]] Digest end();

 private:
  sha256_ctx state_{};
};

[[nodiscard]] Digest digest_of(std::span<const std::byte> bytes);
[[nodiscard]] Digest digest_of(std::string_view text);

/// 64 hexadecimal digits, as sha256sum(1) prints them.
[[nodiscard]] std::string hex(const Digest& digest);
/// nullopt: these are not 64 of the digits that hex() writes.
[[nodiscard]] std::optional<Digest> parse_digest(std::string_view text);

}  // namespace sealvisor::evidence
