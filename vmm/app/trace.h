// `sealvisor trace query|export`: the events of a bundle, with what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/app/options.h"
#include "vmm/app/trace_filter.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/image/symbols.h"
#include "vmm/model/space.h"
#include "vmm/run/session.h"

namespace sealvisor::app {

/// One event, explained by the session that was given it.
struct TraceRow {
  std::string run;  ///< "x86_64 lts-sealed".
  event::Event event{};
  std::optional<std::uint64_t> process;  ///< Number of the address space that the kernel works for.
  std::string function;                  ///< "ptep_clear+0x12"; empty: of user mode, or not known.
  std::string scenario;
  std::vector<std::string> mappings;  ///< That the event has to do with.
  std::uint64_t gva = 0;              ///< Of a page of the first of them; 0: not known.
  /// Whole frames, one behind the other.
  struct Frames {
    std::uint64_t gpa = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const Frames&, const Frames&) = default;
  };
  /// Stored to, and mapped by old and new value: a huge leaf maps many.
  std::vector<Frames> frames;
};

/// Precondition: `session` has just applied `event`, which made `changes`.
[[nodiscard]] TraceRow explain(const std::string& run, const event::Event& event,
                               std::span<const model::MappingChange> changes,
                               const run::Session& session, const image::Symbols& symbols);

[[nodiscard]] bool matches(const TraceFilter& filter, const TraceRow& row);
/// Whether any event of `run` may match.
[[nodiscard]] bool matches_run(const TraceFilter& filter, const std::string& run);

/// Whether anything can match. Errors (Usage) say what there is.
[[nodiscard]] Status check_filter(const TraceFilter& filter);

/// A line, with its end, of printable ASCII: names come from a bundle that anybody may have made.
/// head_of(): the line in front of the first one; empty: none.
[[nodiscard]] std::string render(const TraceRow& row, TraceOptions::Format format);
[[nodiscard]] std::string head_of(TraceOptions::Format format);

/// The whole command. Returns the exit code: 0 all was listed; 1 the bundle was changed, or does
/// not follow from itself; 2 there is no bundle, or a filter or --out makes no sense; 3 the lines
/// could not be written. A file is there whole or not at all.
[[nodiscard]] int trace(const TraceOptions& options);

}  // namespace sealvisor::app
