#include "vmm/run/known.h"

#include <cstring>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using protocol::Target;

constexpr std::uint64_t kSpace = 7;
constexpr std::uint64_t kPlace = 0x7fff'0000;
constexpr std::uint64_t kTamperedSlot = 0x1238;
constexpr std::uint64_t kAccessed = 0x20;

/// Two pairs of changes to the entry of a page, of which two break S3.
class TamperControl : public testing::Test {
 protected:
  void SetUp() override {
    message_.gpa = kTamperedSlot;
    message_.gva = kPlace;
    message_.original = 0x1005;
    message_.changed = 0x1007;
    message_.pairs = 2;
    EXPECT_TRUE(on_block().empty());
  }
  std::vector<std::string> on_block() { return control_.on_block(message_, kSpace, kAccessed); }
  std::vector<std::string> end() {
    message_.end = 1;
    return on_block();
  }
  void write(std::uint64_t from, std::uint64_t to, std::uint64_t gpa = kTamperedSlot) {
    event::Event event{};
    event.gpa = gpa;
    event.old_value = from;
    event.new_value = to;
    control_.on_write(event);
  }
  bool violate(const char* invariant, std::uint64_t space = kSpace, std::uint64_t gva = kPlace) {
    return control_.takes({invariant, space, {}, arch::Gva{gva}, ""});
  }
  void pair() {
    write(message_.original, message_.changed);
    EXPECT_TRUE(violate("S3"));
    write(message_.changed, message_.original);
  }
  run::TamperControl control_;
  protocol::Tamper message_{};
};

TEST_F(TamperControl, AcceptsExactlyTheKnownChanges) {
  pair();
  pair();
  EXPECT_TRUE(end().empty());
  EXPECT_EQ(control_.made(), 2U);
  EXPECT_EQ(control_.judged(), 2U);
  EXPECT_TRUE(control_.unfinished().empty());
}

TEST_F(TamperControl, LeavesOutWhatUserModeSetsByItself) {
  write(message_.original | kAccessed, message_.changed);
  EXPECT_TRUE(violate("S3"));
  write(message_.changed, message_.original);
  pair();
  EXPECT_TRUE(end().empty());
}

TEST_F(TamperControl, MissesAChangeThatWasNotSeen) {
  pair();
  EXPECT_TRUE(violate("S3"));
  const auto wrong = end();
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("4 stores were made to 0x1238, 2 changes"), std::string::npos)
      << wrong[0];
}

TEST_F(TamperControl, MissesAViolationThatWasNotJudged) {
  pair();
  write(message_.original, message_.changed);
  write(message_.changed, message_.original);
  const auto wrong = end();
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("2 violations were made at 0x1238, 1 were judged"), std::string::npos)
      << wrong[0];
}

TEST_F(TamperControl, NoticesAWrongValue) {
  write(message_.original, message_.changed | 0x100);
  EXPECT_TRUE(violate("S3"));
  write(message_.changed, message_.original);
  pair();
  const auto wrong = end();
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("change 0 at 0x1238: expected 0x1005 -> 0x1007"), std::string::npos)
      << wrong[0];
}

TEST_F(TamperControl, LeavesOtherViolationsToTheReport) {
  EXPECT_FALSE(violate("S2"));
  EXPECT_FALSE(violate("S3", kSpace + 1));
  EXPECT_FALSE(violate("S3", kSpace, kPlace + 0x1000));
  EXPECT_FALSE(violate("S5"));
  EXPECT_FALSE(violate("S4"));
}

TEST_F(TamperControl, LeavesWhatComesBetweenBlocksToTheReport) {
  pair();
  pair();
  EXPECT_TRUE(end().empty());
  EXPECT_FALSE(violate("S3"));
}

TEST_F(TamperControl, IgnoresStoresElsewhereAndTheSameValueAgain) {
  write(1, 2, kTamperedSlot + 8);
  write(message_.original, message_.original);
  pair();
  pair();
  EXPECT_TRUE(end().empty());
}

TEST_F(TamperControl, TellsOfBlocksThatDoNotMatch) {
  EXPECT_EQ(on_block().size(), 1U) << "begins twice";
  EXPECT_EQ(control_.unfinished().size(), 1U);
  message_.gpa += 8;
  EXPECT_EQ(end().size(), 1U) << "ends elsewhere";
}

