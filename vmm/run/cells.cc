#include "vmm/run/cells.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/scenario.h"
#include "vmm/report/words.h"
#include "vmm/run/protocol_reader.h"
#include "vmm/run/skips.h"
#include "vmm/seal/expectation.h"
#include "vmm/seal/verdict.h"

namespace sealvisor::run {

using report::Verdict;

namespace {

std::uint64_t end_of(const model::Placement& placement) {
  return placement.base.value + placement.pages.size() * arch::kPageSize;
}

/// Whether other system mappings lie right in front of [start, end) and right behind it.
bool is_enclosed(const model::AddressSpace& space, std::uint64_t start, std::uint64_t end) {
  const auto any = [&](auto&& is) {
    return std::any_of(space.placements.begin(), space.placements.end(), is);
  };
  return any([&](const model::Placement& other) { return end_of(other) == start; }) &&
         any([&](const model::Placement& other) { return other.base.value == end; });
}

/// What a victim's cell is called in findings.
std::string subject(const report::Cell& cell) {
  return cell.mapping + "/" + cell.operation + "/" + cell.form;
}

}  // namespace

Course::Course(const RunRequest& request, const model::Identities& identities)
    : request_(request), identities_(identities) {
  guest_.arch = request.arch;
  guest_.sealed = request.sealed;
  guest_.force = seal::force_of(request.kernel_arguments);
  guest_.any_version = request.recipe.starts_with("upstream-") || !request.ours;
  for (const scenario::PlanItem& item : request.plan) {
    if (item.scenario->kind != scenario::Kind::Cells) continue;
    report::Cell cell;
    cell.id = item.cell;
    cell.scenario = item.scenario->name;
    cell.mapping = item.mapping->name;
    cell.operation = item.scenario->operation->name;
    cell.form = scenario::name_of(item.scenario->form);
    planned_.emplace(item.cell, std::move(cell));
  }
}

std::string Course::finding_id(const std::string& what, const std::string& invariant) const {
  return fmt::format("{}/{}/{}/{}", arch::name_of(request_.arch), request_.recipe, what, invariant);
}

void Course::finding(std::string invariant, const std::string& what, std::string text) {
  report::Finding finding;
  finding.id = finding_id(what, invariant);
  finding.invariant = std::move(invariant);
  finding.text = std::move(text);
  // Names of findings are the guest's choice where it names scenarios.
  if (findings_.size() >= kMostFindings) {
    finding = {.id = finding_id("findings", "monitor"),
               .invariant = "monitor",
               .text = fmt::format("more than {} findings: one is left out", kMostFindings),
               .known = false,
               .reason = {}};
  }
  const bool known = std::any_of(findings_.begin(), findings_.end(),
                                 [&](const auto& other) { return other.id == finding.id; });
  if (known) {
    ++repeats_[finding.id];
  } else {
    findings_.push_back(std::move(finding));
  }
}

std::optional<std::uint64_t> Course::victim() const {
  return active_ && active_->before ? std::optional(active_->space) : std::nullopt;
}

const scenario::Operation* Course::operation() const {
  return victim() ? scenario::operation_named(active_->cell.operation) : nullptr;
}

bool Course::concerns(std::uint64_t space) const {
  return victim() == space || (active_ && active_->children.contains(space));
}

void Course::forked(std::uint64_t parent, std::uint64_t child) {
  if (victim() == parent) active_->children.insert(child);
}

void Course::violation(const seal::Violation& violation) {
  ++violations_;
  // What happens to another mapping of the victim is no part of this cell.
  if (concerns(violation.space) && active_->mapping == violation.page.mapping) {
    if (active_->violations.size() < kMostViolations) {
      active_->violations.push_back(violation);
    } else {
      finding("monitor", where_ + "/violations",
              fmt::format("more than {} violations in one cell: one is left out", kMostViolations));
    }
    return;
  }
  if (concerns(violation.space) && is_expected_elsewhere(violation)) return;
  finding(violation.invariant,
          fmt::format("{}/{}", where_, identities_.all()[violation.page.mapping].name),
          violation.text);
}

bool Course::is_expected_elsewhere(const seal::Violation& violation) const {
  return seal::shows_namespace(active_->cell, identities_.all()[violation.page.mapping].name,
                               violation.invariant);
}

bool Course::wants_change(std::uint64_t space) {
  if (victim() != space) return false;
  if (active_->cell.changes.size() < kMostChanges) return true;
  ++active_->cell.changes_left_out;
  return false;
}

void Course::change(report::EntryChange change) {
  active_->cell.changes.push_back(std::move(change));
}

void Course::found_at(arch::Gpa slot, arch::Gva gva) {
  if (!active_) return;
  for (report::EntryChange& change : active_->cell.changes) {
    if (change.gpa == slot.value && change.gva == 0) change.gva = gva.value;
  }
}

void Course::scenario_begin(const protocol::Scenario& scenario, const Totals& totals) {
  where_ = text_of(scenario.name);
  life_.emplace();
  life_->name = where_;
  life_start_ = totals;
}

void Course::scenario_end(const protocol::Scenario& scenario, const Totals& totals) {
  const std::string name = text_of(scenario.name);
  // Many a kernel runs no 32-bit programs, and that of a recipe of ours does.
  const bool unsupported =
      !request_.ours && name == "life/compat" && scenario.status == ENOEXEC && scenario.count == 0;
  if (scenario.status != 0 && !unsupported) {
    finding("monitor", name,
            fmt::format("the agent could not run {}: {}", name, std::strerror(scenario.status)));
  }
  if (!life_ || life_->name != name) {
    finding("monitor", name, "the agent ended a scenario that it did not begin");
    return;
  }
  life_->status = scenario.status;
  life_->unsupported = unsupported;
  life_->count = scenario.count;
  life_->address_spaces = totals.spaces - life_start_.spaces;
  life_->user_entries = totals.user_entries - life_start_.user_entries;
  life_->violations = totals.violations - life_start_.violations;
  life_->pages_kept = totals.pages_kept - life_start_.pages_kept;
  life_->pages_refaulted = totals.refaults - life_start_.refaults;
  life_->pages_unobserved = totals.unobserved - life_start_.unobserved;
  life_->teardowns = totals.teardowns - life_start_.teardowns;
  life_->inherited = totals.inherited - life_start_.inherited;
  const bool of_cells =
      scenario::find(name) != nullptr && scenario::find(name)->kind == scenario::Kind::Cells;
  if (!of_cells) lives_.push_back(*life_);
  life_.reset();
  where_ = "between scenarios";
}

bool Course::is_active(const protocol::Message& message, const char* what) {
  if (active_ && active_->cell.id == message.token) return true;
  finding(
      "monitor", where_,
      fmt::format("the agent sent {} for cell {}, which is not in progress", what, message.token));
  return false;
}

void Course::cell_begin(const protocol::Message& message, const model::AddressSpace& space,
                        const std::optional<protocol::MappingClaim>& claim) {
  if (active_) {
    finding("monitor", where_, fmt::format("cell {} never ended", active_->cell.id));
    judge(*active_);
    cells_.push_back(std::move(active_->cell));
    active_.reset();
  }
  const auto planned = planned_.find(static_cast<std::uint32_t>(message.token));
  const auto& body = message.body.cell;
  if (message.token > UINT32_MAX || planned == planned_.end() ||
      planned->second.mapping != text_of(body.mapping) ||
      planned->second.operation != text_of(body.operation) ||
      planned->second.form != text_of(body.form)) {
    finding("monitor", where_,
            fmt::format("the agent began cell {} ({} {} {}), which the plan does not have",
                        message.token, text_of(body.mapping), text_of(body.operation),
                        text_of(body.form)));
    return;
  }
  active_.emplace();
  active_->cell = std::move(planned->second);
  planned_.erase(planned);
  if (claim) active_->cell.claim.sealed = claim->sealed != 0;
  active_->space = space.id;
  active_->mapping = identities_.named(active_->cell.mapping);
  const model::Placement* const placement =
      active_->mapping ? space.placement(*active_->mapping) : nullptr;
  // Of one without a page that user mode can reach it is known where it is said to be.
  if (placement != nullptr) {
    active_->enclosed = is_enclosed(space, placement->base.value, end_of(*placement));
  } else if (claim) {
    active_->enclosed = is_enclosed(space, claim->start, claim->end);
  }
  if (placement == nullptr) return;
  // A cell that is skipped has no range.
  if (body.start != 0 || body.end != 0) take_target(body, *placement);
}

void Course::take_target(const protocol::Cell& body, const model::Placement& placement) {
  const auto pages = static_cast<std::uint32_t>(placement.pages.size());
  const std::uint64_t start = placement.base.value;
  const std::uint64_t end = start + pages * arch::kPageSize;
  const std::string& form = active_->cell.form;
  const bool fits =
      form == "whole"        ? body.start == start && body.end == end
      : form == "empty"      ? body.start == start && body.end == start
      : form == "first-page" ? body.start == start && body.end == start + arch::kPageSize
      : form == "last-page"
          ? body.start == end - arch::kPageSize && body.end == end
          : (body.start == end - arch::kPageSize && body.end == end + arch::kPageSize) ||
                (body.start == start - arch::kPageSize && body.end == start + arch::kPageSize);
  if (!fits) {
    finding("monitor", subject(active_->cell),
            fmt::format("the agent acts on {:#x}-{:#x}, which is not the form {} of {} at "
                        "{:#x}-{:#x}",
                        body.start, body.end, form, active_->cell.mapping, start, end));
    return;
  }
  // Of no byte at its start: whatever it did would be wrong.
  const std::uint64_t first = form == "empty" ? start : std::max(body.start, start);
  const std::uint64_t last = form == "empty" ? end : std::min(body.end, end);
  active_->target = {static_cast<std::uint32_t>((first - start) / arch::kPageSize),
                     static_cast<std::uint32_t>((last - start) / arch::kPageSize)};
}

void Course::before(const protocol::Message& message, const model::AddressSpace& space) {
  if (!is_active(message, "Before")) return;
  if (active_->space != space.id || !active_->mapping) return;
  active_->before = seal::snapshot(space, *active_->mapping, identities_, compare_);
}

void Course::look_again(const model::AddressSpace& space, std::optional<seal::Snapshot>& to) {
  if (active_->mapping) to = seal::snapshot(space, *active_->mapping, identities_, compare_);
}

bool Course::expects_bystander(const protocol::Message& message, const model::AddressSpace& space) {
  if (!is_active(message, "Bystander")) return false;
  const protocol::Bystander& body = message.body.bystander;
  const scenario::Operation* const operation = scenario::operation_named(active_->cell.operation);
  const bool own = space.id == active_->space && operation != nullptr &&
                   scenario::has_bystander(operation->call);
  const bool first = body.end == 0 && active_->bystander_start == 0 && !active_->before &&
                     body.start != 0 && body.start % arch::kPageSize == 0 && body.pages != 0;
  const bool second = body.end != 0 && active_->cell.claim.made && !active_->bystander_ended &&
                      body.start == active_->bystander_start &&
                      body.pages == active_->bystander.size();
  if (own && (first || second)) return true;
  finding("monitor", subject(active_->cell),
          fmt::format("the agent tells of {} pages at {:#x} that are to be hit too, which this "
                      "cell does not have, or not then",
                      body.pages, body.start));
  return false;
}

void Course::bystander(const protocol::Message& message, std::vector<std::uint64_t> entries) {
  if (message.body.bystander.end == 0) {
    active_->bystander_start = message.body.bystander.start;
    active_->bystander = std::move(entries);
    return;
  }
  active_->bystander_ended = true;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries.at(i) != active_->bystander.at(i)) ++active_->bystander_hits;
  }
}

