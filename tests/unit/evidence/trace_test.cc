// What goes into a trace comes out of it; what does not come out of one is refused.
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "vmm/evidence/memory_view.h"
#include "vmm/evidence/trace_reader.h"
#include "vmm/evidence/trace_writer.h"

namespace sealvisor::test {
namespace {

using arch::Frame;
using arch::Gpa;
using event::Event;
using event::Kind;
using evidence::Step;
using testing::HasSubstr;

const evidence::Digest kTraceSeed = evidence::digest_of("a run");

Event event_of(Kind kind, std::uint64_t icount, std::uint64_t gpa, std::uint64_t old_value = 0,
               std::uint64_t new_value = 0) {
  Event event{};
  event.kind = kind;
  event.level = 1;
  event.size = 8;
  event.parts = 1;
  event.icount = icount;
  event.pc = 0xffffffff81000000 + icount % 7;
  event.root = 0x1000;
  event.gpa = gpa;
  event.old_value = old_value;
  event.new_value = new_value;
  return event;
}

/// Guest memory that a test writes to.
class TestRam final : public memory::Memory {
 public:
  static constexpr memory::RamBounds kBounds{Gpa{0}, 64U << 12};
  bool is_ram(Frame frame) const override { return kBounds.holds(frame); }
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    if (slot.value % 8 != 0 || !kBounds.holds(slot, 8)) return false;
    std::memcpy(&value, bytes.data() + slot.value, sizeof value);
    return true;
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    if (!is_ram(frame)) return false;
    std::memcpy(copy.data(), bytes.data() + frame.gpa().value, sizeof copy);
    return true;
  }
  bool read(Gpa gpa, std::span<std::byte> out) const override {
    if (!kBounds.holds(gpa, out.size())) return false;
    std::memcpy(out.data(), bytes.data() + gpa.value, out.size());
    return true;
  }
  std::vector<std::byte> bytes = std::vector<std::byte>(kBounds.bytes);
};

class Trace : public testing::Test {
 protected:
  Trace() {
    auto made = evidence::TraceWriter::create(path(), kTraceSeed);
    EXPECT_TRUE(made.ok());
    writer_.emplace(std::move(made).value());
    memory_.emplace(ram_, &*writer_);
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "trace"; }
  void add(const Event& event) { writer_->append(std::span(&event, 1)); }
  void close() {
    auto summary = writer_->close("{}");
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    summary_ = summary.value();
    auto opened = evidence::FileSource::open(path(), kTraceSeed);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    source_.emplace(std::move(opened).value());
    reader_.emplace(*source_);
    view_.emplace(reader_->shadow(), TestRam::kBounds);
  }
  Step next() {
    auto step = reader_->next();
    EXPECT_TRUE(step.ok()) << step.error().message;
    return step ? std::move(step).value() : Step{};
  }

