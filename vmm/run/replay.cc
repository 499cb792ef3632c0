#include "vmm/run/replay.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "vmm/evidence/memory_view.h"
#include "vmm/image/symbol_listing.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/run/outcome.h"

namespace sealvisor::run {

using evidence::Step;

namespace {

/// Most stops of a guest that was given up.
constexpr std::uint64_t kMostGivenUp = 100'000;

/// What an engine says of itself is free text; some of it follows from what was asked for.
std::string contradiction(const RunRequest& request, const engine::Outcome& outcome) {
  const bool exact = outcome.lane == "exact";
  if (!exact && outcome.lane != "audited") return fmt::format("no lane is '{}'", outcome.lane);
  if (request.engine == engine::Kind::Tcg) {
    if (exact && outcome.mechanism.empty() && outcome.limits.empty() && !outcome.stepped) return "";
    return "run.json has the engine tcg, which is exact, by no mechanism and without limits";
  }
  if (exact && request.mechanism == engine::Mechanism::Audited) {
    return "run.json has the mechanism audited, which is not exact";
  }
  return "";
}

/// Holds what the session reads against what the trace says that was read.
class ReadCheck {
 public:
  ReadCheck(const evidence::TraceReader& trace, evidence::RecordedMemory& memory)
      : trace_(trace), memory_(memory) {}

  /// Behind each step.
  void known() {
    if (const auto missing = memory_.missing()) {
      note(fmt::format("memory at {:#x} is asked for, which nobody had read", missing->value));
    }
  }
  /// Where the trace says what was read.
  void same(const evidence::Reads& then) {
    known();
    const evidence::Reads now = memory_.take_reads();
    if (now == then) return;
    note(now.count == then.count
             ? std::string("memory is not as it was when it was read")
             : fmt::format("{} reads of memory, the trace has {}", now.count, then.count));
  }
  [[nodiscard]] const std::string& first() const { return first_; }

 private:
  void note(const std::string& text) {
    if (first_.empty())
      first_ = fmt::format("{}: step {}: {}", trace_.place(), trace_.steps(), text);
  }
  const evidence::TraceReader& trace_;
  evidence::RecordedMemory& memory_;
  std::string first_;
};

}  // namespace

Result<Replayed> replay(const RunRequest& request, evidence::TraceReader& trace,
                        const image::Symbols* symbols, std::string_view console,
                        const std::function<void(Session&)>& prepare, std::uint64_t most_events) {
  const memory::RamBounds ram{memory::ram_base(request.arch), request.memory_bytes};
  trace.bound_to(ram);
  evidence::RecordedMemory memory(trace.shadow(), ram);
  ReadCheck check(trace, memory);
  // As in the run: without a file of symbols the guest was asked for them.
  std::optional<image::SymbolListing> listing;
  if (request.symbols.empty()) {
    auto made = image::SymbolListing::create();
    if (!made) return made.error();
    listing.emplace(std::move(made).value());
  }
  Session session(request, memory, symbols, std::move(listing));
  if (prepare) prepare(session);
  Replayed result;
  event::Event last{};
  std::uint64_t stops_given_up = 0;
  bool given_up = false;
  std::optional<std::uint64_t> first_doorbell;
  const auto fail = [&](const std::string& text) {
    return Error{ExitCode::Failed,
                 fmt::format("{}: behind step {}: {}", trace.place(), trace.steps(), text)};
  };
  for (;;) {
    const auto next = trace.next();
    if (!next) return next.error();
    const Step& step = next.value();
    if (result.events >= most_events &&
        (step.kind == Step::Kind::Event || step.kind == Step::Kind::Copy)) {
      return fail(fmt::format("more than {} events", most_events));
    }
    switch (step.kind) {
      case Step::Kind::Event:
        ++result.events;
        last = step.event;
        session.on_event(step.event);
        break;
      case Step::Kind::Copy:
        ++result.events;
        memory.got(arch::frame_of(arch::Gpa{step.event.gpa}).gpa(), *step.table);
        session.on_table_copy(step.event, *step.table);
        break;
      case Step::Kind::Stopped:
        if (last.kind == event::Kind::Doorbell && !first_doorbell) first_doorbell = last.icount;
        // The engine asks the guest to end, and meanwhile it may ring a few times more.
        if (given_up && ++stops_given_up > kMostGivenUp) {
          return fail("the guest was given up, and goes on");
        }
        if (session.on_stopped(last).give_up) given_up = true;
        check.same(step.reads);
        break;
      case Step::Kind::Ended: {
        const auto outcome = parse_outcome(step.ended, &result.symbols_sha256);
        if (!outcome) return outcome.error();
        ConsoleTail tail;
        tail.add(console);
        result.run = report_of(request, session, outcome.value(), tail);
        if (request.engine == engine::Kind::Tcg) result.run.start.instructions = first_doorbell;
        result.code = session.code();
        check.same(step.reads);
        result.divergence = check.first();
        result.contradiction = contradiction(request, outcome.value());
        return result;
      }
    }
    check.known();
  }
}

}  // namespace sealvisor::run
