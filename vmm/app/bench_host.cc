#include "vmm/app/bench_host.h"

#include <sys/utsname.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "vmm/base/cpus.h"
#include "vmm/engine/kvm/host.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// The text of a small file, without what ends it; empty: it can't be read.
std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.pop_back();
  return text;
}

/// The strings of a property of the device tree, each with its NUL.
std::vector<std::string> strings_of(const std::string& property) {
  std::vector<std::string> strings;
  for (std::size_t at = 0; at < property.size();) {
    const std::size_t end = std::min(property.find('\0', at), property.size());
    if (end > at) strings.push_back(property.substr(at, end - at));
    at = end + 1;
  }
  return strings;
}

/// The part of /proc/cpuinfo about one CPU: lines up to an empty one.
std::string_view block_of(std::string_view cpuinfo, std::optional<unsigned> cpu) {
  const std::string wanted = fmt::format("{}", cpu.value_or(0));
  std::string_view first = cpuinfo.substr(0, cpuinfo.find("\n\n"));
  for (std::string_view rest = cpuinfo; cpu && !rest.empty();) {
    const std::size_t end = std::min(rest.find("\n\n"), rest.size());
    const std::string_view block = rest.substr(0, end);
    const std::size_t colon = block.find(": ");
    if (block.starts_with("processor") && colon != std::string_view::npos &&
        block.substr(colon + 2, block.find('\n') - colon - 2) == wanted) {
      return block;
    }
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return first;
}

/// The value of a line "name : value"; empty: there is none.
std::string field_of(std::string_view block, std::string_view name) {
  while (!block.empty()) {
    const std::string_view line = block.substr(0, block.find('\n'));
    const std::size_t colon = line.find(':');
    if (line.starts_with(name) && colon != std::string_view::npos &&
        line.substr(name.size(), colon - name.size()).find_first_not_of(" \t") ==
            std::string_view::npos) {
      const std::size_t value = line.find_first_not_of(' ', colon + 1);
      return value == std::string_view::npos ? "" : std::string(line.substr(value));
    }
    block.remove_prefix(std::min(line.size() + 1, block.size()));
  }
  return "";
}

std::string name_of_signature(const std::string& signature) {
  // What each hypervisor answers in CPUID leaf 0x40000000.
  constexpr std::pair<std::string_view, const char*> kKnown[] = {
      {"TCGTCGTCGTCG", "QEMU's TCG, an emulated CPU"},
      {"KVMKVMKVM", "KVM"},
      {"Linux KVM Hv", "KVM"},
      {"Microsoft Hv", "Hyper-V"},
      {"VMwareVMware", "VMware"},
      {"XenVMMXenVMM", "Xen"},
      {"bhyve bhyve ", "bhyve"}};
  for (const auto& [known, name] : kKnown) {
    if (signature == known) return name;
  }
  return signature.empty() ? "a hypervisor, by its CPU flag"
                           : fmt::format("a hypervisor that calls itself '{}'", signature);
}

/// Vendors and products that are virtual machines wherever they stand.
bool is_virtual_product(const std::string& text) {
  constexpr std::string_view kWords[] = {"QEMU",
                                         "KVM",
                                         "VMware",
                                         "VirtualBox",
                                         "Xen",
                                         "Bochs",
                                         "bhyve",
                                         "Parallels",
                                         "OpenStack",
                                         "Virtual Machine",
                                         "Virtualization",
                                         "Google Compute Engine"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

/// Amazon's machines are virtual but for those whose product is called so.
bool is_amazon_virtual(const std::vector<std::string>& dmi) {
  const auto has = [&](const auto& condition) {
    return std::any_of(dmi.begin(), dmi.end(), condition);
  };
  return has([](const std::string& text) { return text == "Amazon EC2"; }) &&
         !has([](const std::string& text) { return text.find(".metal") != std::string::npos; });
}

std::string cpuid_signature() {
#if defined(__x86_64__)
  constexpr unsigned kLeaf = 0x40000000;
  unsigned most = 0;
  std::array<unsigned, 3> words{};
  __cpuid(kLeaf, most, words[0], words[1], words[2]);
  std::array<char, sizeof words + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof words);
  return text.data();
#else
  return "";
#endif
}

std::string board_of(const fs::path& root) {
  const std::string tree = read_text(root / "proc/device-tree/model");
  return tree.empty() ? read_text(root / "sys/class/dmi/id/product_name") : tree;
}

}  // namespace

std::string cpu_model_of(std::string_view cpuinfo, std::optional<unsigned> cpu,
                         std::string_view board) {
  const std::string_view block = block_of(cpuinfo, cpu);
  if (std::string name = field_of(block, "model name"); !name.empty()) return name;
  std::string text(board);
  bool found = false;
  for (const char* name : {"implementer", "part", "variant", "revision"}) {
    const std::string value = field_of(block, fmt::format("CPU {}", name));
    if (value.empty()) continue;
    found = true;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  }
  return found ? text : "unknown";
}

std::string virtual_host_of(const VirtualSigns& signs) {
  if (signs.cpu_flag) return name_of_signature(signs.signature);
  if (!signs.hypervisor_type.empty()) return "a hypervisor of type " + signs.hypervisor_type;
  for (const std::string& one : signs.tree) {
    if (one == "linux,dummy-virt") return "a virtual board, by its device tree";
    if (one.find("kvm") != std::string::npos || one.find("xen") != std::string::npos ||
        one.find("vmware") != std::string::npos) {
      return fmt::format("a hypervisor, by its device tree ({})", one);
    }
  }
  if (signs.fw_cfg) return "QEMU, by its device tree";
  for (const std::string& one : signs.dmi) {
    if (is_virtual_product(one)) return fmt::format("a virtual machine, by its maker ({})", one);
  }
  return is_amazon_virtual(signs.dmi) ? "a virtual machine, by its maker (Amazon EC2)" : "";
}

VirtualSigns gather_virtual_signs(const fs::path& root) {
  VirtualSigns signs;
  signs.cpu_flag = engine::kvm::has_cpu_flag(read_text(root / "proc/cpuinfo"), "hypervisor");
  // Without the flag the leaf has no meaning (Intel SDM 2A, CPUID: data of the highest basic one).
  if (signs.cpu_flag) signs.signature = cpuid_signature();
  signs.hypervisor_type = read_text(root / "sys/hypervisor/type");
  for (const char* name : {"sys_vendor", "product_name", "board_vendor", "bios_vendor"}) {
    std::string text = read_text(root / "sys/class/dmi/id" / name);
    if (!text.empty()) signs.dmi.push_back(std::move(text));
  }
  const fs::path tree = root / "proc/device-tree";
  for (const char* name : {"compatible", "hypervisor/compatible"}) {
    for (std::string& one : strings_of(read_text(tree / name))) {
      signs.tree.push_back(std::move(one));
    }
  }
  std::error_code error;
  for (fs::directory_iterator entry(tree, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("fw-cfg@")) signs.fw_cfg = true;
  }
  return signs;
}

unsigned choose_cpu(std::optional<unsigned> asked, std::span<const unsigned> isolated,
                    std::span<const unsigned> allowed) {
  if (asked) return *asked;
  return isolated.empty() ? allowed.back() : isolated.back();
}

bench::PinnedCpu describe_cpu(unsigned cpu, const fs::path& sys) {
  const fs::path all = sys / "devices/system/cpu";
  const fs::path own = all / fmt::format("cpu{}", cpu);
  bench::PinnedCpu pinned;
  pinned.cpu = cpu;
  const auto isolated = parse_cpu_list(read_text(all / "isolated"));
  pinned.isolated =
      isolated && std::find(isolated->begin(), isolated->end(), cpu) != isolated->end();
  pinned.governor = read_text(own / "cpufreq/scaling_governor");
  if (auto core = parse_cpu_list(read_text(own / "topology/thread_siblings_list"))) {
    core->erase(std::remove(core->begin(), core->end(), cpu), core->end());
    pinned.siblings = cpu_list_text(*core);
  }
  return pinned;
}

Result<bench::PinnedCpu> pin_on_this_host(std::optional<unsigned> asked) {
  const auto allowed = allowed_cpus();
  if (!allowed) return allowed.error();
  const auto isolated = parse_cpu_list(read_text("/sys/devices/system/cpu/isolated"));
  const unsigned cpu =
      choose_cpu(asked, isolated.value_or(std::vector<unsigned>()), allowed.value());
  // In a thread that ends with it.
  Status bound;
  std::thread([&] { bound = bind_to({&cpu, 1}); }).join();
  if (bound) return describe_cpu(cpu);
  Error error = bound.error();
  error.message += fmt::format("; --pin names another one, of {}", cpu_list_text(allowed.value()));
  return error;
}

void describe_host(bench::Context& context) {
  std::optional<unsigned> cpu;
  if (context.pinned) cpu = context.pinned->cpu;
  context.host_cpu = cpu_model_of(read_text("/proc/cpuinfo"), cpu, board_of("/"));
  utsname name{};
  if (::uname(&name) == 0) context.host_arch = name.machine;
  context.host_cpus = std::thread::hardware_concurrency();
  context.virtual_host = virtual_host_of(gather_virtual_signs());
}

}  // namespace sealvisor::app
