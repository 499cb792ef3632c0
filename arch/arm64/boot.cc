#include "arch/arm64/boot.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {

namespace {

/// "ARM\x64", booting.rst.
constexpr std::uint32_t kMagic = 0x644d5241;
constexpr std::uint64_t kBlock = std::uint64_t{2} << 20;
constexpr std::uint64_t kGigabyte = std::uint64_t{1} << 30;
/// Size of the window that starts at a GiB boundary and must hold kernel and initramfs.
constexpr std::uint64_t kWindow = 32 * kGigabyte;
/// Guest-physical addresses have at most 48 bits here (arch/arm64/format.h).
constexpr std::uint64_t kAddressEnd = std::uint64_t{1} << 48;

Error refuse(std::string message) { return Error{ExitCode::Usage, std::move(message)}; }

/// Little-endian, whatever the host is.
std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t offset,
                            std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[offset + i]);
  }
  return value;
}

/// Precondition: alignment is a power of two, and value is far below 2^64.
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// RAM, from low to high.
class Space {
 public:
  explicit Space(const RamLayout& ram) : next_(ram.base.value), end_(ram.base.value + ram.bytes) {}

  /// The next free place at `offset` bytes from a multiple of `alignment`; nullopt if `bytes` from
  /// there are not all RAM.
  [[nodiscard]] std::optional<Gpa> take(std::uint64_t bytes, std::uint64_t alignment,
                                        std::uint64_t offset = 0) {
    const std::uint64_t base = round_up(next_, alignment);
    if (base > end_ || end_ - base < offset || end_ - base - offset < bytes) return std::nullopt;
    next_ = base + offset + bytes;
    return Gpa{base + offset};
  }
  /// Bytes that are left.
  [[nodiscard]] std::uint64_t left() const { return end_ - next_; }

 private:
  std::uint64_t next_;
  std::uint64_t end_;
};

}  // namespace

Result<ImageHeader> parse_image_header(std::span<const std::byte> start) {
  if (start.size() < kImageHeaderBytes) {
    return refuse(fmt::format("kernel: has {} bytes, and the header of an arm64 Image has {}",
                              start.size(), kImageHeaderBytes));
  }
  const std::uint64_t magic = little_endian(start, 56, 4);
  if (magic != kMagic) {
    return refuse(
        fmt::format("kernel: has the magic {:#x} at byte 56, expected {:#x} of an arm64 "
                    "Image",
                    magic, kMagic));
  }
  const ImageHeader header{little_endian(start, 8, 8), little_endian(start, 16, 8),
                           little_endian(start, 24, 8)};
  if ((header.flags & 1) != 0) {
    return refuse("kernel: is a big-endian arm64 Image, expected a little-endian one");
  }
  // Bits 2:1 of the flags: 0 unspecified, 1 4 KiB, 2 16 KiB, 3 64 KiB.
  const std::uint64_t pages = header.flags >> 1 & 3;
  if (pages > 1) {
    return refuse(fmt::format("kernel: is an arm64 Image with {} KiB pages, expected 4 KiB",
                              pages == 2 ? 16 : 64));
  }
  if (header.image_size == 0) {
    return refuse("kernel: is an arm64 Image without image_size, expected Linux 3.17 or newer");
  }
  return header;
}

Result<Boot> plan_boot(const BootInput& input) {
  const auto parsed = parse_image_header(input.header);
  if (!parsed) return parsed.error();
  const ImageHeader& header = parsed.value();
  const RamLayout& ram = input.ram;
  if (ram.bytes == 0 || ram.base.value > kAddressEnd || ram.bytes > kAddressEnd - ram.base.value) {
    return refuse(
        fmt::format("memory: {:#x} bytes at {:#x}, expected some and their end below "
                    "{:#x}",
                    ram.bytes, ram.base.value, kAddressEnd));
  }
  if (input.command_line.find('\0') != std::string_view::npos) {
    return refuse("kernel command line: holds a NUL byte, which would end it");
  }
  if (input.command_line.size() >= kCommandLineBytes) {
    return refuse(fmt::format("kernel command line: has {} bytes, and an arm64 kernel takes {}",
                              input.command_line.size(), kCommandLineBytes - 1));
  }

  Space space(ram);
  const std::uint64_t image_bytes = std::max(header.image_size, input.kernel_bytes);
  const auto kernel = space.take(image_bytes, kBlock, header.text_offset);
  if (!kernel) {
    return refuse(
        fmt::format("kernel: takes {:#x} bytes at {:#x} from a 2 MiB boundary, which the "
                    "guest's {:#x} bytes at {:#x} do not hold; give it more memory",
                    image_bytes, header.text_offset, ram.bytes, ram.base.value));
  }
  Boot boot;
  boot.plan.kernel.push_back({*kernel, 0, input.kernel_bytes, image_bytes, "kernel"});

  TreeFacts facts{.ram = ram,
                  .machine = input.machine,
                  .command_line = input.command_line,
                  .initramfs = {},
                  .initramfs_bytes = input.initramfs_bytes,
                  .seeds = input.seeds};
  if (input.initramfs_bytes != 0) {
    const std::uint64_t left = space.left();
    const auto initramfs = space.take(input.initramfs_bytes, kPageSize);
    if (!initramfs) {
      return refuse(
          fmt::format("initramfs: has {:#x} bytes, and {:#x} are left of the guest's "
                      "memory behind the kernel; give it more memory",
                      input.initramfs_bytes, left));
    }
    const std::uint64_t window = kernel->value & ~(kGigabyte - 1);
    const std::uint64_t end = initramfs->value + input.initramfs_bytes;
    if (end - window > kWindow) {
      return refuse(
          fmt::format("initramfs: ends at {:#x}, expected within 32 GiB of {:#x}, where "
                      "the kernel's GiB starts",
                      end, window));
    }
    facts.initramfs = *initramfs;
    boot.plan.initramfs = {*initramfs, 0, input.initramfs_bytes, input.initramfs_bytes,
                           "initramfs"};
  }

  auto tree = make_device_tree(facts);
  if (!tree) return tree.error();
  const std::uint64_t left = space.left();
  const auto place = space.take(kMaxTreeBytes, kBlock);
  if (!place) {
    return refuse(
        fmt::format("device tree: takes {:#x} bytes at a 2 MiB boundary, and {:#x} are "
                    "left of the guest's memory behind kernel and initramfs; give it "
                    "more memory",
                    kMaxTreeBytes, left));
  }
  boot.plan.data.push_back({*place, std::move(tree).value(), "device tree"});
  // booting.rst, "Call the kernel image": all interrupts masked, at EL1 here.
  boot.registers = {kernel->value, place->value, kMaskAll | kModeEl1h};
  return boot;
}

}  // namespace sealvisor::arch::arm64
