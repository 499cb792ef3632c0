#include "vmm/run/writer_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/code_elf.h"

namespace sealvisor::run {
namespace {

using report::CodeSource;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kPc = 0xffffffff81000104;
constexpr std::uint64_t kStart = kPc - 4;
// push rbp; mov rbp, rsp; mov qword ptr [rbx], 0; ret
const std::vector<std::uint8_t> kCode = {0x55, 0x48, 0x89, 0xE5, 0x48, 0xC7,
                                         0x03, 0,    0,    0,    0,    0xC3};

TEST(WriterCode, IsReadFromTheStartOfItsFunction) {
  EXPECT_EQ(window_of(arch::Arch::X86_64, kPc, "unmap_page_range+0x4").first, kStart);
  EXPECT_EQ(window_of(arch::Arch::Arm64, kPc, "unmap_page_range+0x4").first, kStart);
  EXPECT_GT(window_of(arch::Arch::X86_64, kPc, "f+0x4").end, kPc + 15);
}

TEST(WriterCode, WhereTheStartIsNotKnownItIsReadFromTheWriter) {
  for (const char* none : {"0xffffffff81000104", "user mode at 0x4", "f+0x", "f+0xg", "f+4", "",
                           "f+0x12345678", "f+0xffffffffffffffffff"}) {
    EXPECT_EQ(window_of(arch::Arch::X86_64, kPc, none).first, kPc) << none;
    EXPECT_EQ(window_of(arch::Arch::Arm64, kPc, none).first, kPc - 32) << none;
  }
  EXPECT_EQ(window_of(arch::Arch::X86_64, 2, "f+0x4").first, 2U) << "no function begins before 0";
  EXPECT_EQ(window_of(arch::Arch::Arm64, 8, "").first, 0U);
}

TEST(WriterCode, TheWritersLineIsItsInstruction) {
  report::Writer writer;
  writer.pc = kPc;
  take_code(arch::Arch::X86_64, {kStart, kPc + 112}, kCode, CodeSource::Memory, writer);
  EXPECT_EQ(writer.source, CodeSource::Memory);
  ASSERT_THAT(writer.lines, SizeIs(4));
  EXPECT_EQ(writer.lines[2].address, kPc);
  EXPECT_EQ(writer.lines[2].bytes, "48 c7 03 00 00 00 00");
  EXPECT_EQ(instruction_of(writer), "mov qword ptr [rbx], 0");
}

TEST(WriterCode, OfNoCodeThereIsNoListing) {
  report::Writer writer;
  writer.pc = kPc;
  take_code(arch::Arch::X86_64, {kPc, kPc + 112}, {}, CodeSource::Memory, writer);
  EXPECT_EQ(writer.source, CodeSource::None);
  EXPECT_THAT(writer.lines, IsEmpty());
  EXPECT_EQ(instruction_of(writer), "");
}

/// A run with one writer whose code was not to be had, in a cell and in a timeline.
report::Run without_code(const std::string& function) {
  report::Run run;
  run.arch = arch::Arch::X86_64;
  report::Writer writer;
  writer.pc = kPc;
  writer.function = function;
  run.writers = {writer};
  report::EntryChange change;
  change.pc = kPc;
  report::Cell cell;
  cell.changes = {change};
  run.cells = {cell};
  report::Moment moment;
  moment.write = change;
  report::Process process;
  process.timeline = {moment, report::Moment{}};
  run.processes = {process};
  return run;
}

TEST(WriterCode, ThatCouldNotBeReadComesFromTheFileOfTheSymbols) {
  const app::Temporary folder;
  const auto file =
      folder.file("vmlinux", test::elf_with_code(kStart, std::string(kCode.begin(), kCode.end())));
  report::Run run = without_code("unmap_page_range+0x4");
  complete_from_file(run, file);
  EXPECT_EQ(run.writers[0].source, CodeSource::Vmlinux);
  EXPECT_THAT(run.writers[0].lines, SizeIs(4));
  EXPECT_EQ(run.cells[0].changes[0].instruction, "mov qword ptr [rbx], 0");
  EXPECT_EQ(run.processes[0].timeline[0].write->instruction, "mov qword ptr [rbx], 0");
}

TEST(WriterCode, TheFileDoesNotTakeThePlaceOfMemory) {
  const app::Temporary folder;
  const auto file = folder.file("vmlinux", test::elf_with_code(kStart, std::string(64, '\x90')));
  report::Run run = without_code("unmap_page_range+0x4");
  take_code(arch::Arch::X86_64, {kStart, kPc + 112}, kCode, CodeSource::Memory, run.writers[0]);
  complete_from_file(run, file);
  EXPECT_EQ(run.writers[0].source, CodeSource::Memory);
  EXPECT_EQ(instruction_of(run.writers[0]), "mov qword ptr [rbx], 0");
}

TEST(WriterCode, UserModeIsInNoFileOfTheKernel) {
  const app::Temporary folder;
  const auto file =
      folder.file("vmlinux", test::elf_with_code(kStart, std::string(kCode.begin(), kCode.end())));
  report::Run run = without_code("user mode at 0xffffffff81000104");
  complete_from_file(run, file);
  EXPECT_EQ(run.writers[0].source, CodeSource::None);
  run = without_code("unmap_page_range+0x4");
  complete_from_file(run, folder.path() / "none");
  EXPECT_EQ(run.writers[0].source, CodeSource::None);
}

}  // namespace
}  // namespace sealvisor::run
