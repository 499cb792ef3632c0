#include "vmm/evidence/digest.h"

#include <string>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using evidence::digest_of;
using evidence::hex;

// FIPS 180-4's own examples, as `printf abc | sha256sum` has them too.
TEST(Digest, IsSha256) {
  EXPECT_EQ(hex(digest_of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(digest_of("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, OfPiecesIsThatOfTheWhole) {
  const std::string text(100'000, 'x');
  evidence::Hasher hasher;
  hasher.add(std::string_view(text).substr(0, 1));
  hasher.add(std::string_view(text).substr(1));
  EXPECT_EQ(hasher.end(), digest_of(text));
  hasher.add("abc");
  EXPECT_EQ(hasher.end(), digest_of("abc")) << "it begins anew";
}

TEST(Digest, ReadsBackWhatItWrites) {
  const auto digest = digest_of("abc");
  EXPECT_EQ(evidence::parse_digest(hex(digest)), digest);
  std::string text = hex(digest);
  EXPECT_EQ(evidence::parse_digest(text + "0"), std::nullopt);
  EXPECT_EQ(evidence::parse_digest(text.substr(1)), std::nullopt);
  text[5] = 'G';
  EXPECT_EQ(evidence::parse_digest(text), std::nullopt);
}

}  // namespace
}  // namespace sealvisor::test
