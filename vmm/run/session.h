// The VMM's view of one run: takes events in order, keeps the model, judges, answers the doorbell.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vmm/event/event.h"
#include "vmm/image/symbol_listing.h"
#include "vmm/image/symbols.h"
#include "vmm/memory/memory.h"
#include "vmm/model/mirror.h"
#include "vmm/model/paging.h"
#include "vmm/model/space.h"
#include "vmm/model/table_copies.h"
#include "vmm/model/transients.h"
#include "vmm/run/announcements.h"
#include "vmm/run/call_paths.h"
#include "vmm/run/campaign.h"
#include "vmm/run/cells.h"
#include "vmm/run/code_watch.h"
#include "vmm/run/known.h"
#include "vmm/run/lifetimes.h"
#include "vmm/run/narrator.h"
#include "vmm/run/programs.h"
#include "vmm/run/recent_writes.h"
#include "vmm/run/run.h"
#include "vmm/run/sequences.h"
#include "vmm/run/stores.h"
#include "vmm/run/timelines.h"

namespace sealvisor::run {

/// What the session asks of the engine after a stop.
struct Commands {
  std::vector<arch::Frame> watch_content;  ///< All content frames to watch, old and new.
  std::optional<std::string> give_up;      ///< The guest broke the protocol: end it, for this.
};

class Session {
 public:
  /// `memory` and `symbols` (nullptr: none) must outlive the session.
  /// `listing`: where symbols go that the guest lists itself; nullopt: it is not asked for them.
  Session(const RunRequest& request, const memory::Memory& memory, const image::Symbols* symbols,
          std::optional<image::SymbolListing> listing = std::nullopt);

  /// One event, in order. The vCPU may be running.
  void on_event(const event::Event& event);
  /// A TableCopy with its content, in order.
  void on_table_copy(const event::Event& event, const arch::Table& table);
  /// A StackCopy with the stack, in order.
  void on_stack_copy(const event::Event& event, const arch::Table& stack);
  /// The vCPU waits behind `event` (Doorbell or RunEnd), which on_event has taken already.
  [[nodiscard]] Commands on_stopped(const event::Event& event);

  /// Told of each event behind on_event(), with the changes that it made to system mappings: for
  /// who lists events with what they mean.
  using Listener = std::function<void(const event::Event&, std::span<const model::MappingChange>)>;
  void listen(Listener listener) { listener_ = std::move(listener); }
  [[nodiscard]] const model::Spaces& spaces() const { return spaces_; }
  [[nodiscard]] const model::Identities& identities() const { return identities_; }
  [[nodiscard]] const CodeWatch& code() const { return code_; }
  /// Those that it was given, or that the guest listed; nullptr: there are none yet.
  [[nodiscard]] const image::Symbols* symbols() const { return symbols_; }
  /// The scenario that runs.
  [[nodiscard]] const std::string& where() const { return course_.where(); }

  /// Fills everything that the session knows into `run`. Precondition: the guest is gone, and
  /// run.ending.good, run.lane are set.
  void finish(report::Run& run);

  /// Whether the agent said goodbye.
  [[nodiscard]] bool finished() const { return bye_; }
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> first_message() const {
    return first_message_;
  }

