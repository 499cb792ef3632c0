#include "vmm/evidence/block_file.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"

namespace sealvisor::test {
namespace {

using evidence::BlockReader;
using evidence::BlockSeal;
using evidence::BlockWriter;
using testing::HasSubstr;

const evidence::Digest kBlockSeed = evidence::digest_of("a run");

class BlockFile : public testing::Test {
 protected:
  /// Three blocks of bytes that compress a little, then the last one.
  void SetUp() override {
    std::mt19937 random(1);
    for (std::size_t i = 0; i < 2 * evidence::kBlockBytes + 1000; ++i) {
      plain_ += static_cast<char>(random() % 16);
    }
    auto writer = BlockWriter::create(path(), kBlockSeed);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (std::size_t at = 0; at < plain_.size(); at += 1024) {
      const auto bytes = std::as_bytes(std::span(plain_)).subspan(at);
      auto& to = writer.value().plain();
      const auto piece = bytes.first(std::min<std::size_t>(1024, bytes.size()));
      to.insert(to.end(), piece.begin(), piece.end());
      writer.value().written();
    }
    auto seal = writer.value().close();
    ASSERT_TRUE(seal.ok()) << seal.error().message;
    seal_ = seal.value();
    file_ = app::Temporary::read(path());
    ASSERT_EQ(seal_.blocks, 4U);
    ASSERT_EQ(seal_.bytes, file_.size());
    // Where blocks begin: behind the head, then as each one's head says.
    std::size_t at = evidence::kTraceHeadBytes;
    while (at < file_.size()) {
      starts_.push_back(at);
      std::uint32_t packed = 0;
      std::memcpy(&packed, file_.data() + at + 8, sizeof packed);
      at += evidence::kBlockHeadBytes + packed;
    }
    ASSERT_EQ(starts_.size(), 4U);
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "trace"; }

  /// Reads all of `file`; what is wrong with it, empty if nothing is.
  std::string problem(const std::string& file, const evidence::Digest& seed = kBlockSeed) {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << file;
    auto reader = BlockReader::open(path(), seed);
    if (!reader) return reader.error().message;
    for (;;) {
      const auto block = reader.value().next();
      if (!block) return block.error().message;
      if (block.value().empty()) return "";
    }
  }
  [[nodiscard]] std::string at_block(std::size_t block) const {
    return fmt::format("trace: block {}, at byte {}: ", block, starts_[block]);
  }
  [[nodiscard]] std::string block_bytes(std::size_t block) const {
    const std::size_t end = block + 1 < starts_.size() ? starts_[block + 1] : file_.size();
    return file_.substr(starts_[block], end - starts_[block]);
  }

