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
                        const std::function<void(Session&)>& prepare) {
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
  for (;;) {
    const auto next = trace.next();
    if (!next) return next.error();
    const Step& step = next.value();
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
        static_cast<void>(session.on_stopped(last));
        check.same(step.reads);
        break;
      case Step::Kind::Ended: {
        const auto outcome = parse_outcome(step.ended);
        if (!outcome) return outcome.error();
        ConsoleTail tail;
        tail.add(console);
        result.run = report_of(request, session, outcome.value(), tail);
        result.code = session.code();
        check.same(step.reads);
        result.divergence = check.first();
        return result;
      }
    }
    check.known();
  }
}

}  // namespace sealvisor::run