  app::Temporary folder_;
  TestRam ram_;
  std::optional<evidence::TraceWriter> writer_;
  std::optional<evidence::RecordingMemory> memory_;
  evidence::TraceSummary summary_;
  std::optional<evidence::FileSource> source_;
  std::optional<evidence::TraceReader> reader_;
  std::optional<evidence::RecordedMemory> view_;
};

TEST_F(Trace, EventsComeBackBitForBit) {
  std::mt19937_64 random(7);
  std::vector<Event> events;
  for (int i = 0; i < 20'000; ++i) {
    Event event = event_of(Kind::SlotWrite, random(), random() % 64 * 8, random(), random());
    // All sorts, in all fields.
    event.kind = static_cast<Kind>(1 + random() % 15);
    event.level = static_cast<std::uint8_t>(1 + random() % 5);
    event.offset = static_cast<std::uint8_t>(random());
    event.vcpu = static_cast<std::uint8_t>(random() % 2);
    event.flags = static_cast<std::uint8_t>(random() % 4);
    event.aux = event.kind == Kind::Limit ? 1 : random();
    event.root = random() % 3;
    if (event.kind == Kind::TableCopy) event.kind = Kind::Sync;
    events.push_back(event);
  }
  writer_->append(events);
  close();
  EXPECT_EQ(summary_.events, events.size());
  for (const Event& event : events) {
    const Step step = next();
    ASSERT_EQ(step.kind, Step::Kind::Event);
    ASSERT_EQ(std::memcmp(&step.event, &event, sizeof event), 0);
  }
  EXPECT_EQ(next().kind, Step::Kind::Ended);
}

TEST_F(Trace, MoreNumbersThanAListHoldsComeBackToo) {
  std::vector<Event> events;
  for (std::uint64_t i = 0; i < evidence::kMostListed + 100; ++i) {
    Event event = event_of(Kind::UserEntry, i, 0);
    event.pc = 0x400000 + i * 4;
    event.root = i << 12;
    events.push_back(event);
  }
  events.push_back(events.front());
  writer_->append(events);
  close();
  for (const Event& event : events) ASSERT_EQ(next().event.pc, event.pc);
}

TEST_F(Trace, MemoryIsAsItWasWhenItWasRead) {
  add(event_of(Kind::TableAdded, 1, 0x3000));
  // The guest stores what it tells of, and the walker sets a bit that nobody tells of.
  ram_.bytes[0x3008] = std::byte{0x25};
  add(event_of(Kind::SlotWrite, 2, 0x3008, 0, 0x05));
  add(event_of(Kind::Doorbell, 3, 0));
  writer_->stopped();
  arch::Table table{};
  ASSERT_TRUE(memory_->read_table(Frame{3}, table));
  EXPECT_EQ(table[1], 0x25U);
  std::array<std::byte, 20> text{};
  std::memcpy(ram_.bytes.data() + 0x4ffc, "across a frame's end", text.size());
  ASSERT_TRUE(memory_->read(Gpa{0x4ffc}, text));
  std::uint64_t word = 0;
  EXPECT_FALSE(memory_->read_entry(Gpa{TestRam::kBounds.bytes}, word)) << "no RAM";
  writer_->reads_done();
  // The same place, later.
  ram_.bytes[0x3008] = std::byte{0x65};
  add(event_of(Kind::RunEnd, 4, 0));
  writer_->stopped();
  ASSERT_TRUE(memory_->read_entry(Gpa{0x3008}, word));
  writer_->reads_done();
  close();

  EXPECT_EQ(next().event.kind, Kind::TableAdded);
  EXPECT_EQ(next().event.kind, Kind::SlotWrite);
  EXPECT_EQ(next().event.kind, Kind::Doorbell);
  const Step stop = next();
  ASSERT_EQ(stop.kind, Step::Kind::Stopped);
  arch::Table again{};
  ASSERT_TRUE(view_->read_table(Frame{3}, again));
  EXPECT_EQ(again, table);
  std::array<std::byte, 20> text_again{};
  ASSERT_TRUE(view_->read(Gpa{0x4ffc}, text_again));
  EXPECT_EQ(text_again, text);
  EXPECT_FALSE(view_->read_entry(Gpa{TestRam::kBounds.bytes}, word));
  EXPECT_EQ(view_->missing(), std::nullopt) << "no RAM is no gap";
  EXPECT_EQ(view_->take_reads(), stop.reads);
  EXPECT_EQ(next().event.kind, Kind::RunEnd);
  const Step end = next();
  ASSERT_TRUE(view_->read_entry(Gpa{0x3008}, word));
  EXPECT_EQ(word, 0x65U);
  EXPECT_EQ(view_->take_reads(), end.reads);
  EXPECT_EQ(next().kind, Step::Kind::Ended);
}

TEST_F(Trace, AReadThatLeavesRamIsRefusedAsAWhole) {
  add(event_of(Kind::Doorbell, 1, 0));
  writer_->stopped();
  std::array<std::byte, 20> text{};
  const Gpa last{TestRam::kBounds.bytes - 8};
  EXPECT_FALSE(memory_->read(last, text));
  writer_->reads_done();
  close();
  static_cast<void>(next());
  const Step stop = next();
  EXPECT_FALSE(view_->read(last, text));
  EXPECT_EQ(view_->missing(), std::nullopt) << "no RAM is no gap";
  EXPECT_EQ(view_->take_reads(), stop.reads);
}

TEST_F(Trace, MemoryIsReadWhileTheGuestRunsToo) {
  // A copy of a page of code is looked at when user mode is about to see it; the guest goes on.
  add(event_of(Kind::UserEntry, 1, 0));
  ram_.bytes[0x6010] = std::byte{7};
  std::array<std::byte, 64> page{};
  ASSERT_TRUE(memory_->read(Gpa{0x6000}, page));
  add(event_of(Kind::UserEntry, 2, 0));
  ram_.bytes[0x6010] = std::byte{8};
  ASSERT_TRUE(memory_->read(Gpa{0x6000}, page));
  add(event_of(Kind::RunEnd, 3, 0));
  writer_->stopped();
  writer_->reads_done();
  close();
  for (const unsigned expected : {7U, 8U}) {
    EXPECT_EQ(next().event.kind, Kind::UserEntry);
    ASSERT_TRUE(view_->read(Gpa{0x6000}, page));
    EXPECT_EQ(std::to_integer<unsigned>(page[0x10]), expected);
  }
  EXPECT_EQ(next().event.kind, Kind::RunEnd);
  const Step stop = next();
  ASSERT_EQ(stop.kind, Step::Kind::Stopped);
  EXPECT_EQ(view_->take_reads(), stop.reads);
}

TEST_F(Trace, WhatTheNextEventStoresIsNotYetThere) {
  add(event_of(Kind::UserEntry, 1, 0));
  ram_.bytes[0x6010] = std::byte{7};
  std::array<std::byte, 64> page{};
  ASSERT_TRUE(memory_->read(Gpa{0x6000}, page));
  ram_.bytes[0x6010] = std::byte{9};
  add(event_of(Kind::ContentWrite, 2, 0x6010, 7, 9));
  // A table that goes with the next event is still there for the one before it.
  add(event_of(Kind::TableAdded, 3, 0x7000));
  add(event_of(Kind::TableRemoved, 4, 0x7000));
  add(event_of(Kind::RunEnd, 5, 0));
  writer_->stopped();
  writer_->reads_done();
  close();
  const auto word = [&] {
    EXPECT_TRUE(view_->read(Gpa{0x6000}, page));
    return std::to_integer<unsigned>(page[0x10]);
  };
  EXPECT_EQ(next().event.kind, Kind::UserEntry);
  EXPECT_EQ(word(), 7U) << "as it was when it was read";
  EXPECT_EQ(next().event.kind, Kind::ContentWrite);
  EXPECT_EQ(word(), 9U);
  arch::Table table{};
  EXPECT_EQ(next().event.kind, Kind::TableAdded);
  EXPECT_TRUE(view_->read_table(Frame{7}, table));
  EXPECT_EQ(next().event.kind, Kind::TableRemoved);
  EXPECT_FALSE(view_->read_table(Frame{7}, table));
}

TEST_F(Trace, WhatNobodyReadIsMissing) {
  add(event_of(Kind::Doorbell, 1, 0));
  writer_->stopped();
  std::uint64_t word = 0;
  ASSERT_TRUE(memory_->read_entry(Gpa{0x1000}, word));
  writer_->reads_done();
  close();
  static_cast<void>(next());
  const Step stop = next();
  arch::Table table{};
  EXPECT_TRUE(view_->read_entry(Gpa{0x1000}, word));
  EXPECT_EQ(view_->missing(), std::nullopt);
  EXPECT_FALSE(view_->read_table(Frame{1}, table)) << "one word of it is known";
  EXPECT_EQ(view_->missing(), Gpa{0x1000});
  EXPECT_FALSE(view_->read_entry(Gpa{0x2000}, word));
  EXPECT_NE(view_->take_reads(), stop.reads);
}

TEST_F(Trace, ATableThatIsAsItWasToldCostsNothing) {
  const auto bytes_of = [&](int reads) {
    auto made = evidence::TraceWriter::create(folder_.path() / "other", kTraceSeed);
    EXPECT_TRUE(made.ok());
    evidence::TraceWriter& writer = made.value();
    const evidence::RecordingMemory memory(ram_, &writer);
    const Event added = event_of(Kind::TableAdded, 1, 0x3000);
    writer.append(std::span(&added, 1));
    arch::Table table{};
    for (int i = 0; i < reads; ++i) EXPECT_TRUE(memory.read_table(Frame{3}, table));
    return writer.close("{}").value().seal.bytes;
  };
  EXPECT_LE(bytes_of(1000), bytes_of(1) + 4);
}

TEST_F(Trace, ACopyOfATableComesBack) {
  arch::Table table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = i * i;
  writer_->append_copy(event_of(Kind::TableCopy, 1, 0x5000), table);
  table[7] = 1;
  writer_->append_copy(event_of(Kind::TableCopy, 2, 0x5000), table);
  close();
  EXPECT_EQ(summary_.events, 2U);
  Step step = next();
  ASSERT_EQ(step.kind, Step::Kind::Copy);
  EXPECT_EQ((*step.table)[7], 49U);
  step = next();
  EXPECT_EQ((*step.table)[7], 1U);
  EXPECT_EQ((*step.table)[8], 64U);
}

TEST_F(Trace, MemoryThatIsReadBehindTheLastStopBelongsToTheEnd) {
  add(event_of(Kind::RunEnd, 1, 0));
  writer_->stopped();
  writer_->reads_done();
  std::uint64_t word = 0;
  ASSERT_TRUE(memory_->read_entry(Gpa{0x1000}, word));
  close();
  static_cast<void>(next());
  EXPECT_EQ(next().reads.count, 0U);
  const Step end = next();
  EXPECT_EQ(end.kind, Step::Kind::Ended);
  EXPECT_EQ(end.reads.count, 1U);
  EXPECT_EQ(end.ended, "{}");
  EXPECT_TRUE(view_->read_entry(Gpa{0x1000}, word));
}

/// Records without a file.
class Records final : public evidence::RecordSource {
 public:
  Result<std::span<const std::byte>> next() override {
    if (given_) return std::span<const std::byte>();
    given_ = true;
    return std::span<const std::byte>(bytes);
  }
  [[nodiscard]] std::string place() const override { return "here"; }
  std::vector<std::byte> bytes;