TEST_F(TamperControl, OfCodeCountsEachStoreAndTheSecondPlaceOnce) {
  run::TamperControl control;
  message_.target = Target::Code;
  message_.pairs = 1;
  EXPECT_TRUE(control.on_block(message_, kSpace, 0).empty());
  const auto take = [&](const char* invariant, std::uint64_t space) {
    return control.takes({invariant, space, {}, arch::Gva{kPlace}, ""});
  };
  EXPECT_TRUE(take("S4", kSpace));
  EXPECT_TRUE(take("S4", kSpace)) << "it became writable";
  EXPECT_FALSE(take("S4", kSpace + 1));
  event::Event event{};
  event.gpa = kTamperedSlot;
  event.old_value = message_.original;
  event.new_value = message_.changed;
  control.on_write(event);
  EXPECT_TRUE(take("S5", 0));
  std::swap(event.old_value, event.new_value);
  control.on_write(event);
  EXPECT_TRUE(take("S5", 0));
  message_.end = 1;
  EXPECT_TRUE(control.on_block(message_, kSpace, 0).empty());
  EXPECT_EQ(control.made(), 3U);
  EXPECT_EQ(control.judged(), 3U);
}

/// A block of stores to code, which other messages tell of.
class TamperControlOfStores : public testing::Test {
 protected:
  void SetUp() override {
    message_.gpa = kTamperedSlot & ~std::uint64_t{0xfff};
    message_.gva = kPlace;
    message_.target = Target::CodeStores;
    EXPECT_FALSE(control_.takes_stores());
    EXPECT_TRUE(control_.on_block(message_, kSpace, 0).empty());
  }
  bool violate(const char* invariant) {
    return control_.takes({invariant, kSpace, {}, arch::Gva{kPlace}, ""});
  }
  std::vector<std::string> end() {
    message_.end = 1;
    return control_.on_block(message_, kSpace, 0);
  }
  run::TamperControl control_;
  protocol::Tamper message_{};
};

TEST_F(TamperControlOfStores, HasAViolationForEachChangeAndForTheSecondPlace) {
  EXPECT_TRUE(control_.takes_stores());
  EXPECT_TRUE(violate("S4"));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(violate("S5"));
  control_.on_known_stores(3);
  control_.on_known_stores(2);
  event::Event event{};
  event.gpa = message_.gpa;
  event.new_value = 7;
  control_.on_write(event);  // For the blocks of stores to compare.
  EXPECT_TRUE(end().empty());
  EXPECT_FALSE(control_.takes_stores());
  EXPECT_EQ(control_.made(), 6U);
  EXPECT_EQ(control_.judged(), 6U);
}

TEST_F(TamperControlOfStores, MissesAChangeThatWasNotJudged) {
  EXPECT_TRUE(violate("S4"));
  EXPECT_TRUE(violate("S5"));
  control_.on_known_stores(2);
  const auto wrong = end();
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("3 violations were made at 0x1000, 2 were judged"), std::string::npos)
      << wrong[0];
}

TEST_F(TamperControlOfStores, LeavesOtherViolationsToTheReport) {
  EXPECT_FALSE(violate("S3"));
  EXPECT_FALSE(violate("S1"));
}

class EntryControl : public testing::Test {
 protected:
  std::vector<std::string> play(std::uint64_t counted) {
    std::strncpy(message_.name, "syscall", sizeof(message_.name));
    message_.entries = 100;
    message_.end = 0;
    EXPECT_TRUE(control_.on_block(message_, 1000).empty());
    message_.end = 1;
    message_.interrupts = 5;
    return control_.on_block(message_, 1000 + counted);
  }
  run::EntryControl control_;
  protocol::Entries message_{};
};

TEST_F(EntryControl, AcceptsTheKnownEntriesAndTheInterrupts) {
  EXPECT_TRUE(play(100).empty());
  EXPECT_TRUE(play(105).empty());
  EXPECT_EQ(control_.known(), 200U);
  EXPECT_EQ(control_.counted(), 205U);
}

TEST_F(EntryControl, MissesOneThatHadNoTrap) {
  const auto wrong = play(99);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find("syscall: 100 entries to user mode and 5 interrupts, 99"),
            std::string::npos)
      << wrong[0];
}

TEST_F(EntryControl, NoticesTooMany) { EXPECT_EQ(play(120).size(), 1U); }

TEST_F(EntryControl, TellsOfBlocksThatDoNotMatch) {
  EXPECT_TRUE(play(100).empty());
  EXPECT_EQ(control_.on_block(message_, 0).size(), 1U) << "ends twice";
  message_.end = 0;
  EXPECT_TRUE(control_.on_block(message_, 0).empty());
  EXPECT_EQ(control_.unfinished().size(), 1U);
  EXPECT_EQ(control_.on_block(message_, 0).size(), 1U) << "begins twice";
}

}  // namespace
}  // namespace sealvisor::test
