// What guests measured, as plain values: the input of conclude(). Whoever runs guests fills it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"

namespace sealvisor::bench {

/// What is measured: instructions are counted exactly and say nothing about time; time is read from
/// the guest's own counter.
enum class Lane : std::uint8_t { Instructions, Time };
[[nodiscard]] const char* name_of(Lane lane);

/// Which kernel a boot had.
enum class Side : std::uint8_t {
  A,        ///< What b is compared with.
  B,        ///< "slower" means that b costs more than a.
  Control,  ///< The recipe of a, laid out differently: compared with a it must be equivalent (A/A).
  Slowed,   ///< The recipe of a with known instructions added: each must be found (KnownCost).
};
[[nodiscard]] const char* name_of(Side side);

/// What a symbol of a profile belongs to.
enum class Space : std::uint8_t { Kernel, Vdso, User };
[[nodiscard]] const char* name_of(Space space);

/// Instructions that were counted in one symbol.
struct SymbolCount {
  Space space = Space::Kernel;
  std::string symbol;
  std::uint64_t count = 0;
};

/// One experiment in one boot. Samples are without the warm-up, in the order in which they were
/// taken, each of `batch` operations.
struct Measured {
  std::string experiment;   ///< "exec/fork-exit" (bench/experiment.h).
  std::int32_t status = 0;  ///< errno that stopped it; ENOTSUP: not on this guest.
  /// Why its samples can't be used; empty: they can. A checksum that was wrong, a sample count that
  /// was not the announced one.
  std::string problem{};
  std::uint32_t batch = 1;
  /// Lane::Instructions: of each sample, what user mode and what the kernel executed; equally many.
  std::vector<std::uint64_t> user{};
  std::vector<std::uint64_t> kernel{};
  /// Lane::Time: ticks of each sample, by the boot's counter.
  std::vector<std::uint64_t> ticks{};
  /// Lane::Instructions: where the instructions of all these samples were, each symbol once; empty:
  /// no profile was taken. Counts of the kernel sum up to `kernel`, the others to `user`.
  std::vector<SymbolCount> profile{};
};

/// The counter that user mode of a guest reads, as that guest describes it.
struct Counter {
  std::uint64_t frequency = 0;  ///< Ticks in a second; 0: not known.
  std::string source{};         ///< Who says so.
  std::uint64_t step = 1;       ///< It goes up by multiples of this. > 0.
  double read_ticks = 0;        ///< What a reading takes, one behind the other, on average.
  double nop_ticks = 0;         ///< What a `nop` takes at least, of thousands in a row.
};

/// One guest from its start to its end.
struct Boot {
  arch::Arch arch = arch::Arch::X86_64;
  Side side = Side::A;
  std::uint64_t seed = 0;         ///< Of its layout. A side boots once with each seed.
  std::uint64_t kernel_text = 0;  ///< Where the layout put the kernel; 0: not known.
  std::uint64_t vdso = 0;
  std::optional<Counter> counter{};  ///< Lane::Time, unless the guest ended before it said.
  /// Where the vCPU was bound to one CPU: how often another thread took that from it.
  std::optional<std::uint64_t> preempted{};
  std::vector<Measured> experiments{};  ///< Those that ended.
};

/// A boot again with interception of table writes on: for its overhead, and no verdict.
struct WatchedBoot {
  Boot boot{};        ///< With the kernel and seed of one that was not watched.
  std::string how{};  ///< What intercepts: "audited: traps at 4 returns to user mode".
};

/// A kernel that was booted.
struct Kernel {
  arch::Arch arch = arch::Arch::X86_64;
  Side side = Side::A;
  std::string recipe;
  std::string release;  ///< "6.12.117".
  std::string image_hash;
  std::string config_hash;
};

enum class Mode : std::uint8_t { Quick, Full };
[[nodiscard]] const char* name_of(Mode mode);

struct Tool {
  std::string name;
  std::string version{};
};

/// The CPU of the host that all vCPUs of a run are bound to, one after the other.
struct PinnedCpu {
  unsigned cpu = 0;
  bool isolated = false;   ///< From the host's scheduler (isolcpus).
  std::string governor{};  ///< Of its frequency; empty: not known, or it has none.
  std::string siblings{};  ///< Other CPUs of the same core, "4,12"; empty: none, or not known.
};

/// Everything about a run that is not a measurement.
struct Context {
  std::string date{};  ///< ISO 8601, UTC.
  std::string command{};
  std::string version{};   ///< Of sealvisor.
  std::string host_cpu{};  ///< Model, as /proc/cpuinfo names it.
  std::string host_arch{};
  std::uint32_t host_cpus = 0;
  /// What shows that the host is itself virtual: "QEMU's TCG, an emulated CPU"; empty: nothing
  /// does.
  std::string virtual_host{};
  std::optional<PinnedCpu> pinned{};  ///< nullopt: vCPUs run where the host puts them.
  std::string engine{};               ///< "tcg", "kvm".
  std::string engine_version{};       ///< "QEMU 10.0.2".
  std::string cpu_model{};            ///< Of the guest.
  Lane lane = Lane::Instructions;
  bool watched = false;  ///< With interception of table writes on; else off.
  Mode mode = Mode::Quick;
  std::string a{};  ///< Recipes.
  std::string b{};
  std::string programs_hash{};         ///< Of the guest's programs, the experiments among them.
  std::vector<std::uint64_t> seeds{};  ///< Layouts that were to be used.
  std::vector<Kernel> kernels{};
  std::vector<Tool> tools{};  ///< Compilers, linkers, QEMU's plugin interface.
};

/// Sensitivity control: what the slowed recipe adds, and must be found.
struct KnownCost {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  Space space = Space::Kernel;
  std::uint64_t added = 0;  ///< Instructions in each operation.
  std::string function;     ///< Symbol that they were added to.
};

/// A tool that nobody here wrote measured the same thing: its numbers came in as an experiment too.
struct CrossCheckPlan {
  std::string tool;     ///< "stress-ng --exec".
  std::string foreign;  ///< Experiment with the tool's numbers.
  /// Experiment with the numbers of fewer operations of the same tool, that are taken off; empty:
  /// there is none, and the numbers have the tool's start in them.
  std::string start{};
  std::string ours;  ///< Experiment that it is compared with.
  /// Negative control: instructions that the slowed kernel has more in each call that ours is
  /// about; one operation of the tool has one such call or more. 0: nothing is slowed there.
  std::uint64_t slowed = 0;
};

struct Collected {
  Context context{};
  std::vector<Boot> boots{};
  /// Boots again with the kernel and seed of one in `boots`: each sample must be the same.
  std::vector<Boot> repeats{};
  std::vector<WatchedBoot> watched{};
  std::vector<KnownCost> known_costs{};  ///< Empty: no sensitivity control was asked for.
  std::vector<CrossCheckPlan> cross_checks{};
  bool interrupted = false;             ///< The user wanted an end before all was done.
  std::vector<std::string> failures{};  ///< Guests that crashed or hung, one sentence each.
};

}  // namespace sealvisor::bench