 private:
  bool given_ = false;
};

/// What is wrong with records; empty: nothing.
std::string problem(const std::vector<std::byte>& bytes) {
  Records records;
  records.bytes = bytes;
  evidence::TraceReader reader(records);
  for (;;) {
    const auto step = reader.next();
    if (!step) return step.error().message;
    if (step.value().kind == Step::Kind::Ended) return "";
  }
}

std::vector<std::byte> some_records() {
  std::vector<std::byte> bytes;
  evidence::TraceEncoder encoder;
  EXPECT_TRUE(encoder.event(event_of(Kind::TableAdded, 1, 0x3000), bytes));
  EXPECT_TRUE(encoder.event(event_of(Kind::Doorbell, 2, 0), bytes));
  encoder.stopped(bytes);
  const std::uint64_t words[] = {1, 2, 3};
  EXPECT_TRUE(encoder.words(Gpa{0x3010}, words, bytes));
  EXPECT_TRUE(encoder.words(Gpa{0x4010}, words, bytes));
  encoder.reads({3, 4}, bytes);
  encoder.reads({0, 0}, bytes);
  encoder.ended("{\"end\":1}", bytes);
  return bytes;
}

TEST(TraceRecords, AreReadToTheEndAndNoFurther) {
  std::vector<std::byte> bytes = some_records();
  EXPECT_EQ(problem(bytes), "");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(problem(std::vector(bytes.begin(), bytes.begin() + static_cast<long>(size))), "")
        << size;
  }
  bytes.push_back(std::byte{1});
  EXPECT_THAT(problem(bytes), HasSubstr("records behind the last one"));
}