void Course::after(const protocol::Message& message) {
  if (!is_active(message, "After")) return;
  auto& claim = active_->cell.claim;
  claim.made = true;
  claim.result = message.body.after.result;
  claim.text = report::name_of_result(claim.result);
}

void Course::touched(const protocol::Message& message, const model::AddressSpace& space) {
  if (!active_ || active_->cell.id != message.token) return;
  switch (message.body.touched.moment) {
    case protocol::Moment::BeforeOperation:
      active_->touched_before = true;
      return;
    case protocol::Moment::InChild:
      if (active_->children.contains(space.id)) look_again(space, active_->in_child);
      return;
    default:
      active_->touched_after = true;
      if (active_->space == space.id) look_again(space, active_->after);
  }
}

report::Observation Course::observation_of(const ActiveCell& active) const {
  const auto unobserved = [](const char* why) {
    report::Observation none;
    none.text = std::string("unobserved: ") + why;
    return none;
  };
  if (!active.before) return unobserved("the mapping was never seen populated");
  if (!active.touched_before) return unobserved("the victim did not touch it before");
  if (!active.touched_after || !active.after) return unobserved("the victim never came back");
  report::Observation own = seal::observe(*active.before, *active.after, active.target);
  const scenario::Operation* const operation = scenario::operation_named(active.cell.operation);
  if (operation == nullptr) return own;
  if (scenario::looks_into_child(operation->call)) {
    if (!active.in_child) return unobserved("no child of the victim touched it");
    own = seal::worse(own, seal::observe(*active.before, *active.in_child, active.target));
  }
  if (scenario::has_bystander(operation->call) && active.bystander_hits == 0 &&
      !seal::visible(own.change)) {
    return unobserved("it hit none of the victim's own pages either");
  }
  return own;
}

