#include "vmm/engine/kvm/arm64/guarded_store.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <vector>

#include <gmock/gmock.h>

#include "tests/unit/engine/kvm/stopped_guest.h"
#include "tests/unit/support/fake_guest.h"
#include "vmm/engine/kvm/arm64/registers.h"

namespace sealvisor::engine::kvm::arm64 {
namespace {

using arch::Arch;
using arch::Frame;
using arch::Gpa;
using How = GuardedStore::How;
using testing::ElementsAre;
using testing::IsEmpty;

// As aarch64-linux-gnu-as has them.
constexpr std::uint32_t kStr = 0xf9000001;        // str x1, [x0]
constexpr std::uint32_t kStrSp = 0xf90003e1;      // str x1, [sp]
constexpr std::uint32_t kStrByte = 0x39000001;    // strb w1, [x0]
constexpr std::uint32_t kStrBefore = 0xb8004c01;  // str w1, [x0, #4]!
constexpr std::uint32_t kStrVector = 0x3d800005;  // str q5, [x0]
constexpr std::uint32_t kStp = 0xa9000801;        // stp x1, x2, [x0]
constexpr std::uint32_t kStpAfter = 0xa8810801;   // stp x1, x2, [x0], #16
constexpr std::uint32_t kCas = 0xc8a17c02;        // cas x1, x2, [x0]
constexpr std::uint32_t kLdxr = 0xc85f7c03;       // ldxr x3, [x0]
constexpr std::uint32_t kStxr = 0xc8047c02;       // stxr w4, x2, [x0]
constexpr std::uint32_t kStxrSp = 0xc8047fe2;     // stxr w4, x2, [sp]
constexpr std::uint32_t kZva = 0xd50b7420;        // dc zva, x0
constexpr std::uint32_t kSt2 = 0x4c008000;        // st2 {v0.16b, v1.16b}, [x0]
constexpr std::uint32_t kLdr = 0xf9400001;        // ldr x1, [x0]

constexpr std::uint64_t kCode = 0x1100;
constexpr std::uint64_t kTable = 0x5000;      // gva of frame 105, which is guarded
constexpr std::uint64_t kPlainData = 0x6000;  // of frame 106: plain memory
constexpr std::uint64_t kText = 0x7000;       // of frame 107, which is in a read-only slot
constexpr std::uint64_t kUpper = 0xffff000000000000;
constexpr std::uint64_t kOld = 0xa5a5a5a5a5a5a5a5;
constexpr std::uint64_t kZvaOf64Bytes = 4;

/// Page i of the lower half is frame 100 + i, of the upper half frame 200 + i; 16 of each.
class StoreInStead : public StoppedRam {
 protected:
  StoreInStead() : StoppedRam(Arch::Arm64) {
    for (const std::uint64_t half : {0U, 1U}) {
      const std::uint64_t root = 10 + half * 10;
      for (std::uint64_t i = root; i < root + 3; ++i) {
        put(frame(i).slot(0), test::table_entry(Arch::Arm64, frame(i + 1)));
      }
      for (std::uint64_t page = 0; page < 16; ++page) {
        const Frame to = frame(100 + half * 100 + page);
        put(frame(root + 3).slot(page), test::leaf_entry(Arch::Arm64, to.gpa()));
        for (std::size_t slot = 0; slot < 512; ++slot) put(to.slot(slot), kOld);
      }
    }
    registers.values = {{kTtbr0El1, frame(10).gpa().value | 1ULL << 48},  // an ASID
                        {kTtbr1El1, frame(20).gpa().value},
                        {kPstate, 0x3c5},
                        {x(0), kTable},
                        {x(1), 0x1111'2222'3333'4444},
                        {x(2), 0x5555'6666'7777'8888}};
    const Frame on[] = {frame(105)};
    EXPECT_TRUE(guard.change(on, {}).ok());
  }
  /// The vCPU stopped at the last of `words`.
  GuardedStore store(std::initializer_list<std::uint32_t> words) {
    std::uint64_t gpa = frame(101).gpa().value + kCode % arch::kPageSize;
    for (const std::uint32_t word : words) {
      std::memcpy(ram.at(Gpa{gpa}, 4).data(), &word, 4);
      gpa += 4;
    }
    pc = kCode + 4 * (words.size() - 1);
    registers.values[kPc] = pc;
    registers.writes = 0;
    auto done = do_guarded_store({registers, ram, memory, format, kZvaOf64Bytes}, frames());
    EXPECT_TRUE(done.ok());
    return done.ok() ? std::move(done).value() : GuardedStore{};
  }
  StoppingFrames frames() { return {guard, read_only}; }
  std::uint64_t reg(std::uint64_t id) { return registers.get(id).value(); }
  Gpa gpa(std::uint64_t page, std::uint64_t offset = 0) {
    return Gpa{frame(100 + page).gpa().value + offset};
  }
  void expect_not_done(const GuardedStore& store) {
    EXPECT_EQ(store.how, How::Step);
    EXPECT_EQ(registers.writes, 0U);
    EXPECT_EQ(reg(kPc), pc);
    EXPECT_THAT(store.stores, IsEmpty());
    EXPECT_THAT(store.content, IsEmpty());
  }

  arch::AnyFormat format = test::format_for(Arch::Arm64);
  std::vector<Frame> read_only{frame(107)};
  std::uint64_t pc = 0;
};

TEST_F(StoreInStead, DoesAPlainStore) {
  registers.values[x(0)] = kTable + 8;
  const GuardedStore done = store({kStr});
  EXPECT_EQ(done.how, How::Done);
  EXPECT_EQ(done.pc, kCode);
  EXPECT_THAT(done.stores, ElementsAre(Stored{gpa(5, 8), 8}));
  EXPECT_THAT(done.content, IsEmpty());
  EXPECT_EQ(at(gpa(5, 8)), 0x1111'2222'3333'4444U);
  EXPECT_EQ(at(gpa(5, 0)), kOld);
  EXPECT_EQ(at(gpa(5, 16)), kOld);
  EXPECT_EQ(reg(kPc), kCode + 4);
  EXPECT_EQ(registers.writes, 1U) << "the program counter alone";
}

TEST_F(StoreInStead, DoesAStoreOfLessThanASlot) {
  registers.values[x(0)] = kTable + 9;
  EXPECT_THAT(store({kStrByte}).stores, ElementsAre(Stored{gpa(5, 9), 1}));
  EXPECT_EQ(at(gpa(5, 8)), 0xa5a5'a5a5'a5a5'44a5U);
}

TEST_F(StoreInStead, WritesTheBaseBack) {
  EXPECT_THAT(store({kStrBefore}).stores, ElementsAre(Stored{gpa(5, 4), 4}));
  EXPECT_EQ(reg(x(0)), kTable + 4);
  EXPECT_THAT(store({kStpAfter}).stores, ElementsAre(Stored{gpa(5, 4), 16}));
  EXPECT_EQ(reg(x(0)), kTable + 20);
}

TEST_F(StoreInStead, DoesAPair) {
  EXPECT_THAT(store({kStp}).stores, ElementsAre(Stored{gpa(5), 16}));
  EXPECT_EQ(at(gpa(5, 0)), 0x1111'2222'3333'4444U);
  EXPECT_EQ(at(gpa(5, 8)), 0x5555'6666'7777'8888U);
}

TEST_F(StoreInStead, DoesAVector) {
  std::array<std::byte, 16> value{};
  value.fill(std::byte{0x77});
  registers.vectors[v(5)] = value;
  EXPECT_THAT(store({kStrVector}).stores, ElementsAre(Stored{gpa(5), 16}));
  EXPECT_EQ(at(gpa(5, 8)), 0x7777'7777'7777'7777U);
}

TEST_F(StoreInStead, UsesTheStackPointerOfTheMode) {
  registers.values[kSpEl0] = kTable + 8;
  registers.values[kSpEl1] = kTable + 16;
  EXPECT_THAT(store({kStrSp}).stores, ElementsAre(Stored{gpa(5, 16), 8}));
  registers.values[kPstate] = 0x3c4;  // EL1t
  EXPECT_THAT(store({kStrSp}).stores, ElementsAre(Stored{gpa(5, 8), 8}));
}

TEST_F(StoreInStead, ComparesAndSwaps) {
  const GuardedStore failed = store({kCas});
  EXPECT_EQ(failed.how, How::Done);
  EXPECT_THAT(failed.stores, IsEmpty()) << "another value was there";
  EXPECT_EQ(at(gpa(5)), kOld);
  EXPECT_EQ(reg(x(1)), kOld);
  EXPECT_EQ(reg(kPc), kCode + 4);
  EXPECT_THAT(store({kCas}).stores, ElementsAre(Stored{gpa(5), 8}));
  EXPECT_EQ(at(gpa(5)), 0x5555'6666'7777'8888U);
}

TEST_F(StoreInStead, DoesAStoreExclusiveWhoseLoadIsKnown) {
  registers.values[x(3)] = kOld;
  EXPECT_THAT(store({kLdxr, kStxr}).stores, ElementsAre(Stored{gpa(5), 8}));
  EXPECT_EQ(at(gpa(5)), 0x5555'6666'7777'8888U);
  EXPECT_EQ(reg(x(4)), 0U);
  registers.values[x(3)] = kOld;  // memory holds another value now
  const GuardedStore failed = store({kLdxr, kStxr});
  EXPECT_EQ(failed.how, How::Done);
  EXPECT_THAT(failed.stores, IsEmpty());
  EXPECT_EQ(reg(x(4)), 1U);
}

TEST_F(StoreInStead, AStoreExclusiveWithoutItsLoadIsNotFollowed) {
  const GuardedStore done = store({kLdr, kStxr});
  EXPECT_EQ(done.how, How::Unfollowed);
  EXPECT_EQ(done.frame, frame(105));
  EXPECT_EQ(registers.writes, 0U);
  EXPECT_EQ(at(gpa(5)), kOld);
  registers.values[kSpEl1] = kTable;
  EXPECT_EQ(store({kLdr, kStxrSp}).how, How::Unfollowed);
  registers.values[x(0)] = kPlainData;  // it is not what stopped the guest
  expect_not_done(store({kLdr, kStxr}));
}

TEST_F(StoreInStead, ZeroesABlock) {
  registers.values[x(0)] = kTable + 0x47;
  EXPECT_THAT(store({kZva}).stores, ElementsAre(Stored{gpa(5, 0x40), 64}));
  EXPECT_EQ(at(gpa(5, 0x38)), kOld);
  EXPECT_EQ(at(gpa(5, 0x40)), 0U);
  EXPECT_EQ(at(gpa(5, 0x78)), 0U);
  EXPECT_EQ(at(gpa(5, 0x80)), kOld);
}

TEST_F(StoreInStead, TellsBothPartsOfAStoreOverTwoFrames) {
  registers.values[x(0)] = kTable + 4096 - 8;
  EXPECT_THAT(store({kStp}).stores, ElementsAre(Stored{gpa(5, 4088), 8}, Stored{gpa(6), 8}));
  EXPECT_EQ(at(gpa(5, 4088)), 0x1111'2222'3333'4444U);
  EXPECT_EQ(at(gpa(6)), 0x5555'6666'7777'8888U);
}

TEST_F(StoreInStead, TheSecondFrameCountsToo) {
  registers.values[x(0)] = kTable - 4;
  EXPECT_THAT(store({kStr}).stores, ElementsAre(Stored{gpa(4, 4092), 4}, Stored{gpa(5), 4}));
  EXPECT_EQ(at(gpa(5)), 0xa5a5'a5a5'1111'2222U);
}

TEST_F(StoreInStead, AStoreOverTwoFramesOfWhichOneIsNotMappedChangesNothing) {
  put(frame(13).slot(6), 0);
  registers.values[x(0)] = kTable + 4096 - 8;
  expect_not_done(store({kStp}));
  EXPECT_EQ(at(gpa(5, 4088)), kOld);
}

TEST_F(StoreInStead, LeavesWhatItDoesNotKnowToTheCpu) {
  expect_not_done(store({kSt2}));
  expect_not_done(store({kLdr}));
  registers.values[x(0)] = kPlainData;  // nothing stops a store there
  expect_not_done(store({kStr}));
  EXPECT_EQ(at(gpa(6)), kOld);
}

TEST_F(StoreInStead, LeavesCodeThatItCanNotReadToTheCpu) {
  for (const std::uint64_t bad : {std::uint64_t{0x10000}, kCode + 2, std::uint64_t{1} << 60}) {
    registers.values[kPc] = bad;
    registers.writes = 0;
    const auto done = do_guarded_store({registers, ram, memory, format, 4}, frames());
    ASSERT_TRUE(done.ok());
    EXPECT_EQ(done.value().how, How::Step) << std::hex << bad;
    EXPECT_EQ(registers.writes, 0U);
  }
}

TEST_F(StoreInStead, TranslatesEachHalfByItsOwnRootAndWithoutTags) {
  const Frame on[] = {frame(205)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  registers.values[x(0)] = kUpper + kTable;
  EXPECT_THAT(store({kStr}).stores, ElementsAre(Stored{frame(205).gpa(), 8}));
  registers.values[x(0)] = 0x4200'0000'0000'0000 + kTable;
  EXPECT_THAT(store({kStr}).stores, ElementsAre(Stored{gpa(5), 8}));
  registers.values[x(0)] = (kUpper & ~(0xffULL << 56)) + kTable + 8;  // bit 55 chooses the half
  EXPECT_THAT(store({kStr}).stores, ElementsAre(Stored{frame(205).slot(1), 8}));
}

TEST_F(StoreInStead, ARegisterThatTheHostRefusesIsAnError) {
  store({kStr});
  for (const std::uint64_t id : {kPc, kPstate, kTtbr0El1, kTtbr1El1, kSctlrEl1, x(0), x(1)}) {
    registers.values[kPc] = kCode;
    registers.broken = id;
    EXPECT_FALSE(do_guarded_store({registers, ram, memory, format, 4}, frames()).ok())
        << std::hex << id;
  }
}

// Code frames in read-only slots.

/// Parts as they are told one by one; each is done before the next one, as the caller does it.
class ContentInStead : public StoreInStead {
 protected:
  struct Part {
    Gpa gpa;
    unsigned size;
    std::uint64_t value;
    friend bool operator==(const Part&, const Part&) = default;
  };
  std::vector<Part> tell(const GuardedStore& store) {
    std::vector<Part> parts;
    queue.begin(store);
    for (;;) {
      auto part = queue.next(registers);
      if (!part || !part.value()) break;
      const MachineExit& exit = *part.value();
      EXPECT_EQ(exit.kind, ExitKind::ReadOnly);
      EXPECT_EQ(reg(kPc), pc) << "not before the last part is told";
      EXPECT_EQ(exit.goes_on, !parts.empty()) << "all are of one store";
      const std::span<std::byte> to = ram.at(exit.gpa, exit.size);
      std::memcpy(to.data(), &exit.value, to.size());
      parts.push_back({exit.gpa, exit.size, exit.value});
    }
    return parts;
  }
  ContentQueue queue;
};

TEST_F(ContentInStead, TellsAPairSlotBySlot) {
  registers.values[x(0)] = kText + 4;
  const GuardedStore done = store({kStpAfter});
  EXPECT_EQ(done.how, How::Done);
  EXPECT_THAT(done.stores, IsEmpty());
  EXPECT_EQ(at(gpa(7, 8)), kOld) << "left to the caller";
  EXPECT_THAT(tell(done), ElementsAre(Part{gpa(7, 4), 4, 0x3333'4444},
                                      Part{gpa(7, 8), 8, 0x7777'8888'1111'2222},
                                      Part{gpa(7, 16), 4, 0x5555'6666}));
  EXPECT_EQ(reg(kPc), kCode + 4);
  EXPECT_EQ(reg(x(0)), kText + 20);
  EXPECT_EQ(at(gpa(7, 8)), 0x7777'8888'1111'2222U);
  EXPECT_THAT(tell({}), IsEmpty()) << "told once";
}

TEST_F(ContentInStead, TellsAtomicsAndZeroes) {
  registers.values[x(0)] = kText;
  registers.values[x(1)] = kOld;
  EXPECT_THAT(tell(store({kCas})), ElementsAre(Part{gpa(7), 8, 0x5555'6666'7777'8888}));
  registers.values[x(3)] = at(gpa(7));
  registers.values[x(2)] = 9;
  EXPECT_THAT(tell(store({kLdxr, kStxr})), ElementsAre(Part{gpa(7), 8, 9}));
  EXPECT_EQ(reg(x(4)), 0U);
  EXPECT_EQ(tell(store({kZva})).size(), 8U);
  EXPECT_EQ(at(gpa(7, 56)), 0U);
  EXPECT_EQ(at(gpa(7, 64)), kOld);
}

TEST_F(ContentInStead, ACompareThatFailsWritesNothing) {
  registers.values[x(0)] = kText;
  const GuardedStore done = store({kCas});
  EXPECT_EQ(done.how, How::Done);
  EXPECT_THAT(tell(done), IsEmpty());
  EXPECT_EQ(reg(kPc), kCode + 4);
}

TEST_F(ContentInStead, WhatGoesBesideCodeIsDoneAtOnce) {
  registers.values[x(0)] = kText - 8;
  const GuardedStore done = store({kStp});
  EXPECT_THAT(done.stores, IsEmpty()) << "no part of it is guarded";
  EXPECT_EQ(at(gpa(6, 4088)), 0x1111'2222'3333'4444U);
  EXPECT_THAT(tell(done), ElementsAre(Part{gpa(7), 8, 0x5555'6666'7777'8888}));
}

TEST_F(ContentInStead, AStoreToATableAndCodeIsToldAsBoth) {
  const Frame on[] = {frame(106)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  registers.values[x(0)] = kText - 8;
  const GuardedStore done = store({kStp});
  EXPECT_THAT(done.stores, ElementsAre(Stored{gpa(6, 4088), 8}));
  EXPECT_THAT(tell(done), ElementsAre(Part{gpa(7), 8, 0x5555'6666'7777'8888}));
}

TEST_F(ContentInStead, WhatIsNotKnownIsNotDone) {
  registers.values[x(0)] = kText;
  expect_not_done(store({kSt2}));
  expect_not_done(store({kLdr, kStxr}));
}

TEST_F(ContentInStead, AProgramCounterThatTheHostRefusesIsAnError) {
  registers.values[x(0)] = kText;
  queue.begin(store({kStr}));
  ASSERT_TRUE(queue.next(registers).ok());
  registers.broken = kPc;
  EXPECT_FALSE(queue.next(registers).ok());
}

TEST_F(ContentInStead, IsOfAStoreToAReadOnlyFrameOnly) {
  constexpr std::uint64_t kWrite = 0x47;  // WnR, permission fault at level 3
  const auto undecoded = [&](std::uint32_t reason, std::uint64_t iss, Gpa where) {
    kvm_run run{};
    run.exit_reason = reason;
    run.arm_nisv.esr_iss = iss;
    run.arm_nisv.fault_ipa = where.value;
    return is_undecoded_store(run, frames());
  };
  EXPECT_TRUE(undecoded(KVM_EXIT_ARM_NISV, kWrite, gpa(7, 4095)));
  EXPECT_FALSE(undecoded(KVM_EXIT_ARM_NISV, kWrite & ~0x40U, gpa(7))) << "a load";
  EXPECT_FALSE(undecoded(KVM_EXIT_ARM_NISV, kWrite, gpa(8))) << "another frame";
  EXPECT_FALSE(undecoded(KVM_EXIT_ARM_NISV, kWrite, gpa(5))) << "a guarded one";
  EXPECT_FALSE(undecoded(KVM_EXIT_MMIO, kWrite, gpa(7))) << "another exit";
}

}  // namespace
}  // namespace sealvisor::engine::kvm::arm64
