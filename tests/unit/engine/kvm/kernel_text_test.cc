#include "vmm/engine/kvm/kernel_text.h"

#include <atomic>

#include <gmock/gmock.h>

#include "tests/unit/engine/kvm/watched_guest.h"

namespace sealvisor::engine::kvm {
namespace {

using arch::Arch;
using arch::Frame;
using arch::Gpa;
using arch::Gva;
using testing::HasSubstr;

/// Counts the tables that are read.
class CountingReader final : public arch::TableReader {
 public:
  explicit CountingReader(const arch::TableReader& from) : from_(from) {}
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    return from_.read_entry(slot, value);
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    ++tables;
    return from_.read_table(frame, copy);
  }
  mutable std::uint64_t tables = 0;

 private:
  const arch::TableReader& from_;
};

class KernelText : public WatchedGuest {
 protected:
  static constexpr std::uint64_t kRoot = 10;  // frames, from the start of RAM

  [[nodiscard]] bool x86() const { return GetParam() == Arch::X86_64; }
  /// A slot of the root that is in the upper half: the nth.
  [[nodiscard]] Gpa root_slot(std::size_t n) const {
    return frame(kRoot).slot((x86() ? 256 : 0) + n);
  }
  [[nodiscard]] Gva first() const {
    return Gva{0xffff'0000'0000'0000 | (x86() ? 0x8000ULL << 32 : 0)};
  }
  void link(Gpa slot, std::uint64_t to) { put(slot, test::table_entry(GetParam(), frame(to))); }
  /// A page for the kernel; `exec`: it may run it.
  void page(Gpa slot, std::uint64_t at, bool exec) {
    constexpr std::uint64_t kPrivilegedNever = 1ULL << 53;
    std::uint64_t entry =
        test::leaf_entry(GetParam(), frame(at).gpa(), {.exec = exec, .user = false});
    if (!x86() && !exec) entry |= kPrivilegedNever;
    put(slot, entry);
  }
  /// A 2 MiB leaf that the kernel may run.
  void large(Gpa slot, Gpa at) {
    constexpr std::uint64_t kX86Large = 0x80;
    constexpr std::uint64_t kArm64Page = 2;  // bit 1: not a block
    const std::uint64_t entry = test::leaf_entry(GetParam(), at, {.exec = true, .user = false});
    put(slot, x86() ? entry | kX86Large : entry & ~kArm64Page);
  }
  /// Tables in frames kRoot + 1 to 3, down to level 1, for the first addresses of the upper half.
  void tables_to_code() {
    link(root_slot(0), kRoot + 1);
    link(frame(kRoot + 1).slot(0), kRoot + 2);
    link(frame(kRoot + 2).slot(0), kRoot + 3);
  }
  [[nodiscard]] Result<std::vector<TextRange>> search() {
    return kernel_text(test::format_for(GetParam()), reader, frame(kRoot), ram.layout());
  }
  void expect_refused(const char* says) {
    const auto text = search();
    ASSERT_FALSE(text.ok()) << text.value().size() << " ranges";
    EXPECT_EQ(text.error().code, ExitCode::GuestFailed);
    EXPECT_THAT(text.error().message, HasSubstr(std::string("the kernel's tables ") + says));
    EXPECT_LE(reader.tables, most_tables(ram.layout()) + 1);
  }

  CountingReader reader{memory};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, KernelText, testing::ValuesIn(arch::kAllArchs),
                         test::ArchName{});

TEST_P(KernelText, IsWhatTheKernelMayExecute) {
  tables_to_code();
  page(frame(kRoot + 3).slot(3), 103, true);
  page(frame(kRoot + 3).slot(4), 104, true);
  page(frame(kRoot + 3).slot(5), 105, false);
  page(frame(kRoot + 3).slot(6), 103, true);  // at a second address too
  const auto text = search();
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(text.value(),
            (std::vector<TextRange>{{Gva{first().value + 0x3000}, frame(103).gpa(), 0x2000},
                                    {Gva{first().value + 0x6000}, frame(103).gpa(), 0x1000}}));
  EXPECT_EQ(total_bytes(text.value()), 0x3000U);
}

TEST_P(KernelText, IsMemoryOnly) {
  tables_to_code();
  const arch::RamLayout layout = ram.layout();
  large(frame(kRoot + 2).slot(1), Gpa{layout.base.value + layout.bytes});
  large(frame(kRoot + 2).slot(2), Gpa{layout.base.value + layout.bytes - (2 << 20)});
  link(frame(kRoot + 2).slot(3), layout.bytes >> arch::kPageShift);
  const auto text = search();
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(text.value(),
            (std::vector<TextRange>{{Gva{first().value + (4 << 20)},
                                     Gpa{layout.base.value + layout.bytes - (2 << 20)}, 2 << 20}}));
}

TEST_P(KernelText, IsFoundBehindTablesThatManyEntriesShare) {
  // As KASAN's shadow: 512 x 512 x 512 pages of three tables and one frame, none to execute.
  link(root_slot(0), kRoot + 4);
  for (std::size_t i = 0; i < arch::kTableEntries; ++i) {
    link(frame(kRoot + 4).slot(i), kRoot + 5);
    link(frame(kRoot + 5).slot(i), kRoot + 6);
    page(frame(kRoot + 6).slot(i), 200, false);
  }
  link(root_slot(1), kRoot + 1);
  link(frame(kRoot + 1).slot(0), kRoot + 2);
  link(frame(kRoot + 2).slot(0), kRoot + 3);
  page(frame(kRoot + 3).slot(0), 103, true);
  const auto text = search();
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(total_bytes(text.value()), 0x1000U);
  EXPECT_EQ(reader.tables, 7U);
}

TEST_P(KernelText, IsRefusedWhereTheRootLinksItself) {
  for (std::size_t i = 0; i < arch::kTableEntries; ++i) link(frame(kRoot).slot(i), kRoot);
  expect_refused("link the one in frame");
  EXPECT_LE(reader.tables, 4U);
}

TEST_P(KernelText, IsRefusedBehindTooManyTables) {
  // 1 + 512 + 512 * 9 tables, with no code.
  std::uint64_t next = 2000;
  link(root_slot(0), kRoot + 1);
  for (std::size_t i = 0; i < arch::kTableEntries; ++i) {
    const std::uint64_t middle = next++;
    link(frame(kRoot + 1).slot(i), middle);
    for (std::size_t j = 0; j < 9; ++j) link(frame(middle).slot(j), next++);
  }
  ASSERT_LT(next, ram.layout().bytes >> arch::kPageShift);
  expect_refused("are more than 4352, with 64 MiB of memory");
}

TEST_P(KernelText, IsRefusedWhereItIsMoreThanMemory) {
  tables_to_code();
  for (std::size_t i = 1; i <= 32; ++i) large(frame(kRoot + 2).slot(i), ram.layout().base);
  EXPECT_TRUE(search().ok()) << "as much as memory";
  large(frame(kRoot + 2).slot(33), ram.layout().base);
  expect_refused("map more than 64 MiB as code, with 64 MiB of memory");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
