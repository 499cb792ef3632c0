#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/table_scanner.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

/// What an event says of tables.
std::string text_of(const Event& event) {
  return fmt::format("{} level {} at {:#x}: {:#x} -> {:#x}{}", event::name_of(event.kind),
                     event.level, event.gpa, event.old_value, event.new_value,
                     (event.flags & event::kUpperHalf) != 0 ? ", upper" : "");
}

class Recorder final : public model::EventSink {
 public:
  void emit(const Event& event) override { events.push_back(event); }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    texts.reserve(events.size());
    for (const Event& event : events) texts.push_back(text_of(event));
    return texts;
  }
  [[nodiscard]] std::size_t count(Kind kind) const {
    std::size_t found = 0;
    for (const Event& event : events) found += event.kind == kind ? 1 : 0;
    return found;
  }
  std::vector<Event> events;
};

/// Memory that a kernel wrote, and what a scanner tells of it, one by one.
class TableScannerBounds : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override { scanner.set_format(guest.format); }
  [[nodiscard]] bool is_x86() const { return GetParam() == Arch::X86_64; }
  [[nodiscard]] std::uint64_t link_to(Frame table) const { return table_entry(GetParam(), table); }
  void scan(Frame root) { scanner.scan_user(root.gpa().value, {}); }
  /// The root of the upper half is that of the user half (x86-64), or kUpper.
  void scan_upper() { scanner.scan_upper(is_x86() ? 0 : kUpper.gpa().value, {}); }
  /// What is left of RAM to read: frames below `end`.
  void readable_below(Frame end) {
    guest.memory.ram.frames = end.number - guest.memory.ram.first.number;
  }

  static constexpr Frame kUpper{0x300};
  static constexpr Frame kHigh{0x4f0};
  static constexpr Frame kEnd{0x500};  ///< Of RAM.
  FakeGuest guest{GetParam()};
  Recorder recorder;
  model::TableScanner scanner{guest.memory, guest.memory.ram, recorder};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, TableScannerBounds, testing::ValuesIn(arch::kAllArchs),
                         ArchName{});

TEST_P(TableScannerBounds, TellsEachTableFromTheTopWithWhatItHolds) {
  const Frame root{0x180};
  guest.memory.tables[root][0] = link_to(Frame{0x181});
  guest.memory.tables[root][300] = 0xa00;
  guest.memory.tables[Frame{0x181}][511] = link_to(Frame{0x182});
  guest.memory.tables[Frame{0x182}][1] = link_to(Frame{0x183});
  guest.memory.tables[Frame{0x183}][400] = 0xb00;
  model::StoreSource source;
  source.pc = 0x77;
  source.icount = 5;
  source.root = 0x99;
  source.vcpu = 1;
  const std::uint64_t raw = root.gpa().value | 1;  // PCID 1, CnP
  scanner.scan_user(raw, source);
  EXPECT_EQ(recorder.texts(),
            (std::vector<std::string>{
                "root-load level 4 at 0x180000: 0x0 -> 0x0",
                "table-added level 4 at 0x180000: 0x0 -> 0x0",
                fmt::format("entry-found level 4 at 0x180000: 0x0 -> {:#x}", link_to(Frame{0x181})),
                std::string("entry-found level 4 at 0x180960: 0x0 -> 0xa00") +
                    (is_x86() ? ", upper" : ""),
                "table-added level 3 at 0x181000: 0x0 -> 0x0",
                fmt::format("entry-found level 3 at 0x181ff8: 0x0 -> {:#x}", link_to(Frame{0x182})),
                "table-added level 2 at 0x182000: 0x0 -> 0x0",
                fmt::format("entry-found level 2 at 0x182008: 0x0 -> {:#x}", link_to(Frame{0x183})),
                "table-added level 1 at 0x183000: 0x0 -> 0x0",
                "entry-found level 1 at 0x183c80: 0x0 -> 0xb00",
            }));
  for (const Event& event : recorder.events) {
    EXPECT_EQ(event.root, event.kind == Kind::RootLoad ? raw : 0x99U);
    EXPECT_EQ(event.pc, 0x77U);
    EXPECT_EQ(event.icount, 5U);
    EXPECT_EQ(event.vcpu, 1U);
  }

  recorder.events.clear();
  guest.memory.tables[Frame{0x183}][400] = 0;
  guest.memory.tables[Frame{0x182}][1] = 0;
  scanner.scan_user(raw, source);
  EXPECT_EQ(recorder.texts(),
            (std::vector<std::string>{
                fmt::format("slot-write level 2 at 0x182008: {:#x} -> 0x0", link_to(Frame{0x183})),
                "table-removed level 1 at 0x183000: 0x0 -> 0x0",
            }));
  EXPECT_EQ(recorder.events[0].size, 8U);
  EXPECT_EQ(recorder.events[0].part, 0U);
  EXPECT_EQ(recorder.events[0].parts, 1U);
  EXPECT_EQ(recorder.events[0].root, 0x99U);
}