void Course::judge_violations(ActiveCell& active, const std::string& what) {
  report::Cell& cell = active.cell;
  for (const seal::Violation& violation : active.violations) {
    if (std::find(cell.broken.begin(), cell.broken.end(), violation.invariant) ==
        cell.broken.end()) {
      cell.broken.emplace_back(violation.invariant);
    }
  }
  std::sort(cell.broken.begin(), cell.broken.end());
  // An own image that claims no seal may change anything.
  if (!cell.expectation && !cell.claim.sealed.value_or(false)) return;
  // User mode saw each of these, even one that was gone again when the cell ended.
  for (const seal::Violation& violation : active.violations) {
    if (seal::implied(cell, violation.invariant)) continue;
    cell.verdict = Verdict::Violation;
    finding(violation.invariant, what, violation.text);
  }
  if (cell.verdict != Verdict::Forced || !cell.expectation) return;
  // The class stands for all that it names: the frame, and the code that user mode would run there.
  for (const std::string_view invariant : seal::invariants_in(cell.expectation->breaks)) {
    if (std::find(cell.broken.begin(), cell.broken.end(), invariant) != cell.broken.end()) continue;
    cell.verdict = Verdict::Mismatch;
    finding("expectation", what,
            fmt::format("it was written by force, and {} was not seen to break", invariant));
  }
}

