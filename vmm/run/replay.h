// A run again, from its evidence: the same session, given what the trace holds instead of a guest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/evidence/trace_reader.h"
#include "vmm/image/symbols.h"
#include "vmm/report/report.h"
#include "vmm/run/code_watch.h"
#include "vmm/run/run.h"
#include "vmm/run/session.h"

namespace sealvisor::run {

/// What came out.
struct Replayed {
  report::Run run;
  CodeWatch code;
  std::uint64_t events = 0;
  /// Where the trace first does not fit itself, for people: memory is asked for that nobody had
  /// read, or what is read is not what the run read. Empty: nowhere.
  std::string divergence;
  /// What the engine is said to have been, and can't have been for this request; empty: nothing.
  std::string contradiction;
  std::string symbols_sha256;  ///< Of the file of symbols that the run wrote, by the trace.
};

/// Gives a session of `request` everything that `trace` holds. `symbols` may be nullptr. `console`:
/// what the guest's console showed. `prepare` gets the session before anything else does; may be
/// empty. `most_events`: as many as the trace is said to have. Errors (Failed): the trace is none,
/// ends early, has more events, or goes on for long after the session had given the guest up; the
/// message says behind which step.
[[nodiscard]] Result<Replayed> replay(const RunRequest& request, evidence::TraceReader& trace,
                                      const image::Symbols* symbols, std::string_view console,
                                      const std::function<void(Session&)>& prepare = {},
                                      std::uint64_t most_events = UINT64_MAX);

}  // namespace sealvisor::run