TEST_P(TableScannerBounds, TellsTheUpperHalfAsSuch) {
  scan(Frame{0x180});
  const Frame upper = is_x86() ? Frame{0x180} : kUpper;
  if (is_x86()) scan_upper();
  guest.memory.tables[upper][300] = link_to(Frame{0x181});
  guest.memory.tables[Frame{0x181}][1] = 0xa00;
  recorder.events.clear();
  const std::uint64_t raw = is_x86() ? 0 : kUpper.gpa().value | 1;  // CnP
  scanner.scan_upper(raw, {});
  const std::string entry = fmt::format("{:#x}", link_to(Frame{0x181}));
  const std::vector<std::string> below = {
      "table-added level 3 at 0x181000: 0x0 -> 0x1",
      "entry-found level 3 at 0x181008: 0x0 -> 0xa00, upper",
  };
  std::vector<std::string> expected;
  if (is_x86()) {
    expected = {"slot-write level 4 at 0x180960: 0x0 -> " + entry + ", upper"};
  } else {
    expected = {"root-load level 4 at 0x300000: 0x0 -> 0x0, upper",
                "table-added level 4 at 0x300000: 0x0 -> 0x1",
                "entry-found level 4 at 0x300960: 0x0 -> " + entry + ", upper"};
    EXPECT_EQ(recorder.events[0].root, raw);
  }
  expected.insert(expected.end(), below.begin(), below.end());
  EXPECT_EQ(recorder.texts(), expected);
}

TEST_P(TableScannerBounds, ReadsEachTableOnceAScan) {
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  scan(root);
  EXPECT_EQ(scanner.tables_read(), 4U);
  scan(root);
  EXPECT_EQ(scanner.tables_read(), 8U);
  scan_upper();
  EXPECT_EQ(scanner.tables_read(), 9U);
  // The table of level 1 as one of level 2 too, with the page that it maps as its only table.
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const Gpa top = guest.slot_at(root, FakeGuest::kVvarPlace, 4);
  const Frame level3 =
      arch::frame_of(arch::decode(guest.format, guest.entry_at(top), 4, arch::Half::Lower).output);
  guest.secret_store(level3.slot(0), link_to(arch::frame_of(slot)));
  scan(root);
  EXPECT_EQ(scanner.tables(), is_x86() ? 6U : 7U);
  EXPECT_EQ(scanner.tables_read(), 9U + 4U + 1U);
  scan(root);
  EXPECT_EQ(scanner.tables_read(), 14U + 5U);
}

TEST_P(TableScannerBounds, ForgetsEverythingWithAnotherFormat) {
  const arch::AnyFormat other =
      is_x86() ? arch::AnyFormat(arch::x86_64::format_from(
                                     {.cr0 = 1ULL << 31, .cr3 = 0, .cr4 = 1ULL << 5, .efer = 0xC00})
                                     .value())
               : arch::AnyFormat(arch::arm64::format_from(
                                     {.tcr = 16 | (16ULL << 16) | (2ULL << 30) | 5ULL << 32,
                                      .ttbr0 = 0,
                                      .ttbr1 = 0,
                                      .sctlr = 1})
                                     .value());
  ASSERT_FALSE(other == guest.format);
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  guest.memory.tables[is_x86() ? root : kUpper][300] = link_to(guest.new_table());
  scan(root);
  scan_upper();
  const std::vector<std::string> told = recorder.texts();
  const std::size_t tables = is_x86() ? 5 : 6;
  EXPECT_EQ(scanner.tables(), tables);

  recorder.events.clear();
  scanner.set_format(guest.format);
  scan(root);
  scan_upper();
  EXPECT_TRUE(recorder.events.empty()) << "it is the same";

  scanner.set_format(other);
  EXPECT_TRUE(scanner.format() == other);
  EXPECT_EQ(recorder.count(Kind::TableRemoved), tables);
  EXPECT_EQ(recorder.events.size(), tables);
  EXPECT_EQ(scanner.tables(), 0U);
  recorder.events.clear();
  scan_upper();
  EXPECT_TRUE(recorder.events.empty()) << "no root is known";
  scan(root);
  scan_upper();
  EXPECT_EQ(recorder.texts(), told);
}

TEST_P(TableScannerBounds, TellsNothingOfARootOutsideRam) {
  const Frame root = guest.new_table();
  scan_upper();
  scan(kEnd);
  scan_upper();
  EXPECT_TRUE(recorder.events.empty());
  scan(root);
  recorder.events.clear();
  scan(kEnd);
  if (!is_x86()) scanner.scan_upper(kEnd.gpa().value, {});
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_EQ(scanner.tables(), 1U);
}

