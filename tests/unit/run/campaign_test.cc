#include "vmm/run/campaign.h"

#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;
using protocol::Edit;
using protocol::Shown;
using protocol::Writer;
using run::Observation;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kSlot = 0x1000'0ff0;
constexpr std::uint64_t kSlot2 = 0x1000'0ff8;
constexpr std::uint64_t kPc = 0x40'1000;
constexpr std::uint64_t kRestorePc = 0x40'2000;
constexpr std::uint64_t kCopyPc = 0xffff'ffff'8100'0000;
constexpr std::uint64_t kInlinePc = 0xffff'ffff'8110'0000;
constexpr std::uint64_t kLoaderPc = 0xffff'ffff'8200'0000;
constexpr model::MappingPage kPage0{0, 0};
constexpr model::MappingPage kPage1{0, 1};
constexpr model::MappingPage kData{1, 0};
constexpr model::MappingPage kNever{1, 1};
const Frame kFrame0 = FakeGuest::kVdso;
const Frame kFrame1{FakeGuest::kVdso.number + 1};

/// A process in which [vdso] has two pages, and [vvar] one and one that was never populated, all in
/// the reach of one entry of level 2; and a campaign of it.
class CampaignControl : public testing::Test {
 protected:
  void SetUp() override {
    guest_.learn_vdso();
    guest_.enter_user(guest_.new_process());
    space_ = *guest_.spaces.find(Frame{0x180});
    // One whose pages are not where the other one's are.
    other_ = space_;
    other_.id = 77;
    protocol::Campaign message{};
    message.what = protocol::Campaign::kBegins;
    message.count = 1;
    message.seed = 3;
    message.user_ways = 10;
    message.kernel_ways = 9;
    EXPECT_TRUE(control_.on_campaign(message, space_).empty());
    claim_.edit = Edit::WriteBit;
    claim_.level = 1;
    claim_.gva = FakeGuest::kVdsoPlace.value;
    claim_.store_pc = kPc;
    claim_.restore_pc = kRestorePc;
    claim_.words[0] = {kSlot, 0x5, 0x7};
    std::strcpy(claim_.way, "mov-8");
  }

  void begin() { EXPECT_TRUE(announce(claim_).empty()); }
  std::vector<std::pair<std::string, std::string>> announce(const protocol::Tampering& message) {
    return control_.on_tampering(message, space_, with_other_ ? &other_ : nullptr, 0x20, tells_);
  }
  /// What is wrong with the one tampering.
  std::string end() {
    protocol::Tampering message{};
    message.number = 1;
    message.end = 1;
    const auto wrong = announce(message);
    EXPECT_LE(wrong.size(), 1U);
    return wrong.empty() ? "" : wrong[0].second;
  }
  [[nodiscard]] Event store(std::uint64_t gpa, std::uint64_t from, std::uint64_t to,
                            std::uint64_t pc, Kind kind = Kind::SlotWrite) const {
    Event event{};
    event.kind = kind;
    event.gpa = gpa;
    event.old_value = from;
    event.new_value = to;
    event.pc = pc;
    if (claim_.writer == Writer::User) event.flags = event::kUserMode;
    return event;
  }
  Event change(std::size_t word = 0) {
    const protocol::TamperedWord& one = claim_.words[word];
    const Event event = store(one.gpa, one.before, one.after, kPc);
    control_.on_write(event);
    return event;
  }
  Event restore(std::size_t word = 0) {
    const protocol::TamperedWord& one = claim_.words[word];
    const Event event = store(one.gpa, one.after, one.before, kRestorePc);
    control_.on_write(event);
    return event;
  }
  [[nodiscard]] Observation seen(std::string_view what, model::MappingPage page, Gva gva,
                                 Frame frame, const Event& cause) const {
    return {.what = what,
            .space = space_.id,
            .root = space_.root,
            .page = page,
            .gva = gva,
            .frame = frame,
            .cause = cause,
            .late = 0};
  }
  void find(const Observation& one) { EXPECT_TRUE(control_.takes(one)); }
  [[nodiscard]] Gva at(model::MappingPage page) const {
    return space_.placement(page.mapping)->gva(page.page);
  }
  static Frame frame_of(model::MappingPage page) {
    return page.mapping == 1 ? (page.page == 0 ? FakeGuest::kVvar : Frame{})
                             : Frame{kFrame0.number + page.page};
  }

  FakeGuest guest_{Arch::X86_64};
  model::AddressSpace space_;
  model::AddressSpace other_;
  run::CampaignControl control_{Arch::X86_64, guest_.identities,
                                [](std::uint64_t pc) -> std::string {
                                  return pc == kCopyPc     ? "rep_movs_alternative"
                                         : pc == kInlinePc ? "_copy_from_user"
                                         : pc == kLoaderPc ? "tamper_load_root"
                                                           : "f";
                                }};
  protocol::Tampering claim_{};
  run::LaneTells tells_;
  bool with_other_ = false;
};

TEST_F(CampaignControl, TakesWhatATamperingMustCause) {
  begin();
  const Event made = change();
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  restore();
  EXPECT_EQ(end(), "");
  EXPECT_TRUE(control_.unfinished().empty());
  const report::Campaign result = control_.result();
  EXPECT_EQ(result.seed, 3U);
  EXPECT_EQ(result.asked, 1U);
  EXPECT_EQ(result.made, 1U);
  EXPECT_EQ(result.visible, 1U);
  EXPECT_EQ(result.reported, 1U);
  EXPECT_EQ(result.transient + result.harmless + result.false_alarms + result.to_other, 0U);
  EXPECT_EQ(result.user_ways, 10U);
  EXPECT_EQ(result.user_ways_used, 1U);
  EXPECT_EQ(result.kernel_ways, 9U);
  EXPECT_EQ(result.kernel_ways_used, 0U);
  ASSERT_EQ(result.rows.size(), 1U);
  EXPECT_EQ(result.rows[0].edit, "write-bit");
  EXPECT_EQ(result.rows[0].writer, "user mode");
  EXPECT_FALSE(result.rows[0].undone_at_once);
  EXPECT_EQ(result.rows[0].made, 1U);
  EXPECT_EQ(result.rows[0].right, 1U);
}

