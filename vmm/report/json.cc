#include "vmm/report/json.h"

#include "vmm/report/json_parts.h"

namespace sealvisor::report {

namespace {

Json json_of(const Claim& claim) {
  const bool failed = claim.result < 0 && claim.result > -4096;
  return {
      {"made", claim.made},
      {"errno", claim.made ? Json(failed ? -claim.result : 0) : Json(nullptr)},
      {"result", claim.made ? Json(hex(static_cast<std::uint64_t>(claim.result))) : Json(nullptr)},
      {"text", claim.text},
      {"sealed", or_null(claim.sealed)},
  };
}

}  // namespace

Json json_of(const Observation& observation) {
  const Pages& pages = observation.pages;
  return {
      {"change", name_of(observation.change)},
      {"text", observation.text},
      {"pages",
       {{"total", pages.total},
        {"observed", pages.observed},
        {"kept", pages.kept},
        {"refaulted", pages.refaulted},
        {"changed", pages.changed}}},
  };
}

namespace {

Json json_of(const Expected& expected) {
  return {
      {"errnos", expected.errnos},
      {"change", expected.change ? Json(name_of(*expected.change)) : Json(nullptr)},
      {"text", expected.text},
      {"source", expected.source},
      {"exception", name_of(expected.exception)},
      {"by_seal", expected.by_seal},
  };
}

}  // namespace

Json json_of(const EntryChange& change) {
  return {
      {"mapping", change.mapping},
      {"gva", hex(change.gva)},
      {"gpa", hex(change.gpa)},
      {"level", change.level},
      {"old", hex(change.old_value)},
      {"new", hex(change.new_value)},
      {"old_text", change.old_text},
      {"new_text", change.new_text},
      {"pc", hex(change.pc)},
      {"function", change.function},
      {"instruction", change.instruction},
      {"icount", change.icount},
      {"root", hex(change.root)},
      {"transient", change.transient},
  };
}

Json json_of(const Cell& cell) {
  return {
      {"id", cell.id},
      {"scenario", cell.scenario},
      {"mapping", cell.mapping},
      {"operation", cell.operation},
      {"form", cell.form},
      {"claim", json_of(cell.claim)},
      {"observation", json_of(cell.observation)},
      {"expectation", cell.expectation ? json_of(*cell.expectation) : Json(nullptr)},
      {"verdict", name_of(cell.verdict)},
      {"lie", cell.lie},
      {"broken", cell.broken},
      {"changes", array_of(cell.changes)},
      {"changes_left_out", cell.changes_left_out},
  };
}

Json json_of(const Life& life) {
  return {
      {"name", life.name},
      {"status", life.status},
      {"complete", life.complete},
      {"unsupported", life.unsupported},
      {"count", life.count},
      {"address_spaces", life.address_spaces},
      {"user_entries", life.user_entries},
      {"violations", life.violations},
      {"pages_kept", life.pages_kept},
      {"pages_refaulted", life.pages_refaulted},
      {"pages_unobserved", life.pages_unobserved},
      {"teardowns", life.teardowns},
      {"inherited", life.inherited},
  };
}

Json json_of(const CodeLine& line) {
  return {{"address", hex(line.address)}, {"bytes", line.bytes}, {"text", line.text}};
}

Json json_of(const Writer& writer) {
  return {
      {"pc", hex(writer.pc)},
      {"function", writer.function},
      {"source", name_of(writer.source)},
      {"lines", array_of(writer.lines)},
  };
}

Json json_of(const Moment& moment) {
  return {
      {"kind", name_of(moment.kind)},
      {"phase", name_of(moment.phase)},
      {"icount", moment.icount},
      {"mapping", moment.mapping.empty() ? Json(nullptr) : Json(moment.mapping)},
      {"gva", hex(moment.gva)},
      {"pages", moment.pages},
      {"text", moment.text},
      {"write", moment.write ? json_of(*moment.write) : Json(nullptr)},
  };
}

Json json_of(const PlacedMapping& placed) {
  return {
      {"mapping", placed.mapping},
      {"gva", hex(placed.gva)},
      {"pages", placed.pages},
      {"populated", placed.populated},
  };
}

Json json_of(const Process& process) {
  return {
      {"id", process.id},
      {"root", hex(process.root)},
      {"scenario", process.scenario},
      {"cell", or_null(process.cell)},
      {"began", process.began},
      {"ended", or_null(process.ended)},
      {"user_entries", process.user_entries},
      {"mappings", array_of(process.mappings)},
      {"changed", process.changed},
      {"timeline", array_of(process.timeline)},
      {"moments_left_out", process.moments_left_out},
  };
}

Json json_of(const ProcessesLeftOut& left_out) {
  return {{"changed", left_out.changed}, {"unchanged", left_out.unchanged}};
}

Json json_of(const Finding& finding) {
  return {
      {"id", finding.id},       {"invariant", finding.invariant}, {"text", finding.text},
      {"known", finding.known}, {"reason", finding.reason},
  };
}

Json json_of(const MappingInfo& mapping) {
  Json frames = Json::array();
  for (const std::uint64_t frame : mapping.frames) {
    frames.push_back(frame == 0 ? Json(nullptr) : Json(hex(frame)));
  }
  return {
      {"name", mapping.name},
      {"pages", mapping.pages},
      {"populated", mapping.populated},
      {"claims_sealed", or_null(mapping.claims_sealed)},
      {"identified_by", mapping.identified_by},
      {"frames", std::move(frames)},
  };
}

Json json_of(const Counts& counts) {
  return {
      {"events", counts.events},
      {"table_writes", counts.table_writes},
      {"content_writes", counts.content_writes},
      {"user_entries", counts.user_entries},
      {"roots", counts.roots},
      {"frames", counts.frames},
      {"rewalks", counts.rewalks},
      {"rewalked_tables", counts.rewalked_tables},
      {"mismatches", counts.mismatches},
      {"doorbells", counts.doorbells},
      {"transient", counts.transient},
      {"teardowns", counts.teardowns},
      {"violations", counts.violations},
      {"witness_stores", or_null(counts.witness_stores)},
      {"witness_differences", or_null(counts.witness_differences)},
      {"known_stores", or_null(counts.known_stores)},
      {"known_store_classes", or_null(counts.known_store_classes)},
      {"known_code_stores", or_null(counts.known_code_stores)},
      {"known_code_store_classes", or_null(counts.known_code_store_classes)},
      {"known_changes", or_null(counts.known_changes)},
      {"known_changes_judged", or_null(counts.known_changes_judged)},
      {"known_entries", or_null(counts.known_entries)},
      {"known_entries_counted", or_null(counts.known_entries_counted)},
      {"stepped_instructions", or_null(counts.stepped_instructions)},
      {"stepped_entries", or_null(counts.stepped_entries)},
      {"stepped_untrapped", or_null(counts.stepped_untrapped)},
  };
}

Json json_of(const Campaign::Row& row) {
  return {{"edit", row.edit},
          {"writer", row.writer},
          {"undone_at_once", row.undone_at_once},
          {"made", row.made},
          {"right", row.right}};
}

Json json_of(const std::optional<Campaign>& campaign) {
  if (!campaign) return nullptr;
  return {
      {"seed", campaign->seed},
      {"asked", campaign->asked},
      {"made", campaign->made},
      {"visible", campaign->visible},
      {"reported", campaign->reported},
      {"transient", campaign->transient},
      {"recorded", campaign->recorded},
      {"harmless", campaign->harmless},
      {"to_other", campaign->to_other},
      {"false_alarms", campaign->false_alarms},
      {"user_ways", campaign->user_ways},
      {"user_ways_used", campaign->user_ways_used},
      {"kernel_ways", campaign->kernel_ways},
      {"kernel_ways_used", campaign->kernel_ways_used},
      {"rows", array_of(campaign->rows)},
  };
}

Json json_of(const Ending& ending) {
  return {
      {"good", ending.good},
      {"text", ending.text},
      {"console_tail", ending.console_tail},
  };
}

Json json_of(const Cost& cost) {
  return {{"name", cost.name}, {"count", cost.count}, {"microseconds", cost.microseconds}};
}

namespace {

Json json_of(const Start& start) {
  Json exits = nullptr;
  if (start.exits) {
    exits = Json::array();
    for (const Cost& exit : *start.exits) {
      exits.push_back({{"name", exit.name}, {"count", exit.count}});
    }
  }
  return {{"cpu_ms", or_null(start.cpu_ms)},
          {"exits", std::move(exits)},
          {"instructions", or_null(start.instructions)}};
}

}  // namespace

Json json_of(const ProcessMapping& mapping) {
  return {{"name", mapping.name},
          {"start", hex(mapping.start)},
          {"end", hex(mapping.end)},
          {"sealed", mapping.sealed}};
}

Json json_of(const ProgramProcess& process) {
  return {
      {"pid", process.pid},
      {"parent", process.parent},
      {"image", process.image},
      {"bits", process.bits},
      {"first", array_of(process.first)},
      {"last", process.last ? array_of(*process.last) : Json(nullptr)},
      {"status", or_null(process.status)},
  };
}

Json json_of(const ProgramViolation& violation) {
  return {{"invariant", violation.invariant},
          {"mapping", violation.mapping},
          {"text", violation.text},
          {"shared", violation.shared}};
}

Json json_of(const ProgramMapping& mapping) {
  return {
      {"name", mapping.name},
      {"place", hex(mapping.place)},
      {"pages", mapping.pages},
      {"seen", mapping.seen},
      {"change", name_of(mapping.change)},
      {"absent", mapping.absent},
      {"text", mapping.text},
      {"changes", array_of(mapping.changes)},
      {"changes_left_out", mapping.changes_left_out},
  };
}

Json json_of(const ProgramSpace& space) {
  return {
      {"id", space.id},
      {"pids", space.pids},
      {"image", space.image},
      {"user_entries", space.user_entries},
      {"ended", space.ended},
      {"touched", space.touched},
      {"mappings", array_of(space.mappings)},
      {"violations", array_of(space.violations)},
      {"violations_left_out", space.violations_left_out},
  };
}

Json json_of(const Program& program) {
  static constexpr const char* kOutcomes[] = {"exited",  "killed",     "too-long",
                                              "not-run", "not-traced", "cut-off"};
  return {
      {"name", program.name},
      {"command", program.command},
      {"outcome", kOutcomes[static_cast<unsigned>(program.outcome)]},
      {"value", program.value},
      {"traced", program.traced},
      {"judged", program.judged},
      {"left_running", program.left_running},
      {"processes", array_of(program.processes)},
      {"processes_left_out", program.processes_left_out},
      {"spaces", array_of(program.spaces)},
      {"spaces_left_out", program.spaces_left_out},
      {"output", program.output},
      {"errors", program.errors},
      {"output_left_out", program.output_left_out},
  };
}

Json json_of(const Run& run) {
  return {
      {"arch", arch::name_of(run.arch)},
      {"recipe", run.recipe},
      {"variant", run.variant},
      {"sealed", run.sealed},
      {"control", run.control},
      {"expectations", run.expectations},
      {"engine", run.engine},
      {"lane", run.lane},
      {"kernel", run.kernel},
      {"kernel_path", run.kernel_path},
      {"kernel_packing", run.kernel_packing},
      {"engine_version", run.engine_version},
      {"cpu_model", run.cpu_model},
      {"mechanism", run.mechanism},
      {"costs", array_of(run.costs)},
      {"mappings", array_of(run.mappings)},
      {"cells", array_of(run.cells)},
      {"lives", array_of(run.lives)},
      {"programs", array_of(run.programs)},
      {"symbols", run.symbols},
      {"processes", array_of(run.processes)},
      {"processes_left_out", json_of(run.processes_left_out)},
      {"writers", array_of(run.writers)},
      {"counts", json_of(run.counts)},
      {"campaign", json_of(run.campaign)},
      {"blind_spots", run.blind_spots},
      {"findings", array_of(run.findings)},
      {"ending", json_of(run.ending)},
      {"seconds", run.seconds},
      {"cpu_seconds", run.cpu_seconds},
      {"start_to_init", run.start_to_init},
      {"start", json_of(run.start)},
      {"resident_bytes", or_null(run.resident_bytes)},
      {"good", run.good},
      {"summary", run.summary},
  };
}

Json json_of(const NotRun& not_run) {
  return {
      {"arch", arch::name_of(not_run.arch)},
      {"recipe", not_run.recipe},
      {"exit_code", static_cast<int>(not_run.error.code)},
      {"message", not_run.error.message},
  };
}

std::string render(std::string_view schema, const Report& report, Json runs) {
  const Json document = {
      {"schema", schema},
      {"runs", std::move(runs)},
      {"not_run", array_of(report.not_run)},
      {"findings", array_of(report.findings)},
      {"conclusion", report.conclusion},
      {"exit_code", static_cast<int>(report.exit_code)},
      {"threat_model", report.threat_model},
  };
  // Indented. Bytes that are no UTF-8 are replaced by U+FFFD: a guest may have written them.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string render_json(const Report& report) {
  return render(kReportSchema, report, array_of(report.runs));
}

}  // namespace sealvisor::report
