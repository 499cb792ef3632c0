#include "arch/arm64/boot.h"

#include <gtest/gtest.h>
#include <libfdt.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace sealvisor::arch::arm64 {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30;
constexpr RamLayout kRam{Gpa{0x4000'0000}, 128 * kMib};

using Header = std::array<std::byte, kImageHeaderBytes>;

void put(Header& header, std::size_t offset, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    header[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

/// A header as Linux 6.12 has it: text_offset 0, flags 0b1010 (4 KiB pages, anywhere).
Header header_of(std::uint64_t image_size, std::uint64_t text_offset = 0,
                 std::uint64_t flags = 0xA) {
  Header header{};
  put(header, 8, text_offset, 8);
  put(header, 16, image_size, 8);
  put(header, 24, flags, 8);
  put(header, 56, 0x644d5241, 4);
  return header;
}

MachineFacts gic_v3() {
  return {.gic = GicVersion::V3,
          .distributor = {Gpa{0x0800'0000}, 0x1'0000},
          .redistributor = {Gpa{0x080A'0000}, 0x2'0000},
          .cpu_interface = {},
          .uart = {Gpa{0x0900'0000}, 0x1000},
          .uart_spi = 1};
}

MachineFacts gic_v2() {
  return {.gic = GicVersion::V2,
          .distributor = {Gpa{0x0800'0000}, 0x1000},
          .redistributor = {},
          .cpu_interface = {Gpa{0x0801'0000}, 0x2000},
          .uart = {Gpa{0x0900'0000}, 0x1000},
          .uart_spi = 33,
          .uart_clock_hz = 1'843'200};
}

const Header kHeader = header_of(0x65'0000);

BootInput input_of(const Header& header = kHeader) {
  return {.header = header,
          .kernel_bytes = 0x61'4008,
          .initramfs_bytes = 0x12'3456,
          .command_line = "console=ttyAMA0 quiet",
          .ram = kRam,
          .machine = gic_v3(),
          .seeds = {}};
}

std::string error_of(const BootInput& input) {
  const auto boot = plan_boot(input);
  if (boot) return "";
  EXPECT_EQ(boot.error().code, ExitCode::Usage);
  return boot.error().message;
}

TEST(ArmBootPlan, PutsKernelInitramfsAndTreeInOrder) {
  const auto boot = plan_boot(input_of());
  ASSERT_TRUE(boot) << boot.error().message;
  const BootPlan& plan = boot.value().plan;
  ASSERT_EQ(plan.kernel.size(), 1U);
  EXPECT_EQ(plan.kernel[0].gpa, Gpa{0x4000'0000});
  EXPECT_EQ(plan.kernel[0].file_offset, 0U);
  EXPECT_EQ(plan.kernel[0].file_bytes, 0x61'4008U);
  EXPECT_EQ(plan.kernel[0].memory_bytes, 0x65'0000U);
  EXPECT_EQ(plan.kernel[0].what, "kernel");
  EXPECT_EQ(plan.initramfs.gpa, Gpa{0x4065'0000});
  EXPECT_EQ(plan.initramfs.file_offset, 0U);
  EXPECT_EQ(plan.initramfs.file_bytes, 0x12'3456U);
  EXPECT_EQ(plan.initramfs.memory_bytes, 0x12'3456U);
  EXPECT_EQ(plan.initramfs.what, "initramfs");
  ASSERT_EQ(plan.data.size(), 1U);
  EXPECT_EQ(plan.data[0].gpa, Gpa{0x4080'0000});
  EXPECT_EQ(plan.data[0].what, "device tree");
  // EL1h, D, A, I and F set.
  EXPECT_EQ(boot.value().registers, (FirstRegisters{0x4000'0000, 0x4080'0000, 0x3C5}));
}

TEST(ArmBootPlan, KeepsTheOffsetFromA2MibBoundary) {
  const Header header = header_of(0x10'0000, 0x8'0000);
  BootInput input = input_of(header);
  input.kernel_bytes = 0x9'0000;
  input.ram = {Gpa{0x4000'1000}, 64 * kMib};
  const auto boot = plan_boot(input);
  ASSERT_TRUE(boot) << boot.error().message;
  EXPECT_EQ(boot.value().plan.kernel[0].gpa, Gpa{0x4028'0000});
  EXPECT_EQ(boot.value().plan.kernel[0].memory_bytes, 0x10'0000U);
  EXPECT_EQ(boot.value().plan.initramfs.gpa, Gpa{0x4038'0000});
  EXPECT_EQ(boot.value().registers.pc, 0x4028'0000U);
}

TEST(ArmBootPlan, TakesAFileThatIsLargerThanItsImageSizeAsItIs) {
  const Header header = header_of(0x1000);
  BootInput input = input_of(header);
  input.kernel_bytes = 0x3001;
  const auto boot = plan_boot(input);
  ASSERT_TRUE(boot) << boot.error().message;
  EXPECT_EQ(boot.value().plan.kernel[0].memory_bytes, 0x3001U);
  EXPECT_EQ(boot.value().plan.initramfs.gpa, Gpa{0x4000'4000});
}

TEST(ArmBootPlan, DoesWithoutAnInitramfs) {
  BootInput input = input_of();
  input.initramfs_bytes = 0;
  const auto boot = plan_boot(input);
  ASSERT_TRUE(boot) << boot.error().message;
  EXPECT_EQ(boot.value().plan.initramfs.memory_bytes, 0U);
  const void* tree = boot.value().plan.data[0].bytes.data();
  const int chosen = fdt_path_offset(tree, "/chosen");
  ASSERT_GE(chosen, 0);
  EXPECT_EQ(fdt_getprop(tree, chosen, "linux,initrd-start", nullptr), nullptr);
  EXPECT_EQ(fdt_getprop(tree, chosen, "linux,initrd-end", nullptr), nullptr);
}

TEST(ArmBootPlan, FitsExactly) {
  // Kernel 0x40000000..0x40650000, initramfs to 0x40774000, tree 0x40800000..0x40a00000.
  BootInput input = input_of();
  input.ram.bytes = 0xA0'0000;
  EXPECT_EQ(error_of(input), "");
  input.ram.bytes = 0xA0'0000 - 1;
  EXPECT_EQ(error_of(input),
            "device tree: takes 0x200000 bytes at a 2 MiB boundary, and 0x28cba9 are left of the "
            "guest's memory behind kernel and initramfs; give it more memory");
  input.ram.bytes = 0x65'0000 + 0x12'3456 - 1;
  EXPECT_EQ(error_of(input),
            "initramfs: has 0x123456 bytes, and 0x123455 are left of the guest's memory behind the "
            "kernel; give it more memory");
  input.ram.bytes = 0x65'0000 - 1;
  EXPECT_EQ(error_of(input),
            "kernel: takes 0x650000 bytes at 0x0 from a 2 MiB boundary, which the guest's 0x64ffff "
            "bytes at 0x40000000 do not hold; give it more memory");
}

TEST(ArmBootPlan, RefusesSizesThatWouldOverflow) {
  BootInput input = input_of();
  input.initramfs_bytes = ~std::uint64_t{0};
  EXPECT_NE(error_of(input).find("initramfs: has 0xffffffffffffffff bytes"), std::string::npos);
  const Header large = header_of(~std::uint64_t{0});
  EXPECT_NE(error_of(input_of(large)).find("kernel: takes 0xffffffffffffffff bytes"),
            std::string::npos);
  const Header far = header_of(0x1000, ~std::uint64_t{0});
  EXPECT_NE(error_of(input_of(far)).find("kernel: takes 0x614008 bytes at 0xffffffffffffffff"),
            std::string::npos);
}

TEST(ArmBootPlan, KeepsTheInitramfsWithin32Gib) {
  BootInput input = input_of();
  input.ram.bytes = 64 * kGib;
  // The window of a kernel at 0x40000000 ends at 0x840000000.
  input.initramfs_bytes = 0x8'4000'0000 - 0x4065'0000;
  EXPECT_EQ(error_of(input), "");
  ++input.initramfs_bytes;
  EXPECT_EQ(error_of(input),
            "initramfs: ends at 0x840000001, expected within 32 GiB of 0x40000000, where the "
            "kernel's GiB starts");
}

TEST(ArmBootPlan, RefusesRamThatCannotBe) {
  BootInput input = input_of();
  input.ram.bytes = 0;
  EXPECT_EQ(error_of(input),
            "memory: 0x0 bytes at 0x40000000, expected some and their end below 0x1000000000000");
  input.ram = {Gpa{0xFFFF'FFFF'FFFF'F000}, 0x1000};
  EXPECT_NE(error_of(input).find("expected some and their end"), std::string::npos);
  input.ram = {Gpa{0x4000'0000}, ~std::uint64_t{0}};
  EXPECT_NE(error_of(input).find("expected some and their end"), std::string::npos);
}

TEST(ArmBootPlan, TakesACommandLineOf2047Bytes) {
  BootInput input = input_of();
  const std::string longest(2047, 'a');
  input.command_line = longest;
  EXPECT_EQ(error_of(input), "");
  const std::string longer(2048, 'a');
  input.command_line = longer;
  EXPECT_EQ(error_of(input), "kernel command line: has 2048 bytes, and an arm64 kernel takes 2047");
  input.command_line = std::string_view("quiet\0init=/x", 13);
  EXPECT_EQ(error_of(input), "kernel command line: holds a NUL byte, which would end it");
}

TEST(ArmBootPlan, RefusesATreeOver2Mib) {
  BootInput input = input_of();
  input.seeds.rng.resize(kMaxTreeBytes);
  EXPECT_EQ(error_of(input),
            "device tree: does not fit in 2097152 bytes, which is the most that an arm64 kernel "
            "takes (FDT_ERR_NOSPACE)");
  input.seeds.rng.resize(kMaxTreeBytes + 1);
  EXPECT_NE(error_of(input).find("does not fit in 2097152 bytes"), std::string::npos);
}

TEST(ArmImageHeader, RefusesWhatCannotBoot) {
  const auto message = [](const Header& header) {
    const auto parsed = parse_image_header(header);
    return parsed ? std::string() : parsed.error().message;
  };
  const auto good = parse_image_header(header_of(0x65'0000, 0x8'0000, 0xA));
  ASSERT_TRUE(good);
  EXPECT_EQ(good.value().image_size, 0x65'0000U);
  EXPECT_EQ(good.value().text_offset, 0x8'0000U);
  EXPECT_EQ(good.value().flags, 0xAU);
  EXPECT_EQ(message(header_of(0x1000, 0, 0)), "");  // page size unspecified
  EXPECT_EQ(message(header_of(0x1000, 0, 1)),
            "kernel: is a big-endian arm64 Image, expected a little-endian one");
  EXPECT_EQ(message(header_of(0x1000, 0, 2 << 1)),
            "kernel: is an arm64 Image with 16 KiB pages, expected 4 KiB");
  EXPECT_EQ(message(header_of(0x1000, 0, 3 << 1)),
            "kernel: is an arm64 Image with 64 KiB pages, expected 4 KiB");
  EXPECT_EQ(message(header_of(0)),
            "kernel: is an arm64 Image without image_size, expected Linux 3.17 or newer");
  EXPECT_EQ(message(Header{}),
            "kernel: has the magic 0x0 at byte 56, expected 0x644d5241 of an arm64 Image");
  const Header header = header_of(0x1000);
  const auto cut = parse_image_header(std::span(header).first(63));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().message, "kernel: has 63 bytes, and the header of an arm64 Image has 64");
  BootInput input = input_of();
  input.header = {};
  EXPECT_EQ(error_of(input), "kernel: has 0 bytes, and the header of an arm64 Image has 64");
}

/// What dtc made of a tree, and what it said.
struct Decompiled {
  int status = -1;
  std::string source{};
  std::string warnings{};
};

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Fails the test if there is no dtc (Debian package device-tree-compiler).
Decompiled decompile(const std::vector<std::byte>& tree) {
  std::string folder = testing::TempDir() + "sealvisor-dtc-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return {};
  const std::string blob = folder + "/tree.dtb";
  std::ofstream(blob, std::ios::binary)
      .write(reinterpret_cast<const char*>(tree.data()), static_cast<std::streamsize>(tree.size()));
  const std::string command =
      "dtc -I dtb -O dts -o '" + folder + "/tree.dts' '" + blob + "' 2>'" + folder + "/warnings'";
  const int status = std::system(command.c_str());  // NOLINT: no input of others
  Decompiled result{WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(folder + "/tree.dts"),
                    content_of(folder + "/warnings")};
  for (const char* name : {"/tree.dtb", "/tree.dts", "/warnings", ""}) {
    std::remove((folder + name).c_str());
  }
  return result;
}

TreeFacts facts_of(const MachineFacts& machine) {
  return {.ram = kRam,
          .machine = machine,
          .command_line = "console=ttyAMA0 quiet",
          .initramfs = Gpa{0x4065'0000},
          .initramfs_bytes = 0x12'3456,
          .seeds = {}};
}

TEST(ArmDeviceTree, IsReadByDtcWithoutWarnings) {
  const auto tree = make_device_tree(facts_of(gic_v3()));
  ASSERT_TRUE(tree);
  const Decompiled got = decompile(tree.value());
  ASSERT_EQ(got.status, 0) << "dtc (package device-tree-compiler) failed or is missing: "
                           << got.warnings;
  EXPECT_EQ(got.warnings, "");
  EXPECT_EQ(got.source, R"(/dts-v1/;

/ {
	#address-cells = <0x02>;
	#size-cells = <0x02>;
	compatible = "sealvisor,microvm";
	model = "sealvisor microVM";
	interrupt-parent = <0x01>;

	chosen {
		bootargs = "console=ttyAMA0 quiet";
		stdout-path = "/serial@9000000";
		linux,initrd-start = <0x00 0x40650000>;
		linux,initrd-end = <0x00 0x40773456>;
	};

	memory@40000000 {
		device_type = "memory";
		reg = <0x00 0x40000000 0x00 0x8000000>;
	};

	cpus {
		#address-cells = <0x01>;
		#size-cells = <0x00>;

		cpu@0 {
			device_type = "cpu";
			compatible = "arm,armv8";
			reg = <0x00>;
			enable-method = "psci";
		};
	};

	psci {
		compatible = "arm,psci-1.0\0arm,psci-0.2";
		method = "hvc";
	};

	timer {
		compatible = "arm,armv8-timer";
		interrupts = <0x01 0x0d 0x08 0x01 0x0e 0x08 0x01 0x0b 0x08 0x01 0x0a 0x08>;
		always-on;
	};

	interrupt-controller@8000000 {
		compatible = "arm,gic-v3";
		reg = <0x00 0x8000000 0x00 0x10000 0x00 0x80a0000 0x00 0x20000>;
		interrupt-controller;
		#interrupt-cells = <0x03>;
		#address-cells = <0x00>;
		phandle = <0x01>;
	};

	apb-pclk {
		compatible = "fixed-clock";
		#clock-cells = <0x00>;
		clock-frequency = <0x16e3600>;
		phandle = <0x02>;
	};

	serial@9000000 {
		compatible = "arm,pl011\0arm,primecell";
		reg = <0x00 0x9000000 0x00 0x1000>;
		interrupts = <0x00 0x01 0x04>;
		clocks = <0x02 0x02>;
		clock-names = "uartclk\0apb_pclk";
	};
};
)");
}

TEST(ArmDeviceTree, HasAGicV2AndSeedsIfGiven) {
  TreeFacts facts = facts_of(gic_v2());
  facts.seeds.rng = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{0xFF}};
  facts.seeds.kaslr = 0x0123'4567'89AB'CDEF;
  const auto tree = make_device_tree(facts);
  ASSERT_TRUE(tree);
  const Decompiled got = decompile(tree.value());
  ASSERT_EQ(got.status, 0) << "dtc (package device-tree-compiler) failed or is missing: "
                           << got.warnings;
  EXPECT_EQ(got.warnings, "");
  for (const char* line :
       {"rng-seed = <0x10203ff>;", "kaslr-seed = <0x1234567 0x89abcdef>;",
        "compatible = \"arm,cortex-a15-gic\";",
        "reg = <0x00 0x8000000 0x00 0x1000 0x00 0x8010000 0x00 0x2000>;",
        "interrupts = <0x01 0x0d 0x108 0x01 0x0e 0x108 0x01 0x0b 0x108 0x01 0x0a 0x108>;",
        "interrupts = <0x00 0x21 0x04>;", "clock-frequency = <0x1c2000>;"}) {
    EXPECT_NE(got.source.find(line), std::string::npos) << line << "\n" << got.source;
  }
  EXPECT_EQ(got.source.find("gic-v3"), std::string::npos);
}

TEST(ArmDeviceTree, IsThePlansPiece) {
  const auto boot = plan_boot(input_of());
  ASSERT_TRUE(boot);
  const auto tree = make_device_tree(facts_of(gic_v3()));
  ASSERT_TRUE(tree);
  EXPECT_EQ(boot.value().plan.data[0].bytes, tree.value());
  EXPECT_EQ(fdt_check_header(tree.value().data()), 0);
  EXPECT_EQ(fdt_totalsize(tree.value().data()), tree.value().size());
}

}  // namespace
}  // namespace sealvisor::arch::arm64
