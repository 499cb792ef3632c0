#include "vmm/seal/policy.h"

#include <functional>
#include <set>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

/// One thing that happens to a process's system mappings, and the invariants that it breaks.
struct Case {
  const char* name;
  std::function<void(FakeGuest&, Frame root)> happens;
  std::set<std::string> broken;  ///< Empty: all hold.
};

const Gva kVdso = FakeGuest::kVdsoPlace;
const Gva kVvar = FakeGuest::kVvarPlace;

const Case kCases[] = {
    {"Nothing", [](FakeGuest&, Frame) {}, {}},
    {"S1ZapAlone", [](FakeGuest& guest, Frame root) { guest.unmap(root, kVdso); }, {}},
    {"S1RefaultedToTheSameFrame",
     [](FakeGuest& guest, Frame root) {
       guest.unmap(root, kVdso);
       guest.enter_user(root);
       guest.map(root, kVdso, FakeGuest::kVdso, {.exec = true});
     },
     {}},
    {"S2AnotherFrame",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, kVdso, FakeGuest::kOther, {.exec = true});
     },
     {"S2"}},
    {"S2TwoPagesSwapped",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, kVdso, Frame{FakeGuest::kVdso.number + 1}, {.exec = true});
     },
     {"S2", "S4"}},
    {"S2FrameWhereThereWasNone",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, Gva{kVvar.value + 0x1000}, FakeGuest::kOther);
     },
     {"S2"}},
    {"S3Writable",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, kVdso, FakeGuest::kVdso, {.write = true, .exec = true});
     },
     {"S3"}},
    {"S3Executable",
     [](FakeGuest& guest, Frame root) { guest.map(root, kVvar, FakeGuest::kVvar, {.exec = true}); },
     {"S3"}},
    {"S3NoLongerExecutable",
     [](FakeGuest& guest, Frame root) { guest.map(root, kVdso, FakeGuest::kVdso); },
     {"S3"}},
    {"S3ProtNone",
     [](FakeGuest& guest, Frame root) {
       guest.store(guest.leaf_slot(root, kVvar), std::uint64_t{0x900});
     },
     {"S3"}},
    {"S4SecondPlace",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, Gva{0x1000'0000}, FakeGuest::kVdso, {.write = true});
     },
     {"S4"}},
    {"S4Moved",
     [](FakeGuest& guest, Frame root) {
       guest.unmap(root, kVvar);
       guest.map(root, Gva{0x1000'0000}, FakeGuest::kVvar);
     },
     {"S4"}},
    {"S6UpperEntryCleared",
     [](FakeGuest& guest, Frame root) { guest.store(root.slot(kVdso.value >> 39), 0); },
     {}},
    {"S6UpperEntryLeadsElsewhere",
     [](FakeGuest& guest, Frame root) {
       const Frame other = guest.new_table();
       guest.map(other, kVdso, FakeGuest::kOther, {.exec = true});
       std::uint64_t entry = 0;
       ASSERT_TRUE(guest.memory.read_entry(other.slot(kVdso.value >> 39), entry));
       guest.store(root.slot(kVdso.value >> 39), entry);
     },
     {"S2"}},
    {"CopiedBytesElsewhere",
     [](FakeGuest& guest, Frame root) {
       guest.map(root, Gva{0x1000'0000}, FakeGuest::kOther, {.write = true, .exec = true});
     },
     {}},
};

class PolicyCase : public testing::TestWithParam<std::tuple<Arch, Case>> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, PolicyCase,
                         testing::Combine(testing::ValuesIn(arch::kAllArchs),
                                          testing::ValuesIn(kCases)),
                         [](const testing::TestParamInfo<std::tuple<Arch, Case>>& one) {
                           return std::string(arch::name_of(std::get<0>(one.param))) + "_" +
                                  std::get<1>(one.param).name;
                         });

TEST_P(PolicyCase, BreaksExactlyWhatItShould) {
  const auto& [arch, one] = GetParam();
  FakeGuest guest(arch);
  guest.learn_vdso();
  const Frame root = guest.new_process();
  guest.enter_user(root);
  one.happens(guest, root);
  const model::Look look = guest.enter_user(root);
  const model::AddressSpace* space = guest.spaces.find(root);
  ASSERT_NE(space, nullptr);
  std::set<std::string> broken;
  for (const auto& transition : look.transitions) {
    for (const auto& violation :
         seal::judge_transition(arch, guest.identities, *space, transition)) {
      broken.insert(violation.invariant);
      EXPECT_FALSE(violation.text.empty());
    }
  }
  for (const auto& elsewhere : look.new_elsewhere) {
    broken.insert(seal::judge_elsewhere(guest.identities, *space, elsewhere).invariant);
  }
  EXPECT_EQ(broken, one.broken);
}

class Policy : public testing::Test {
 protected:
  void SetUp() override { guest.learn_vdso(); }
  FakeGuest guest{Arch::X86_64};
};

TEST_F(Policy, APageThatStaysAbsentAfterTheTouchIsGone) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.unmap(root, kVdso);
  guest.enter_user(root);
  const model::AddressSpace& space = *guest.spaces.find(root);
  const auto gone = seal::judge_gone(guest.identities, space, *space.placement(0));
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_STREQ(gone[0].invariant, "S1");
  EXPECT_EQ(gone[0].gva, kVdso);
  EXPECT_TRUE(seal::judge_gone(guest.identities, space, *space.placement(1)).empty())
      << "a page that was never populated is not gone";
}

TEST_F(Policy, AStoreToCodeBreaksS5) {
  event::Event write{};
  write.gpa = FakeGuest::kVdso.gpa().value + 0x10;
  write.old_value = 1;
  write.new_value = 2;
  const auto violation = seal::judge_content(guest.identities, {0, 0}, write);
  EXPECT_STREQ(violation.invariant, "S5");
  EXPECT_NE(violation.text.find("offset 0x10"), std::string::npos);
}

TEST_F(Policy, AChildWithItsParentsMappingsHoldsS8) {
  const Frame parent = guest.new_process();
  guest.enter_user(parent);
  const Frame child = guest.new_process();
  guest.enter_user(child);
  EXPECT_TRUE(seal::judge_inheritance(guest.identities, *guest.spaces.find(parent),
                                      *guest.spaces.find(child))
                  .empty());
}

TEST_F(Policy, AChildWithoutAMappingBreaksS8) {
  const Frame parent = guest.new_process();
  guest.enter_user(parent);
  const Frame child = guest.new_table();
  guest.map(child, kVvar, FakeGuest::kVvar);
  guest.load_root(child);
  guest.enter_user(child);
  const auto broken = seal::judge_inheritance(guest.identities, *guest.spaces.find(parent),
                                              *guest.spaces.find(child));
  ASSERT_EQ(broken.size(), 1U);
  EXPECT_STREQ(broken[0].invariant, "S8");
  EXPECT_NE(broken[0].text.find("[vdso]"), std::string::npos);
}

TEST_F(Policy, AChildWithAMappingElsewhereBreaksS8) {
  const Frame parent = guest.new_process();
  guest.enter_user(parent);
  const Frame child = guest.new_table();
  guest.map(child, Gva{0x5000'0000}, FakeGuest::kVdso, {.exec = true});
  guest.map(child, kVvar, FakeGuest::kVvar);
  guest.load_root(child);
  guest.enter_user(child);
  const auto broken = seal::judge_inheritance(guest.identities, *guest.spaces.find(parent),
                                              *guest.spaces.find(child));
  ASSERT_EQ(broken.size(), 1U);
  EXPECT_NE(broken[0].text.find("0x50000000"), std::string::npos);
}

TEST_F(Policy, TheAuxiliaryVectorMustNameTheVdsosPlace) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const model::AddressSpace& space = *guest.spaces.find(root);
  EXPECT_FALSE(seal::judge_vdso_address(guest.identities, space, 0, kVdso).has_value());
  EXPECT_TRUE(seal::judge_vdso_address(guest.identities, space, 0, Gva{0}).has_value()) << "none";
  model::AddressSpace bare = space;
  bare.placements.clear();
  EXPECT_TRUE(seal::judge_vdso_address(guest.identities, bare, 0, kVdso).has_value())
      << "something else is there";
  const auto broken = seal::judge_vdso_address(guest.identities, space, 0, Gva{0x1000});
  ASSERT_TRUE(broken.has_value());
  EXPECT_STREQ(broken->invariant, "S8");
  EXPECT_NE(broken->text.find("0x1000"), std::string::npos);
}

TEST(Implies, OnlyWhatTheExpectedChangeIs) {
  const auto broken = [](const char* invariant) {
    return seal::Violation{invariant, 0, {}, {}, ""};
  };
  EXPECT_TRUE(seal::implies(report::Change::Gone, broken("S1")));
  EXPECT_TRUE(seal::implies(report::Change::Moved, broken("S4")));
  EXPECT_TRUE(seal::implies(report::Change::Replaced, broken("S2")));
  EXPECT_TRUE(seal::implies(report::Change::PermissionChanged, broken("S3")));
  EXPECT_FALSE(seal::implies(report::Change::Gone, broken("S2")));
  EXPECT_FALSE(seal::implies(report::Change::PermissionChanged, broken("S4")));
  EXPECT_FALSE(seal::implies(report::Change::Replaced, broken("S5")));
  EXPECT_FALSE(seal::implies(report::Change::Unchanged, broken("S1")));
}

}  // namespace
}  // namespace sealvisor::test
