// Every write to a system mapping, from the first time that a process shows it to the process's
// end: what it did, who made it, and whether user mode could see it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arch/any_format.h"
#include "vmm/event/event.h"
#include "vmm/model/space.h"
#include "vmm/report/lifetime.h"
#include "vmm/run/call_paths.h"
#include "vmm/seal/cause.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

class Lifetimes {
 public:
  /// Most writes whose outcome is open at a time. More is said, and makes the watch incomplete.
  static constexpr std::size_t kMostOpen = 65'536;
  /// Most groups of changes that are told apart.
  static constexpr std::size_t kMostGroups = 4'096;

  Lifetimes(const model::Identities& identities, CallPaths& paths)
      : identities_(identities), paths_(paths) {}

  /// The stack of the store that comes next.
  void on_stack(const event::Event& copy, const arch::Table& stack);
  /// What runs now, for the report: the name of a scenario.
  void set_scenario(const std::string& name) { scenario_ = name; }

  /// A SlotWrite, before the model takes it, with the changes that the model makes of it.
  /// `running`: the address space that the kernel runs for, 0 if none is known.
  void on_write(const arch::AnyFormat& format, const event::Event& event,
                const std::vector<model::MappingChange>& changes);
  /// A table frame is no more: what was written there and never seen stays unseen.
  void on_table_removed(arch::Frame frame);
  /// User mode is about to run in `space` (`entry`), or stands still there; `look` is what differs.
  void on_look(const model::AddressSpace& space, const model::Look& look, bool entry);
  /// The entry at `slot` turned out to show a page of `space` at a place that is not its own.
  void on_elsewhere(const model::AddressSpace& space, arch::Gpa slot);
  /// `space` ended; `placements` as they were at the last look.
  void on_end(std::uint64_t space, const std::vector<model::Placement>& placements);

  /// A store, `write`, that changed code of a system mapping.
  void on_content(const event::Event& write, const seal::Violation& violation);

  /// True if the violation is a change that is in the list: S1 to S6. What is wrong with it the
  /// list says.
  [[nodiscard]] static bool takes(const seal::Violation& violation);

  /// Whether any write had to be left out.
  [[nodiscard]] bool incomplete() const { return incomplete_; }
  [[nodiscard]] report::Lifetime finish();

 private:
  struct Open {
    model::MappingPage page;
    report::Effect effect{};
    std::size_t path = 0;
    std::string example;
    std::string scenario;
    bool first = false;  ///< The address space never ran with another page there.
    seal::CauseFacts cause;
  };
  /// What tells two groups of changes apart: mapping, effect, cause, by, path, Open::first.
  using Key = std::tuple<std::string, report::Effect, seal::Cause, std::string, std::size_t, bool>;
  struct Group {
    std::uint64_t writes = 0;
    std::uint64_t seen = 0;
    std::uint64_t undone = 0;
    std::uint64_t at_end = 0;
    std::set<std::uint64_t> spaces;
    std::map<std::string, std::uint64_t> scenarios;
    std::string example;
  };
  enum class Outcome : std::uint8_t { Seen, Undone, AtEnd };

  [[nodiscard]] report::Effect effect_of(const arch::AnyFormat& format, const event::Event& event,
                                         const model::MappingPage& page, unsigned level) const;
  [[nodiscard]] Open make(const event::Event& event, model::MappingPage page,
                          report::Effect effect);
  [[nodiscard]] bool room();
  void place(const model::AddressSpace& space);
  void close(std::uint64_t space, const Open& open, Outcome outcome);
  void close_unplaced(Open& open);
  [[nodiscard]] const seal::CauseFacts& facts(std::size_t path);
  [[nodiscard]] report::MappingLife& life_of(std::size_t mapping);
  [[nodiscard]] static bool in_life(report::Effect effect, seal::Cause cause, bool first,
                                    const Group& group);
  void judge(report::Lifetime& result) const;

  const model::Identities& identities_;
  CallPaths& paths_;
  std::optional<event::Event> stack_;  ///< Of the store that comes next.
  std::size_t stack_path_ = 0;
  /// Who took a page away last: what comes in its place then is that one's doing.
  std::map<std::tuple<std::uint64_t, std::size_t, std::uint32_t>, seal::CauseFacts> removers_;
  std::string scenario_ = "boot";
  std::map<std::uint64_t, std::vector<Open>> open_;                  // by space
  std::unordered_map<std::uint64_t, std::vector<Open>> unplaced_;    // by slot
  std::map<std::uint64_t, std::set<std::uint64_t>> unplaced_slots_;  // by table frame
  std::size_t open_count_ = 0;                                       ///< In both.
  std::unordered_map<std::size_t, seal::CauseFacts> facts_;
  std::map<Key, Group> groups_;
  std::map<std::string, report::MappingLife> lives_;
  std::set<std::pair<std::uint64_t, std::size_t>> showed_;  // (space, mapping)
  std::uint64_t writes_ = 0;
  std::uint64_t without_stack_ = 0;
  bool incomplete_ = false;
};

}  // namespace sealvisor::run
