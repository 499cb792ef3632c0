#include "vmm/app/doctor.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/app/capture.h"
#include "vmm/app/kernels.h"
#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/variants.h"
#include "vmm/engine/kvm/host.h"
#include "vmm/engine/tcg/qemu/program.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kReady = "ready";
constexpr const char* kNotReady = "not ready";
constexpr const char* kNotUsed = "not used";

Result<std::string> qemu_fact(const Result<engine::tcg::QemuProgram>& qemu) {
  if (!qemu) return qemu.error();
  return fmt::format("{} ({})", engine::tcg::text_of(qemu.value().version),
                     qemu.value().path.string());
}

/// Has QEMU load the plugin without its options: the refusal shows that it was loaded and called.
Result<std::string> plugin_fact(const Places& places,
                                const Result<engine::tcg::QemuProgram>& qemu) {
  if (::access(places.plugin.c_str(), R_OK) != 0) {
    return errno_error(ExitCode::HostLacks, "plugin " + places.plugin.string());
  }
  if (!qemu) return Error{ExitCode::HostLacks, "plugin not tried without QEMU"};
  std::string option = "file=";
  for (const char c : places.plugin.string()) option += c == ',' ? ",," : std::string(1, c);
  const auto answer = capture(qemu.value().path,
                              {"-machine", "none", "-display", "none", "-nodefaults",
                               "-no-user-config", "-S", "-d", "plugin", "-plugin", option},
                              std::chrono::seconds(10));
  if (!answer) return answer.error();
  const std::string& output = answer.value().output;
  if (output.find("sealvisor: ") != std::string::npos) return std::string("plugin loads");
  return Error{ExitCode::HostLacks,
               fmt::format("plugin {} does not load: {}", places.plugin.string(),
                           report::printable(output.substr(0, output.find('\n'))))};
}

Result<std::string> agents_fact(const Places& places, arch::Arch arch) {
  for (const char* name : {"init", "dynamic", "loader", "helper32"}) {
    const fs::path path = places.agent_dir(arch) / name;
    if (::access(path.c_str(), R_OK) != 0) {
      return errno_error(ExitCode::HostLacks, "guest program " + path.string());
    }
  }
  return std::string("guest programs built");
}

/// The folder that guest/kernel/build keeps kernels in.
fs::path cache_dir() {
  const auto variable = [](const char* name) -> std::optional<fs::path> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
  if (const auto own = variable("SEALVISOR_CACHE")) return *own;
  if (const auto cache = variable("XDG_CACHE_HOME")) return *cache / "sealvisor";
  return variable("HOME").value_or("/") / ".cache/sealvisor";
}

std::string space_fact() {
  const fs::path cache = cache_dir();
  fs::path there = cache;
  std::error_code error;
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  const fs::space_info space = fs::space(there, error);
  if (error) return fmt::format("free space for {} unknown", cache.string());
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  return fmt::format("{:.1f} GiB free for {}", static_cast<double>(space.available) / kGiB,
                     cache.string());
}

TcgFacts gather_tcg(const Places& places, arch::Arch arch) {
  const auto qemu = engine::tcg::find_qemu(arch);
  TcgFacts facts{arch, qemu_fact(qemu), plugin_fact(places, qemu), agents_fact(places, arch),
                 {},   space_fact()};
  const auto built = [&](const std::string& recipe) {
    const auto folder = kernel_dir(places, recipe, arch);
    return std::pair(recipe, folder ? Status() : Status(folder.error()));
  };
  for (const char* recipe : kDefaultRecipes) facts.kernels.push_back(built(recipe));
  for (const Variant& variant : all_variants()) {
    if (!has_own_kernel(variant, arch)) continue;
    for (const char* recipe : kDefaultRecipes) {
      facts.kernels_of_variants.push_back(built(recipe_of(variant, recipe, arch)));
    }
  }
  return facts;
}

std::string read_file(const char* path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

KvmFacts gather_kvm() {
  KvmFacts facts;
  utsname names{};
  if (::uname(&names) == 0) facts.machine = names.machine;
  facts.present = ::access(engine::kvm::kDevice, F_OK) == 0;
  facts.accessible = ::access(engine::kvm::kDevice, R_OK | W_OK) == 0;
  facts.cpuinfo = read_file("/proc/cpuinfo");
  // Nothing is asked of a device that could not be used anyway.
  if (facts.accessible && engine::kvm::check_hardware(facts.machine, facts.cpuinfo)) {
    facts.capabilities = engine::kvm::capabilities_text();
    if (const auto arch = engine::kvm::host_arch(facts.machine)) {
      facts.choice = engine::kvm::host_choice(arch.value());
    } else {
      facts.choice = arch.error();
    }
  }
  return facts;
}

NestedFacts gather_nested(const Places& places, arch::Arch arch) {
  const auto kernel_of = [&](const std::string& recipe, arch::Arch one) {
    return kernel_dir(places, recipe, one);
  };
  return {arch, qemu_fact(engine::tcg::find_qemu(arch)), nested_parts(places, arch, kernel_of)};
}

}  // namespace

