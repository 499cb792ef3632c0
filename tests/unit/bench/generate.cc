#include "tests/unit/bench/generate.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <functional>
#include <random>

#include <fmt/format.h>

namespace sealvisor::bench::generate {

namespace {

/// Where the instructions of an experiment are, in parts of 1000.
struct Part {
  Space space;
  const char* symbol;
  std::uint64_t share;
};

struct Shape {
  const char* name;
  std::uint64_t instructions;
  std::uint64_t per_vma;  ///< More for each VMA, for names that end in -vmas-N.
  std::vector<Part> parts;
};

const std::vector<Part> kExec = {
    {Space::User, "user", 60},          {Space::Kernel, "copy_page_range", 210},
    {Space::Kernel, "bprm_execve", 90}, {Space::Kernel, "load_elf_binary", 240},
    {Space::Kernel, "do_mmap", 150},    {Space::Kernel, "_install_special_mapping", 100},
    {Space::Kernel, "exit_mmap", 150}};
const std::vector<Part> kMmap = {
    {Space::User, "user", 40},         {Space::Kernel, "entry_SYSCALL_64", 60},
    {Space::Kernel, "do_mmap", 400},   {Space::Kernel, "mas_walk", 200},
    {Space::Kernel, "vma_merge", 200}, {Space::Kernel, "can_modify_mm", 100}};
const std::vector<Part> kVdso = {{Space::Vdso, "__vdso_clock_gettime", 800},
                                 {Space::User, "user", 200}};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> kShapes = {
      {"exec/fork-exit", 61'000, 0, kExec},
      {"exec/vfork-exec", 410'000, 0, kExec},
      {"exec/posix-spawn", 432'000, 0, kExec},
      {"exec/fork-exec-static", 520'000, 0, kExec},
      {"exec/fork-exec-dynamic", 1'240'000, 0, kExec},
      {"exec/exec-vmas-1", 380'000, 0, kExec},
      {"exec/exec-vmas-16", 380'000, 900, kExec},
      {"exec/exec-vmas-256", 380'000, 900, kExec},
      {"exec/teardown", 48'000, 0, kExec},
      {"mmap/anonymous-4k", 2'900, 0, kMmap},
      {"mmap/anonymous-2m", 3'050, 0, kMmap},
      {"mmap/file-4k", 3'600, 0, kMmap},
      {"mmap/munmap-vmas-1", 3'100, 0, kMmap},
      {"mmap/munmap-vmas-16", 3'100, 6, kMmap},
      {"mmap/munmap-vmas-256", 3'100, 6, kMmap},
      {"mmap/munmap-vmas-1024", 3'100, 6, kMmap},
      {"mmap/mprotect-vmas-1", 2'400, 0, kMmap},
      {"mmap/mprotect-vmas-16", 2'400, 410, kMmap},
      {"mmap/mprotect-vmas-256", 2'400, 410, kMmap},
      {"mmap/mprotect-vmas-1024", 2'400, 410, kMmap},
      {"mmap/mremap-move", 6'400, 0, kMmap},
      {"mmap/brk", 1'900, 0, kMmap},
      {"mmap/refused-munmap", 1'450, 0, kMmap},
      {"mmap/mseal", 1'700, 0, kMmap},
      {"vdso/clock-gettime-monotonic", 62, 0, kVdso},
      {"vdso/clock-gettime-raw", 58, 0, kVdso},
      {"vdso/gettimeofday", 66, 0, kVdso},
      {"vdso/time", 21, 0, kVdso},
      {"vdso/getcpu", 30, 0, kVdso},
      {"vdso/first-call-after-exec", 1'900, 0, kMmap},
  };
  return kShapes;
}

std::uint64_t base_of(const Shape& shape) {
  const std::string name = shape.name;
  const std::size_t mark = name.find("-vmas-");
  const std::uint64_t vmas = mark == std::string::npos ? 0 : std::stoull(name.substr(mark + 6));
  return shape.instructions + shape.per_vma * vmas;
}

/// The same number for the same words.
std::mt19937_64 engine_for(const std::string& words) {
  // std::hash may differ elsewhere; this is FNV-1a.
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : words) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return std::mt19937_64(hash);
}

std::int64_t added_by(const std::map<std::string, std::int64_t>& adds, const std::string& name) {
  const auto found = adds.find(name);
  return found == adds.end() ? 0 : found->second;
}

/// A profile of `samples` samples whose parts sum up to `whole` each.
void fill(Measured& measured, const Shape& shape, std::uint64_t whole, const Plan& plan) {
  std::uint64_t user = 0;
  std::uint64_t kernel = 0;
  for (std::size_t i = 0; i < shape.parts.size(); ++i) {
    const Part& part = shape.parts[i];
    const std::uint64_t count =
        i + 1 == shape.parts.size() ? whole - user - kernel : whole * part.share / 1000;
    (part.space == Space::Kernel ? kernel : user) += count;
    if (plan.profiles) measured.profile.push_back({part.space, part.symbol, count * plan.samples});
  }
  measured.user.assign(plan.samples, user);
  measured.kernel.assign(plan.samples, kernel);
}

void add(Measured& measured, Space space, const std::string& function, std::int64_t count,
         const Plan& plan) {
  if (count == 0) return;
  const auto change = [&](std::uint64_t& value, std::uint64_t times) {
    value += static_cast<std::uint64_t>(count) * times;  // wraps around as it must
  };
  for (auto& value : space == Space::Kernel ? measured.kernel : measured.user) change(value, 1);
  if (!plan.profiles) return;
  const auto found = std::find_if(
      measured.profile.begin(), measured.profile.end(),
      [&](const SymbolCount& one) { return one.space == space && one.symbol == function; });
  if (found != measured.profile.end()) {
    change(found->count, plan.samples);
  } else {
    measured.profile.push_back({space, function, static_cast<std::uint64_t>(count) * plan.samples});
  }
}

Measured measure(const Plan& plan, arch::Arch arch, Side side, std::uint64_t seed,
                 const Shape& shape) {
  Measured measured;
  measured.experiment = shape.name;
  std::mt19937_64 engine =
      engine_for(fmt::format("{} {} {} {}", arch::name_of(arch), name_of(side), seed, shape.name));
  std::normal_distribution<double> noise(0, plan.layout_noise);
  const std::uint64_t base = base_of(shape) * (arch == arch::Arch::Arm64 ? 9 : 10) / 10;
  const double moved =
      plan.layout_noise == 0 ? 0 : std::round(static_cast<double>(base) * noise(engine));
  fill(measured, shape, base + static_cast<std::uint64_t>(static_cast<std::int64_t>(moved)), plan);
  if (side == Side::B) {
    add(measured, Space::Kernel, "can_modify_mm", added_by(plan.b_adds, shape.name), plan);
  }
  if (side == Side::Control) {
    add(measured, Space::Kernel, "do_mmap", added_by(plan.control_adds, shape.name), plan);
  }
  // By a clock they are `nop`s, four in a tick; what is here is a third of what is timed.
  for (KnownCost known : plan.known_costs) {
    if (plan.lane == Lane::Time) known.added = known.added * 3 / 4;
    if (side != Side::Slowed || known.arch != arch || known.experiment != shape.name) continue;
    add(measured, known.space, known.function, static_cast<std::int64_t>(known.added), plan);
  }
  if (plan.lane == Lane::Time) {
    measured.batch = 64;
    std::exponential_distribution<double> late(0.05);
    for (std::size_t i = 0; i < measured.kernel.size(); ++i) {
      const auto ticks = static_cast<double>(measured.kernel[i] + measured.user[i]) * 64 / 3;
      measured.ticks.push_back(static_cast<std::uint64_t>(ticks + late(engine)));
    }
    measured.user.clear();
    measured.kernel.clear();
    measured.profile.clear();
  } else if (measured.kernel.size() > 2) {
    // A timer interrupt in one sample: the median is to pass it over.
    const std::size_t hit = engine() % measured.kernel.size();
    measured.kernel[hit] += 911;
    if (plan.profiles) measured.profile.push_back({Space::Kernel, "tick_handle_periodic", 911});
  }
  return measured;
}

Context context_of(const Plan& plan, const std::vector<Side>& sides) {
  Context context;
  context.date = "2026-11-29T12:00:00Z";
  context.command = "sealvisor bench --quick";
  context.version = "0.1.0";
  context.host_cpu = "Example CPU";
  context.host_arch = "x86_64";
  context.host_cpus = 2;
  context.engine = plan.lane == Lane::Time ? "kvm" : "tcg";
  context.engine_version = plan.lane == Lane::Time ? "KVM API 12" : "QEMU 10.0.2";
  context.cpu_model = "max";
  if (plan.lane == Lane::Time) context.pinned = {3, true, "performance", "7"};
  context.lane = plan.lane;
  context.a = "lts-unsealed";
  context.b = "lts-sealed";
  context.programs_hash = "5eed";
  for (std::uint64_t seed = 1; seed <= plan.layouts; ++seed) context.seeds.push_back(seed);
  for (const arch::Arch arch : plan.archs) {
    for (const Side side : sides) {
      const char* recipe = side == Side::B        ? "lts-sealed"
                           : side == Side::Slowed ? "slowed"
                                                  : "lts-unsealed";
      context.kernels.push_back({arch, side, recipe, "6.12.117",
                                 fmt::format("image-{}-{}", arch::name_of(arch), name_of(side)),
                                 fmt::format("config-{}", recipe)});
    }
  }
  context.tools = {{"gcc", "12.2.0"}, {"ld", "2.40"}};
  return context;
}

bool is_wanted(const Plan& plan, const std::string& name) {
  return plan.only.empty() ||
         std::find(plan.only.begin(), plan.only.end(), name) != plan.only.end();
}

}  // namespace

std::vector<std::string> experiments() {
  std::vector<std::string> names;
  for (const Shape& shape : shapes()) names.emplace_back(shape.name);
  return names;
}

Collected collect(const Plan& plan) {
  std::vector<Side> sides = {Side::A, Side::B};
  if (plan.control) sides.push_back(Side::Control);
  if (!plan.known_costs.empty()) sides.push_back(Side::Slowed);
  Collected collected;
  collected.context = context_of(plan, sides);
  collected.known_costs = plan.known_costs;
  for (const std::uint64_t seed : collected.context.seeds) {
    for (const arch::Arch arch : plan.archs) {
      for (const Side side : sides) {
        Boot boot;
        boot.arch = arch;
        boot.side = side;
        boot.seed = seed;
        boot.kernel_text = 0xffffffff81000000 + seed * 0x200000;
        boot.vdso = 0x7ffff7fc1000;
        if (plan.lane == Lane::Time) {
          boot.counter = {1'000'000'000, "CPUID 0x15", 1, 25, 0.25};
          boot.preempted = seed % 2;
        }
        for (const Shape& shape : shapes()) {
          if (!is_wanted(plan, shape.name)) continue;
          boot.experiments.push_back(measure(plan, arch, side, seed, shape));
        }
        collected.boots.push_back(std::move(boot));
      }
    }
  }
  return collected;
}

Collected showcase() {
  Plan plan;
  plan.archs = {arch::Arch::X86_64, arch::Arch::Arm64};
  plan.layout_noise = 0.0006;
  plan.b_adds = {{"exec/fork-exec-static", 5200},
                 {"mmap/refused-munmap", -120},
                 {"mmap/munmap-vmas-1", 16},
                 {"mmap/munmap-vmas-16", 31},
                 {"mmap/munmap-vmas-256", 160},
                 {"mmap/munmap-vmas-1024", 610},
                 {"mmap/mseal", 19}};
  for (const arch::Arch arch : plan.archs) {
    plan.known_costs.push_back({arch, "exec/teardown", Space::Kernel, 500, "exit_mmap"});
    plan.known_costs.push_back({arch, "vdso/time", Space::Vdso, 40, "__vdso_clock_gettime"});
  }
  Collected collected = collect(plan);
  for (Boot& boot : collected.boots) {
    if (boot.arch == arch::Arch::Arm64) {
      boot.experiments.push_back({.experiment = "vdso/compat-gettimeofday", .status = ENOTSUP});
    }
    boot.experiments.push_back({.experiment = "stress-ng/mmap"});
    for (const Measured& measured : boot.experiments) {
      if (measured.experiment != "mmap/anonymous-4k") continue;
      boot.experiments.back().user = measured.user;
      boot.experiments.back().kernel = measured.kernel;
    }
    // Every layout of b is another world here: too few to say anything.
    for (Measured& measured : boot.experiments) {
      if (measured.experiment != "mmap/brk" || boot.side != Side::B) continue;
      for (auto& value : measured.kernel) value += boot.seed % 4 * 14;
      measured.profile.clear();
    }
  }
  collected.cross_checks = {{"stress-ng --mmap", "stress-ng/mmap", "", "mmap/anonymous-4k"}};
  collected.repeats = {collected.boots[0], collected.boots[1]};
  return collected;
}

}  // namespace sealvisor::bench::generate
