// What is wrong before or beside a guest, in one table: command, exit code, words of the message.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "arch/arch.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "tests/unit/image/compressed.h"
#include "vmm/base/result.h"
#include "vmm/engine/tcg/qemu/command_line.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

constexpr int kUsage = static_cast<int>(ExitCode::Usage);
constexpr int kHostLacks = static_cast<int>(ExitCode::HostLacks);

/// In `command`: {verify} is the program, `verify` and the architecture; {small} adds one recipe
/// and one scenario; {kernel} is the recipe's image, {other} the other architecture's; {dir} is a
/// folder with the files of make_files(); {unprivileged} takes root's right to read any file.
struct BadInputRow {
  const char* name;
  std::vector<const char*> command;
  int code;
  std::vector<const char*> said;
};

const BadInputRow kBadInputRows[] = {
    // The kernel.
    {"NotAKernel",
     {"{verify}", "--kernel", "{dir}/text"},
     kUsage,
     {"{dir}/text", "is not a kernel image"}},
    {"EmptyKernel", {"{verify}", "--kernel", "{dir}/empty"}, kUsage, {"{dir}/empty", "is empty"}},
    {"TruncatedKernel",
     {"{verify}", "--kernel", "{dir}/truncated"},
     kUsage,
     {"{dir}/truncated", "is truncated"}},
    {"TruncatedCompressedKernel",
     {"{verify}", "--kernel", "{dir}/truncated.gz"},
     kUsage,
     {"{dir}/truncated.gz", "its gzip data is cut off"}},
    {"CompressedNonsense",
     {"{verify}", "--kernel", "{dir}/text.gz"},
     kUsage,
     {"{dir}/text.gz (unpacked: gzip)", "is not a kernel image"}},
    {"KernelOfAnotherArchitecture",
     {"{verify}", "--kernel", "{other}"},
     kUsage,
     {"{other}", "is a kernel for", "expected one for"}},
    {"NoSuchKernel",
     {"{verify}", "--kernel", "{dir}/none"},
     kUsage,
     {"{dir}/none", "No such file"}},
    {"UnreadableKernel",
     {"{unprivileged}", "{verify}", "--kernel", "{dir}/unreadable"},
     kUsage,
     {"{dir}/unreadable", "Permission denied"}},
    {"KernelIsAFolder", {"{verify}", "--kernel", "{dir}"}, kUsage, {"{dir}", "is a directory"}},
    {"SymbolsAreNone",
     {"{verify}", "--kernel", "{kernel}", "--symbols", "{dir}/text"},
     kUsage,
     {"{dir}/text", "symbols"}},
    {"KernelsNotBuilt",
     {"env", "SEALVISOR_KERNELS={dir}", "{verify}", "{small}"},
     kHostLacks,
     {"{dir}", "did not run"}},
    // Names.
    {"NoSuchScenario",
     {"{verify}", "--scenario", "munmap/hole"},
     kUsage,
     {"munmap/hole", "munmap/whole"}},
    {"NoSuchRecipe", {"{verify}", "--recipe", "lts-seeled"}, kUsage, {"lts-seeled"}},
    {"NoSuchOption", {"{verify}", "--recipes", "lts-sealed"}, kUsage, {"--recipes"}},
    // QEMU.
    {"NoQemu",
     {"env", "PATH={dir}", "{verify}", "--kernel", "{kernel}"},
     kHostLacks,
     {"no {qemu} in PATH", "install"}},
    {"QemuIsNotThere",
     {"env", "SEALVISOR_QEMU_DIR={dir}", "{verify}", "{small}"},
     kHostLacks,
     {"no program {qemu} in {dir}"}},
    {"QemuIsTooOld",
     {"env", "SEALVISOR_QEMU_DIR={dir}/old", "{verify}", "{small}"},
     kHostLacks,
     {"is QEMU 7.2.0, which is too old", "install"}},
    {"QemuEndsAtOnce",
     {"env", "SEALVISOR_QEMU_DIR={dir}/broken", "{verify}", "{small}"},
     kHostLacks,
     {"ended with status 1 before the guest started", "no such machine"}},
    // Where the evidence goes.
    {"JsonHasNoFolder",
     {"{verify}", "--json", "{dir}/none/x.json"},
     kUsage,
     {"--json {dir}/none/x.json", "No such file"}},
    {"JsonIsAFolder", {"{verify}", "--json", "{dir}"}, kUsage, {"--json {dir}", "is a directory"}},
    {"JunitIsAFolder",
     {"{verify}", "--junit", "{dir}"},
     kUsage,
     {"--junit {dir}", "is a directory"}},
    {"HtmlCannotBeWritten",
     {"{verify}", "--html", "{dir}/none/x.html"},
     kUsage,
     {"--html {dir}/none/x.html", "No such file"}},
    {"JsonIsInTheBundle",
     {"{verify}", "{small}", "--json", "{dir}/new/report.json", "--bundle", "{dir}/new"},
     kUsage,
     {"--json {dir}/new/report.json: is in the bundle {dir}/new"}},
    {"BundleCannotBeMade",
     {"{verify}", "{small}", "--bundle", "{dir}/text/bundle"},
     kHostLacks,
     {"--bundle: {dir}/text/bundle", "Not a directory"}},
    {"BundleIsThereAlready",
     {"{verify}", "{small}", "--bundle", "{dir}/old"},
     kUsage,
     {"--bundle {dir}/old: expected a folder that is new or empty"}},
    {"BundleIsNone", {"sh", "-c", "exec {program} audit {dir}"}, kUsage, {"{dir}: no bundle"}},
    {"JsonFindsNoRoom",
     {"{verify}", "{small}", "--json", "/dev/full"},
     kHostLacks,
     {"writing /dev/full", "No space left on device", "held"}},
    {"ReportFindsNoRoom",
     {"sh", "-c", "exec {verify} {small} > /dev/full"},
     kHostLacks,
     {"writing the report to standard output", "No space left on device"}},
};