void Course::judge(ActiveCell& active) {
  report::Cell& cell = active.cell;
  cell.observation = observation_of(active);
  if (request_.expectations) cell.expectation = seal::expectation_of(cell, guest_);
  const seal::CellJudgement judgement = seal::judge_cell(cell, request_.sealed);
  cell.verdict = judgement.verdict;
  const std::string what = subject(cell);
  for (const auto& [invariant, text] : judgement.findings) finding(invariant, what, text);
  judge_violations(active, what);
}

void Course::cell_end(const protocol::Message& message) {
  if (!is_active(message, "CellEnd")) return;
  report::Cell& cell = active_->cell;
  const auto skipped = static_cast<protocol::Skip>(message.body.cell_end.skipped);
  const std::string objection = skipped == protocol::Skip::No ? "" : against_skip(skipped);
  if (skipped != protocol::Skip::No && active_->begun()) {
    finding("monitor", subject(cell), "the agent skipped it after it had begun");
    judge(*active_);
  } else if (!objection.empty()) {
    cell.observation.text = "unobserved: skipped without a reason";
    finding("monitor", subject(cell),
            fmt::format("the agent skipped it ({}), but {}", skip_text(skipped), objection));
  } else if (skipped != protocol::Skip::No) {
    cell.verdict = Verdict::Skipped;
    cell.observation.text = skip_text(skipped);
  } else {
    judge(*active_);
    if (message.body.cell_end.signal != 0) {
      cell.observation.text +=
          fmt::format("; victim killed by signal {}", message.body.cell_end.signal);
    }
  }
  cells_.push_back(std::move(cell));
  active_.reset();
}