TEST_F(CampaignControl, AccessedBitsAreNoDifference) {
  begin();
  const Event made = store(kSlot, 0x25, 0x7, kPc);
  control_.on_write(made);
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  control_.on_write(store(kSlot, 0x27, 0x25, kRestorePc));
  EXPECT_EQ(end(), "");
}

TEST_F(CampaignControl, MissesWhatWasNotReported) {
  begin();
  change();
  restore();
  EXPECT_THAT(end(), HasSubstr("S3 of [vdso] page 0 at 0x7ffff7fd0000 was not reported"));
  EXPECT_EQ(control_.result().visible, 1U);
  EXPECT_EQ(control_.result().reported, 0U);
  EXPECT_EQ(control_.result().user_ways_used, 0U);
  EXPECT_EQ(control_.result().rows[0].right, 0U);
}

/// A report that is right, but for one thing that is not.
TEST_F(CampaignControl, MissesWhatIsReportedWrong) {
  struct Case {
    const char* name;
    void (*spoil)(Observation& one);
    const char* text;
  };
  const Case cases[] = {
      {"class", [](Observation& one) { one.what = "S2"; }, "was not reported"},
      {"page", [](Observation& one) { one.page = kPage1; }, "was not reported"},
      {"place", [](Observation& one) { one.gva.value += 0x1000; }, "was not reported"},
      {"space", [](Observation& one) { ++one.space; }, "was not reported"},
      {"frame", [](Observation& one) { one.frame = kFrame1; }, "frame 0x401000, expected 0x400000"},
      {"writer", [](Observation& one) { one.cause->pc = 0x1234; },
       "the instruction at 0x1234 is said to have done it, expected 0x401000"},
      {"mode", [](Observation& one) { one.cause->flags = 0; },
       "the kernel is said to have done it"},
      {"entry", [](Observation& one) { one.cause->gpa = kSlot2; },
       "a store to 0x10000ff8 is said to have done it"},
      {"nobody", [](Observation& one) { one.cause.reset(); }, "nobody is said to have done it"},
      {"late", [](Observation& one) { one.late = 2; },
       "2 instructions of user mode ran before it was found"},
      {"sometime", [](Observation& one) { one.late.reset(); }, "nobody knows when it was found"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    run::CampaignControl fresh(Arch::X86_64, guest_.identities,
                               [](std::uint64_t) { return std::string("f"); });
    protocol::Campaign message{};
    message.count = 1;
    ASSERT_TRUE(fresh.on_campaign(message, space_).empty());
    ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
    const Event made = store(kSlot, 0x5, 0x7, kPc);
    fresh.on_write(made);
    Observation observation = seen("S3", kPage0, at(kPage0), kFrame0, made);
    one.spoil(observation);
    EXPECT_TRUE(fresh.takes(observation));
    fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
    ASSERT_EQ(wrong.size(), 1U);
    EXPECT_EQ(wrong[0].first, "write-bit");
    EXPECT_THAT(wrong[0].second, HasSubstr(one.text));
    EXPECT_EQ(fresh.result().reported, 0U);
  }
}

TEST_F(CampaignControl, WhatIsReportedAndIsNotSoIsAFalseAlarm) {
  begin();
  const Event made = change();
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  find(seen("S3", kPage1, at(kPage1), kFrame1, made));
  restore();
  EXPECT_THAT(end(),
              HasSubstr("S3 of [vdso] page 1 at 0x7ffff7fd1000 was reported, and is not so"));
  EXPECT_EQ(control_.result().false_alarms, 1U);
  EXPECT_EQ(control_.result().reported, 0U);
}

TEST_F(CampaignControl, TheSameThingTwiceIsAFalseAlarm) {
  begin();
  const Event made = change();
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  restore();
  EXPECT_THAT(end(), HasSubstr("was reported, and is not so"));
}

TEST_F(CampaignControl, WhatComesOutsideOfATamperingIsNotItsConcern) {
  EXPECT_FALSE(control_.takes(seen("S3", kPage0, at(kPage0), kFrame0, change())));
  begin();
  find(seen("S3", kPage0, at(kPage0), kFrame0, change()));
  restore();
  EXPECT_EQ(end(), "");
  EXPECT_FALSE(control_.takes(seen("S3", kPage0, at(kPage0), kFrame0, change())));
}

TEST_F(CampaignControl, MissesAStoreThatWasNotTold) {
  begin();
  find(seen("S3", kPage0, at(kPage0), kFrame0, store(kSlot, 5, 7, kPc)));
  EXPECT_THAT(end(), HasSubstr("no store of 0x7 to 0x10000ff0 was told"));
}

TEST_F(CampaignControl, MissesAStoreBackThatWasNotTold) {
  begin();
  find(seen("S3", kPage0, at(kPage0), kFrame0, change()));
  EXPECT_THAT(end(), HasSubstr("no store of 0x5 back to 0x10000ff0 was told"));
}

TEST_F(CampaignControl, MissesAStoreOfAnotherValue) {
  begin();
  const Event made = store(kSlot, 0x5, 0xf, kPc);
  control_.on_write(made);
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  control_.on_write(store(kSlot, 0xf, 0x5, kRestorePc));
  EXPECT_THAT(end(), HasSubstr("no store of 0x7 to"));
}

TEST_F(CampaignControl, MissesAnEntryThatHeldSomethingElse) {
  begin();
  const Event made = store(kSlot, 0x9, 0x7, kPc);
  control_.on_write(made);
  find(seen("S3", kPage0, at(kPage0), kFrame0, made));
  restore();
  EXPECT_THAT(end(), HasSubstr("0x10000ff0 held 0x9, expected 0x5"));
}

TEST_F(CampaignControl, TheKernelsOwnCopyIsKnownByItsName) {
  claim_.writer = Writer::DevMem;
  claim_.store_pc = 0;
  claim_.restore_pc = 0;
  claim_.way[0] = '\0';
  for (const std::uint64_t pc : {kCopyPc, kInlinePc, kLoaderPc}) {
    SCOPED_TRACE(pc);
    auto fresh = control_;
    EXPECT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0, tells_).empty());
    const Event made = store(kSlot, 0x5, 0x7, pc);
    fresh.on_write(made);
    EXPECT_TRUE(fresh.takes(seen("S3", kPage0, at(kPage0), kFrame0, made)));
    fresh.on_write(store(kSlot, 0x7, 0x5, pc));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = fresh.on_tampering(last, space_, nullptr, 0, tells_);
    if (pc != kLoaderPc) {
      EXPECT_TRUE(wrong.empty()) << wrong[0].second;
    } else {
      ASSERT_EQ(wrong.size(), 1U);
      EXPECT_THAT(wrong[0].second, HasSubstr("tamper_load_root is said to have done it"));
    }
    EXPECT_EQ(fresh.result().kernel_ways_used, 0U) << "no instruction of ours";
  }
}

