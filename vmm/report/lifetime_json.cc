#include "vmm/report/json_parts.h"
#include "vmm/report/lifetime_report.h"

namespace sealvisor::report {

Json json_of(const LifeChange& change) {
  const KnownLifeChange* const known = known_life_change(change);
  Json scenarios = Json::array();
  for (const auto& [name, writes] : change.scenarios) {
    scenarios.push_back({{"name", name}, {"writes", writes}});
  }
  return {
      {"mapping", change.mapping},
      {"effect", name_of(change.effect)},
      {"cause", change.cause},
      {"by", change.by},
      {"path", change.path},
      {"path_complete", change.path_complete},
      {"in_life", change.in_life},
      {"by_kernel", change.by_kernel},
      {"known", known == nullptr || !change.by_kernel ? Json(nullptr) : Json(known->source)},
      {"writes", change.writes},
      {"seen", change.seen},
      {"undone", change.undone},
      {"at_end", change.at_end},
      {"spaces", change.spaces},
      {"scenarios", std::move(scenarios)},
      {"example", change.example},
  };
}

namespace {

Json json_of(const MappingLife& life) {
  return {
      {"mapping", life.mapping},
      {"claims_sealed", or_null(life.claims_sealed)},
      {"spaces", life.spaces},
      {"entries", life.entries},
      {"pages_populated", life.pages_populated},
      {"pages_never", life.pages_never},
      {"pages_kept", life.pages_kept},
      {"pages_gone", life.pages_gone},
      {"refaulted", life.refaulted},
      {"filled_in", life.filled_in},
      {"copied", life.copied},
      {"removed_at_exit", life.removed_at_exit},
      {"removed_at_exec", life.removed_at_exec},
      {"verdict", name_of(life.verdict)},
      {"changed_by", life.changed_by},
      {"text", life.text},
  };
}

Json json_of(const Lifetime& lifetime) {
  Json mappings = Json::array();
  for (const MappingLife& life : lifetime.mappings) mappings.push_back(json_of(life));
  Json changes = Json::array();
  for (const LifeChange& change : lifetime.changes) changes.push_back(json_of(change));
  return {
      {"mappings", std::move(mappings)},
      {"changes", std::move(changes)},
      {"writes", lifetime.writes},
      {"paths", lifetime.paths},
      {"paths_incomplete", lifetime.paths_incomplete},
      {"without_stack", lifetime.without_stack},
  };
}

Json lifetime_run(const Run& run) {
  return {
      {"arch", arch::name_of(run.arch)},
      {"recipe", run.recipe},
      {"sealed", run.sealed},
      {"control", run.control},
      {"expectations", run.expectations},
      {"engine", run.engine},
      {"lane", run.lane},
      {"kernel", run.kernel},
      {"kernel_path", run.kernel_path},
      {"engine_version", run.engine_version},
      {"cpu_model", run.cpu_model},
      {"mappings", array_of(run.mappings)},
      {"lives", array_of(run.lives)},
      {"lifetime", run.lifetime ? json_of(*run.lifetime) : Json(nullptr)},
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

std::string render_lifetime_json(const Report& report) {
  Json runs = Json::array();
  for (const Run& run : report.runs) runs.push_back(lifetime_run(run));
  return render(kLifetimeSchema, report, std::move(runs));
}

}  // namespace sealvisor::report