TEST(TraceRecords, OfKindsThatThereAreNotAreRefused) {
  EXPECT_THAT(problem({std::byte{9}}), HasSubstr("a record of kind 9"));
  EXPECT_THAT(problem({std::byte{16}}), HasSubstr("no shape 0"));
}

TEST(TraceRecords, MemoryStaysWithinItsFrame) {
  for (const auto& [gpa, count] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0x3ff8, 2}, {0x3000, 0}, {0x3000, 513}, {0x3000, UINT64_MAX}}) {
    std::vector<std::byte> bytes;
    evidence::WireWriter out(bytes);
    out.number(static_cast<std::uint64_t>(evidence::RecordKind::Read));
    out.number(evidence::folded(gpa >> 3));
    out.number(count);
    for (int i = 0; i < 600; ++i) out.word(1);
    EXPECT_THAT(problem(bytes), HasSubstr("words of memory at")) << count;
  }
}

TEST(TraceRecords, MoreFramesThanATraceMayHoldAreRefusedOnBothSides) {
  std::vector<std::byte> bytes;
  {
    evidence::TraceEncoder encoder;
    bool good = true;
    for (std::uint64_t i = 0; good && i <= evidence::Shadow::kMostFrames; ++i) {
      good = encoder.event(event_of(Kind::TableAdded, i, i << 12), bytes);
    }
    EXPECT_FALSE(good);
  }
  EXPECT_THAT(problem(bytes), HasSubstr("more than 65536 frames"));
}

