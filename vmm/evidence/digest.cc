#include "vmm/evidence/digest.h"

namespace sealvisor::evidence {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

void Hasher::add(std::span<const std::byte> bytes) {
  sha256_update(&state_, bytes.size(), reinterpret_cast<const std::uint8_t*>(bytes.data()));
}

Digest Hasher::end() {
  Digest digest{};
  sha256_digest(&state_, digest.size(), digest.data());
  return digest;
}

Digest digest_of(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.add(bytes);
  return hasher.end();
}

Digest digest_of(std::string_view text) { return digest_of(std::as_bytes(std::span(text))); }

std::string hex(const Digest& digest) {
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Digest> parse_digest(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    digest[i / 2] = static_cast<std::uint8_t>(digest[i / 2] * 16U + digit);
  }
  return digest;
}

}  // namespace sealvisor::evidence
