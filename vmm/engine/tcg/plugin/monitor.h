// The exact monitor inside QEMU: turns translated instructions, stores and root loads into events.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>

#include "arch/instructions.h"
#include "vmm/engine/tcg/plugin/channel.h"
#include "vmm/engine/tcg/plugin/options.h"
#include "vmm/engine/tcg/plugin/page_cache.h"
#include "vmm/engine/tcg/plugin/registers.h"
#include "vmm/engine/tcg/plugin/witness.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::engine::tcg {

/// Guest RAM as the plugin maps it: the same memory file that QEMU uses.
class RamView final : public arch::TableReader {
 public:
  RamView(Mapping mapping, Fd fd, arch::Gpa base)
      : mapping_(std::move(mapping)), fd_(std::move(fd)), base_(base) {}
  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;
  /// False: not all of it is RAM.
  [[nodiscard]] bool read(arch::Gpa gpa, std::span<std::byte> bytes) const;
  [[nodiscard]] model::RamRange range() const {
    return {arch::frame_of(base_), mapping_.size() >> arch::kPageShift};
  }
  [[nodiscard]] const Mapping& mapping() const { return mapping_; }
  [[nodiscard]] const Fd& fd() const { return fd_; }

 private:
  Mapping mapping_;
  Fd fd_;
  arch::Gpa base_;
};

/// The monitor of all vCPUs, of which there is one in a process and which is never destroyed
/// (plugin.cc). All calls but end() come from the thread that runs the vCPUs in turn (`-accel
/// tcg,thread=single`), so that what happens has one order, and a call that waits stops them all.
///
/// Each vCPU has roots of its own. What a store changed concerns all of them: user mode of another
/// vCPU may be what runs next, and is judged then.
///
/// Which of several vCPUs calls back QEMU does not tell (which_vcpu.h), and what it counts for each
/// in translated code goes wrong then: it writes over a constant of that code (QEMU 10.0:
/// accel/tcg/plugin-gen.c, gen_plugin_u64_ptr). So with several each block calls back to be
/// counted, and vCPUs are told apart by their registers.
///
/// What it relies on, and where that ends, is in docs/lanes.md ("tcg"): every store instruction
/// calls back after the store (those that arch::never_stores() names are not asked); `dc zva` does
/// not: it is hooked, and what it did is read from memory afterwards; pushes that the CPU makes for
/// interrupts, and accessed/dirty updates of the table walker, do not call back.
class Monitor {
 public:
  Monitor(const PluginOptions& options, RamView ram, Channel channel);

  void on_vcpu_init(unsigned vcpu);
  void on_translate(qemu_plugin_tb* tb);
  /// All translated code is gone: nothing calls back with what it was given.
  void on_flush();
  /// Tells the VMM that no more events come, and waits until it has read all.
  void end();

 private:
  /// What a callback needs to know about the instruction that it was registered for.
  struct Site {
    std::uint64_t pc;
    std::uint32_t behind;  ///< Instructions of its block that come after it.
    arch::InstructionFacts facts;
  };

  /// A root register of a vCPU.
  struct LoadedRoot {
    std::uint64_t raw = 0;  ///< As last loaded.
    bool told = false;      ///< The tracker knows of it.
  };

  /// What is known of one vCPU.
  struct Vcpu {
    std::optional<model::PagingRegisters> paging;  ///< As last read.
    bool paging_stale = true;
    /// Its registers select the format that tables are decoded with. That is the one of the first
    /// vCPU, or of whose user mode runs before that one is asked again; another passes through
    /// states of its own while it comes up.
    bool in_format = false;
    LoadedRoot lower;
    LoadedRoot upper;
    bool unjudged = false;  ///< Disarmed before user mode ran: to be armed when it may run next.
    bool user_ran = false;  ///< Before that, low addresses are those of a kernel that boots.
    std::uint64_t own = 0;  ///< Of several: Registers::own_word().
  };

  /// A `dc zva` to a watched frame of which it is not yet known whether it stored.
  struct PendingZero {
    arch::Gpa gpa{};  ///< The byte that it addresses.
    model::StoreSource source;
  };

  /// Passes records on, and tells the witness what it must know.
  struct Sink final : model::EventSink {
    explicit Sink(Channel& to) : channel(to) {}
    void emit(const event::Event& event) override;
    Channel& channel;
    Witness* witness = nullptr;
    Monitor* stacks = nullptr;  ///< Tells the stack of each store that counts; null: nobody does.
  };

  static void store_callback(unsigned vcpu, qemu_plugin_meminfo_t info, std::uint64_t vaddr,
                             void* site);
  static void special_callback(unsigned vcpu, void* site);
  static void after_zero_callback(unsigned vcpu, void* site);
  static void user_entry_callback(unsigned vcpu, void* site);
  static void block_callback(unsigned vcpu, void* site);
  static void judged_block_callback(unsigned vcpu, void* site);

