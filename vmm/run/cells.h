// The course of a run as the agent tells it: scenarios, cells, forks. Decides what was observed
// when.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"
#include "vmm/seal/guest.h"
#include "vmm/seal/observe.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

/// Most changes that are kept in full for one cell; the rest are counted.
inline constexpr std::size_t kMostChanges = 64;
/// Bounds on what a hostile guest can make the VMM keep; what is past one is said, and not kept.
inline constexpr std::size_t kMostFindings = 1000;
inline constexpr std::size_t kMostViolations = 10'000;  ///< Of one cell.

/// Totals at one moment; a scenario is the difference of two.
struct Totals {
  std::uint64_t spaces = 0;
  std::uint64_t user_entries = 0;
  std::uint64_t violations = 0;
  std::uint64_t pages_kept = 0;
  std::uint64_t refaults = 0;
  std::uint64_t unobserved = 0;
  std::uint64_t teardowns = 0;
  std::uint64_t inherited = 0;
};

/// The cell in progress.
struct ActiveCell {
  report::Cell cell;
  std::uint64_t space = 0;
  std::optional<std::size_t> mapping;
  std::optional<seal::Snapshot> before;
  std::optional<seal::Snapshot> after;
  std::optional<seal::Snapshot> in_child;  ///< In a child that was forked behind the operation.
  std::set<std::uint64_t> children;        ///< Their spaces.
  seal::PageRange target;                  ///< Pages that the operation was asked to change.
  bool enclosed = false;  ///< Other system mappings lie right in front of it and right behind.
  bool touched_before = false;
  bool touched_after = false;
  std::uint64_t bystander_start = 0;     ///< Where the victim's own pages are; 0: not told yet.
  std::vector<std::uint64_t> bystander;  ///< Their entries, before.
  bool bystander_ended = false;
  std::uint32_t bystander_hits = 0;  ///< Those that were others afterwards.
  std::vector<seal::Violation> violations;
  /// Whether anything was done or seen that a skip can't take back.
  [[nodiscard]] bool begun() const { return before || cell.claim.made || !violations.empty(); }
};

/// Tracks the cell and scenario in progress and fills their report rows.
class Course {
 public:
  Course(const RunRequest& request, const model::Identities& identities);

  /// A violation was judged: it belongs to the cell in progress if it is of the cell's mapping in
  /// the victim's address space, else it is a finding of its own.
  void violation(const seal::Violation& violation);
  /// Whether a change in `space` is to be told in full: the space is the victim's and the bound on
  /// kept changes is not reached. Counts those past the bound.
  [[nodiscard]] bool wants_change(std::uint64_t space);
  /// Precondition: wants_change() just said so.
  void change(report::EntryChange change);
  /// The entry at `slot` turned out to translate `gva`: a write that made a new translation is
  /// reported before anyone knows where it shows.
  void found_at(arch::Gpa slot, arch::Gva gva);
  /// The same thing again is one finding, with how often it came.
  void finding(std::string invariant, const std::string& what, std::string text);

  /// Messages. `space` is the address space that the sender runs on, just looked at; the caller
  /// has already judged what the look found.
  void scenario_begin(const protocol::Scenario& scenario, const Totals& totals);
  void scenario_end(const protocol::Scenario& scenario, const Totals& totals);
  /// `claim`: how the sender announced the mapping, if it did.
  void cell_begin(const protocol::Message& message, const model::AddressSpace& space,
                  const std::optional<protocol::MappingClaim>& claim);
  void before(const protocol::Message& message, const model::AddressSpace& space);
  void after(const protocol::Message& message);
  void touched(const protocol::Message& message, const model::AddressSpace& space);
  /// Whether the message, of `space`, is one that the cell in progress may have, each once: its
  /// pages in front of Before, the same ones behind After. If not that is a finding.
  [[nodiscard]] bool expects_bystander(const protocol::Message& message,
                                       const model::AddressSpace& space);
  /// `entries`: what the tables of the sender hold for each page of the message. Precondition:
  /// expects_bystander().
  void bystander(const protocol::Message& message, std::vector<std::uint64_t> entries);
  /// The process of `child` was forked from that of `parent`: what happens to a child of the victim
  /// belongs to the cell.
  void forked(std::uint64_t parent, std::uint64_t child);
  void cell_end(const protocol::Message& message);

  /// Cells of the plan that never came, as unobserved rows; findings sorted in.
  void finish(report::Run& run);

  /// Whether the guest has protection keys on: some expectations depend on it.
  void set_protection_keys(bool on) { guest_.protection_keys = on; }
  [[nodiscard]] bool protection_keys() const { return guest_.protection_keys; }
  /// How frames are compared; without it no frame counts as a copy of another.
  void set_compare(seal::CompareFrames compare) { compare_ = std::move(compare); }
  /// Whether the guest's kernel has a function of that name; without it nothing is known.
  void set_kernel_has(std::function<bool(std::string_view)> has) { kernel_has_ = std::move(has); }
  /// Whether `space` is the victim's, behind Before, or that of a child that it forked since.
  [[nodiscard]] bool concerns(std::uint64_t space) const;
  [[nodiscard]] std::uint64_t violations() const { return violations_; }
  /// Space of the victim while its operation is under way.
  [[nodiscard]] std::optional<std::uint64_t> victim() const;
  [[nodiscard]] const std::string& where() const { return where_; }
  /// What the victim does while its operation is under way; nullptr: there is none.
  [[nodiscard]] const scenario::Operation* operation() const;
  /// The cell in progress.
  [[nodiscard]] std::optional<std::uint32_t> cell() const {
    return active_ ? std::optional(active_->cell.id) : std::nullopt;
  }

 private:
  [[nodiscard]] bool is_active(const protocol::Message& message, const char* what);
  void look_again(const model::AddressSpace& space, std::optional<seal::Snapshot>& to);
  /// What the victim and, where it matters, its child showed.
  [[nodiscard]] report::Observation observation_of(const ActiveCell& active) const;
  /// Of another mapping of the victim's process, which the operation changes too: its own cell
  /// judges it.
  [[nodiscard]] bool is_expected_elsewhere(const seal::Violation& violation) const;
  void judge_violations(ActiveCell& active, const std::string& what);
  /// The pages that the agent says it acts on, if that range fits the form; else a finding.
  void take_target(const protocol::Cell& body, const model::Placement& placement);
  /// Whether each guest of our recipes has it.
  [[nodiscard]] bool must_exist(std::string_view mapping) const;
  /// Why the agent may not skip this cell for `reason`; empty if it may.
  [[nodiscard]] std::string against_skip(protocol::Skip reason) const;
  /// Scenarios of the plan that did not run, or not as often as asked.
  void check_lives();
  void judge(ActiveCell& active);
  [[nodiscard]] std::string finding_id(const std::string& what, const std::string& invariant) const;

  const RunRequest& request_;
  const model::Identities& identities_;
  std::map<std::uint32_t, report::Cell> planned_;  // rows still to come, by cell id
  std::optional<ActiveCell> active_;
  std::optional<report::Life> life_;
  Totals life_start_;
  std::vector<report::Cell> cells_;
  std::vector<report::Life> lives_;
  std::vector<report::Finding> findings_;
  std::map<std::string, std::uint64_t> repeats_;  // by finding id: how often it came again
  std::string where_ = "boot";
  std::uint64_t violations_ = 0;
  seal::Guest guest_;
  seal::CompareFrames compare_;
  std::function<bool(std::string_view)> kernel_has_;
};

}  // namespace sealvisor::run
