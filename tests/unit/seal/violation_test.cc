// What a violation says: which invariant, where, and in words. Which things are violations is in
// policy_test.cc.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/seal/policy.h"

namespace sealvisor::test {
namespace {

/// An address space with [vdso] at its usual place, first page at its frame; and [mapped], which
/// user mode may write to.
class ViolationTexts : public testing::Test {
 protected:
  void SetUp() override {
    guest_.learn_vdso();
    mapped_ = guest_.identities.add({.name = "[mapped]",
                                     .frames = {FakeGuest::kOther},
                                     .permissions = {true, true, false, 0},
                                     .claims_sealed = {},
                                     .identified_by = {}});
    space_.id = 7;
    model::Placement vdso;
    vdso.base = FakeGuest::kVdsoPlace;
    vdso.pages.resize(2);
    vdso.pages[0].now = leaf(FakeGuest::kVdso, {true, false, true, 0});
    vdso.pages[0].first = vdso.pages[0].now;
    space_.placements = {vdso};
  }
  static model::PageView leaf(Frame frame, arch::Permissions permissions) {
    return {arch::WalkEnd::Leaf, frame, permissions, frame.gpa().value | 1, 1};
  }
  /// Of [vvar], whose first page has a frame and whose second has none.
  std::vector<seal::Violation> vvar_shows(std::uint32_t page, const model::PageView& after) {
    const Gva gva{FakeGuest::kVvarPlace.value + page * arch::kPageSize};
    return seal::judge_transition(Arch::X86_64, guest_.identities, space_,
                                  {space_.id, {kVvarIndex, page}, gva, {}, after});
  }
  std::string text_of_second_place(std::size_t mapping, arch::Permissions permissions) {
    const model::Elsewhere place{{mapping, 0}, Gva{0x5000}, permissions, arch::kPageSize};
    return seal::judge_elsewhere(guest_.identities, space_, place).text;
  }

