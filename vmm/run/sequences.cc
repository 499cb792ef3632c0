#include "vmm/run/sequences.h"

#include <string_view>

#include <fmt/format.h>

#include "guest/compat/list.h"
#include "vmm/report/words.h"
#include "vmm/run/protocol_reader.h"
#include "vmm/seal/sequence.h"
#include "vmm/seal/verdict.h"

namespace sealvisor::run {

namespace {

bool failed(const report::SequenceCall& call) { return call.answer != "ok"; }

}  // namespace

Sequences::Sequences(const RunRequest& request, const model::Identities& identities)
    : request_(request), identities_(identities) {
  for (const scenario::PlanItem& item : request.plan) {
    const compat::Sequence* const known = compat::find(item.scenario->name);
    if (item.scenario->kind != scenario::Kind::Sequence || known == nullptr) continue;
    report::Sequence row;
    row.name = known->scenario;
    row.software = known->software;
    row.when = known->when;
    row.source = known->source;
    row.then = known->then;
    planned_.emplace(row.name, std::move(row));
  }
}

Sequences::Snapshots Sequences::look(const model::AddressSpace& space) const {
  Snapshots result;
  for (const model::Placement& placement : space.placements) {
    // Nobody writes past a permission here: no frame counts as a copy of another.
    result.emplace(placement.mapping,
                   seal::snapshot(space, placement.mapping, identities_, seal::CompareFrames()));
  }
  return result;
}

std::vector<report::MappingOutcome> Sequences::compare(const Snapshots& before,
                                                       const Snapshots& after) const {
  std::vector<report::MappingOutcome> outcomes;
  for (const auto& [mapping, was] : before) {
    const auto now = after.find(mapping);
    const auto pages = static_cast<std::uint32_t>(was.placement.pages.size());
    outcomes.push_back(
        {identities_.all()[mapping].name,
         seal::observe(was, now == after.end() ? seal::Snapshot{} : now->second, {0, pages})});
  }
  return outcomes;
}

std::vector<std::string> Sequences::begin(const protocol::Message& message,
                                          const model::AddressSpace& space) {
  const std::string name = text_of(message.body.sequence_begin.name);
  std::vector<std::string> wrong;
  if (active_) {
    wrong.push_back(fmt::format("{} never ended", active_->row.name));
    close();
  }
  const auto planned = planned_.find(name);
  if (planned == planned_.end()) {
    wrong.push_back(fmt::format("the agent began {}, which the plan does not have", name));
    return wrong;
  }
  active_ = Active{};  // clang has no default constructor for it until Sequences is complete
  active_->row = std::move(planned->second);
  planned_.erase(planned);
  active_->row.mappings_before = message.body.sequence_begin.mappings;
  active_->token = message.token;
  active_->space = space.id;
  active_->first = look(space);
  active_->last = active_->first;
  return wrong;
}

std::vector<std::string> Sequences::call(const protocol::Message& message,
                                         const model::AddressSpace& space) {
  const protocol::SequenceCall& body = message.body.sequence_call;
  if (!active_ || active_->token != message.token || active_->space != space.id) {
    return {fmt::format("call {} ({}) of a sequence that is not in progress", body.index,
                        text_of(body.call))};
  }
  report::Sequence& row = active_->row;
  if (body.index != row.calls.size()) {
    return {fmt::format("call {} of {}, expected {}", body.index, row.name, row.calls.size())};
  }
  report::SequenceCall call;
  call.call = text_of(body.call);
  call.what = text_of(body.what);
  call.start = body.start;
  call.end = body.end;
  call.new_start = body.new_start;
  call.ends = body.ends != 0;
  call.result = body.result;
  call.answer = report::name_of_result(body.result);
  Snapshots now = look(space);
  for (report::MappingOutcome& outcome : compare(active_->last, now)) {
    if (seal::visible(outcome.observation.change)) call.outcomes.push_back(std::move(outcome));
  }
  active_->last = std::move(now);
  call.changes = std::exchange(active_->changes, {});
  call.changes_left_out = std::exchange(active_->left_out, 0);
  if (failed(call) && !row.first_failed) row.first_failed = row.calls.size();
  row.calls.push_back(std::move(call));
  return {};
}

std::vector<std::string> Sequences::end(const protocol::Message& message,
                                        const model::AddressSpace& space) {
  const protocol::SequenceEnd& body = message.body.sequence_end;
  const bool killed = body.signal != 0;
  if (!active_ || active_->token != message.token || (!killed && active_->space != space.id)) {
    return {"a sequence ended that was not in progress"};
  }
  std::vector<std::string> wrong;
  report::Sequence& row = active_->row;
  row.signal = body.signal;
  row.complete = !killed;
  if (killed) {
    wrong.push_back(fmt::format("{}: the process was killed by signal {} after {} calls", row.name,
                                body.signal, row.calls.size()));
  } else {
    active_->last = look(space);
    row.gave_up = body.gave_up != 0;
    row.mappings_left = body.mappings;
    if (body.calls != row.calls.size()) {
      wrong.push_back(fmt::format("{}: {} calls were made and {} told", row.name, body.calls,
                                  row.calls.size()));
    }
  }
  close();
  return wrong;
}

void Sequences::close() {
  report::Sequence& row = active_->row;
  row.outcomes = compare(active_->first, active_->last);
  std::optional<seal::SequenceExpectation> expectation;
  if (request_.expectations) {
    expectation = seal::expect_sequence(row.name, request_.sealed);
  }
  if (expectation) {
    row.expected = seal::describe(*expectation);
    row.expected_source = expectation->source;
  }
  const seal::SequenceJudgement judgement =
      seal::judge_sequence(row, expectation ? &*expectation : nullptr);
  row.verdict = judgement.verdict;
  for (const auto& [invariant, text] : judgement.findings) {
    findings_.push_back({row.name, invariant, text});
  }
  // Where nothing may change, each of these is one too many, even if it was gone in the end.
  if (expectation && expectation->changes.empty()) {
    for (const seal::Violation& violation : active_->violations) {
      row.verdict = report::SequenceVerdict::Unexpected;
      findings_.push_back({row.name, violation.invariant, violation.text});
    }
  }
  rows_.push_back(std::move(row));
  active_.reset();
}

bool Sequences::takes(const seal::Violation& violation) {
  constexpr std::size_t kMost = 1000;
  const std::string_view invariant = violation.invariant;
  if (!active_ || violation.space != active_->space || invariant == "S5" || invariant == "S8") {
    return false;
  }
  if (active_->violations.size() < kMost) active_->violations.push_back(violation);
  return true;
}

bool Sequences::wants_change(std::uint64_t space) {
  if (!active_ || active_->space != space) return false;
  if (active_->changes.size() < kMostCallChanges) return true;
  ++active_->left_out;
  return false;
}

void Sequences::change(report::EntryChange change) {
  active_->changes.push_back(std::move(change));
}

std::pair<std::vector<report::Sequence>, std::vector<Sequences::Finding>> Sequences::finish() {
  if (active_) {
    findings_.push_back({active_->row.name, "monitor", "it never ended"});
    close();
  }
  for (auto& [name, row] : planned_) rows_.push_back(std::move(row));
  planned_.clear();
  return {std::move(rows_), std::move(findings_)};
}

}  // namespace sealvisor::run