Lane tcg_lane(const TcgFacts& facts) {
  Lane lane{fmt::format("tcg {}", arch::name_of(facts.arch)), kReady, ""};
  std::vector<std::string> parts;
  for (const Result<std::string>* fact : {&facts.qemu, &facts.plugin, &facts.agents}) {
    if (!*fact) lane.state = kNotReady;
    parts.push_back(*fact ? fact->value() : fact->error().message);
  }
  std::vector<std::string> built;
  std::vector<std::string> missing;
  std::string problem;
  for (const auto& [recipe, status] : facts.kernels) {
    if (status) {
      built.push_back(recipe);
      continue;
    }
    missing.push_back(recipe);
    if (problem.empty()) problem = status.error().message;
  }
  std::vector<std::string> not_built;
  for (const auto& [recipe, status] : facts.kernels_of_variants) {
    (status ? built : not_built).push_back(recipe);
  }
  if (!built.empty()) parts.push_back(fmt::format("kernels built: {}", fmt::join(built, ", ")));
  if (!missing.empty()) {
    lane.state = kNotReady;
    parts.push_back(fmt::format("kernels missing: {} ({})", fmt::join(missing, ", "), problem));
  }
  if (!not_built.empty()) {
    parts.push_back(fmt::format("not built, for variants only: {}", fmt::join(not_built, ", ")));
  }
  parts.push_back(facts.space);
  lane.why = fmt::format("exact: {}", fmt::join(parts, "; "));
  return lane;
}

Lane kvm_lane(const KvmFacts& facts) {
  Lane lane{"kvm", kNotUsed, ""};
  if (!facts.present) {
    lane.why = "no /dev/kvm on this host";
  } else if (!facts.accessible) {
    lane.why = "/dev/kvm is there, but this user may not open it (group kvm)";
  } else if (const auto hardware = engine::kvm::check_hardware(facts.machine, facts.cpuinfo);
             !hardware) {
    lane.why = "/dev/kvm is there, but " + hardware.error().message;
  } else if (!facts.capabilities) {
    lane.state = kNotReady;
    lane.why = facts.capabilities.error().message;
  } else if (!facts.choice) {
    lane.state = kNotReady;
    lane.why = facts.choice.error().message;
  } else {
    lane.state = kReady;
    const engine::kvm::Choice& choice = facts.choice.value();
    // That it works in emulated hosts is no word about this one.
    lane.why = fmt::format("{}, never run on hardware: {}; {}", engine::name_of(choice.mechanism),
                           choice.why, facts.capabilities.value());
  }
  return lane;
}

Lane nested_lane(const NestedFacts& facts) {
  Lane lane{fmt::format("kvm-nested {}", arch::name_of(facts.arch)), kReady, ""};
  // Which one follows from the host that QEMU emulates (docs/nested.md).
  lane.why = facts.arch == arch::Arch::Arm64
                 ? "exact: stores to guarded tables are done in the guest's stead"
                 : "audited: the emulated host is AMD's with nested paging, where each table walk "
                   "counts as a write";
  lane.why += "; " + (facts.qemu ? facts.qemu.value() : facts.qemu.error().message);
  if (!facts.qemu) lane.state = kNotReady;
  for (const Status* part : {&facts.parts.kernel, &facts.parts.init, &facts.parts.program}) {
    if (*part) continue;
    lane.state = kNotReady;
    lane.why += "; " + part->error().message;
  }
  return lane;
}

int doctor() {
  const auto places = find_places();
  if (!places) {
    fmt::print(stderr, "sealvisor: {}\n", places.error().message);
    return static_cast<int>(places.error().code);
  }
  bool ready = true;
  std::vector<Lane> lanes;
  for (const arch::Arch arch : arch::kAllArchs) {
    lanes.push_back(tcg_lane(gather_tcg(places.value(), arch)));
    ready = ready && lanes.back().state == kReady;
  }
  lanes.push_back(kvm_lane(gather_kvm()));
  for (const arch::Arch arch : arch::kAllArchs) {
    lanes.push_back(nested_lane(gather_nested(places.value(), arch)));
  }
  for (const Lane& lane : lanes) {
    fmt::print("{:<17}  {:<9}  {}\n", lane.name, lane.state, lane.why);
  }
  return static_cast<int>(ready ? ExitCode::AsExpected : ExitCode::HostLacks);
}

}  // namespace sealvisor::app