/// Every edit: what it must cause, all found.
TEST_F(CampaignControl, KnowsWhatEachEditMustCause) {
  struct Want {
    std::string what;
    model::MappingPage page;
    Gva gva;
    Frame frame;
  };
  struct Case {
    Edit edit;
    std::uint32_t level;
    std::vector<Want> wants;
  };
  const Gva place{FakeGuest::kVdsoPlace};
  const Gva away{0x1000'0000};
  const Frame foreign{0x777};
  const auto all = [&](const char* what, std::vector<model::MappingPage> pages) {
    std::vector<Want> wants;
    for (const auto page : pages) wants.push_back({what, page, at(page), frame_of(page)});
    return wants;
  };
  const std::vector<model::MappingPage> populated = {kPage0, kPage1, kData};
  const std::vector<model::MappingPage> every = {kPage0, kPage1, kData, kNever};
  // Frames 0x400 and 0x401 are those of [vdso], 0x410 is that of [vvar]: all in 2 MiB from 0x400
  // on.
  const Gva large{0x1000'0000};
  const std::uint64_t collapsed = 0x20'0000;  // 2 MiB without any of them
  const std::uint64_t offset = place.value % 0x20'0000;
  const std::uint64_t data_offset = FakeGuest::kVvarPlace.value % 0x20'0000;
  const auto shown = [&](std::uint64_t at) { return Frame{(collapsed + at) >> 12}; };
  const std::vector<Case> cases = {
      {Edit::WriteBit, 1, all("S3", {kPage0})},
      {Edit::ExecuteBit, 1, all("S3", {kPage0})},
      {Edit::UserBit, 1, all("S3", {kPage0})},
      {Edit::ProtectionKey, 1, all("S3", {kPage0})},
      {Edit::NonPresent, 1, all("S3", {kPage0})},
      {Edit::CopyTableWritable, 2, all("S3", {kPage0})},
      {Edit::ForeignFrame, 1, {{"S2", kPage0, place, foreign}}},
      {Edit::CopyTableForeign, 3, {{"S2", kPage0, place, foreign}}},
      {Edit::UnmapPage, 1, all("removal", {kPage0})},
      {Edit::CopyTableUnmapped, 4, all("removal", {kPage0})},
      {Edit::MovePage, 1, {{"S4", kPage0, away, kFrame0}, {"removal", kPage0, place, kFrame0}}},
      {Edit::AliasPage, 1, {{"S4", kPage0, away, kFrame0}}},
      {Edit::AliasUpperHalf, 4, {{"S4", kPage0, away, kFrame0}}},
      {Edit::AliasLarge,
       2,
       {{"S4", kPage0, large, kFrame0},
        {"S4", kPage1, Gva{large.value + 0x1000}, kFrame1},
        {"S4", kData, Gva{large.value + 0x10000}, FakeGuest::kVvar}}},
      {Edit::ReservedBit, 4, all("S6", every)},
      {Edit::UpperOutside, 2, all("S6", every)},
      {Edit::UpperNonPresent, 3, all("S3", every)},
      {Edit::UpperUser, 2, all("S3", populated)},
      {Edit::UpperExecute, 2, all("S3", {kPage0, kPage1})},
      {Edit::UpperUnmap, 2, all("removal", populated)},
      {Edit::Collapse,
       2,
       {{"S2", kPage0, place, shown(offset)},
        {"S2", kPage1, at(kPage1), shown(offset + 0x1000)},
        {"S2", kData, at(kData), shown(data_offset)},
        {"S3", kData, at(kData), shown(data_offset)},
        {"S2", kNever, at(kNever), shown(data_offset + 0x1000)},
        {"S3", kNever, at(kNever), shown(data_offset + 0x1000)},
        {"removal", kNever, at(kNever), shown(data_offset + 0x1000)}}},
      {Edit::SwapFrames,
       1,
       {{"S2", kPage0, place, kFrame1},
        {"S2", kPage1, at(kPage1), kFrame0},
        {"S4", kPage1, place, kFrame1},
        {"S4", kPage0, at(kPage1), kFrame0}}},
      {Edit::CopyTable, 2, {}},
      {Edit::SoftwareBit, 1, {}},
      {Edit::SameValue, 1, {}},
      {Edit::FailedCompare, 1, {}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(std::string(protocol::name_of(one.edit)));
    // What is missing must be missed: once without each of them, and once with all.
    for (std::size_t missing = 0; missing <= one.wants.size(); ++missing) {
      SCOPED_TRACE(missing);
      run::CampaignControl fresh = control_;
      claim_.edit = one.edit;
      claim_.level = one.level;
      claim_.gva2 = one.edit == Edit::SwapFrames ? at(kPage1).value : away.value;
      claim_.frame = one.edit == Edit::AliasLarge ? 0x400000
                     : one.edit == Edit::Collapse ? collapsed
                                                  : foreign.gpa().value;
      ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
      fresh.on_write(store(kSlot, 0x5, 0x7, kPc));
      for (std::size_t i = 0; i < one.wants.size(); ++i) {
        if (i == missing) continue;
        const Want& want = one.wants[i];
        const bool again = one.edit == Edit::Collapse && want.what == "removal";
        const Event cause =
            again ? store(kSlot, 0x7, 0x5, kRestorePc) : store(kSlot, 0x5, 0x7, kPc);
        EXPECT_TRUE(fresh.takes(seen(want.what, want.page, want.gva, want.frame, cause)));
      }
      fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
      protocol::Tampering last{};
      last.number = 1;
      last.end = 1;
      const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
      const bool whole = missing == one.wants.size();
      ASSERT_EQ(wrong.empty(), whole) << (wrong.empty() ? "" : wrong[0].second);
      if (!whole) {
        EXPECT_THAT(wrong[0].second, HasSubstr("was not reported"));
      }
      EXPECT_EQ(fresh.result().harmless, one.wants.empty() ? 1U : 0U);
      EXPECT_EQ(fresh.result().reported, whole && !one.wants.empty() ? 1U : 0U);
      EXPECT_EQ(fresh.result().false_alarms, 0U);
    }
  }
}

/// A frame that is a copy of a page of code but for a few bytes shows other code, too.
TEST_F(CampaignControl, ACopyOfCodeWithOtherBytesIsChangedCode) {
  claim_.edit = Edit::ForeignFrame;
  claim_.frame = 0x777000;
  const Frame shown{0x777};
  struct Case {
    std::optional<std::uint32_t> differing;
    bool found;  ///< Whether changed code is reported.
    const char* wrong;
  };
  const Case cases[] = {{8, true, ""},
                        {8, false, "S5 of [vdso] page 0 at 0x7ffff7fd0000 was not reported"},
                        {0, false, ""},
                        {0, true, "was reported, and is not so"},
                        {std::nullopt, false, ""},
                        {seal::kMostForcedBytes + 1, false, ""}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.differing.value_or(0));
    run::CampaignControl fresh(
        Arch::X86_64, guest_.identities, [](std::uint64_t) { return std::string("f"); },
        [&one](Frame own, Frame other) -> std::optional<std::uint32_t> {
          EXPECT_EQ(own, kFrame0);
          EXPECT_EQ(other, Frame{0x777});
          return one.differing;
        });
    protocol::Campaign message{};
    message.count = 1;
    ASSERT_TRUE(fresh.on_campaign(message, space_).empty());
    ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
    const Event made = store(kSlot, 0x5, 0x7, kPc);
    fresh.on_write(made);
    EXPECT_TRUE(fresh.takes(seen("S2", kPage0, at(kPage0), shown, made)));
    if (one.found) {
      EXPECT_TRUE(fresh.takes(seen("S5", kPage0, at(kPage0), shown, made)));
    }
    fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
    ASSERT_EQ(wrong.empty(), *one.wrong == '\0') << (wrong.empty() ? "" : wrong[0].second);
    if (!wrong.empty()) {
      EXPECT_THAT(wrong[0].second, HasSubstr(one.wrong));
    }
  }
}

/// Such a copy is of one address space, unlike a store to the frame that all of them show.
TEST_F(CampaignControl, ACopyOfCodeInAnotherSpaceIsAnotherThing) {
  run::CampaignControl fresh(
      Arch::X86_64, guest_.identities, [](std::uint64_t) { return std::string("f"); },
      [](Frame, Frame) -> std::optional<std::uint32_t> { return 8; });
  protocol::Campaign message{};
  message.count = 1;
  ASSERT_TRUE(fresh.on_campaign(message, space_).empty());
  claim_.edit = Edit::ForeignFrame;
  claim_.frame = 0x777000;
  ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
  const Event made = store(kSlot, 0x5, 0x7, kPc);
  fresh.on_write(made);
  EXPECT_TRUE(fresh.takes(seen("S2", kPage0, at(kPage0), Frame{0x777}, made)));
  Observation copy = seen("S5", kPage0, at(kPage0), Frame{0x777}, made);
  ++copy.space;
  EXPECT_TRUE(fresh.takes(copy));
  fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
  protocol::Tampering last{};
  last.number = 1;
  last.end = 1;
  const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_THAT(wrong[0].second, HasSubstr("was not reported"));
}

TEST_F(CampaignControl, WhatIsUndoneAtOnceMustBeRecorded) {
  claim_.shown = Shown::ToNobody;
  claim_.writer = Writer::Kernel;
  claim_.edit = Edit::UpperUnmap;
  claim_.level = 2;
  begin();
  change();
  restore();
  for (const auto page : {kPage0, kPage1, kData, kNever}) {
    find({.what = "transient", .space = space_.id, .page = page});
  }
  EXPECT_EQ(end(), "");
  EXPECT_EQ(control_.result().transient, 1U);
  EXPECT_EQ(control_.result().recorded, 1U);
  EXPECT_EQ(control_.result().visible, 0U);
  EXPECT_TRUE(control_.result().rows[0].undone_at_once);
  EXPECT_EQ(control_.result().kernel_ways_used, 1U);
}

TEST_F(CampaignControl, MissesATransientThatWasNotRecorded) {
  claim_.shown = Shown::ToNobody;
  claim_.writer = Writer::Kernel;
  begin();
  change();
  restore();
  EXPECT_THAT(end(), HasSubstr("transient of [vdso] page 0"));
  EXPECT_EQ(control_.result().recorded, 0U);
}

TEST_F(CampaignControl, SecondPlacesThatAreUndoneAtOnceAreOfTheirPages) {
  claim_.shown = Shown::ToNobody;
  claim_.writer = Writer::Kernel;
  claim_.frame = 0x400000;
  claim_.gva2 = at(kPage1).value;
  const std::pair<Edit, std::vector<model::MappingPage>> cases[] = {
      {Edit::AliasPage, {kPage0}},
      {Edit::AliasUpperHalf, {kPage0}},
      {Edit::AliasLarge, {kPage0, kPage1, kData}},
      {Edit::SwapFrames, {kPage0, kPage1}},
      {Edit::MovePage, {kPage0}},
  };
  for (const auto& [edit, pages] : cases) {
    SCOPED_TRACE(std::string(protocol::name_of(edit)));
    run::CampaignControl fresh = control_;
    claim_.edit = edit;
    claim_.level = edit == Edit::AliasLarge ? 2 : edit == Edit::AliasUpperHalf ? 4 : 1;
    ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
    fresh.on_write(store(kSlot, 0x5, 0x7, kPc));
    fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
    for (const auto page : pages) {
      EXPECT_TRUE(fresh.takes({.what = "transient", .space = space_.id, .page = page}));
    }
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
    EXPECT_TRUE(wrong.empty()) << wrong[0].second;
  }
}

/// Both stores are violations, each with its own writer, also of code that was put back at once.
TEST_F(CampaignControl, CodeIsReportedTwice) {
  for (const Shown shown : {Shown::ToUserMode, Shown::ToNobody}) {
    for (const bool swapped : {false, true}) {
      SCOPED_TRACE(swapped);
      run::CampaignControl fresh = control_;
      claim_.edit = Edit::Code;
      claim_.shown = shown;
      claim_.writer = Writer::Kernel;
      claim_.level = 0;
      claim_.words[0] = {kFrame0.gpa().value + 0x18, 5, 7};
      ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
      const std::uint64_t gpa = claim_.words[0].gpa;
      const Event there = store(gpa, 5, 7, swapped ? kRestorePc : kPc, Kind::ContentWrite);
      const Event back = store(gpa, 7, 5, swapped ? kPc : kRestorePc, Kind::ContentWrite);
      for (const Event& event : {there, back}) {
        fresh.on_write(event);
        Observation one = seen("S5", kPage0, Gva{}, kFrame0, event);
        one.space = 0;
        EXPECT_TRUE(fresh.takes(one));
      }
      protocol::Tampering last{};
      last.number = 1;
      last.end = 1;
      const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
      EXPECT_EQ(wrong.empty(), !swapped) << wrong[0].second;
      EXPECT_EQ(fresh.result().visible, 1U);
    }
  }
}

TEST_F(CampaignControl, OfCodeEveryBitCounts) {
  claim_.edit = Edit::Code;
  claim_.level = 0;
  claim_.words[0] = {kFrame0.gpa().value, 5, 7};
  begin();
  control_.on_write(store(claim_.words[0].gpa, 0x25, 7, kPc, Kind::ContentWrite));
  EXPECT_THAT(end(), HasSubstr("held 0x25, expected 0x5"));
}

TEST_F(CampaignControl, ASecondPlaceThatCodeIsChangedThroughHasAWriterOfItsOwn) {
  constexpr std::uint64_t kAliasPc = 0x40'3000;
  for (const std::uint64_t pc : {kAliasPc, kPc}) {
    SCOPED_TRACE(pc);
    run::CampaignControl fresh = control_;
    claim_.edit = Edit::CodeByAlias;
    claim_.level = 0;
    claim_.alias_word = kSlot2;
    claim_.alias_pc = kAliasPc;
    claim_.gva2 = 0x1000'0000;
    claim_.words[0] = {kFrame0.gpa().value, 5, 7};
    ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
    EXPECT_TRUE(
        fresh.takes(seen("S4", kPage0, Gva{0x1000'0000}, kFrame0, store(kSlot2, 0, 7, pc))));
    for (const Event& event : {store(kFrame0.gpa().value, 5, 7, kPc, Kind::ContentWrite),
                               store(kFrame0.gpa().value, 7, 5, kRestorePc, Kind::ContentWrite)}) {
      fresh.on_write(event);
      EXPECT_TRUE(fresh.takes(seen("S5", kPage0, Gva{}, kFrame0, event)));
    }
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    EXPECT_EQ(fresh.on_tampering(last, space_, nullptr, 0x20, tells_).empty(), pc == kAliasPc);
  }
}

TEST_F(CampaignControl, ARootIsReplacedByWhoLoadsIt) {
  struct Case {
    const char* name;
    std::uint64_t pc, gpa;
    Kind kind;
    bool good;
  };
  const Frame root{0x333};
  const Case cases[] = {
      {"right", kLoaderPc, root.gpa().value, Kind::RootLoad, true},
      {"another function", kPc, root.gpa().value, Kind::RootLoad, false},
      {"another root", kLoaderPc, 0x334000, Kind::RootLoad, false},
      {"a store", kLoaderPc, root.gpa().value, Kind::SlotWrite, false},
  };
  for (const auto& [edit, what, frame] :
       {std::tuple{Edit::ReplaceRootWritable, "S3", kFrame0},
        std::tuple{Edit::ReplaceRootForeign, "S2", Frame{0x777}},
        std::tuple{Edit::ReplaceRootUnmapped, "removal", kFrame0}}) {
    for (const Case& one : cases) {
      SCOPED_TRACE(one.name);
      run::CampaignControl fresh = control_;
      claim_.edit = edit;
      claim_.writer = Writer::Kernel;
      claim_.level = 0;
      claim_.words[0] = {};
      claim_.frame = root.gpa().value;
      claim_.frame2 = 0x777000;
      ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
      Event load{};
      load.kind = one.kind;
      load.gpa = one.gpa;
      load.pc = one.pc;
      Observation observation = seen(what, kPage0, at(kPage0), frame, load);
      observation.space = 99;
      observation.root = root;
      EXPECT_TRUE(fresh.takes(observation));
      protocol::Tampering last{};
      last.number = 1;
      last.end = 1;
      EXPECT_EQ(fresh.on_tampering(last, space_, nullptr, 0x20, tells_).empty(), one.good);
    }
  }
  claim_.edit = Edit::ReplaceRoot;
  begin();
  EXPECT_EQ(end(), "") << "nothing differs in it";
}

/// A lane of KVM finds the root when user mode is entered on it.
TEST_F(CampaignControl, WhoLoadsARootIsNotToldByEachLane) {
  tells_.root_loads = false;
  claim_.edit = Edit::ReplaceRootWritable;
  claim_.writer = Writer::Kernel;
  claim_.level = 0;
  claim_.words[0] = {};
  claim_.frame = 0x333000;
  for (const std::uint64_t gpa : {0x333000U, 0x334000U}) {
    SCOPED_TRACE(gpa);
    run::CampaignControl fresh = control_;
    ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
    Event load{};
    load.kind = Kind::RootLoad;
    load.gpa = gpa;
    load.pc = kPc;
    Observation observation = seen("S3", kPage0, at(kPage0), kFrame0, load);
    observation.root = Frame{0x333};
    EXPECT_TRUE(fresh.takes(observation));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    EXPECT_EQ(fresh.on_tampering(last, space_, nullptr, 0x20, tells_).empty(), gpa == 0x333000);
  }
}

TEST_F(CampaignControl, AnotherProcessIsTheOneThatSaidSo) {
  claim_.other = 1;
  auto wrong = announce(claim_);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_THAT(wrong[0].second, HasSubstr("no other process"));

  protocol::Campaign here{};
  here.what = protocol::Campaign::kOther;
  EXPECT_EQ(control_.on_campaign(here, other_).size(), 1U) << "the campaign began already";
  EXPECT_EQ(control_.other_space(), std::nullopt);
  run::CampaignControl fresh(Arch::X86_64, guest_.identities,
                             [](std::uint64_t) { return std::string(); });
  EXPECT_TRUE(fresh.on_campaign(here, other_).empty());
  EXPECT_EQ(fresh.other_space(), other_.id);
  EXPECT_EQ(fresh.on_campaign(here, space_).size(), 1U) << "there is one already";
  EXPECT_EQ(fresh.other_space(), other_.id);
}

TEST_F(CampaignControl, OnlyTheProcessThatBeganItAnnouncesTamperings) {
  const auto wrong = control_.on_tampering(claim_, other_, nullptr, 0, tells_);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_THAT(wrong[0].second, HasSubstr("by a process that makes no campaign"));
  EXPECT_EQ(control_.result().made, 0U);
}

/// Claims that nothing could be missed of.
TEST_F(CampaignControl, AClaimMustBeOfSomething) {
  struct Case {
    const char* name;
    void (*spoil)(protocol::Tampering& claim);
    const char* text;
  };
  const Case cases[] = {
      {"nowhere", [](protocol::Tampering& claim) { claim.gva = 0x1000; },
       "no page of a system mapping is known at 0x1000"},
      {"never populated",
       [](protocol::Tampering& claim) { claim.gva = FakeGuest::kVvarPlace.value + 0x1000; },
       "no page of a system mapping is known at"},
      {"no word", [](protocol::Tampering& claim) { claim.words[0] = {}; },
       "no word of memory is said to change"},
      {"a word of a root", [](protocol::Tampering& claim) { claim.edit = Edit::ReplaceRoot; },
       "a word is said to change"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    run::CampaignControl fresh = control_;
    protocol::Tampering claim = claim_;
    claim.edit = Edit::SoftwareBit;
    one.spoil(claim);
    ASSERT_TRUE(fresh.on_tampering(claim, space_, nullptr, 0x20, tells_).empty());
    fresh.on_write(store(kSlot, 0x5, 0x7, kPc));
    fresh.on_write(store(kSlot, 0x7, 0x5, kRestorePc));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
    ASSERT_EQ(wrong.size(), 1U);
    EXPECT_THAT(wrong[0].second, HasSubstr(one.text));
    EXPECT_EQ(fresh.result().rows[0].right, 0U);
  }
}

/// What changes nothing must have been stored all the same.
TEST_F(CampaignControl, MissesAStoreOfTheSameValueThatWasNotTold) {
  struct Case {
    const char* name;
    std::uint64_t gpa;
    std::uint64_t pc;
    bool told;
    bool good;
  };
  const Case cases[] = {{"right", kSlot, kPc, true, true},
                        {"nothing", kSlot, kPc, false, false},
                        {"another word", kSlot2, kPc, true, false},
                        {"another instruction", kSlot, kRestorePc, true, false}};
  for (const Edit edit : {Edit::SameValue, Edit::FailedCompare}) {
    for (const Case& one : cases) {
      SCOPED_TRACE(one.name);
      run::CampaignControl fresh = control_;
      claim_.edit = edit;
      claim_.words[0] = {kSlot, 0x5, 0x5};
      claim_.restore_pc = 0;
      ASSERT_TRUE(fresh.on_tampering(claim_, space_, nullptr, 0x20, tells_).empty());
      if (one.told) fresh.on_write(store(one.gpa, 0x5, 0x5, one.pc));
      protocol::Tampering last{};
      last.number = 1;
      last.end = 1;
      const auto wrong = fresh.on_tampering(last, space_, nullptr, 0x20, tells_);
      ASSERT_EQ(wrong.empty(), one.good);
      if (!one.good) {
        EXPECT_THAT(wrong[0].second, HasSubstr("no store to 0x10000ff0 was told"));
      }
    }
  }
  // A lane that does not tell each store can't miss it.
  tells_.instructions = false;
  begin();
  EXPECT_EQ(end(), "");
}

/// The list is what the plan's seed stands for, on the pages that are there.
class OrderedCampaign : public CampaignControl {
 protected:
  static constexpr run::CampaignOrder kOrder{.seed = 9, .count = 40, .emulated = false};
  static constexpr scenario::Offer kOffer{
      .x86 = true, .keys = true, .emulated = false, .pages = 3, .code_pages = 2};

  void SetUp() override {
    CampaignControl::SetUp();
    message_.what = protocol::Campaign::kBegins;
    message_.seed = kOrder.seed;
    message_.count = kOrder.count;
    message_.pages = kOffer.pages;
    message_.code_pages = kOffer.code_pages;
  }
  [[nodiscard]] run::CampaignControl ordered() const {
    return {Arch::X86_64,
            guest_.identities,
            [](std::uint64_t) { return std::string("f"); },
            {},
            kOrder};
  }
  /// What the agent announces of `choice`, on the page at `gva`.
  static protocol::Tampering claim_of(const scenario::Choice& choice, std::uint64_t gva) {
    protocol::Tampering claim{};
    claim.edit = choice.edit;
    claim.writer = choice.writer;
    claim.shown = choice.shown;
    claim.other = choice.other ? 1 : 0;
    claim.level = choice.level;
    claim.left_to_kernel = choice.left_to_kernel ? 1 : 0;
    claim.gva = gva;
    const bool root = choice.edit >= Edit::ReplaceRoot && choice.edit <= Edit::ReplaceRootUnmapped;
    if (!root) claim.words[0] = {kSlot, 0x5, 0x7};
    return claim;
  }
  /// The first of the list.
  [[nodiscard]] protocol::Tampering first() const {
    const scenario::Choice choice = scenario::choose(kOffer, kOrder.seed, 0);
    const std::uint64_t places[] = {at(kPage0).value, at(kPage1).value, at(kData).value};
    return claim_of(choice, places[choice.page]);
  }
  /// What is said to be wrong with `claim` as the first one.
  std::string compared(const protocol::Tampering& claim) {
    run::CampaignControl control = ordered();
    protocol::Campaign here{};
    here.what = protocol::Campaign::kOther;
    EXPECT_TRUE(control.on_campaign(here, other_).empty());
    EXPECT_TRUE(control.on_campaign(message_, space_, true).empty());
    EXPECT_TRUE(control.on_tampering(claim, space_, &other_, 0x20, tells_).empty());
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = control.on_tampering(last, space_, &other_, 0x20, tells_);
    return wrong.empty() ? "" : wrong[0].second;
  }

  protocol::Campaign message_{};
};

TEST_F(OrderedCampaign, IsTheOneOfTheSeed) {
  EXPECT_THAT(compared(first()), Not(HasSubstr("seed 9 has")));
  struct Case {
    const char* name;
    void (*spoil)(protocol::Tampering& claim);
  };
  const Case cases[] = {
      {"edit",
       [](protocol::Tampering& claim) {
         claim.edit = claim.edit == Edit::SoftwareBit ? Edit::WriteBit : Edit::SoftwareBit;
         claim.words[0] = {kSlot, 0x5, 0x7};
       }},
      {"writer",
       [](protocol::Tampering& claim) {
         claim.writer = claim.writer == Writer::User ? Writer::Kernel : Writer::User;
       }},
      {"shown",
       [](protocol::Tampering& claim) {
         claim.shown = claim.shown == Shown::ToNobody ? Shown::ToUserMode : Shown::ToNobody;
       }},
      {"other", [](protocol::Tampering& claim) { claim.other ^= 1; }},
      {"level", [](protocol::Tampering& claim) { claim.level ^= 1; }},
      {"left to the kernel", [](protocol::Tampering& claim) { claim.left_to_kernel ^= 1; }},
      {"page",
       [](protocol::Tampering& claim) {
         claim.gva = claim.gva == FakeGuest::kVdsoPlace.value ? FakeGuest::kVdsoPlace.value + 0x1000
                                                              : FakeGuest::kVdsoPlace.value;
       }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    protocol::Tampering claim = first();
    one.spoil(claim);
    EXPECT_THAT(compared(claim), HasSubstr("seed 9 has tampering 0 ("));
  }
}

/// Of CPUs that may lack such instructions.
TEST_F(OrderedCampaign, OnlyAnArm64GuestStoresInPlaceOfAFailedCompare) {
  for (const Arch arch : arch::kAllArchs) {
    SCOPED_TRACE(arch::name_of(arch));
    scenario::Offer offer = kOffer;
    offer.x86 = offer.keys = arch == Arch::X86_64;
    std::uint64_t seed = 0;
    while (scenario::choose(offer, seed, 0).edit != Edit::FailedCompare) ++seed;
    const scenario::Choice choice = scenario::choose(offer, seed, 0);
    run::CampaignControl control(
        arch, guest_.identities, [](std::uint64_t) { return std::string("f"); }, {},
        run::CampaignOrder{.seed = seed, .count = 40, .emulated = false});
    protocol::Campaign here{};
    here.what = protocol::Campaign::kOther;
    ASSERT_TRUE(control.on_campaign(here, other_).empty());
    message_.seed = seed;
    ASSERT_TRUE(control.on_campaign(message_, space_, offer.keys).empty());
    const std::uint64_t places[] = {at(kPage0).value, at(kPage1).value, at(kData).value};
    claim_ = {};
    claim_.edit = Edit::SameValue;
    claim_.writer = choice.writer;
    claim_.level = 1;
    claim_.other = choice.other ? 1 : 0;
    claim_.gva = places[choice.page];
    claim_.store_pc = kPc;
    claim_.words[0] = {kSlot, 0x5, 0x5};
    ASSERT_TRUE(control.on_tampering(claim_, space_, &other_, 0x20, tells_).empty());
    control.on_write(store(kSlot, 0x5, 0x5, kPc));
    protocol::Tampering last{};
    last.number = 1;
    last.end = 1;
    const auto wrong = control.on_tampering(last, space_, &other_, 0x20, tells_);
    EXPECT_EQ(wrong.empty(), arch == Arch::Arm64);
  }
}

/// An agent that makes an easier campaign than it was asked for.
TEST_F(OrderedCampaign, IsAsLongAsAskedForAndOnAllPages) {
  struct Case {
    const char* name;
    void (*spoil)(protocol::Campaign& message);
    const char* text;
  };
  const Case cases[] = {
      {"seed", [](protocol::Campaign& message) { message.seed = 8; },
       "the guest makes 40 tamperings of seed 8, asked for 40 of 9"},
      {"count", [](protocol::Campaign& message) { message.count = 1; },
       "the guest makes 1 tamperings of seed 9, asked for 40 of 9"},
      {"pages", [](protocol::Campaign& message) { message.pages = 2; },
       "the guest chooses from 2 pages, 2 with code, and has 3, 2 with code"},
      {"code", [](protocol::Campaign& message) { message.code_pages = 1; },
       "the guest chooses from 3 pages, 1 with code, and has 3, 2 with code"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    run::CampaignControl control = ordered();
    protocol::Campaign message = message_;
    one.spoil(message);
    const auto wrong = control.on_campaign(message, space_, true);
    ASSERT_EQ(wrong.size(), 1U);
    EXPECT_EQ(wrong[0], one.text);
  }
  run::CampaignControl control = ordered();
  EXPECT_EQ(control.unfinished().size(), 1U) << "it never began";
  EXPECT_TRUE(control.on_campaign(message_, space_, true).empty());
}

/// With [uprobes], which is mapped below the others, last; of it nothing is chosen for another
/// process.
TEST_F(OrderedCampaign, HasWhatIsOfTheProcessAloneBehindTheRest) {
  constexpr Gva kProbes{0x1'0000'0000};
  model::SystemMapping probes;
  probes.name = "[uprobes]";
  probes.frames = {FakeGuest::kOther};
  probes.permissions = {true, false, true, 0};
  probes.owner = space_.id;
  guest_.identities.add(probes);
  guest_.map(Frame{0x180}, kProbes, FakeGuest::kOther, {.exec = true});
  guest_.enter_user(Frame{0x180});
  space_ = *guest_.spaces.find(Frame{0x180});
  message_.pages = 4;
  run::CampaignControl control = ordered();
  protocol::Campaign here{};
  here.what = protocol::Campaign::kOther;
  ASSERT_TRUE(control.on_campaign(here, other_).empty());
  EXPECT_TRUE(control.on_campaign(message_, space_, true).empty());
  scenario::Offer offer = kOffer;
  offer.pages = 4;
  offer.own_pages = 1;
  const std::uint64_t places[] = {at(kPage0).value, at(kPage1).value, at(kData).value,
                                  kProbes.value};
  std::set<std::uint32_t> pages;
  for (std::uint32_t i = 0; i < kOrder.count; ++i) {
    const scenario::Choice choice = scenario::choose(offer, kOrder.seed, i);
    pages.insert(choice.page);
    protocol::Tampering claim = claim_of(choice, places[choice.page]);
    claim.number = i;
    for (const auto& [edit, text] : control.on_tampering(claim, space_, &other_, 0x20, tells_)) {
      EXPECT_THAT(text, Not(HasSubstr("seed 9 has"))) << i;
    }
  }
  EXPECT_EQ(pages.size(), 4U);
}

/// Of less there is no list to hold it against.
TEST_F(OrderedCampaign, HasTwoPagesThatAllProcessesHave) {
  std::erase_if(space_.placements,
                [](const model::Placement& one) { return one.mapping == kData.mapping; });
  ASSERT_EQ(space_.placements.size(), 1U);
  space_.placements[0].pages[kPage1.page].now.end = arch::WalkEnd::Absent;
  message_.pages = 1;
  message_.code_pages = 1;
  const auto wrong = ordered().on_campaign(message_, space_, true);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_EQ(
      wrong[0],
      "the guest has 1 populated pages of shared system mappings, 1 with code: expected 2, and "
      "1 with code");
}

TEST_F(CampaignControl, WhatIsDoneToAnotherProcessIsFoundThere) {
  with_other_ = true;
  claim_.other = 1;
  begin();
  Observation one = seen("S3", kPage0, at(kPage0), kFrame0, change());
  one.space = other_.id;
  find(one);
  restore();
  EXPECT_EQ(end(), "");
  EXPECT_EQ(control_.result().to_other, 1U);
}

TEST_F(CampaignControl, AnAuditedLaneTellsNeitherWritersNorTransients) {
  tells_ = {.writers = false, .transients = false, .instructions = false, .exact_pcs = false};
  begin();
  Observation one = seen("S3", kPage0, at(kPage0), kFrame0, {});
  one.cause.reset();
  one.late.reset();
  find(one);
  EXPECT_EQ(end(), "");
  EXPECT_EQ(control_.result().reported, 1U);
}

TEST_F(CampaignControl, AnAuditedLaneRecordsNothingThatWasUndone) {
  tells_ = {.writers = false, .transients = false, .instructions = false, .exact_pcs = false};
  claim_.shown = Shown::ToNobody;
  begin();
  EXPECT_EQ(end(), "");
  EXPECT_EQ(control_.result().transient, 1U);
  EXPECT_EQ(control_.result().recorded, 0U);
}

TEST_F(CampaignControl, TamperingsComeInOrder) {
  claim_.number = 1;
  auto wrong = announce(claim_);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_THAT(wrong[0].second, HasSubstr("tampering 1 was announced, expected 0"));
}

TEST_F(CampaignControl, ATamperingWithoutACampaignIsWrong) {
  run::CampaignControl fresh(Arch::X86_64, guest_.identities,
                             [](std::uint64_t) { return std::string(); });
  EXPECT_EQ(fresh.on_tampering(claim_, space_, nullptr, 0, tells_).size(), 1U);
  EXPECT_TRUE(fresh.unfinished().empty());
}

TEST_F(CampaignControl, ACampaignThatDidNotEndIsWrong) {
  EXPECT_EQ(control_.unfinished().size(), 1U);
  protocol::Tampering last{};
  last.end = 1;
  EXPECT_TRUE(announce(last).empty());
  const auto unfinished = control_.unfinished();
  ASSERT_EQ(unfinished.size(), 1U);
  EXPECT_EQ(unfinished[0], "0 tamperings were made of 1");
  EXPECT_EQ(announce(claim_).size(), 1U) << "none comes after the end";
}

TEST_F(CampaignControl, ACampaignBeginsOnce) {
  EXPECT_EQ(control_.on_campaign({}, space_).size(), 1U);
}

}  // namespace
}  // namespace sealvisor::test
