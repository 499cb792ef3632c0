#include "vmm/run/lifetimes.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using report::Effect;
using report::LifeVerdict;

constexpr std::uint64_t kText = 0xffffffff81000000;  // FakeGuest's writer
constexpr std::uint64_t kApart = 0x100;

/// Kernel text of functions that call and return, by name: the first stores.
class Functions {
 public:
  run::KernelCode code() {
    run::KernelCode code;
    code.read = [](std::uint64_t address, std::span<std::uint8_t> room) -> std::size_t {
      // At the start of each: call; ret. The writer returns at once.
      constexpr std::uint8_t kBytes[] = {0xE8, 0, 0, 0, 0, 0xC3};
      for (std::size_t i = 0; i < room.size(); ++i) {
        const std::uint64_t at = address + i - kText;
        const std::uint64_t in = at % kApart;
        room[i] = at < kApart ? 0xC3 : in < sizeof kBytes ? kBytes[in] : 0xCC;
      }
      return room.size();
    };
    code.function = [this](std::uint64_t address) -> std::optional<std::string> {
      const std::uint64_t index = (address - kText) / kApart;
      if (index == 0) return "set_pte";
      return index <= names_.size() ? std::optional(names_[index - 1]) : std::nullopt;
    };
    return code;
  }
  /// The stack of a store that came through `functions`, the innermost first.
  arch::Table stack(const std::vector<std::string>& functions) {
    arch::Table table{};
    std::size_t word = 0;
    for (const std::string& name : functions) {
      const auto found = std::find(names_.begin(), names_.end(), name);
      const auto index = static_cast<std::uint64_t>(found - names_.begin());
      if (found == names_.end()) names_.push_back(name);
      table[word++] = kText + (index + 1) * kApart + 5;
    }
    return table;
  }

 private:
  std::vector<std::string> names_;
};

const std::vector<std::string> kFault = {"handle_mm_fault", "exc_page_fault", "asm_exc_page_fault"};
const std::vector<std::string> kExit = {"exit_mmap", "do_exit", "entry_SYSCALL_64"};
const std::vector<std::string> kMunmap = {"__x64_sys_munmap", "do_syscall_64", "entry_SYSCALL_64"};
const std::vector<std::string> kSurprise = {"surprise", "do_syscall_64", "entry_SYSCALL_64"};
const std::vector<std::string> kTimens = {"vdso_join_timens", "__x64_sys_setns",
                                          "entry_SYSCALL_64"};

class LifetimesTest : public testing::Test {
 protected:
  void SetUp() override {
    guest_.learn_vdso();
    root_ = guest_.new_table();
    guest_.load_root(root_);
    feed();
  }

  /// Does `work`, each store of which comes through `path`; empty: without a stack.
  template <typename Work>
  void by(const std::vector<std::string>& path, Work work) {
    path_ = path;
    work();
    feed();
  }
  void feed() {
    for (; fed_ < guest_.events.size(); ++fed_) {
      const event::Event& event = guest_.events[fed_];
      if (event.kind == event::Kind::TableRemoved) {
        lifetimes_.on_table_removed(arch::frame_of(Gpa{event.gpa}));
      }
      if (event.kind != event::Kind::SlotWrite) continue;
      if (!path_.empty()) {
        event::Event copy = event;
        copy.kind = event::Kind::StackCopy;
        copy.old_value = 0xffffc90000003000;
        lifetimes_.on_stack(copy, functions_.stack(path_));
      }
      std::vector<model::MappingChange> changes;
      for (const model::MappingChange& change : guest_.changes) {
        if (change.write.icount == event.icount && change.write.gpa == event.gpa) {
          changes.push_back(change);
        }
      }
      lifetimes_.on_write(guest_.format, event, changes);
    }
  }
  void enter() {
    const model::Look look = guest_.enter_user(root_);
    lifetimes_.on_look(*guest_.spaces.find(root_), look, true);
  }
  /// The vdso's first page, faulted in and seen.
  void live() {
    by(kFault, [&] { guest_.map(root_, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true}); });
    enter();
  }
  void end() {
    for (const model::SpaceEnd& ended : guest_.spaces.take_ended()) {
      lifetimes_.on_end(ended.space, ended.placements);
    }
  }
  void unmap_by(const std::vector<std::string>& path) {
    by(path, [&] { guest_.unmap(root_, FakeGuest::kVdsoPlace); });
  }
  void map_by(const std::vector<std::string>& path, Frame frame, May may = {.exec = true}) {
    by(path, [&] { guest_.map(root_, FakeGuest::kVdsoPlace, frame, may); });
  }

  static const report::LifeChange* find(const report::Lifetime& lifetime, Effect effect,
                                        const std::string& cause) {
    for (const report::LifeChange& change : lifetime.changes) {
      if (change.effect == effect && change.cause == cause) return &change;
    }
    return nullptr;
  }
  static const report::MappingLife* life(const report::Lifetime& lifetime, const char* name) {
    for (const report::MappingLife& one : lifetime.mappings) {
      if (one.mapping == name) return &one;
    }
    return nullptr;
  }

  FakeGuest guest_{Arch::X86_64};
  Functions functions_;
  run::CallPaths paths_{Arch::X86_64, functions_.code()};
  run::Lifetimes lifetimes_{guest_.identities, paths_};
  Frame root_{};
  std::vector<std::string> path_;
  std::size_t fed_ = 0;
};

