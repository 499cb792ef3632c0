// Kernels in each form that one may come in: what is packed is unpacked, and boots.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "tests/unit/image/compressed.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

using arch::Arch;
using image::Compression;

/// A form, made of the recipe's image as Linux's build makes it.
struct Form {
  const char* name;
  std::function<std::string(const std::string&)> make;
  const char* packing;
};

/// drivers/firmware/efi/libstub/zboot-header.S.
std::string zboot(const std::string& plain) {
  std::string bytes(4096, '\0');
  const std::string packed = compressed(Compression::Zstd, plain);
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (int i = 0; i < 4; ++i)
      bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> 8 * i & 0xff);
  };
  std::string_view("MZ\0\0zimg", 8).copy(bytes.data(), 8);
  put(8, 4096);
  put(12, static_cast<std::uint32_t>(packed.size()));
  std::string_view("zstd22").copy(bytes.data() + 24, 6);
  put(0x38, 0x818223cd);
  return bytes + packed + size_behind(plain);
}

const Form kForms[] = {
    {"Gzip", [](const std::string& plain) { return compressed(Compression::Gzip, plain); }, "gzip"},
    {"Xz", [](const std::string& plain) { return compressed(Compression::Xz, plain); }, "xz"},
    {"Zstd", [](const std::string& plain) { return compressed(Compression::Zstd, plain); }, "zstd"},
    {"Lz4", [](const std::string& plain) { return lz4_legacy(plain, 8U << 20); }, "lz4"},
    {"EfiZboot", zboot, "EFI zboot, zstd"},
};

class Images : public testing::TestWithParam<std::tuple<Arch, Form>> {};
INSTANTIATE_TEST_SUITE_P(
    Forms, Images, testing::Combine(testing::ValuesIn(arch::kAllArchs), testing::ValuesIn(kForms)),
    [](const testing::TestParamInfo<std::tuple<Arch, Form>>& one) {
      return std::string(arch::name_of(std::get<0>(one.param))) + "_" + std::get<1>(one.param).name;
    });

TEST_P(Images, PackedImagesBoot) {
  const auto& [arch, form] = GetParam();
  const Folder folder;
  run::RunRequest request = request_for(arch, "lts-sealed", {"munmap/whole"});
  ASSERT_FALSE(request.kernel_image.empty());
  const std::string plain = whole_file(request.kernel_image);
  request.kernel_image = folder.path() / "kernel";
  std::ofstream(request.kernel_image, std::ios::binary) << form.make(plain);
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  EXPECT_EQ(run.kernel_packing, form.packing);
  EXPECT_EQ(run.kernel_path, request.kernel_image.string());
  const report::Cell* cell = find_cell(run, "[vdso]", "munmap", "whole");
  ASSERT_NE(cell, nullptr);
  EXPECT_EQ(cell->verdict, report::Verdict::Held);
}

/// The program itself takes the vmlinux out of a bzImage, and its symbols with it where it has any.
TEST(ImagesOfX86, ABzImageIsStartedFromItsVmlinux) {
  const run::RunRequest request = request_for(Arch::X86_64, "lts-sealed", {"munmap/whole"});
  ASSERT_FALSE(request.kernel_image.empty());
  const std::string bzimage = (request.kernel_image.parent_path() / "image").string();
  const std::vector<std::string> words = {program_path(), "verify",     "--kernel",
                                          bzimage,        "--scenario", "munmap/whole"};
  Child inner(words);
  EXPECT_EQ(inner.finish(), 0) << inner.text();
  EXPECT_NE(inner.output().find("unpacked  bzImage, lz4"), std::string::npos) << inner.text();
  EXPECT_NE(inner.output().find("functions that the guest lists in /proc/kallsyms"),
            std::string::npos)
      << inner.text();
  // With a CPU model of the user's its own start-up code runs.
  std::vector<std::string> more = words;
  more.insert(more.end(), {"--cpu", "max,la57=on,rdrand=off,rdseed=off"});
  Child whole(more);
  EXPECT_EQ(whole.finish(), 0) << whole.text();
  EXPECT_EQ(whole.output().find("unpacked"), std::string::npos) << whole.text();
}

/// What a kernel of ours is, with the expectation said on the command line: as its recipe has it,
/// and the wrong one is found out.
TEST(ImagesOfX86, AnExpectationIsHeldAgainstTheImage) {
  const run::RunRequest request = request_for(Arch::X86_64, "lts-unsealed", {"munmap/whole"});
  ASSERT_FALSE(request.kernel_image.empty());
  const auto verify = [&](const char* expect) {
    Child child({program_path(), "verify", "--kernel", request.kernel_image.string(), "--expect",
                 expect, "--scenario", "munmap/whole"});
    const int code = child.finish();
    return std::pair(code, child.text());
  };
  const auto right = verify("unsealed");
  EXPECT_EQ(right.first, 0) << right.second;
  const auto wrong = verify("sealed");
  EXPECT_EQ(wrong.first, 1) << wrong.second;
  EXPECT_NE(wrong.second.find("violation"), std::string::npos) << wrong.second;
}

}  // namespace
}  // namespace sealvisor::test
