#include "vmm/run/stores.h"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

/// Sixteen 8-byte stores of the counting pattern, announced and made.
class StoreControl : public testing::Test {
 protected:
  void SetUp() override {
    guest_.new_process();
    table_ = arch::frame_of(guest_.leaf_slot(guest_.new_process(), FakeGuest::kVdsoPlace));
    guest_.events.clear();
    std::strncpy(block_.store_class, "plain 8", sizeof(block_.store_class));
    block_.gpa = table_.gpa().value;
    block_.stores = 16;
    block_.offset = 256 * 8;
    block_.step = 8;
    block_.width = 8;
    block_.pattern = protocol::Pattern::Counting;
  }
  static std::uint64_t pattern(std::uint32_t i) {
    std::uint64_t value = 0;
    for (std::uint32_t k = 8; k-- > 0;) value = value << 8 | protocol::store_pattern_byte(i, k);
    return value;
  }
  /// Makes the stores, passes their events through `spoil`, returns what the control says.
  std::vector<std::string> play(const std::function<void(std::vector<event::Event>&)>& spoil) {
    EXPECT_TRUE(control_.on_block(block_).empty());
    guest_.events.clear();
    for (std::uint32_t i = 0; i < 16; ++i) guest_.store(table_.slot(256 + i), pattern(i));
    std::vector<event::Event> events = guest_.events;
    spoil(events);
    for (const event::Event& event : events) control_.on_write(event);
    block_.end = 1;
    return control_.on_block(block_);
  }
  FakeGuest guest_{Arch::X86_64};
  run::StoreControl control_{guest_.mirror};
  Frame table_{};
  protocol::StoreBlock block_{};
};

TEST_F(StoreControl, AcceptsExactlyTheAnnouncedStores) {
  EXPECT_TRUE(play([](auto& events) { ASSERT_EQ(events.size(), 16U); }).empty());
  EXPECT_EQ(control_.stores(), 16U);
}

TEST_F(StoreControl, NoticesAMissingEvent) {
  const auto wrong = play([](auto& events) { events.erase(events.begin() + 3); });
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("slot write 3"), std::string::npos) << wrong[0];
}

TEST_F(StoreControl, NoticesAnEventTooMany) {
  const auto wrong = play([](auto& events) { events.push_back(events.back()); });
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("17 came"), std::string::npos) << wrong[0];
}

TEST_F(StoreControl, NoticesAWrongOldValue) {
  EXPECT_EQ(play([](auto& events) { events[5].old_value = 2; }).size(), 1U);
}

TEST_F(StoreControl, NoticesAWrongNewValue) {
  EXPECT_EQ(play([](auto& events) { events[5].new_value ^= 2; }).size(), 1U);
}

TEST_F(StoreControl, NoticesEventsOutOfOrder) {
  EXPECT_EQ(play([](auto& events) { std::swap(events[1], events[2]); }).size(), 1U);
}

TEST_F(StoreControl, RefusesAFrameThatIsNotWatched) {
  block_.gpa = FakeGuest::kOther.gpa().value;
  EXPECT_EQ(control_.on_block(block_).size(), 1U);
}

TEST_F(StoreControl, RefusesBlocksOutOfBounds) {
  block_.width = 5000;
  EXPECT_EQ(control_.on_block(block_).size(), 1U);
  block_.width = 8;
  block_.stores = 1'000'000;
  EXPECT_EQ(control_.on_block(block_).size(), 1U);
}

TEST_F(StoreControl, SaysWhenABlockNeverEnds) {
  EXPECT_TRUE(control_.on_block(block_).empty());
  EXPECT_EQ(control_.unfinished().size(), 1U);
}

/// Stores to a frame of code that starts as 7, 7, 7 ... and is put back.
class CodeStoreControl : public testing::Test {
 protected:
  static constexpr Frame kCode{0x123};

  CodeStoreControl() { bytes_.fill(7); }
  /// A block of one 8-byte store to `slot` that is made and told.
  std::vector<std::string> play(std::uint64_t slot, protocol::Pattern pattern,
                                std::uint64_t value) {
    protocol::StoreBlock block{};
    std::strncpy(block.store_class, "one", sizeof(block.store_class));
    block.gpa = kCode.gpa().value;
    block.offset = static_cast<std::uint32_t>(slot * 8);
    block.stores = 1;
    block.width = 8;
    block.pattern = pattern;
    auto wrong = control_.on_block(block);
    event::Event event{};
    event.kind = event::Kind::ContentWrite;
    event.gpa = kCode.slot(slot).value;
    std::memcpy(&event.old_value, bytes_.data() + block.offset, 8);
    std::memcpy(bytes_.data() + block.offset, &value, 8);
    event.new_value = value;
    control_.on_write(event);
    block.end = 1;
    for (const std::string& more : control_.on_block(block)) wrong.push_back(more);
    return wrong;
  }
  run::StoreControl::Bytes bytes_{};
  run::StoreControl control_{"code", [this](Frame frame) {
                               return frame == kCode ? std::optional(bytes_) : std::nullopt;
                             }};
};

constexpr std::uint64_t kSevens = 0x0707'0707'0707'0707;

TEST_F(CodeStoreControl, KnowsWhatWasThereWhenTheFirstBlockBegan) {
  EXPECT_TRUE(play(3, protocol::Pattern::Zeros, 0).empty());
  EXPECT_TRUE(play(3, protocol::Pattern::Zeros, 0).empty());
  EXPECT_TRUE(play(3, protocol::Pattern::Restored, kSevens).empty());
  EXPECT_EQ(control_.stores(), 3U);
  EXPECT_EQ(control_.changes(), 2U) << "zeroes over zeroes are none";
}

TEST_F(CodeStoreControl, NoticesWhatWasNotPutBack) {
  EXPECT_TRUE(play(3, protocol::Pattern::Zeros, 0).empty());
  EXPECT_EQ(play(3, protocol::Pattern::Restored, kSevens + 1).size(), 1U);
}

TEST_F(CodeStoreControl, RefusesAnotherFrame) {
  protocol::StoreBlock block{};
  block.gpa = kCode.gpa().value + 0x1000;
  block.width = 8;
  const auto wrong = control_.on_block(block);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("0x124000 is not code"), std::string::npos) << wrong[0];
}

}  // namespace
}  // namespace sealvisor::test
