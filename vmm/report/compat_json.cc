#include "vmm/report/compat.h"
#include "vmm/report/json_parts.h"

namespace sealvisor::report {

namespace {

Json json_of(const MappingOutcome& outcome) {
  return {{"mapping", outcome.mapping}, {"observation", json_of(outcome.observation)}};
}

Json json_of(const std::vector<MappingOutcome>& outcomes) {
  Json array = Json::array();
  for (const MappingOutcome& outcome : outcomes) array.push_back(json_of(outcome));
  return array;
}

Json json_of(const SequenceCall& call) {
  const bool failed = call.result < 0 && call.result > -4096;
  return {
      {"call", call.call},
      {"what", call.what},
      {"start", hex(call.start)},
      {"end", hex(call.end)},
      {"new_start", call.new_start == 0 ? Json(nullptr) : Json(hex(call.new_start))},
      {"ends", call.ends},
      {"errno", failed ? -call.result : 0},
      {"answer", call.answer},
      {"outcomes", json_of(call.outcomes)},
      {"changes", array_of(call.changes)},
      {"changes_left_out", call.changes_left_out},
  };
}

Json json_of(const Sequence& sequence) {
  Json calls = Json::array();
  for (const SequenceCall& call : sequence.calls) calls.push_back(json_of(call));
  return {
      {"name", sequence.name},
      {"software", sequence.software},
      {"when", sequence.when},
      {"source", sequence.source},
      {"then", sequence.then},
      {"calls", std::move(calls)},
      {"first_failed", or_null(sequence.first_failed)},
      {"gave_up", sequence.gave_up},
      {"signal", sequence.signal},
      {"complete", sequence.complete},
      {"mappings_before", sequence.mappings_before},
      {"mappings_left", sequence.mappings_left},
      {"outcomes", json_of(sequence.outcomes)},
      {"expected", sequence.expected},
      {"expected_source", sequence.expected_source},
      {"verdict", name_of(sequence.verdict)},
  };
}

Json json_of(const RealRun& real) {
  return {
      {"name", real.name},
      {"package", real.package},
      {"steps", real.steps},
      {"done", real.done},
      {"expected", or_null(real.expected)},
      {"expected_source", real.expected_source},
      {"lines", real.lines},
      {"lines_left_out", real.lines_left_out},
  };
}

Json compat_run(const Run& run) {
  Json sequences = Json::array();
  for (const Sequence& sequence : run.sequences) sequences.push_back(json_of(sequence));
  Json not_tried = Json::array();
  for (const NotTried& one : run.not_tried) {
    not_tried.push_back({{"name", one.name}, {"reason", one.reason}});
  }
  Json changes = Json::array();
  if (run.lifetime) {
    for (const LifeChange& change : run.lifetime->changes) {
      if (change.in_life) changes.push_back(json_of(change));
    }
  }
  return {
      {"arch", arch::name_of(run.arch)},
      {"recipe", run.recipe},
      {"sealed", run.sealed},
      {"expectations", run.expectations},
      {"engine", run.engine},
      {"lane", run.lane},
      {"kernel", run.kernel},
      {"kernel_path", run.kernel_path},
      {"engine_version", run.engine_version},
      {"cpu_model", run.cpu_model},
      {"mappings", array_of(run.mappings)},
      {"sequences", std::move(sequences)},
      {"not_tried", std::move(not_tried)},
      {"real", run.real ? json_of(*run.real) : Json(nullptr)},
      {"changes", std::move(changes)},
      {"counts", json_of(run.counts)},
      {"blind_spots", run.blind_spots},
      {"findings", array_of(run.findings)},
      {"ending", json_of(run.ending)},
      {"seconds", run.seconds},
      {"good", run.good},
      {"summary", run.summary},
  };
}

}  // namespace

std::string render_compat_json(const Report& report) {
  Json runs = Json::array();
  for (const Run& run : report.runs) runs.push_back(compat_run(run));
  return render(kCompatSchema, report, std::move(runs));
}

}  // namespace sealvisor::report
