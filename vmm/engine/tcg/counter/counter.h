// The counting plugin: guest instructions by place of code, sample by sample, for benchmarks.
//
// Until the guest's agent has said where this boot put the kernel and the vdso, nothing is counted:
// only stores of user mode are looked at, for the doorbell. Then all translated code is thrown
// away, and from there on each instruction adds one to the counter of its place before it runs. An
// instruction that faults and is run again is counted each time that it is begun.
//
// Exact, and the same in each run of the same guest: QEMU's icount decides when anything happens.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/engine/tcg/plugin/channel.h"
#include "vmm/engine/tcg/plugin/options.h"
#include "vmm/engine/tcg/plugin/qemu_api.h"
#include "vmm/engine/tcg/plugin/registers.h"
#include "vmm/event/count_table.h"

namespace sealvisor::engine::tcg {

/// One for the process: QEMU calls it through static functions. All calls come from the vCPU's
/// thread but the end.
class Counter {
 public:
  /// `memory` is what `table` views.
  Counter(qemu_plugin_id_t id, const PluginOptions& options, Mapping memory, Channel channel);

  void on_vcpu_init(unsigned vcpu);
  void on_translate(qemu_plugin_tb* tb);
  /// The last event of the run.
  void end();

 private:
  static void store_callback(unsigned vcpu, qemu_plugin_meminfo_t info, std::uint64_t vaddr,
                             void* pc);

  void register_callbacks();
  void on_store(std::uint64_t pc, qemu_plugin_meminfo_t info, std::uint64_t vaddr);
  void on_message(std::uint64_t pc, std::uint64_t offset, std::uint32_t bytes, std::uint64_t value);
  void on_mark(std::uint64_t word);
  void end_sample();
  /// The counter of the instruction `insn`.
  [[nodiscard]] std::uint32_t counter_of(const qemu_plugin_insn* insn);
  [[nodiscard]] std::optional<std::uint32_t> vdso_place(const qemu_plugin_insn* insn);
  [[nodiscard]] const std::uint64_t* counts() const;

  qemu_plugin_id_t id_;
  PluginOptions options_;
  Mapping memory_;
  event::CountTable table_;
  Channel channel_;
  std::optional<Registers> registers_;
  qemu_plugin_scoreboard* counters_ = nullptr;
  bool counting_ = false;
  std::vector<std::uint64_t> at_begin_;
  bool in_sample_ = false;
  /// Pages of user code by where QEMU holds them, with their place in the vdso or kNotVdso. A page
  /// of the vdso is one of the kernel's image and never becomes anything else.
  std::unordered_map<std::uint64_t, std::uint64_t> vdso_pages_;
  static constexpr std::uint64_t kNotVdso = ~std::uint64_t{0};

  static inline Counter* only_ = nullptr;
};

}  // namespace sealvisor::engine::tcg
