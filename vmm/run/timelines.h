// What becomes of the system mappings of each process: its timeline, for the report.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "vmm/model/space.h"
#include "vmm/report/report.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

/// Collects moments as they come, as numbers; what they mean is told at the end, of those that are
/// kept. Of the many processes that nothing happens to, between installation and exit, some are
/// kept to look at and the rest are counted.
class Timelines {
 public:
  /// `identities` must outlive this.
  explicit Timelines(const model::Identities& identities) : identities_(identities) {}

  /// A scenario began, or something between scenarios.
  void scenario(std::string name);
  /// The process of `space` is the victim of a cell, or was forked from it meanwhile.
  void victim(std::uint64_t space, std::uint32_t cell);
  /// A write, before anyone has looked at what it did.
  void written(const arch::AnyFormat& format, const model::MappingChange& change);
  /// `look` is what was found in `space` just now, at `icount`, and user mode is about to run
  /// there. `format`: its paging.
  void looked(const arch::AnyFormat& format, const model::AddressSpace& space,
              const model::Look& look, std::uint64_t icount);
  /// A second translation, and the entry that makes it.
  void elsewhere(std::uint64_t space, const model::Elsewhere& found, arch::Gpa slot,
                 std::uint64_t icount);
  void broken(const seal::Violation& violation, std::uint64_t icount);
  void ended(const model::SpaceEnd& end, std::uint64_t icount);

  /// Turns a write into words.
  using Tell = std::function<report::EntryChange(const model::MappingChange&)>;
  /// Fills run.processes and run.processes_left_out. Once, when the guest has ended.
  void finish(report::Run& run, const Tell& tell);

  /// Processes without a change that are kept of one scenario, and of all together: those that
  /// changed need room too, and may come last.
  static constexpr std::uint32_t kMostUnchanged = 16;
  static constexpr std::size_t kMostUnchangedInAll = report::kMostProcesses / 2;
  /// Most moments that are held of all processes, and most writes that nobody has looked for yet.
  static constexpr std::size_t kMostHeld = 20'000;
  static constexpr std::size_t kMostPending = 4'096;

 private:
  struct Item {
    report::MomentKind kind{};
    report::Phase phase{};
    bool transient = false;
    bool told = false;         ///< Whether there is a write behind it.
    std::uint64_t icount = 0;  ///< Of the moment.
    model::MappingPage page;
    arch::Gva gva{};
    unsigned level = 0;
    event::Event write{};
    std::string text;
  };
  struct Placed {
    std::size_t mapping = 0;
    arch::Gva base{};
    std::vector<bool> populated;
  };
  struct Held {
    report::Process process;  ///< Without mappings and timeline.
    std::vector<Placed> placed;
    std::vector<Item> items;
    std::size_t looked_at = 0;  ///< Items up to the last look.
    bool written_to = false;    ///< Since then, with a page populated: held or left out.
  };

  [[nodiscard]] Held* find(std::uint64_t space);
  Held& hold(const model::AddressSpace& space);
  void add(Held& held, Item item);
  [[nodiscard]] bool is_populated(const Held& held, model::MappingPage page) const;
  /// Gives `item` the write to `slot` that nobody has asked for yet, if there is one.
  void take_pending(Item& item, arch::Gpa slot);
  void place(Held& held, const model::AddressSpace& space, std::uint64_t icount);
  void change_page(Held& held, const arch::AnyFormat& format, const model::AddressSpace& space,
                   const model::PageTransition& transition, std::uint64_t icount);
  /// User mode does not run there again: what came since the last look belongs to its exit.
  static void leave(Held& held);
  void keep(Held held);
  [[nodiscard]] report::Process told(Held& held, const Tell& tell) const;
  [[nodiscard]] report::Moment told(const Item& item, const Tell& tell) const;

  const model::Identities& identities_;
  std::string scenario_ = "boot";
  std::uint32_t unchanged_ = 0;  ///< Processes of this scenario that are kept without a change.
  std::size_t unchanged_in_all_ = 0;
  std::map<std::uint64_t, Held> live_;
  std::vector<Held> kept_;
  std::size_t held_items_ = 0;
  report::ProcessesLeftOut left_out_;
  /// Writes that made an entry show a system mapping's frame, by the entry: whose process it is in
  /// shows when it is looked at.
  std::unordered_map<std::uint64_t, model::MappingChange> pending_;
};

}  // namespace sealvisor::run