TEST_F(LifetimesTest, APageThatIsFilledInAndGoesWithItsProcessNeverChanged) {
  live();
  unmap_by(kExit);
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* filled = find(lifetime, Effect::FilledIn, "fault");
  ASSERT_NE(filled, nullptr);
  EXPECT_FALSE(filled->in_life);
  EXPECT_EQ(filled->seen, 1U);
  EXPECT_EQ(filled->path.front(), "set_pte");
  EXPECT_EQ(filled->path.back(), "asm_exc_page_fault");
  EXPECT_TRUE(filled->path_complete);
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "exit");
  ASSERT_NE(gone, nullptr);
  EXPECT_FALSE(gone->in_life);
  EXPECT_EQ(gone->at_end, 1U);
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  ASSERT_NE(vdso, nullptr);
  EXPECT_EQ(vdso->verdict, LifeVerdict::NeverChanged) << vdso->text;
  EXPECT_EQ(vdso->spaces, 1U);
  EXPECT_EQ(vdso->entries, 1U);
  EXPECT_EQ(vdso->filled_in, 1U);
  EXPECT_EQ(vdso->removed_at_exit, 1U);
}

TEST_F(LifetimesTest, AnExitThatUserModeOutlivesIsAChange) {
  live();
  unmap_by(kExit);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "exit");
  ASSERT_NE(gone, nullptr);
  EXPECT_TRUE(gone->in_life);
  EXPECT_EQ(gone->seen, 1U);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::Changed);
}

TEST_F(LifetimesTest, WhatTheKernelDoesByItselfIsItsOwn) {
  live();
  unmap_by(kSurprise);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "kernel");
  ASSERT_NE(gone, nullptr);
  EXPECT_TRUE(gone->by_kernel);
  EXPECT_EQ(gone->path[1], "surprise");
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  EXPECT_EQ(vdso->verdict, LifeVerdict::Changed);
  ASSERT_EQ(vdso->changed_by.size(), 1U);
  EXPECT_NE(vdso->changed_by[0].find("kernel"), std::string::npos);
}

TEST_F(LifetimesTest, AlsoWhatItUndoesBeforeUserModeRuns) {
  live();
  unmap_by(kSurprise);
  map_by(kSurprise, FakeGuest::kVdso);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "kernel");
  ASSERT_NE(gone, nullptr);
  EXPECT_EQ(gone->seen, 0U);
  EXPECT_EQ(gone->undone, 1U);
  EXPECT_TRUE(gone->by_kernel);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::Changed);
}

TEST_F(LifetimesTest, WhatAProcessAsksForIsNotTheKernels) {
  live();
  unmap_by(kMunmap);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "system call");
  ASSERT_NE(gone, nullptr);
  EXPECT_EQ(gone->by, "munmap");
  EXPECT_TRUE(gone->in_life);
  EXPECT_FALSE(gone->by_kernel);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::NeverChanged);
}