  app::Temporary folder_;
  std::string plain_;
  std::string file_;
  std::vector<std::size_t> starts_;
  BlockSeal seal_;
};

TEST_F(BlockFile, GivesBackWhatWasWritten) {
  auto reader = BlockReader::open(path(), kBlockSeed);
  ASSERT_TRUE(reader.ok());
  std::string all;
  for (;;) {
    const auto block = reader.value().next();
    ASSERT_TRUE(block.ok()) << block.error().message;
    if (block.value().empty()) break;
    all.append(reinterpret_cast<const char*>(block.value().data()), block.value().size());
  }
  EXPECT_EQ(all, plain_);
  EXPECT_EQ(reader.value().seal().digest, seal_.digest);
  EXPECT_EQ(reader.value().seal().blocks, seal_.blocks);
  EXPECT_EQ(reader.value().seal().bytes, seal_.bytes);
}

TEST_F(BlockFile, OneEditedByteIsFoundInItsBlock) {
  // Each byte of the heads, and some of the contents.
  std::size_t tried = 0;
  for (std::size_t at = 0; at < file_.size(); ++at) {
    std::size_t block = 0;
    while (block + 1 < starts_.size() && starts_[block + 1] <= at) ++block;
    const bool head = at < starts_[block] + evidence::kBlockHeadBytes;
    if (!head && at % 997 != 0) continue;
    ++tried;
    std::string edited = file_;
    edited[at] = static_cast<char>(edited[at] ^ 1);
    const std::string what = problem(edited);
    if (at < evidence::kTraceHeadBytes) {
      EXPECT_THAT(what, HasSubstr("block 0, at byte ")) << at;
    } else {
      EXPECT_THAT(what, HasSubstr(at_block(block))) << at;
    }
  }
  EXPECT_GT(tried, 300U);
}

TEST_F(BlockFile, ACutIsFoundWhereverItIs) {
  for (std::size_t size = 0; size < file_.size(); size += size < 500 ? 1 : 1009) {
    EXPECT_THAT(problem(file_.substr(0, size)), HasSubstr("block ")) << size;
  }
  // Behind a whole block too.
  EXPECT_THAT(problem(file_.substr(0, starts_[2])),
              HasSubstr(at_block(2) + "cut off: the last block is not there"));
}

TEST_F(BlockFile, BytesBehindTheEndAreFound) {
  EXPECT_THAT(
      problem(file_ + "x"),
      HasSubstr(fmt::format("block 4, at byte {}: bytes behind the last block", file_.size())));
}

TEST_F(BlockFile, BlocksThatChangedPlacesAreFound) {
  std::string swapped = file_.substr(0, starts_[0]) + block_bytes(1) + block_bytes(0) +
                        block_bytes(2) + block_bytes(3);
  EXPECT_THAT(problem(swapped), HasSubstr(at_block(0) + "block 1 is in its place"));
  // One that is gone, with its number given to the next.
  std::string without = file_.substr(0, starts_[1]) + block_bytes(2) + block_bytes(3);
  without[starts_[1] + 4] = 1;
  EXPECT_THAT(problem(without), HasSubstr(at_block(1) + "its digest is not that of"));
  // One that comes twice.
  std::string twice = file_.substr(0, starts_[1]) + block_bytes(0) + file_.substr(starts_[1]);
  EXPECT_THAT(problem(twice), HasSubstr(at_block(1) + "block 0 is in its place"));
}

TEST_F(BlockFile, ATraceOfAnotherRunIsFound) {
  EXPECT_EQ(problem(file_), "");
  EXPECT_THAT(problem(file_, evidence::digest_of("another run")),
              HasSubstr(at_block(0) + "its digest is not that of"));
}

TEST_F(BlockFile, WhatIsNoTraceIsRefused) {
  EXPECT_THAT(problem(""), HasSubstr("no trace"));
  EXPECT_THAT(problem("SLVTRACX" + file_.substr(8)), HasSubstr("no trace"));
  std::string newer = file_;
  newer[8] = 99;
  EXPECT_THAT(problem(newer), HasSubstr("format 99"));
  const auto folder = BlockReader::open(folder_.path(), kBlockSeed);
  ASSERT_FALSE(folder.ok());
  EXPECT_THAT(folder.error().message, HasSubstr("expected a plain file"));
  std::filesystem::create_symlink(path(), folder_.path() / "link");
  EXPECT_FALSE(BlockReader::open(folder_.path() / "link", kBlockSeed).ok());
  EXPECT_FALSE(BlockReader::open(folder_.path() / "none", kBlockSeed).ok());
}

TEST(BlockFileOfNoRoom, AFullDiskIsNamedAtTheEnd) {
  auto writer = BlockWriter::create("/dev/full", kBlockSeed);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  writer.value().plain().resize(evidence::kBlockBytes);
  writer.value().written();
  EXPECT_TRUE(writer.value().plain().empty()) << "nothing piles up";
  const auto seal = writer.value().close();
  ASSERT_FALSE(seal.ok());
  EXPECT_EQ(seal.error().code, ExitCode::HostLacks);
  EXPECT_THAT(seal.error().message, HasSubstr("/dev/full: No space left on device"));
}

TEST(BlockFileOfNoRoom, AFileThatCannotBeMadeIsNamed) {
  const auto writer = BlockWriter::create("/none/trace", kBlockSeed);
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(writer.error().message, HasSubstr("/none/trace: No such file"));
}

}  // namespace
}  // namespace sealvisor::test