 private:
  void on_user_entry(const event::Event& event);
  void on_root_load(const event::Event& event);
  /// The lower root that the vCPU of the event has loaded which is dealt with.
  [[nodiscard]] arch::Frame current_root() const {
    return current_roots_[vcpu_].value_or(arch::Frame{});
  }
  /// Re-walks what every vCPU has loaded, of that of the event the kernel's half too.
  void rewalk_loaded();
  /// Why nothing that a guest of several vCPUs does would count; nullopt: it counts.
  [[nodiscard]] std::optional<std::string> lacks_cpus(const protocol::Message& message) const;
  void check_vcpus(report::Run& run) const;
  /// Threads that race do so on all vCPUs, or the cell does not say what it seems to.
  void check_race(const model::AddressSpace& space);
  void on_doorbell(const event::Event& event, Commands& commands);
  void dispatch(const protocol::Message& message, const event::Event& event,
                model::AddressSpace& space);
  void on_hello(const protocol::Message& message);
  /// An item of the plan, or a program of the user's, came to its end.
  void item_done();
  void on_mappings_end(const protocol::Message& message, const event::Event& event,
                       model::AddressSpace& space);
  void on_fork_child(const protocol::Message& message, model::AddressSpace& space);
  void on_bystander(const protocol::Message& message, const model::AddressSpace& space);
  /// Bytes in which two frames differ; nullopt: one of them is not in guest memory.
  [[nodiscard]] std::optional<std::uint32_t> differing_bytes(arch::Frame one,
                                                             arch::Frame other) const;
  /// Compares what the agent says about its touches with the tables.
  void check_touches(const protocol::Touched& touched, const model::AddressSpace& space);
  /// Compares `sl` of the last announcement with what the recipe promises.
  void check_seals(bool compat);
  void check_identities(report::Run& run) const;
  void check_inheritance(const model::AddressSpace& space);
  /// Looks at the space of `root` and judges what changed there.
  model::AddressSpace* look(arch::Frame root, const event::Event& moment);
  void rewalk(const arch::TableReader& memory, arch::Frame root, arch::Scope scope);
  /// A search of the guest's tables ran out of its budget, which the report says. No other is made
  /// then, and the guest is ended at its next message: each would take a second, as often as a
  /// hostile guest likes, and nothing that it found would be whole.
  [[nodiscard]] bool exhausted() const;
  /// Compares what the engine copied at the load of `root` with the mirror.
  void rewalk_copies(arch::Frame root);
  void take_ended();
  [[nodiscard]] bool asks_for(std::string_view scenario) const;
  /// What the kernel has is known once its symbols are.
  void use_symbols();
  /// Every violation goes through here. `late`: Observation::late.
  void judged(seal::Violation violation, arch::Frame root = {},
              std::optional<std::uint64_t> late = std::nullopt);
  /// Who made it that `gva` is as it is in the space, since that was last looked at.
  [[nodiscard]] std::optional<event::Event> cause_of(const model::AddressSpace& space,
                                                     arch::Gva gva) const;
  /// Instructions of user mode in the address space of `root` between `cause` and `moment`: what
  /// ran in another one in between is not among them.
  [[nodiscard]] std::optional<std::uint64_t> lateness(const std::optional<event::Event>& cause,
                                                      arch::Frame root,
                                                      const event::Event& moment) const;
  /// Judges what the look at `space` found.
  void judge(const model::AddressSpace& space, const model::Look& seen, const event::Event& moment);
  /// Counts what was undone, and tells a campaign of that and of removals.
  void note_transients(const model::AddressSpace& space, const model::Look& seen,
                       const event::Event& moment);
  void on_campaign(const protocol::Campaign& message, const model::AddressSpace& space);
  void on_tampering(const protocol::Tampering& message, const model::AddressSpace& space);
  void on_piece(const protocol::Piece& piece, const model::AddressSpace& space);
  void on_symbols(const protocol::Piece& piece, const std::string& text);
  void on_process(const protocol::Process& process, const event::Event& event);
  /// Messages about the user's programs.
  void on_program(const protocol::Message& message, const event::Event& event,
                  const model::AddressSpace& space);
  void on_tamper(const protocol::Tamper& tamper, const model::AddressSpace& space);
  void on_sequence(const protocol::Message& message, const model::AddressSpace& space);
  void on_store_block(const protocol::StoreBlock& block);
  /// What a frame holds that is code of a system mapping.
  [[nodiscard]] std::optional<StoreControl::Bytes> code_bytes(arch::Frame frame) const;
  /// Kernel text as the unwinder reads it.
  [[nodiscard]] KernelCode kernel_code();
  void finish_lifetime(report::Run& run);
  void finish_controls(const report::Run& run);
  void finish_timelines(report::Run& run);
  void find_kernel_range();
  /// Whether `text` is to be read at `address` under `root`. True if there is no address.
  [[nodiscard]] bool shows(arch::Frame root, std::optional<std::uint64_t> address,
                           std::string_view text) const;
  /// Puts the kernel's own root in the place of one that does not show it whole, which is where its
  /// banner and its data are. False: no root does that was loaded, and this one not even the
  /// banner.
  [[nodiscard]] bool choose_kernel_root(arch::Frame& root, std::optional<std::uint64_t> banner,
                                        std::optional<std::uint64_t> data);
  /// With page-table isolation: the kernel's own root beside the one that user mode runs on now.
  [[nodiscard]] std::optional<arch::Frame> kernel_root() const;
  [[nodiscard]] Totals totals() const;
  [[nodiscard]] arch::Frame code_root(const event::Event& event) const;

  const RunRequest& request_;
  const memory::Memory& memory_;
  const image::Symbols* symbols_;
  std::optional<image::SymbolListing> listing_;
  std::optional<image::SymbolTable> listed_;  ///< What came of it.
  model::Mirror mirror_;
  model::TableCopies copies_;
  model::Identities identities_;
  model::Spaces spaces_;
  model::Transients transients_;
  RecentWrites recent_;
  Announcements announcements_;
  Narrator narrator_;
  Programs programs_;
  Course course_;
  StoreControl stores_;
  StoreControl code_stores_;
  CodeWatch code_;
  std::optional<TamperControl> tampering_;
  std::optional<CampaignControl> campaign_;
  std::optional<Timelines> timelines_;
  std::uint64_t now_ = 0;  ///< icount of the event that is dealt with.
  EntryControl entries_;
  Sequences sequences_;
  /// Only where every change is listed.
  std::optional<CallPaths> call_paths_;
  std::optional<Lifetimes> lifetimes_;
  arch::Frame text_root_{};  ///< Under which kernel text is read.
  std::unordered_map<std::uint64_t, std::optional<arch::Gpa>> text_pages_;
  report::Counts counts_;
  Totals totals_;
  std::map<std::uint64_t, model::AddressSpace> fork_parents_;       // by token, at the fork
  std::unordered_map<std::uint64_t, std::uint64_t> fork_children_;  // space id -> token
  /// Lower roots by vCPU; nullopt: none was told yet.
  std::array<std::optional<arch::Frame>, event::kMostVcpus> current_roots_;
  std::size_t vcpu_ = 0;  ///< Of the event that is dealt with.
  /// Times that user mode was judged on each vCPU.
  std::array<std::uint64_t, event::kMostVcpus> entries_by_vcpu_{};
  bool writers_are_told_ = false;  ///< Some store came with who made it.
  /// Loaded last, newest first, each once; arm64: of the upper half.
  static constexpr std::size_t kRecentRoots = 8;
  std::vector<arch::Frame> recent_roots_;
  /// Page-table isolation was found: the root that showed the kernel when user mode's did not.
  std::optional<arch::Frame> isolated_;
  std::string release_;
  std::string first_mismatch_;
  bool rewalk_exhausted_ = false;
  std::string paging_refused_;
  std::string no_symbols_ = "none: functions are addresses";
  std::optional<std::chrono::steady_clock::time_point> first_message_;
  std::optional<event::Event> run_end_;
  std::set<event::Limit> limits_;
  std::size_t items_done_ = 0;
  bool bye_ = false;
  Listener listener_;
};

}  // namespace sealvisor::run
