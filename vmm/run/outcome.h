// From how a run ended, as the engine says it, to the rest of its report.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/engine/engine.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"
#include "vmm/run/session.h"

namespace sealvisor::run {

/// The last bytes of a guest's console; how many does not depend on how they came.
class ConsoleTail {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::string text() const;

 private:
  static constexpr std::size_t kMost = 8192;
  std::string text_;
};

/// The report of a run: what `request` asked for, what `session` judged, how it ended. What the
/// host measured (times, memory, costs) is left out.
[[nodiscard]] report::Run report_of(const RunRequest& request, Session& session,
                                    const engine::Outcome& outcome, const ConsoleTail& console);

/// What report_of() needs of an outcome, as JSON in one line, and back. `symbols`: SHA-256 of the
/// file of symbols, which the chain of the trace then covers. Errors (Failed) name the member.
[[nodiscard]] std::string render_outcome(const engine::Outcome& outcome,
                                         const std::string& symbols = "");
[[nodiscard]] Result<engine::Outcome> parse_outcome(std::string_view text,
                                                    std::string* symbols = nullptr);

}  // namespace sealvisor::run