TEST(TraceRecords, FramesThatAreNoLongerTablesMakeRoom) {
  std::vector<std::byte> bytes;
  evidence::TraceEncoder encoder;
  for (std::uint64_t i = 0; i <= evidence::Shadow::kMostFrames; ++i) {
    ASSERT_TRUE(encoder.event(event_of(Kind::TableAdded, i, i << 12), bytes));
    ASSERT_TRUE(encoder.event(event_of(Kind::TableRemoved, i, i << 12), bytes));
  }
}

TEST(TraceRecords, MoreTablesThanASessionMayHoldAreRefused) {
  // Removed once of twice: the trace's own memory forgets it, and a session does not.
  std::vector<std::byte> bytes;
  evidence::TraceEncoder encoder;
  for (std::uint64_t i = 0; i <= evidence::kMostTables; ++i) {
    ASSERT_TRUE(encoder.event(event_of(Kind::TableAdded, i, i << 12), bytes));
    ASSERT_TRUE(encoder.event(event_of(Kind::TableAdded, i, i << 12), bytes));
    ASSERT_TRUE(encoder.event(event_of(Kind::TableRemoved, i, i << 12), bytes));
  }
  EXPECT_THAT(problem(bytes), HasSubstr("more than 65536 tables at once"));
}

/// As many copies of tables, a Sync behind each `between`.
std::vector<std::byte> copies(std::size_t count, std::size_t between) {
  std::vector<std::byte> bytes;
  evidence::TraceEncoder encoder;
  EXPECT_TRUE(encoder.event(event_of(Kind::TableAdded, 0, 0x3000), bytes));
  for (std::size_t i = 1; i <= count; ++i) {
    EXPECT_TRUE(encoder.event(event_of(Kind::TableCopy, i, 0x3000), bytes));
    if (i % between != 0) continue;
    EXPECT_TRUE(encoder.event(event_of(Kind::Sync, i, 0), bytes));
  }
  encoder.reads({}, bytes);
  encoder.ended("{}", bytes);
  return bytes;
}

TEST(TraceRecords, MoreCopiesThanASessionMayHoldAreRefused) {
  EXPECT_EQ(problem(copies(2 * evidence::kMostCopies, evidence::kMostCopies)), "");
  EXPECT_THAT(problem(copies(evidence::kMostCopies + 1, evidence::kMostCopies + 1)),
              HasSubstr("more than 16384 copies of tables at once"));
}

TEST(TraceRecords, ACopyOfWhatIsNoRamIsRefused) {
  Records records;
  records.bytes = copies(1, 1);
  evidence::TraceReader reader(records);
  reader.bound_to({Gpa{0x4000}, 0x1000});
  EXPECT_TRUE(reader.next().ok());
  const auto copy = reader.next();
  ASSERT_FALSE(copy.ok());
  EXPECT_THAT(copy.error().message, HasSubstr("a table at 0x3000, which is no RAM"));
}