TEST_P(TableScannerBounds, TellsATableOnceItCanBeRead) {
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  guest.memory.tables[root][1] = link_to(kHigh);
  guest.memory.tables[kHigh][2] = 0xa00;
  readable_below(kHigh);
  scan(root);
  EXPECT_EQ(recorder.count(Kind::TableAdded), 4U);
  EXPECT_EQ(scanner.tables(), 4U);
  EXPECT_EQ(scanner.tables_read(), 4U);

  recorder.events.clear();
  readable_below(kEnd);
  scan(root);
  EXPECT_EQ(recorder.texts(), (std::vector<std::string>{
                                  "table-added level 3 at 0x4f0000: 0x0 -> 0x0",
                                  "entry-found level 3 at 0x4f0010: 0x0 -> 0xa00",
                              }));

  // It stays as it was told until it can be read again.
  recorder.events.clear();
  guest.memory.tables[kHigh][2] = 0xb00;
  readable_below(kHigh);
  scan(root);
  EXPECT_TRUE(recorder.events.empty());
  readable_below(kEnd);
  scan(root);
  EXPECT_EQ(recorder.texts(),
            (std::vector<std::string>{"slot-write level 3 at 0x4f0010: 0xa00 -> 0xb00"}));
}

TEST_P(TableScannerBounds, ARootThatCantBeReadLinksNothing) {
  const Frame root = guest.new_table();
  guest.memory.tables[kHigh][0] = link_to(guest.new_table());
  guest.memory.tables[kHigh][300] = link_to(guest.new_table());
  readable_below(kHigh);
  scan(kHigh);
  EXPECT_EQ(recorder.texts(),
            (std::vector<std::string>{"root-load level 4 at 0x4f0000: 0x0 -> 0x0"}));
  recorder.events.clear();
  readable_below(kEnd);
  if (is_x86()) scan_upper();
  EXPECT_TRUE(recorder.events.empty()) << "the user half, which was not seen, comes first";
  scan(root);
  EXPECT_EQ(scanner.tables(), 1U);
  scan(kHigh);
  EXPECT_EQ(recorder.count(Kind::TableRemoved), 0U);
  EXPECT_EQ(scanner.tables(), is_x86() ? 3U : 4U);
}

TEST_P(TableScannerBounds, FollowsNoMoreTablesThanItsBound) {
  guest.memory.ram.frames = 0x4000;
  model::TableScanner many(guest.memory, guest.memory.ram, recorder);
  many.set_format(guest.format);
  const Frame root{0x180};
  guest.memory.tables[root][0] = link_to(Frame{0x181});
  for (std::size_t i = 0; i < 17; ++i) {
    const Frame level2{0x200 + i};
    guest.memory.tables[Frame{0x181}][i] = link_to(level2);
    for (std::size_t j = 0; j < 512; ++j) {
      guest.memory.tables[level2][j] = link_to(Frame{0x1000 + i * 512 + j});
    }
  }
  many.scan_user(root.gpa().value, {});
  EXPECT_EQ(many.tables(), model::TableScanner::kMaxTables);
  ASSERT_EQ(recorder.count(Kind::Limit), 1U);
  for (const Event& event : recorder.events) {
    if (event.kind != Kind::Limit) continue;
    // The root, the table below it, and 15 of level 2 with all of theirs come before this one's.
    constexpr std::size_t kBefore = 15;
    constexpr std::size_t kLeft = model::TableScanner::kMaxTables - 2 - kBefore * 513 - 1;
    EXPECT_EQ(event.gpa, Frame{0x1000 + kBefore * 512 + kLeft}.gpa().value);
    EXPECT_EQ(event.level, 1U);
    EXPECT_EQ(event.aux, static_cast<std::uint64_t>(event::Limit::TableFrames));
  }
  many.scan_user(root.gpa().value, {});
  EXPECT_EQ(recorder.count(Kind::Limit), 1U) << "it is told once";
  // What is free again is used again.
  for (std::size_t i = 0; i < 16; ++i) guest.memory.tables[Frame{0x181}][i] = 0;
  many.scan_user(root.gpa().value, {});
  many.scan_user(root.gpa().value, {});
  EXPECT_EQ(many.tables(), 2U + 513U);
  EXPECT_EQ(many.most_tables(), model::TableScanner::kMaxTables);
}

TEST(TableScannerBoundsX86, TablesThatAllLinkEachOtherCountOnceALevelOfFive) {
  // With CR4.LA57: 512^4 ways to a leaf, which are not walked one by one.
  const auto format = arch::x86_64::format_from(
      {.cr0 = 1ULL << 31, .cr3 = 0, .cr4 = 1ULL << 5 | 1ULL << 12, .efer = 0xC00});
  FakeMemory memory;
  Recorder recorder;
  model::TableScanner scanner(memory, memory.ram, recorder);
  scanner.set_format(format.value());
  const Frame root{0x180};
  for (std::size_t i = 0; i < 256; ++i) {
    memory.tables[root][i] = table_entry(Arch::X86_64, Frame{0x200 + i});
    for (std::size_t j = 0; j < 512; ++j) {
      memory.tables[Frame{0x200 + i}][j] = table_entry(Arch::X86_64, Frame{0x200 + j % 256});
    }
  }
  scanner.scan_user(root.gpa().value, {});
  EXPECT_EQ(scanner.tables(), 1U + 4 * 256U);
}

}  // namespace
}  // namespace sealvisor::test
