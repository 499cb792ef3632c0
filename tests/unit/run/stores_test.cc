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

}  // namespace
}  // namespace sealvisor::test
