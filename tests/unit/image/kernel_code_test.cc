#include "vmm/image/kernel_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/code_elf.h"

namespace sealvisor::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kTextStart = 0xffffffff81000000;

TEST(KernelCode, IsReadByItsAddress) {
  const app::Temporary folder;
  const auto file = folder.file("vmlinux", test::elf_with_code(kTextStart, "\x01\x02\x03\x04"));
  EXPECT_THAT(read_kernel_code(file, kTextStart, 2), ElementsAre(1, 2));
  EXPECT_THAT(read_kernel_code(file, kTextStart + 2, 100), ElementsAre(3, 4))
      << "no more than there is";
  EXPECT_THAT(read_kernel_code(file, kTextStart + 4, 1), IsEmpty());
  EXPECT_THAT(read_kernel_code(file, kTextStart - 1, 4), IsEmpty());
}

TEST(KernelCode, OfNoKernelThereIsNone) {
  const app::Temporary folder;
  std::string elf = test::elf_with_code(kTextStart, "\x01\x02\x03\x04");
  EXPECT_THAT(read_kernel_code(folder.path() / "none", kTextStart, 4), IsEmpty());
  EXPECT_THAT(read_kernel_code("", kTextStart, 4), IsEmpty());
  EXPECT_THAT(read_kernel_code(folder.path(), kTextStart, 4), IsEmpty());
  EXPECT_THAT(read_kernel_code(folder.file("text", "text"), kTextStart, 4), IsEmpty());
  EXPECT_THAT(read_kernel_code(folder.file("short", elf.substr(0, 66)), kTextStart, 4), IsEmpty());
  // A section that says it is larger than the file.
  Elf64_Shdr section{};
  const std::size_t at = elf.size() - sizeof section;
  std::memcpy(&section, elf.data() + at, sizeof section);
  section.sh_offset = elf.size() - 1;
  section.sh_size = UINT64_MAX - kTextStart;
  std::memcpy(elf.data() + at, &section, sizeof section);
  EXPECT_LE(read_kernel_code(folder.file("large", elf), kTextStart, 4).size(), 1U);
}

}  // namespace
}  // namespace sealvisor::image
