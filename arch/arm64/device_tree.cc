#include "arch/arm64/device_tree.h"

#include <libfdt.h>

#include <array>
#include <initializer_list>
#include <span>
#include <string>

#include <fmt/format.h>

namespace sealvisor::arch::arm64 {

namespace {

// Interrupt specifiers: arm,gic-v3.yaml and arm,gic.yaml, "#interrupt-cells".
constexpr std::uint32_t kSpi = 0;
constexpr std::uint32_t kPpi = 1;
constexpr std::uint32_t kLevelHigh = 4;
constexpr std::uint32_t kLevelLow = 8;
/// GICv2 only: bits 15:8 of the flags of a PPI are the CPUs that it is wired to. CPU 0 here.
constexpr std::uint32_t kFirstCpu = 1U << 8;
/// PPIs of the generic timer, in the order of arm,arch_timer.yaml: secure physical, physical,
/// virtual, hypervisor. BSA (DEN0094), "PPI assignments": ids 29, 30, 27 and 26, less 16.
constexpr std::array<std::uint32_t, 4> kTimerPpis = {13, 14, 11, 10};

constexpr std::uint32_t kGicHandle = 1;
constexpr std::uint32_t kClockHandle = 2;

/// A writer that goes on after a failure and keeps the first one.
class Tree {
 public:
  explicit Tree(std::span<std::byte> buffer) : buffer_(buffer.data()) {
    note(fdt_create(buffer_, static_cast<int>(buffer.size())));
    note(fdt_finish_reservemap(buffer_));
  }

  void begin(const std::string& name) { note(fdt_begin_node(buffer_, name.c_str())); }
  void end() { note(fdt_end_node(buffer_)); }
  void flag(const char* name) { note(fdt_property(buffer_, name, nullptr, 0)); }
  void cell(const char* name, std::uint32_t value) { note(fdt_property_u32(buffer_, name, value)); }
  void cells(const char* name, std::initializer_list<std::uint32_t> values) {
    std::vector<fdt32_t> raw;
    raw.reserve(values.size());
    for (const std::uint32_t value : values) raw.push_back(cpu_to_fdt32(value));
    bytes(name, std::as_bytes(std::span(raw)));
  }
  void number(const char* name, std::uint64_t value) {
    note(fdt_property_u64(buffer_, name, value));
  }
  /// Address and size pairs, two cells each.
  void reg(std::initializer_list<DeviceRange> ranges) {
    std::vector<fdt64_t> raw;
    raw.reserve(2 * ranges.size());
    for (const DeviceRange& range : ranges) {
      raw.push_back(cpu_to_fdt64(range.gpa.value));
      raw.push_back(cpu_to_fdt64(range.bytes));
    }
    bytes("reg", std::as_bytes(std::span(raw)));
  }
  /// One string after the other, each with its NUL.
  void strings(const char* name, std::initializer_list<std::string_view> values) {
    std::string all;
    for (const std::string_view value : values) {
      all += value;
      all += '\0';
    }
    bytes(name, std::as_bytes(std::span(all)));
  }
  void bytes(const char* name, std::span<const std::byte> value) {
    if (value.size() > kMaxTreeBytes) return note(-FDT_ERR_NOSPACE);  // libfdt counts in int
    note(fdt_property(buffer_, name, value.data(), static_cast<int>(value.size())));
  }
  /// 0, or the first error of libfdt.
  [[nodiscard]] int finish() {
    note(fdt_finish(buffer_));
    return error_;
  }

 private:
  void note(int result) {
    if (error_ == 0 && result != 0) error_ = result;
  }