  [[nodiscard]] bool several() const { return options_.vcpus > 1; }
  /// Finds out which vCPU calls back. Precondition: the callback may read registers, or there is
  /// one vCPU.
  void identify();
  /// Counts a block, of several vCPUs.
  void count_block(const Site& block);
  [[nodiscard]] Vcpu& vcpu() { return vcpus_[now_]; }
  [[nodiscard]] const Vcpu& vcpu() const { return vcpus_[now_]; }
  /// `vaddr` is not watched: remember it, if that is so on each vCPU.
  void remember(std::uint64_t vaddr);
  void on_store(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t vaddr);
  void store_part(const Site& site, std::uint64_t phys, std::uint32_t bytes, std::uint32_t whole,
                  std::uint32_t part, std::uint32_t parts);
  /// Whether this store is the one that the control `drop` makes the monitor miss.
  [[nodiscard]] bool misses(const Site& site, arch::Frame frame);
  void on_doorbell(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t phys);
  void on_special(const Site& site);
  void on_root_load(const Site& site);
  void on_zero_block(const Site& site);
  /// Reports the `dc zva` that is pending, unless it faulted. Called before anything that could
  /// report another store, or watch another frame. `bytes` at `gpa` were stored since.
  void settle_zero(arch::Gpa gpa = {}, std::uint64_t bytes = 0);
  void on_user_entry(const Site& site);
  /// User mode stored to a watched frame: it is judged before its next instruction. An instruction
  /// that stores in several operations is judged after each; only tampering does either.
  void judge_own_store(const Site& site);
  void judge_own_store(const model::StoreSource& source);
  void load_root(const Site& site, std::uint64_t raw, arch::Half half);
  /// Copies the tables of the user half of the root that was just loaded, for the VMM to compare.
  void copy_tables(const event::Event& root_load);
  /// Copies the kernel's stack for the store that `write` tells of.
  void copy_stack(const event::Event& write);
  void read_paging(const Site& site);
  /// From here on tables are decoded as the vCPU that runs does. Precondition: read_paging().
  void decode_as_now(const Site& site);
  /// Whether the tables that this vCPU uses can be followed.
  [[nodiscard]] bool in_format() const { return tracker_.format() && vcpu().in_format; }
  /// The tracker has dropped all roots: each vCPU's are told again.
  void forget_roots();
  void note_once(event::Limit limit, const Site& site);
  void obey();
  void sync_cache();
  /// The next block of user mode is judged, on whichever vCPU.
  void arm();
  /// The vCPU that runs has been judged, or need not be.
  void disarm();
  /// Whether the vCPU that runs is armed, and by whom: 1, or Witness::kWanted.
  [[nodiscard]] std::uint64_t armed() const;
  /// Instructions begun, of all blocks.
  [[nodiscard]] std::uint64_t instructions() const;
  [[nodiscard]] std::uint64_t icount(const Site& site) const;
  /// Instructions that user mode has begun, up to and with the site's, on all vCPUs.
  [[nodiscard]] std::uint64_t user_instructions(const Site& site) const;
  [[nodiscard]] model::StoreSource source(const Site& site) const;
  [[nodiscard]] event::Event stamp(event::Kind kind, const Site& site) const;

  // QEMU hands a callback one pointer, which is the site's.
  static inline Monitor* only_ = nullptr;

  PluginOptions options_;
  RamView ram_;
  Channel channel_;
  Sink sink_;
  model::TableTracker tracker_;
  std::unique_ptr<Witness> witness_;
  /// Handles are the same for all vCPUs: what is read is of the one that runs.
  std::optional<Registers> registers_;
  std::array<Vcpu, event::kMostVcpus> vcpus_;
  PageCache cache_;   ///< Of several vCPUs: pages of the upper half only, which they share.
  unsigned now_ = 0;  ///< The vCPU that runs.
  std::uint64_t seen_changes_ = 0;
  std::uint64_t seen_upper_changes_ = 0;
  std::set<event::Limit> noted_;
  std::optional<PendingZero> pending_zero_;
  std::uint64_t slow_stores_ = 0;
  std::uint64_t watched_stores_ = 0;
  qemu_plugin_u64 icount_{};       ///< Of one vCPU, as the two below.
  qemu_plugin_u64 user_icount_{};  ///< The same, of blocks at user addresses.
  qemu_plugin_u64 armed_{};
  std::uint64_t all_icount_ = 0;  ///< Of several, as the two below.
  std::uint64_t all_user_icount_ = 0;
  std::array<std::uint64_t, event::kMostVcpus> armed_words_{};  ///< The witness writes to them.
  std::deque<Site> sites_;  // addresses are handed to QEMU, which may call back at any later time
};

}  // namespace sealvisor::engine::tcg
