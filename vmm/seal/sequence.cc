#include "vmm/seal/sequence.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "vmm/report/words.h"
#include "vmm/seal/verdict.h"

namespace sealvisor::seal {

using report::Change;
using report::SequenceVerdict;

namespace {

using Changes = std::vector<std::pair<std::string_view, Change>>;

/// One sequence: the call that meets the first seal, and what is left without one.
struct KnownSequence {
  std::string_view name;
  std::string_view first_refused;
  Changes (*unsealed)();
};

// Where the calls are refused: mm/mseal.c and its users. 6.12: mm/vma.c, vms_gather_munmap_vmas and
// do_vmi_align_munmap look at every mapping of the range before the first is taken away, so that a
// call over many that meets a sealed one takes none; mm/mremap.c, mremap_to and SYSCALL mremap.
constexpr std::string_view kSealedSource =
    "Documentation/userspace-api/mseal.rst; mm/vma.c, vms_gather_munmap_vmas; mm/mremap.c";
constexpr std::string_view kUnsealedSource = "what the software relies on (guest/compat)";

Changes all_moved() {
  return {{"[vdso]", Change::Moved}, {"[vvar]", Change::Moved}, {"[vvar_vclock]", Change::Moved}};
}
Changes all_gone() {
  return {{"[vdso]", Change::Gone}, {"[vvar]", Change::Gone}, {"[vvar_vclock]", Change::Gone}};
}
Changes vvars_gone() { return {{"[vvar]", Change::Gone}, {"[vvar_vclock]", Change::Gone}}; }

constexpr auto kKnownSequences = std::to_array<KnownSequence>({
    {"compat/criu-park", "mremap [vdso] to the restorer", all_moved},
    {"compat/criu-proxy", "mremap [vdso] to the restorer", all_moved},
    {"compat/criu-start", "munmap [vdso]", all_gone},
    {"compat/criu-map", "munmap all between that and the restorer", all_moved},
    {"compat/uml-stub", "munmap all below the stub", all_gone},
    {"compat/uml-flush", "munmap all above the stub", all_gone},
    {"compat/gvisor-stub", "munmap all below the stub", all_gone},
    {"compat/gvisor-ptrace", "munmap all below the stub", all_gone},
    {"compat/rr-record", "munmap [vvar]", vvars_gone},
    {"compat/rr-replay", "munmap [vvar]", all_gone},
    {"compat/rr-move", "mremap [vdso] to free memory", all_moved},
});

std::string name_of_call(const report::SequenceCall& call) { return call.call + " " + call.what; }

Change expected_change(const SequenceExpectation& expectation, std::string_view mapping) {
  for (const auto& [name, change] : expectation.changes) {
    if (name == mapping) return change;
  }
  return Change::Unchanged;
}

bool same(Change one, Change other) { return one == other || (!visible(one) && !visible(other)); }

/// A call that was refused, and yet the mapping is not as it was.
void judge_claims(const report::Sequence& sequence, SequenceJudgement& judgement) {
  for (const report::SequenceCall& call : sequence.calls) {
    if (call.result >= 0 || call.result < -4095) continue;
    for (const report::MappingOutcome& outcome : call.outcomes) {
      if (!visible(outcome.observation.change)) continue;
      judgement.findings.emplace_back(
          "claim", fmt::format("{}: the kernel answered {} and yet: {} {}", name_of_call(call),
                               call.answer, outcome.mapping, outcome.observation.text));
    }
  }
}

void judge_first_failed(const report::Sequence& sequence, const SequenceExpectation& expectation,
                        SequenceJudgement& judgement) {
  std::string got = "no call failed";
  bool fits = expectation.first_failed.empty();
  if (sequence.first_failed) {
    const report::SequenceCall& call = sequence.calls[*sequence.first_failed];
    got = fmt::format("{} was the first to fail, with {}", name_of_call(call), call.answer);
    fits = name_of_call(call) == expectation.first_failed && call.result == -expectation.error;
  }
  if (fits) return;
  judgement.findings.emplace_back(
      "expectation",
      fmt::format("expected {} ({}); {}", describe(expectation), expectation.source, got));
}

/// Of a kernel of which nothing is known: a call that failed, and not as the one that a seal
/// forbids would, says nothing of seals. It must not pass for what one breaks.
void judge_failure(const report::Sequence& sequence, SequenceJudgement& judgement) {
  if (!sequence.first_failed) return;
  const report::SequenceCall& call = sequence.calls[*sequence.first_failed];
  const auto sealed = expect_sequence(sequence.name, true);
  if (sealed && name_of_call(call) == sealed->first_failed && call.result == -sealed->error) return;
  judgement.findings.emplace_back(
      "expectation", fmt::format("{} was the first to fail, with {}, which is not what a seal does",
                                 name_of_call(call), call.answer));
}

/// Whether each mapping that the sequence is about, and each other one that the process showed, was
/// watched: of one that was not it can't be said that it held, nor that it went. [vvar_vclock] is
/// not in every kernel.
bool all_seen(const report::Sequence& sequence) {
  const auto is_seen = [](const report::MappingOutcome& outcome) {
    return outcome.observation.change != Change::Unobserved;
  };
  const auto& outcomes = sequence.outcomes;
  if (outcomes.empty() || !std::all_of(outcomes.begin(), outcomes.end(), is_seen)) return false;
  const auto changes = expect_sequence(sequence.name, false);
  if (!changes) return true;
  return std::all_of(changes->changes.begin(), changes->changes.end(), [&](const auto& change) {
    const std::string_view mapping = change.first;
    return mapping == "[vvar_vclock]" ||
           std::any_of(outcomes.begin(), outcomes.end(),
                       [&](const auto& outcome) { return outcome.mapping == mapping; });
  });
}

}  // namespace

std::optional<SequenceExpectation> expect_sequence(std::string_view name, bool sealed) {
  const auto known = std::find_if(kKnownSequences.begin(), kKnownSequences.end(),
                                  [&](const KnownSequence& one) { return one.name == name; });
  if (known == kKnownSequences.end()) return std::nullopt;
  if (sealed) return SequenceExpectation{known->first_refused, EPERM, {}, kSealedSource};
  return SequenceExpectation{{}, 0, known->unsealed(), kUnsealedSource};
}

std::string describe(const SequenceExpectation& expectation) {
  std::string text = expectation.first_failed.empty()
                         ? std::string("every call good")
                         : fmt::format("{}: {}", expectation.first_failed,
                                       report::name_of_errno(expectation.error));
  if (expectation.changes.empty()) return text + "; all mappings unchanged";
  for (const auto& [mapping, change] : expectation.changes) {
    text += fmt::format("{} {} {}", &mapping == &expectation.changes.front().first ? ";" : ",",
                        mapping, report::name_of(change));
  }
  return text;
}

SequenceJudgement judge_sequence(const report::Sequence& sequence,
                                 const SequenceExpectation* expectation) {
  SequenceJudgement judgement;
  judge_claims(sequence, judgement);
  const bool seen = all_seen(sequence);
  if (expectation != nullptr && sequence.complete) {
    judge_first_failed(sequence, *expectation, judgement);
    for (const report::MappingOutcome& outcome : sequence.outcomes) {
      const Change change = outcome.observation.change;
      const Change expected = expected_change(*expectation, outcome.mapping);
      if (change == Change::Unobserved || same(change, expected)) continue;
      judgement.findings.emplace_back(
          "expectation",
          fmt::format("{} is {}, expected {} ({})", outcome.mapping, outcome.observation.text,
                      report::name_of(expected), expectation->source));
    }
  }
  if (expectation == nullptr && sequence.complete) judge_failure(sequence, judgement);
  if (!judgement.findings.empty()) {
    judgement.verdict = SequenceVerdict::Unexpected;
  } else if (sequence.complete && seen) {
    judgement.verdict = sequence.first_failed ? SequenceVerdict::Breaks : SequenceVerdict::Works;
  }
  return judgement;
}

}  // namespace sealvisor::seal