  void* buffer_;
  int error_ = 0;
};

std::string node_at(const char* name, Gpa gpa) { return fmt::format("{}@{:x}", name, gpa.value); }

void add_chosen(Tree& tree, const TreeFacts& facts) {
  tree.begin("chosen");
  tree.strings("bootargs", {facts.command_line});
  tree.strings("stdout-path", {"/" + node_at("serial", facts.machine.uart.gpa)});
  if (facts.initramfs_bytes != 0) {
    tree.number("linux,initrd-start", facts.initramfs.value);
    tree.number("linux,initrd-end", facts.initramfs.value + facts.initramfs_bytes);
  }
  if (!facts.seeds.rng.empty()) tree.bytes("rng-seed", facts.seeds.rng);
  if (facts.seeds.kaslr) tree.number("kaslr-seed", *facts.seeds.kaslr);
  tree.end();
}

void add_memory(Tree& tree, const RamLayout& ram) {
  tree.begin(node_at("memory", ram.base));
  tree.strings("device_type", {"memory"});
  tree.reg({{ram.base, ram.bytes}});
  tree.end();
}

void add_cpu(Tree& tree) {
  tree.begin("cpus");
  tree.cell("#address-cells", 1);
  tree.cell("#size-cells", 0);
  tree.begin("cpu@0");
  tree.strings("device_type", {"cpu"});
  tree.strings("compatible", {"arm,armv8"});
  tree.cell("reg", 0);
  tree.strings("enable-method", {"psci"});
  tree.end();
  tree.end();
  tree.begin("psci");
  tree.strings("compatible", {"arm,psci-1.0", "arm,psci-0.2"});
  tree.strings("method", {"hvc"});
  tree.end();
}

void add_timer(Tree& tree, GicVersion gic) {
  const std::uint32_t flags = kLevelLow | (gic == GicVersion::V2 ? kFirstCpu : 0);
  tree.begin("timer");
  tree.strings("compatible", {"arm,armv8-timer"});
  tree.cells("interrupts", {kPpi, kTimerPpis[0], flags, kPpi, kTimerPpis[1], flags, kPpi,
                            kTimerPpis[2], flags, kPpi, kTimerPpis[3], flags});
  tree.flag("always-on");
  tree.end();
}

void add_gic(Tree& tree, const MachineFacts& machine) {
  tree.begin(node_at("interrupt-controller", machine.distributor.gpa));
  if (machine.gic == GicVersion::V3) {
    tree.strings("compatible", {"arm,gic-v3"});
    tree.reg({machine.distributor, machine.redistributor});
  } else {
    tree.strings("compatible", {"arm,cortex-a15-gic"});
    tree.reg({machine.distributor, machine.cpu_interface});
  }
  tree.flag("interrupt-controller");
  tree.cell("#interrupt-cells", 3);
  tree.cell("#address-cells", 0);
  tree.cell("phandle", kGicHandle);
  tree.end();
}

void add_uart(Tree& tree, const MachineFacts& machine) {
  tree.begin("apb-pclk");
  tree.strings("compatible", {"fixed-clock"});
  tree.cell("#clock-cells", 0);
  tree.cell("clock-frequency", machine.uart_clock_hz);
  tree.cell("phandle", kClockHandle);
  tree.end();
  tree.begin(node_at("serial", machine.uart.gpa));
  tree.strings("compatible", {"arm,pl011", "arm,primecell"});
  tree.reg({machine.uart});
  tree.cells("interrupts", {kSpi, machine.uart_spi, kLevelHigh});
  tree.cells("clocks", {kClockHandle, kClockHandle});
  tree.strings("clock-names", {"uartclk", "apb_pclk"});
  tree.end();
}

}  // namespace

namespace {

/// What a tree of this machine takes; one with a long command line or seed may take more.
constexpr std::size_t kUsualTreeBytes = 16384;

/// Writes the tree to `buffer`, which it may not fit in. Returns libfdt's error or 0.
int write_tree(const TreeFacts& facts, std::vector<std::byte>& buffer) {
  Tree tree(buffer);
  tree.begin("");
  tree.cell("#address-cells", 2);
  tree.cell("#size-cells", 2);
  tree.strings("compatible", {"sealvisor,microvm"});
  tree.strings("model", {"sealvisor microVM"});
  tree.cell("interrupt-parent", kGicHandle);
  add_chosen(tree, facts);
  add_memory(tree, facts.ram);
  add_cpu(tree);
  add_timer(tree, facts.machine.gic);
  add_gic(tree, facts.machine);
  add_uart(tree, facts.machine);
  tree.end();
  return tree.finish();
}

}  // namespace

Result<std::vector<std::byte>> make_device_tree(const TreeFacts& facts) {
  std::vector<std::byte> buffer(kUsualTreeBytes);
  int error = write_tree(facts, buffer);
  if (error == -FDT_ERR_NOSPACE) {
    // Most of it is never used, and would be touched all the same.
    buffer.assign(kMaxTreeBytes, std::byte{0});
    error = write_tree(facts, buffer);
  }
  if (error != 0) {
    return Error{ExitCode::Usage,
                 fmt::format("device tree: does not fit in {} bytes, which is the most that an "
                             "arm64 kernel takes ({})",
                             kMaxTreeBytes, fdt_strerror(error))};
  }
  buffer.resize(fdt_totalsize(buffer.data()));
  return buffer;
}

}  // namespace sealvisor::arch::arm64