bool Course::must_exist(std::string_view mapping) const {
  // Since 6.13, of x86-64.
  if (mapping.starts_with("[vvar_vclock]")) {
    return request_.recipe.starts_with("upstream-") && guest_.arch == arch::Arch::X86_64;
  }
  return scenario::mapping_named(mapping) != nullptr;
}

std::string Course::against_skip(protocol::Skip reason) const {
  const std::optional<std::size_t> mapping = identities_.named(active_->cell.mapping);
  SkipFacts facts;
  facts.operation = scenario::operation_named(active_->cell.operation);
  facts.form = scenario::form_named(active_->cell.form).value_or(scenario::Form::Whole);
  if (mapping) facts.pages = identities_.all()[*mapping].frames.size();
  facts.our_guest = request_.expectations && request_.ours;
  facts.must_exist = facts.our_guest && must_exist(active_->cell.mapping);
  facts.enclosed = active_->enclosed;
  facts.kernel_has = kernel_has_;
  return objection_to(reason, facts);
}

void Course::check_lives() {
  for (const scenario::PlanItem& item : request_.plan) {
    if (item.scenario->kind == scenario::Kind::Cells) continue;
    const std::string name(item.scenario->name);
    const auto life = std::find_if(lives_.begin(), lives_.end(),
                                   [&](const report::Life& one) { return one.name == name; });
    if (life == lives_.end()) {
      finding("monitor", name, "the agent never ran it");
      continue;
    }
    if (life->status != 0) continue;  // has a finding of its own
    const bool counted = item.scenario->kind == scenario::Kind::Life ||
                         item.scenario->kind == scenario::Kind::Benchmark;
    if (counted && life->count != item.count) {
      finding(
          "monitor", name,
          fmt::format("the agent did {} of the {} that were asked for", life->count, item.count));
    }
    // What the agent counts is its word; address spaces are seen.
    const std::uint64_t spaces = item.scenario->new_spaces ? item.count : 0;
    if (counted && life->address_spaces < spaces) {
      finding("monitor", name,
              fmt::format("{} address spaces were seen while it ran, expected at least {}",
                          life->address_spaces, spaces));
    }
  }
}

void Course::finish(report::Run& run) {
  if (active_) {
    // A guest that was ended in the midst of a cell gave no answer that could be wrong.
    const bool cut_short = !run.ending.good && !active_->cell.claim.made;
    if (cut_short) {
      report::Cell& cell = active_->cell;
      cell.observation.text = report::kNotReached;
      if (request_.expectations) cell.expectation = seal::expectation_of(cell, guest_);
      judge_violations(*active_, subject(active_->cell));
    } else {
      judge(*active_);
    }
    cells_.push_back(std::move(active_->cell));
    active_.reset();
  }
  for (auto& [id, cell] : planned_) {
    cell.verdict = Verdict::Unobserved;
    cell.observation.text = report::kNotReached;
    cells_.push_back(std::move(cell));
  }
  planned_.clear();
  if (life_) {
    life_->complete = false;
    lives_.push_back(*life_);
  }
  if (run.ending.good) check_lives();
  for (report::Finding& finding : findings_) {
    const auto more = repeats_.find(finding.id);
    if (more != repeats_.end()) finding.text += fmt::format(" (and {} more like it)", more->second);
  }
  run.cells = std::move(cells_);
  run.lives = std::move(lives_);
  run.findings.insert(run.findings.end(), findings_.begin(), findings_.end());
}

}  // namespace sealvisor::run