void make_program(const fs::path& path, const std::string& script) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "#!/bin/sh\n" << script;
  ::chmod(path.c_str(), 0755);
}

class BadInput : public testing::TestWithParam<std::tuple<arch::Arch, BadInputRow>> {
 protected:
  void SetUp() override {
    const arch::Arch other = arch_ == arch::Arch::Arm64 ? arch::Arch::X86_64 : arch::Arch::Arm64;
    kernel_ = request_for(arch_, "lts-sealed", {"munmap/whole"}).kernel_image;
    other_ = request_for(other, "lts-sealed", {"munmap/whole"}).kernel_image;
    ASSERT_FALSE(kernel_.empty() || other_.empty());
    const fs::path& dir = folder_.path();
    std::ofstream(dir / "text") << std::string(4096, 'x');
    const std::ofstream empty(dir / "empty");
    const std::string image = whole_file(kernel_);
    std::ofstream(dir / "truncated", std::ios::binary) << image.substr(0, image.size() / 2);
    const std::string packed = compressed(image::Compression::Gzip, image);
    std::ofstream(dir / "truncated.gz", std::ios::binary) << packed.substr(0, packed.size() / 2);
    std::ofstream(dir / "text.gz", std::ios::binary)
        << compressed(image::Compression::Gzip, std::string(4096, 'x'));
    fs::copy_file(kernel_, dir / "unreadable");
    ::chmod((dir / "unreadable").c_str(), 0);
    const std::string asked = "if [ \"$1\" = --version ]; then echo 'QEMU emulator version {}'; ";
    make_program(dir / "old" / qemu_, fmt::format(fmt::runtime(asked), "7.2.0") + "exit 0; fi\n");
    make_program(dir / "broken" / qemu_, fmt::format(fmt::runtime(asked), "10.0.2") +
                                             "exit 0; fi\necho 'no such machine' >&2\nexit 1\n");
  }

  /// `text` with the paths of this test in it.
  [[nodiscard]] std::string filled(const char* text) const {
    return fmt::format(
        fmt::runtime(text), fmt::arg("dir", folder_.path().string()),
        fmt::arg("kernel", kernel_.string()), fmt::arg("other", other_.string()),
        fmt::arg("qemu", qemu_), fmt::arg("program", program_path()),
        fmt::arg("verify",
                 fmt::format("{} verify --arch {}", program_path(), arch::name_of(arch_))),
        fmt::arg("small", "--recipe lts-sealed --scenario munmap/whole"),
        // An ordinary user has no such right to lose.
        fmt::arg("unprivileged", ::geteuid() == 0
                                     ? "setpriv --bounding-set=-dac_override,-dac_read_search"
                                     : "env"));
  }

  [[nodiscard]] std::vector<std::string> command(const BadInputRow& row) const {
    std::vector<std::string> words;
    for (const char* part : row.command) {
      const std::string text = filled(part);
      // Of what has braces around it, several words may have come; of a script for sh, one.
      if (*part != '{') {
        words.push_back(text);
        continue;
      }
      std::size_t start = 0;
      for (std::size_t end = 0; end != std::string::npos; start = end + 1) {
        end = text.find(' ', start);
        words.push_back(text.substr(start, end - start));
      }
    }
    return words;
  }

  arch::Arch arch_ = std::get<0>(GetParam());
  std::string qemu_ = engine::tcg::program_of(arch_);
  Folder folder_;
  fs::path kernel_;
  fs::path other_;
};
INSTANTIATE_TEST_SUITE_P(
    Table, BadInput,
    testing::Combine(testing::ValuesIn(arch::kAllArchs), testing::ValuesIn(kBadInputRows)),
    [](const testing::TestParamInfo<std::tuple<arch::Arch, BadInputRow>>& one) {
      return std::string(arch::name_of(std::get<0>(one.param))) + "_" + std::get<1>(one.param).name;
    });

TEST_P(BadInput, HasItsExitCodeAndItsMessage) {
  const BadInputRow& row = std::get<1>(GetParam());
  Child child(command(row));
  EXPECT_EQ(child.finish(), row.code) << child.text();
  for (const char* part : row.said) {
    const std::string wanted = filled(part);
    // The report breaks its lines between words.
    std::string plain = child.text();
    const auto is_break = [](char one, char other) {
      return (one == ' ' || one == '\n') && (other == ' ' || other == '\n');
    };
    plain.erase(std::unique(plain.begin(), plain.end(), is_break), plain.end());
    std::replace(plain.begin(), plain.end(), '\n', ' ');
    EXPECT_NE(plain.find(wanted), std::string::npos) << wanted << ":\n" << child.text();
  }
  // One message: a mistake of the command line has nothing else to say.
  if (row.code == kUsage) {
    EXPECT_TRUE(child.output().empty()) << child.output();
    EXPECT_TRUE(child.errors().starts_with("sealvisor: ")) << child.errors();
    EXPECT_EQ(std::count(child.errors().begin(), child.errors().end(), '\n'), 1) << child.errors();
  }
  EXPECT_TRUE(child.processes().empty()) << "processes are left";
}

}  // namespace
}  // namespace sealvisor::test