TEST_F(LifetimesTest, ATimeNamespaceIsWhyAnotherPageIsFaultedIn) {
  live();
  unmap_by(kTimens);
  enter();
  map_by(kFault, FakeGuest::kOther);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* gone = find(lifetime, Effect::Removed, "time namespace");
  const report::LifeChange* other = find(lifetime, Effect::OtherFrame, "time namespace");
  ASSERT_NE(gone, nullptr);
  ASSERT_NE(other, nullptr) << "the fault is put down to what made room for it";
  EXPECT_EQ(other->seen, 1U);
  EXPECT_EQ(other->path[1], "handle_mm_fault");
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  EXPECT_EQ(vdso->changed_by, std::vector<std::string>{"time namespace (vdso_join_timens)"});
}

// A removal explains what comes in its place, and nothing behind that.
TEST_F(LifetimesTest, AnOldRemovalIsNoExcuse) {
  live();
  unmap_by(kMunmap);
  enter();
  map_by(kFault, FakeGuest::kVdso);
  enter();
  map_by(kFault, FakeGuest::kOther);
  enter();
  const auto lifetime = lifetimes_.finish();
  EXPECT_EQ(find(lifetime, Effect::OtherFrame, "system call"), nullptr);
  const report::LifeChange* other = find(lifetime, Effect::OtherFrame, "fault");
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(other->by_kernel);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::Changed);
}

// Only what a child begins with is no change: a fork that touched the parent's page would be one.
TEST_F(LifetimesTest, AForkMayNotChangeTheParentsPages) {
  live();
  map_by({"copy_page_range", "copy_process", "entry_SYSCALL_64"}, FakeGuest::kVdso,
         {.write = true, .exec = true});
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Permission, "fork");
  ASSERT_NE(change, nullptr);
  EXPECT_TRUE(change->by_kernel);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::Changed);
}

TEST_F(LifetimesTest, AMappingThatNoProcessShowedIsUnobserved) {
  const auto lifetime = lifetimes_.finish();
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  ASSERT_NE(vdso, nullptr) << "it is not passed over";
  EXPECT_EQ(vdso->verdict, LifeVerdict::Unobserved);
  EXPECT_EQ(vdso->text, "user mode was never judged with a page of it");
}

/// That a page was there is not that user mode ran beside it.
TEST_F(LifetimesTest, AMappingThatUserModeWasNeverJudgedWithIsUnobserved) {
  guest_.map(root_, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  feed();
  const model::Look look = guest_.enter_user(root_);
  lifetimes_.on_look(*guest_.spaces.find(root_), look, false);
  const auto lifetime = lifetimes_.finish();
  EXPECT_EQ(life(lifetime, "[vdso]")->spaces, 0U);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::Unobserved);
}

TEST_F(LifetimesTest, SaysOnHowMuchAConclusionRests) {
  live();
  const model::AddressSpace& space = *guest_.spaces.find(root_);
  lifetimes_.on_end(space.id, space.placements);
  const auto lifetime = lifetimes_.finish();
  EXPECT_EQ(life(lifetime, "[vdso]")->text,
            "never changed by the kernel itself in 1 address spaces, 1 pages, 1 entries to user "
            "mode");
}

TEST_F(LifetimesTest, OtherPermissionsAreAChange) {
  live();
  map_by(kSurprise, FakeGuest::kVdso, {.write = true, .exec = true});
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Permission, "kernel");
  ASSERT_NE(change, nullptr);
  EXPECT_EQ(change->seen, 1U);
  EXPECT_TRUE(change->by_kernel);
}

TEST_F(LifetimesTest, TheSameValueAgainIsNone) {
  live();
  map_by(kSurprise, FakeGuest::kVdso);
  enter();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Rewritten, "kernel");
  ASSERT_NE(change, nullptr);
  EXPECT_FALSE(change->in_life);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::NeverChanged);
}

TEST_F(LifetimesTest, WithoutAPathNothingIsKnown) {
  live();
  unmap_by({});
  enter();
  const auto lifetime = lifetimes_.finish();
  EXPECT_EQ(lifetime.without_stack, 1U);
  EXPECT_EQ(life(lifetime, "[vdso]")->verdict, LifeVerdict::NotKnown);
}