  static constexpr std::size_t kVdsoIndex = 0;
  static constexpr std::size_t kVvarIndex = 1;
  FakeGuest guest_{Arch::X86_64};
  std::size_t mapped_ = 0;
  model::AddressSpace space_;
};

TEST_F(ViolationTexts, OfAnotherFrameAndOtherPermissions) {
  const auto told = vvar_shows(0, leaf(FakeGuest::kOther, {true, true, false, 0}));
  ASSERT_EQ(told.size(), 2U);
  EXPECT_STREQ(told[0].invariant, "S2");
  EXPECT_EQ(told[0].text, "[vvar] page 0 at 0x7ffff7fc0000: frame 0x420000 instead of 0x410000");
  EXPECT_STREQ(told[1].invariant, "S3");
  EXPECT_EQ(told[1].text, "[vvar] page 0 at 0x7ffff7fc0000: permissions rw- instead of r--");
  for (const seal::Violation& violation : told) {
    EXPECT_EQ(violation.space, 7U);
    EXPECT_EQ(violation.page, (model::MappingPage{kVvarIndex, 0}));
    EXPECT_EQ(violation.gva, FakeGuest::kVvarPlace);
    EXPECT_EQ(violation.frame, FakeGuest::kOther) << "what user mode reaches now";
  }
}

TEST_F(ViolationTexts, OfAFrameWhereTheFirstProcessHadNone) {
  const auto told = vvar_shows(1, leaf(FakeGuest::kOther, {true, false, false, 0}));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_STREQ(told[0].invariant, "S2");
  EXPECT_EQ(told[0].text,
            "[vvar] page 1 at 0x7ffff7fc1000: frame 0x420000 appeared where the first process had "
            "none");
}

TEST_F(ViolationTexts, OfAnEntryThatLeadsNowhereNameTheFrameThatWasThere) {
  const auto hidden = vvar_shows(0, {arch::WalkEnd::NonPresent, {}, {}, 0x900, 1});
  ASSERT_EQ(hidden.size(), 1U);
  EXPECT_STREQ(hidden[0].invariant, "S3");
  EXPECT_EQ(hidden[0].text,
            "[vvar] page 0 at 0x7ffff7fc0000: holds a non-present entry (PROT_NONE, 0x900), user "
            "mode can no longer read");
  EXPECT_EQ(hidden[0].frame, FakeGuest::kVvar);
  const auto broken = vvar_shows(0, {arch::WalkEnd::Malformed, {}, {}, 0x87, 4});
  ASSERT_EQ(broken.size(), 1U);
  EXPECT_STREQ(broken[0].invariant, "S6");
  EXPECT_EQ(broken[0].text,
            "[vvar] page 0 at 0x7ffff7fc0000: its translation is broken at level 4 (entry 0x87)");
  EXPECT_EQ(broken[0].frame, FakeGuest::kVvar);
  EXPECT_EQ(vvar_shows(1, {arch::WalkEnd::NonPresent, {}, {}, 0x900, 1})[0].frame, Frame{})
      << "there was none";
}

TEST_F(ViolationTexts, OfASecondPlace) {
  const model::Elsewhere place{
      {kVdsoIndex, 1}, Gva{0x5000}, {true, false, true, 0}, arch::kPageSize};
  const auto told = seal::judge_elsewhere(guest_.identities, space_, place);
  EXPECT_STREQ(told.invariant, "S4");
  EXPECT_EQ(told.space, 7U);
  EXPECT_EQ(told.page, (model::MappingPage{kVdsoIndex, 1}));
  EXPECT_EQ(told.gva, Gva{0x5000});
  EXPECT_EQ(told.frame, Frame{FakeGuest::kVdso.number + 1});
  EXPECT_EQ(told.text,
            "[vdso] page 1 is reachable at 0x5000 with r-x; its place is 0x7ffff7fd1000, where "
            "nothing is now");
  EXPECT_EQ(text_of_second_place(kVdsoIndex, {true, false, true, 0}),
            "[vdso] page 0 is reachable at 0x5000 with r-x; its place is 0x7ffff7fd0000");
  EXPECT_EQ(text_of_second_place(kVvarIndex, {true, false, false, 0}),
            "[vvar] page 0 is reachable at 0x5000 with r--")
      << "it has no place here";
}

TEST_F(ViolationTexts, OfAPageOfOneProcessSayWhoseItIs) {
  model::SystemMapping probes;
  probes.name = "[uprobes]";
  probes.frames = {FakeGuest::kOther};
  probes.permissions = {true, false, true, 0};
  probes.owner = 7;
  const std::size_t own = guest_.identities.add(probes);
  EXPECT_EQ(text_of_second_place(own, {true, false, true, 0}),
            "[uprobes] page 0 is reachable at 0x5000 with r-x");
  space_.id = 8;
  EXPECT_EQ(text_of_second_place(own, {true, false, true, 0}),
            "[uprobes] page 0 is reachable at 0x5000 with r-x; it is another process's");
}

TEST_F(ViolationTexts, OfASecondPlaceSayWhetherItAllowsMore) {
  const auto wider = [&](std::size_t mapping, arch::Permissions permissions) {
    return text_of_second_place(mapping, permissions).find(", wider than the mapping allows") !=
           std::string::npos;
  };
  EXPECT_FALSE(wider(kVdsoIndex, {true, false, true, 0}));
  EXPECT_FALSE(wider(kVdsoIndex, {true, false, false, 0})) << "less";
  EXPECT_TRUE(wider(kVdsoIndex, {true, true, true, 0}));
  EXPECT_FALSE(wider(kVvarIndex, {true, false, false, 0}));
  EXPECT_TRUE(wider(kVvarIndex, {true, false, true, 0}));
  EXPECT_TRUE(wider(kVvarIndex, {true, true, false, 0}));
  EXPECT_FALSE(wider(mapped_, {true, true, false, 0})) << "it may be written to";
  EXPECT_TRUE(wider(mapped_, {true, true, true, 0}));
}

TEST_F(ViolationTexts, OfAPageThatIsGone) {
  model::Placement& vdso = space_.placements[0];
  vdso.pages[0].now = {};
  const auto gone = seal::judge_gone(guest_.identities, space_, vdso);
  ASSERT_EQ(gone.size(), 1U) << "a page that was never populated is not gone";
  EXPECT_STREQ(gone[0].invariant, "S1");
  EXPECT_EQ(gone[0].space, 7U);
  EXPECT_EQ(gone[0].page, (model::MappingPage{kVdsoIndex, 0}));
  EXPECT_EQ(gone[0].gva, FakeGuest::kVdsoPlace);
  EXPECT_EQ(gone[0].frame, FakeGuest::kVdso);
  EXPECT_EQ(gone[0].text,
            "[vdso] page 0 at 0x7ffff7fd0000: was populated, touched again, and is gone");
}

TEST_F(ViolationTexts, OfAStoreSayWhereCodeChanged) {
  event::Event write{};
  write.kind = event::Kind::ContentWrite;
  write.gpa = FakeGuest::kVdso.gpa().value + 0x10;
  write.old_value = 1;
  write.new_value = 2;
  write.pc = 0xffffffff81000000;
  const auto violation = seal::judge_content(guest_.identities, write);
  ASSERT_TRUE(violation.has_value());
  EXPECT_STREQ(violation->invariant, "S5");
  EXPECT_EQ(violation->page, (model::MappingPage{kVdsoIndex, 0}));
  EXPECT_EQ(violation->frame, FakeGuest::kVdso);
  EXPECT_EQ(violation->text,
            "[vdso] page 0: a store changed its code at frame offset 0x10 from 0x1 to 0x2 (pc "
            "0xffffffff81000000)");
  ASSERT_TRUE(violation->cause.has_value());
  EXPECT_EQ(violation->cause->gpa, write.gpa);
  write.kind = event::Kind::EntryFound;
  EXPECT_FALSE(seal::judge_content(guest_.identities, write).has_value()) << "no store";
  write.kind = event::Kind::SlotWrite;
  EXPECT_TRUE(seal::judge_content(guest_.identities, write).has_value());
  write.gpa = FakeGuest::kVvar.gpa().value;
  EXPECT_FALSE(seal::judge_content(guest_.identities, write).has_value()) << "no code";
}

TEST_F(ViolationTexts, OfACopySayInHowManyBytes) {
  const auto told = seal::judge_copy(guest_.identities, space_,
                                     {space_.id,
                                      {kVdsoIndex, 0},
                                      FakeGuest::kVdsoPlace,
                                      {},
                                      leaf(FakeGuest::kOther, {true, false, true, 0})},
                                     8);
  EXPECT_STREQ(told.invariant, "S5");
  EXPECT_EQ(told.space, 7U);
  EXPECT_EQ(told.frame, FakeGuest::kOther);
  EXPECT_EQ(told.text,
            "[vdso] page 0 at 0x7ffff7fd0000: 8 bytes of its code are others in the copy that is "
            "shown, frame 0x420000");
}

TEST_F(ViolationTexts, OfAChildSayWhatItLacksAndWhereItIsInstead) {
  model::AddressSpace child;
  child.id = 8;
  auto told = seal::judge_inheritance(guest_.identities, space_, child);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_STREQ(told[0].invariant, "S8");
  EXPECT_EQ(told[0].space, 8U);
  EXPECT_EQ(told[0].gva, FakeGuest::kVdsoPlace);
  EXPECT_EQ(told[0].text, "[vdso] of the parent is not in its forked child");
  child.placements = space_.placements;
  EXPECT_TRUE(seal::judge_inheritance(guest_.identities, space_, child).empty());
  child.placements[0].base = Gva{0x50000000};
  told = seal::judge_inheritance(guest_.identities, space_, child);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].gva, Gva{0x50000000});
  EXPECT_EQ(told[0].text,
            "[vdso] is at 0x50000000 in a forked child and at 0x7ffff7fd0000 in its parent");
}

