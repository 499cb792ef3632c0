#include "vmm/run/narrator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using report::CodeSource;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Gva kWriterPc{0x1000};
constexpr Frame kCodeFrame{0x450};

/// The tables of a fake guest, and one frame of code.
class CodeMemory final : public memory::Memory {
 public:
  explicit CodeMemory(const FakeGuest& guest) : guest_(guest) {}
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    return guest_.memory.read_entry(slot, value);
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    return guest_.memory.read_table(frame, copy);
  }
  [[nodiscard]] bool is_ram(Frame frame) const override { return frame == kCodeFrame; }
  [[nodiscard]] bool read(Gpa gpa, std::span<std::byte> out) const override {
    if (gpa.value != kCodeFrame.gpa().value) return false;
    std::fill(out.begin(), out.end(), std::byte{0});
    return true;
  }

 private:
  const FakeGuest& guest_;
};

class Narrator : public testing::TestWithParam<Arch> {
 protected:
  Narrator() {
    guest_.learn_vdso();
    root_ = guest_.new_process();
    guest_.map(root_, kWriterPc, kCodeFrame, {.exec = true});
  }
  report::Writer writer_of(run::Narrator& narrator, bool user_mode) {
    model::MappingChange change{};
    change.gva = FakeGuest::kVdsoPlace;
    change.level = 1;
    change.write.pc = kWriterPc.value;
    change.write.flags = user_mode ? event::kUserMode : 0;
    const report::EntryChange told = narrator.tell(guest_.format, guest_.identities, change, root_);
    const std::vector<report::Writer> writers = narrator.take_writers();
    EXPECT_THAT(writers, SizeIs(1));
    EXPECT_EQ(told.function, writers[0].function);
    EXPECT_EQ(told.instruction.empty(), writers[0].lines.empty());
    return writers[0];
  }

  FakeGuest guest_{GetParam()};
  CodeMemory memory_{guest_};
  Frame root_{};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Narrator, testing::ValuesIn(arch::kAllArchs), ArchName());

TEST_P(Narrator, ReadsTheCodeOfWhoWritesNow) {
  run::Narrator narrator(GetParam(), memory_, nullptr);
  for (const bool user_mode : {false, true}) {
    EXPECT_EQ(writer_of(narrator, user_mode).source, CodeSource::Memory);
  }
}

TEST_P(Narrator, AfterTheEndThereIsNoCodeOfUserMode) {
  run::Narrator narrator(GetParam(), memory_, nullptr);
  narrator.guest_ended();
  EXPECT_EQ(writer_of(narrator, false).source, CodeSource::MemoryAtTheEnd);
  const report::Writer writer = writer_of(narrator, true);
  EXPECT_EQ(writer.source, CodeSource::None);
  EXPECT_THAT(writer.lines, IsEmpty()) << "what is there now is another's";
  EXPECT_EQ(writer.function, "user mode at 0x1000");
}

}  // namespace
}  // namespace sealvisor::test
