// The exact monitor inside QEMU: turns translated instructions, stores and root loads into events.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
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

/// One vCPU's monitor, of which there is one in a process and which is never destroyed (plugin.cc).
/// All calls come from that vCPU's thread, except end().
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

  void on_store(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t vaddr);
  void store_part(const Site& site, std::uint64_t phys, std::uint32_t bytes, std::uint32_t whole,
                  std::uint32_t part, std::uint32_t parts);
  /// Whether this store is the one that the control `drop` makes the monitor miss.
  [[nodiscard]] bool misses(const Site& site, arch::Frame frame);
  /// A store whose place QEMU could not tell: said once, for it makes the watch incomplete.
  void note_untranslated(const Site& site);
  void on_doorbell(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t phys);
  void on_special(const Site& site);
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
  void obey();
  void sync_cache();
  void arm() { qemu_plugin_u64_set(armed_, 0, 1); }
  [[nodiscard]] std::uint64_t icount(const Site& site) const;
  /// Instructions that user mode has begun, up to and with the site's.
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
  std::optional<Registers> registers_;
  std::optional<model::PagingRegisters> paging_;
  PageCache cache_;
  std::uint64_t seen_changes_ = 0;
  std::uint64_t seen_upper_changes_ = 0;
  std::uint64_t lower_root_ = 0;  // raw registers, as last loaded
  std::uint64_t upper_root_ = 0;
  bool paging_stale_ = true;
  bool unjudged_ = false;  ///< Disarmed before user mode ran: to be armed when it may run next.
  bool untranslated_noted_ = false;
  bool user_ran_ = false;  ///< Before that, low addresses are those of a kernel that boots.
  std::optional<PendingZero> pending_zero_;
  std::uint64_t slow_stores_ = 0;
  std::uint64_t watched_stores_ = 0;
  qemu_plugin_u64 icount_{};
  qemu_plugin_u64 user_icount_{};  ///< The same, of blocks at user addresses.
  qemu_plugin_u64 armed_{};
  std::deque<Site> sites_;  // addresses are handed to QEMU, which may call back at any later time
};

}  // namespace sealvisor::engine::tcg
