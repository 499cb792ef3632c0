// The narrow waist between an engine, which runs a guest and observes it, and what judges it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "arch/walk.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/memory/guest_memory.h"

namespace sealvisor::engine {

/// What runs the guest.
enum class Kind : std::uint8_t {
  Tcg,  ///< QEMU with TCG and our plugin inside; any architecture on any host.
  Kvm,  ///< Our own machine on /dev/kvm; the host's architecture.
};
/// "tcg" or "kvm".
[[nodiscard]] const char* name_of(Kind kind);

/// How kvm sees what is written to page tables.
enum class Mechanism : std::uint8_t {
  Best,     ///< Exact where the host allows it, else Audited.
  Exact,    ///< Each store to a followed table, with its instruction.
  Audited,  ///< What differs whenever user mode is about to run.
};
/// "best", "exact" or "audited".
[[nodiscard]] const char* name_of(Mechanism mechanism);

/// Where the doorbell page is, the same for all engines: no memory, and nothing else answers.
/// QEMU has virtio-mmio transports there without a device behind them, and ignores stores to those
/// (hw/virtio/virtio-mmio.c, virtio_mmio_write, "if (!vdev)"). x86-64: include/hw/i386/microvm.h,
/// VIRTIO_MMIO_BASE. arm64: hw/arm/virt.c, VIRT_MMIO.
[[nodiscard]] arch::Gpa doorbell_of(arch::Arch arch);

/// What to boot and within which bounds. Paths must exist; the caller has checked the images.
struct EngineConfig {
  arch::Arch arch{};
  std::filesystem::path kernel;
  std::filesystem::path initramfs;
  std::string kernel_arguments;                 ///< Appended to those that the engine needs itself.
  std::string cpu_model;                        ///< tcg; empty: the default for the architecture.
  unsigned vcpus = 1;                           ///< tcg: up to event::kMostVcpus, in turn; kvm: 1.
  std::filesystem::path plugin;                 ///< tcg: the monitor.
  std::chrono::milliseconds deadline{120'000};  ///< Wall time for the whole guest.
  std::uint64_t console_limit = 4ULL << 20;     ///< Bytes; more is a flood.
  Mechanism mechanism = Mechanism::Best;        ///< kvm.
  bool watch = true;                            ///< False: no interception (benchmark only).
  /// kvm without interception: doorbell messages go to the observer all the same, each with the
  /// guest's registers before it.
  bool messages = false;
  /// kvm: the CPU of the host that the vCPU's thread is bound to, and no other thread of the engine
  /// if there is another CPU. nullopt: the host's scheduler decides.
  std::optional<unsigned> pin_cpu;
  bool plugin_loaded = true;  ///< False: not even the plugin (benchmark only).
  bool witness = false;
  std::uint64_t seed = 1;  ///< tcg: of everything that QEMU draws at random.
  /// The guest's kernel places itself and its processes at random. tcg: by `seed`. kvm on arm64:
  /// the kernel by `seed`. kvm on x86-64: by what the guest's CPU draws, which nobody can choose.
  bool random_layout = false;
  /// tcg with the counting plugin: the memory of its table of places (event/count_table.h), open as
  /// long as the engine; -1: the monitor is the plugin.
  int count_fd = -1;
  std::uint64_t count_bytes = 0;
  /// tcg: of the stores from this instruction on, one is missed (options.h of the plugin). A
  /// control.
  std::uint64_t drop_store = 0;
  /// tcg: tell the kernel's stack with each of its stores to a table of user mode, or to the code
  /// of a system mapping (event::Kind::StackCopy). Slow.
  bool stacks = false;
  /// kvm: count entries to user mode by single step too, in samples (Outcome::stepped).
  bool step_check = false;
  /// kvm: the return to user mode of this number, counted from 1, gets no trap. A control.
  std::uint32_t leave_return = 0;
  /// Called once in run(), before the guest runs: `kernel` and `initramfs` are in its memory, and
  /// are not read again. Empty: nobody wants to know. kvm only.
  std::function<void()> loaded;
  bool interactive = false;  ///< Console on the caller's terminal, and to on_console too.
  /// interactive: input that does not come from a terminal waits until the console has shown this,
  /// and its end is passed on as Ctrl-D. Empty: neither.
  std::string console_ready;
};

/// What the consumer asks for after the vCPU was stopped.
struct StopReply {
  std::vector<arch::Frame> watch_content;
  std::optional<std::string> give_up;  ///< End the guest now; the reason.
};

/// Gets what the engine observes. All calls come from one thread, in order, while run() has not
/// returned; with Kvm that thread may open no files.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Events in the order in which they happened, but for TableCopy. The vCPU may be running
  /// meanwhile.
  virtual void on_events(std::span<const event::Event> events) = 0;
  /// `event`, a TableCopy, in its place among the others, with what it copied.
  virtual void on_table_copy(const event::Event& event, const arch::Table& table) = 0;
  /// `event`, a StackCopy, in its place among the others, with the stack (EngineConfig::stacks).
  virtual void on_stack_copy(const event::Event& /*event*/, const arch::Table& /*stack*/) {}
  /// The vCPU waits behind `event`, which on_events has been given already.
  [[nodiscard]] virtual StopReply on_stopped(const event::Event& event) = 0;
  virtual void on_console(std::span<const char> bytes) = 0;
};

/// What the engine did, in numbers, for the report.
struct Cost {
  std::string name;  ///< "exits: doorbell".
  std::uint64_t count = 0;
  double microseconds = 0;  ///< In all, from an exit to the next entry; 0: not measured.
};

/// Entries to user mode that were counted by single step.
struct StepCount {
  std::uint64_t instructions = 0;
  std::uint64_t entries = 0;
  std::uint64_t untrapped = 0;  ///< Of these, the ones that no trap told.
};

/// How the vCPU's thread was kept to one CPU.
struct Pinned {
  unsigned cpu = 0;
  std::uint64_t preempted = 0;  ///< Times that another thread of the host took that CPU from it.
};

/// What the guest's start cost.
struct StartCost {
  /// CPU of the threads of run(), user and system, up to the guest's first instruction; tcg:
  /// without QEMU's.
  double cpu_seconds = 0;
  /// kvm: exits by kind, from the first KVM_RUN up to the first doorbell message, which is the last
  /// of them. nullopt: tcg, or the guest never rang.
  std::optional<std::vector<Cost>> exits;
  /// Instructions that the guest had run at its first doorbell message. nullopt: nobody counted
  /// them, or the guest never rang.
  std::optional<std::uint64_t> instructions;
};

/// How a run ended.
enum class End : std::uint8_t {
  GuestReset,  ///< The guest reset or powered off, as the agent does.
  GaveUp,      ///< The observer asked for it.
  Deadline,
  ConsoleFlood,
  GuestCrashed,  ///< The guest can't go on: a triple fault, an instruction that KVM can't emulate.
  EngineDied,    ///< Killed by a signal, or exited with an error after it had started.
  Interrupted,   ///< SIGINT or SIGTERM to us.
  RingBroken,    ///< The event ring's indices made no sense.
};
[[nodiscard]] const char* name_of(End end);

struct Outcome {
  End end = End::EngineDied;
  std::string text;  ///< For people: signal, exit status, the engine's last words.
  double wall_seconds = 0;
  double engine_cpu_seconds = 0;    ///< User + system of the engine's process.
  bool quit = false;                ///< Interrupted: by the person at the console, who typed it.
  std::string version;              ///< Of the engine: "QEMU 10.0.2".
  std::string cpu_model;            ///< The one in use.
  std::string lane = "exact";       ///< "exact" or "audited": what the watch can promise.
  std::string mechanism;            ///< What the watch rests on, for people; tcg: empty.
  std::vector<std::string> limits;  ///< What this engine could not watch in this run.
  std::vector<Cost> costs;
  std::optional<StepCount> stepped;  ///< Where EngineConfig::step_check asked for it.
  std::optional<Pinned> pinned;      ///< Where EngineConfig::pin_cpu asked for it.
  StartCost start;
  std::chrono::steady_clock::time_point started{};
};

/// Runs one guest. One use: create, run, destroy.
class Engine {
 public:
  virtual ~Engine() = default;
  /// RAM of the guest; valid as long as the engine.
  [[nodiscard]] virtual const memory::GuestMemory& memory() const = 0;
  /// Boots and runs to the end. An Error means that no guest ran, or, if the observer was called,
  /// that it could not be served to its end: the observer threw.
  [[nodiscard]] virtual Result<Outcome> run(Observer& observer) = 0;
};

/// QEMU with TCG and our plugin inside. Checks the host first: an Error names what is missing.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_tcg_engine(const EngineConfig& config,
                                                              std::uint64_t memory_bytes);

/// Our own machine on /dev/kvm. Checks the host first, without running anything on it: an Error
/// names what is missing.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_kvm_engine(const EngineConfig& config,
                                                              std::uint64_t memory_bytes);

}  // namespace sealvisor::engine