/// Nobody can have seen it there.
TEST_F(ViolationTexts, AChildMayLackWhatItsParentNeverPopulated) {
  for (model::PageRecord& page : space_.placements[0].pages) page = {};
  EXPECT_TRUE(seal::judge_inheritance(guest_.identities, space_, {}).empty());
  space_.placements[0].pages[1].first = leaf(FakeGuest::kVdso, {true, false, true, 0});
  EXPECT_EQ(seal::judge_inheritance(guest_.identities, space_, {}).size(), 1U) << "one page is";
  space_.placements[0].pages = {space_.placements[0].pages[1], {}};
  EXPECT_EQ(seal::judge_inheritance(guest_.identities, space_, {}).size(), 1U);
}

TEST_F(ViolationTexts, OfTheAuxiliaryVectorSayWhatItNames) {
  auto told = seal::judge_vdso_address(guest_.identities, space_, kVdsoIndex, Gva{0x1000});
  ASSERT_TRUE(told.has_value());
  EXPECT_STREQ(told->invariant, "S8");
  EXPECT_EQ(told->gva, Gva{0x1000});
  EXPECT_EQ(told->text,
            "the auxiliary vector says that [vdso] is at 0x1000; its frames are at 0x7ffff7fd0000");
  space_.placements.clear();
  told = seal::judge_vdso_address(guest_.identities, space_, kVdsoIndex, FakeGuest::kVdsoPlace);
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->text,
            "the auxiliary vector says that [vdso] is at 0x7ffff7fd0000; its frames are nowhere in "
            "this address space");
}

}  // namespace
}  // namespace sealvisor::test
