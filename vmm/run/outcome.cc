#include "vmm/run/outcome.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/evidence/members.h"

namespace sealvisor::run {

using engine::End;
using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t kMostLimits = 1000;

constexpr std::array kEnds = {End::GuestReset,   End::GaveUp,       End::Deadline,
                              End::ConsoleFlood, End::GuestCrashed, End::EngineDied,
                              End::Interrupted,  End::RingBroken};

std::string ending_text(const engine::Outcome& outcome, bool finished, const std::string& console) {
  if (outcome.end == End::GuestReset && finished) return "agent finished";
  if (console.find(kPanicText) != std::string::npos) return "kernel panic";
  if (outcome.end == End::GuestReset) {
    // Its last words say why, if it had any.
    constexpr std::string_view kAgent = "sealvisor-agent: ";
    const std::size_t said = console.rfind(kAgent);
    if (said == std::string::npos) return "the machine reset before the agent was done";
    const std::size_t end = console.find_first_of("\r\n", said);
    return "the agent gave up: " + console.substr(said + kAgent.size(), end - said - kAgent.size());
  }
  std::string text = engine::name_of(outcome.end);
  if (!outcome.text.empty()) text += ": " + outcome.text;
  return text;
}

std::string last_lines(const std::string& text, std::size_t lines) {
  std::size_t start = text.size();
  while (start > 0 && lines > 0) {
    const std::size_t newline = text.rfind('\n', start - 1);
    if (newline == std::string::npos) return text;
    start = newline;
    --lines;
  }
  return text.substr(std::min(start + 1, text.size()));
}

}  // namespace

void ConsoleTail::add(std::string_view bytes) {
  text_.append(bytes);
  // Not at each call: what is cut off moves all the rest.
  if (text_.size() > 4 * kMost) text_.erase(0, text_.size() - kMost);
}

std::string ConsoleTail::text() const {
  return text_.size() > kMost ? text_.substr(text_.size() - kMost) : text_;
}

report::Run report_of(const RunRequest& request, Session& session, const engine::Outcome& outcome,
                      const ConsoleTail& console) {
  report::Run run;
  run.arch = request.arch;
  run.recipe = request.recipe;
  run.variant = request.variant;
  run.engine = engine::name_of(request.engine);
  run.sealed = request.sealed;
  run.expectations = request.expectations;
  run.control = request.control;
  run.ours = request.ours;
  run.kernel_path = request.kernel_image.string();
  run.ending.good = outcome.end == End::GuestReset && session.finished();
  run.lane = outcome.lane;  // what can't be seen depends on it
  session.finish(run);
  run.engine_version = outcome.version;
  run.mechanism = outcome.mechanism;
  for (const std::string& limit : outcome.limits) run.blind_spots.push_back(limit);
  if (outcome.stepped) {
    run.counts.stepped_instructions = outcome.stepped->instructions;
    run.counts.stepped_entries = outcome.stepped->entries;
    run.counts.stepped_untrapped = outcome.stepped->untrapped;
  }
  run.cpu_model = outcome.cpu_model;
  const std::string text = console.text();
  run.ending.text = ending_text(outcome, session.finished(), text);
  run.ending.interrupted = !run.ending.good && outcome.end == End::Interrupted;
  if (!run.ending.good) run.ending.console_tail = last_lines(text, 20);
  return run;
}

std::string render_outcome(const engine::Outcome& outcome, const std::string& symbols) {
  Json stepped = nullptr;
  if (outcome.stepped) {
    stepped = {{"instructions", outcome.stepped->instructions},
               {"entries", outcome.stepped->entries},
               {"untrapped", outcome.stepped->untrapped}};
  }
  const Json json = {{"end", engine::name_of(outcome.end)},
                     {"text", outcome.text},
                     {"version", outcome.version},
                     {"cpu_model", outcome.cpu_model},
                     {"lane", outcome.lane},
                     {"mechanism", outcome.mechanism},
                     {"limits", outcome.limits},
                     {"stepped", std::move(stepped)},
                     {"symbols_sha256", symbols}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<engine::Outcome> parse_outcome(std::string_view text, std::string* symbols) {
  const auto json = evidence::parse_json(text, "how the run ended");
  if (!json) return json.error();
  evidence::Members members(json.value(), "how the run ended");
  engine::Outcome outcome;
  const std::string end = members.text("end");
  const auto* const known = std::find_if(kEnds.begin(), kEnds.end(),
                                         [&](End one) { return engine::name_of(one) == end; });
  if (known == kEnds.end()) {
    members.refuse("end", "one that an engine knows");
  } else {
    outcome.end = *known;
  }
  outcome.text = members.text("text");
  outcome.version = members.text("version");
  outcome.cpu_model = members.text("cpu_model");
  outcome.lane = members.text("lane");
  outcome.mechanism = members.text("mechanism");
  outcome.limits = members.texts("limits", kMostLimits);
  const std::string digest = members.text("symbols_sha256");
  if (symbols != nullptr) *symbols = digest;
  const Json* const stepped = members.member("stepped");
  if (auto good = members.status(); !good) return good.error();
  if (!stepped->is_null()) {
    evidence::Members counts(*stepped, "how the run ended: stepped");
    outcome.stepped.emplace();
    outcome.stepped->instructions = counts.number("instructions");
    outcome.stepped->entries = counts.number("entries");
    outcome.stepped->untrapped = counts.number("untrapped");
    if (auto good = counts.status(); !good) return good.error();
  }
  return outcome;
}

}  // namespace sealvisor::run