TEST(TraceRecords, EventsThatNoEngineHasAreRefused) {
  const auto of = [](Kind kind, std::uint8_t level, std::uint64_t aux) {
    Event event = event_of(kind, 1, 0x3000);
    event.level = level;
    event.aux = aux;
    std::vector<std::byte> bytes;
    evidence::TraceEncoder encoder;
    EXPECT_TRUE(encoder.event(event, bytes));
    return problem(bytes);
  };
  const auto refused = HasSubstr("which no engine has");
  EXPECT_THAT(of(Kind::SlotWrite, 0, 0), refused);
  EXPECT_THAT(of(Kind::SlotWrite, 6, 0), refused);
  EXPECT_THAT(of(Kind::RootLoad, 200, 0), refused);
  EXPECT_THAT(of(Kind::Limit, 0, 99), refused);
  EXPECT_THAT(of(Kind::StackCopy, 0, 0), refused);
  EXPECT_THAT(of(Kind::Limit, 0, 1), testing::Not(refused));
}

TEST(TraceRecords, OutOfOrderAreRefused) {
  const auto of =
      [](const std::function<void(evidence::TraceEncoder&, std::vector<std::byte>&)>& write) {
        std::vector<std::byte> bytes;
        evidence::TraceEncoder encoder;
        write(encoder, bytes);
        return problem(bytes);
      };
  EXPECT_THAT(of([](auto& encoder, auto& bytes) { encoder.stopped(bytes); }),
              HasSubstr("stood still behind an event at which it does not"));
  EXPECT_THAT(of([](auto& encoder, auto& bytes) {
                EXPECT_TRUE(encoder.event(event_of(Kind::Doorbell, 1, 0), bytes));
                encoder.stopped(bytes);
                encoder.stopped(bytes);
              }),
              HasSubstr("a stop without what was read in it"));
  EXPECT_THAT(of([](auto& encoder, auto& bytes) { encoder.ended("{}", bytes); }),
              HasSubstr("an end without what was read before it"));
  EXPECT_THAT(of([](auto& encoder, auto& bytes) {
                EXPECT_TRUE(encoder.event(event_of(Kind::TableCopy, 1, 0x3000), bytes));
                encoder.reads({}, bytes);
              }),
              HasSubstr("a table was copied that is not there"));
  EXPECT_THAT(of([](auto& encoder, auto& bytes) {
                encoder.reads({}, bytes);
                encoder.reads({}, bytes);
              }),
              HasSubstr("neither a stop before it nor the end behind it"));
}

TEST(TraceOfNoRoom, AFullDiskIsNamed) {
  auto writer = evidence::TraceWriter::create("/dev/full", kTraceSeed);
  ASSERT_TRUE(writer.ok());
  const Event event = event_of(Kind::RunEnd, 1, 0);
  writer.value().append(std::span(&event, 1));
  const auto summary = writer.value().close("{}");
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(summary.error().message, HasSubstr("No space left on device"));
}

/// Which vCPU it was on is a part of an event's shape, which is written once.
TEST(TraceCodec, ASecondVcpuCostsAFewBytesInAll) {
  const auto bytes = [](bool two) {
    evidence::TraceEncoder encoder;
    std::vector<std::byte> to;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
      Event event = event_of(Kind::SlotWrite, i * 50, i % 64 * 8, i < 64 ? 0 : i - 64, i);
      event.vcpu = two && i / 100 % 2 != 0 ? 1 : 0;
      EXPECT_TRUE(encoder.event(event, to));
    }
    return to.size();
  };
  EXPECT_LE(bytes(true), bytes(false) + 9) << "one more shape, of 9 bytes where it first comes";
}

TEST(TraceCodec, RefusesAVcpuThatNoGuestHas) {
  Event event = event_of(Kind::UserEntry, 1, 0);
  event.vcpu = event::kMostVcpus;
  evidence::TraceEncoder encoder;
  std::vector<std::byte> bytes;
  ASSERT_TRUE(encoder.event(event, bytes));
  evidence::WireReader reader(bytes);
  const auto record = evidence::TraceDecoder().next(reader);
  ASSERT_FALSE(record.ok());
  EXPECT_THAT(record.error().message, HasSubstr("which no engine has"));
}

}  // namespace
}  // namespace sealvisor::test