TEST_F(LifetimesTest, AStackOfAnotherStoreIsNotTaken) {
  live();
  event::Event other{};
  other.pc = kText;
  other.icount = 1'000'000;
  lifetimes_.on_stack(other, functions_.stack(kMunmap));
  unmap_by({});
  EXPECT_EQ(lifetimes_.finish().without_stack, 1U);
}

TEST_F(LifetimesTest, ASecondPlaceIsAChange) {
  live();
  constexpr Gva kElsewhere{0x10000000};
  by(kSurprise, [&] { guest_.map(root_, kElsewhere, FakeGuest::kVdso, {.exec = true}); });
  lifetimes_.on_elsewhere(*guest_.spaces.find(root_), guest_.leaf_slot(root_, kElsewhere));
  enter();
  const report::Lifetime lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Place, "kernel");
  ASSERT_NE(change, nullptr);
  EXPECT_TRUE(change->by_kernel);
}

TEST_F(LifetimesTest, AStoreToCodeIsAChange) {
  live();
  event::Event store{};
  store.kind = event::Kind::ContentWrite;
  store.pc = kText;
  store.icount = 1000;
  event::Event copy = store;
  copy.old_value = 0xffffc90000003000;
  lifetimes_.on_stack(copy, functions_.stack(kSurprise));
  lifetimes_.on_content(store, {"S5", 0, {0, 0}, {}, "a store changed its code"});
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Content, "kernel");
  ASSERT_NE(change, nullptr);
  EXPECT_TRUE(change->by_kernel);
}

TEST_F(LifetimesTest, OfUserModeAndOfAFewMore) {
  live();
  event::Event store{};
  store.kind = event::Kind::ContentWrite;
  store.flags = event::kUserMode;
  store.pc = 0x401000;
  lifetimes_.on_content(store, {"S5", 0, {0, 0}, {}, "a store changed its code"});
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* change = find(lifetime, Effect::Content, "store of user mode");
  ASSERT_NE(change, nullptr);
  EXPECT_TRUE(change->in_life);
  EXPECT_FALSE(change->by_kernel);
}

TEST_F(LifetimesTest, WhatAChildHasOfItsParentIsCopied) {
  // Mapped before the root is known, as fork does it.
  const Frame child = guest_.new_process();
  feed();
  const model::Look look = guest_.enter_user(child);
  lifetimes_.on_look(*guest_.spaces.find(child), look, true);
  const auto lifetime = lifetimes_.finish();
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  ASSERT_NE(vdso, nullptr);
  EXPECT_EQ(vdso->copied, 2U);
  EXPECT_EQ(vdso->filled_in, 0U);
  EXPECT_EQ(vdso->verdict, LifeVerdict::NeverChanged);
}

TEST_F(LifetimesTest, PagesAreCountedWhenTheirSpaceEnds) {
  live();
  const model::AddressSpace& space = *guest_.spaces.find(root_);
  lifetimes_.on_end(space.id, space.placements);
  const auto lifetime = lifetimes_.finish();
  const report::MappingLife* vdso = life(lifetime, "[vdso]");
  EXPECT_EQ(vdso->pages_populated, 1U);
  EXPECT_EQ(vdso->pages_never, 1U);
  EXPECT_EQ(vdso->pages_kept, 1U);
  EXPECT_EQ(vdso->pages_gone, 0U);
}

TEST_F(LifetimesTest, TellsWhatRanThen) {
  lifetimes_.set_scenario("storm/x");
  live();
  const auto lifetime = lifetimes_.finish();
  const report::LifeChange* filled = find(lifetime, Effect::FilledIn, "fault");
  ASSERT_NE(filled, nullptr);
  EXPECT_EQ(filled->scenarios, (std::map<std::string, std::uint64_t>{{"storm/x", 1}}));
}

TEST(LifetimesTakes, TheViolationsThatAreChanges) {
  for (const char* invariant : {"S1", "S2", "S3", "S4", "S5", "S6"}) {
    EXPECT_TRUE(run::Lifetimes::takes({invariant, 1, {0, 0}, {}, ""})) << invariant;
  }
  for (const char* invariant : {"S7", "S8"}) {
    EXPECT_FALSE(run::Lifetimes::takes({invariant, 1, {0, 0}, {}, ""})) << invariant;
  }
}

}  // namespace
}  // namespace sealvisor::test
