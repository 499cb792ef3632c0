#include "vmm/run/skips.h"

#include <cstdint>

#include <fmt/format.h>

namespace sealvisor::run {

using protocol::Skip;
using scenario::Call;

namespace {

/// Calls that need memory, a file or a process beside the mapping.
bool needs_room(Call call) {
  switch (call) {
    case Call::MremapMove:
    case Call::MremapDontUnmap:
    case Call::MremapOnto:
    case Call::MremapShrinkOver:
    case Call::ShmatOver:
    case Call::ArchMapVdso:
    case Call::UringMadvise:
    case Call::UringWrite:
    case Call::ForcedMadvise:
    case Call::UffdRegister:
    case Call::UffdMoveFrom:
    case Call::UffdMoveOnto:
    case Call::UffdCopyOnto:
    case Call::PtracePoke:
    case Call::ProcMemSelf:
    case Call::ProcMemOther:
    case Call::ProcMemTracer:
    case Call::ProcMemRead:
    case Call::VmWritev:
    case Call::VmReadv:
    case Call::UprobeHit:
    case Call::CloneVm:
    case Call::PressureSwap:
    case Call::PressureCompact:
    case Call::PressureKsm:
    case Call::PressureMemcg:
    case Call::Race:
      return true;
    default:
      return false;
  }
}

/// One of the names in `needs`, "a|b", that the kernel has; empty: none.
std::string_view found_of(std::string_view needs, const SkipFacts& facts) {
  while (!needs.empty()) {
    const std::size_t end = needs.find('|');
    const std::string_view name = needs.substr(0, end);
    if (facts.kernel_has(name)) return name;
    needs = end == std::string_view::npos ? std::string_view{} : needs.substr(end + 1);
  }
  return {};
}

}  // namespace

std::string skip_text(Skip reason) {
  switch (reason) {
    case Skip::No:
      break;
    case Skip::TooFewPages:
      return "the mapping has too few pages for this form";
    case Skip::NoMapping:
      return "this guest has no such mapping";
    case Skip::NoRoom:
      return "no room for what the operation needs";
    case Skip::Unsupported:
      return "this kernel has no such operation";
  }
  return fmt::format("no reason that is known ({})", static_cast<std::uint32_t>(reason));
}

std::string objection_to(Skip reason, const SkipFacts& facts) {
  const bool neighbour = facts.form == scenario::Form::Neighbour;
  switch (reason) {
    case Skip::No:
      return "";
    case Skip::NoMapping:
      if (facts.pages != 0) return "the monitor has identified it";
      return facts.must_exist ? "this kernel has it" : "";
    case Skip::TooFewPages:
      if (facts.form != scenario::Form::FirstPage && facts.form != scenario::Form::LastPage) {
        return "this form is never too little";
      }
      return facts.pages > 1 ? "it has more than one page" : "";
    case Skip::NoRoom:
      if (!neighbour && facts.operation != nullptr && !needs_room(facts.operation->call)) {
        return "it needs no room";
      }
      if (neighbour && facts.enclosed) return "";
      // Tables don't show whether a page is free. What our own agent starts with is known.
      return facts.our_guest ? "a guest of ours has room" : "";
    case Skip::Unsupported: {
      if (facts.operation == nullptr || facts.operation->needs.empty()) {
        return "it needs nothing that a kernel may lack";
      }
      if (!facts.kernel_has) return "";
      const std::string_view found = found_of(facts.operation->needs, facts);
      return found.empty() ? "" : fmt::format("the kernel has {}", found);
    }
  }
  return "that is no reason";
}

}  // namespace sealvisor::run
