#include "bench/json.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sealvisor::bench {

namespace {

using Json = nlohmann::ordered_json;

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Declared before the templates that call them: lookup by argument skips this namespace.
Json json_of(const LayoutValue& value);
Json json_of(const Kernel& kernel);
Json json_of(const Tool& tool);
Json json_of(const Interval& interval);
Json json_of(const Shift& shift);
Json json_of(const CrossMeasured& measured);
Json json_of(const Comparison& comparison);
Json json_of(const Metric& metric);
Json json_of(const Missing& missing);
Json json_of(const ProfileDifference& profile);
Json json_of(const SensitivityLine& line);
Json json_of(const Sensitivity& sensitivity);
Json json_of(const Repeats& repeats);
Json json_of(const CrossCheck& check);
Json json_of(const BaselineUse& baseline);
Json json_of(const Completeness& complete);
Json json_of(const Measured& measured);
Json json_of(const Boot& boot);
Json json_of(const Counter& counter);
Json json_of(const RunCounter& counter);
Json json_of(const PinnedCpu& pinned);
Json json_of(const WatchedLine& line);
Json json_of(const Watched& watched);

Json json_of(double value) { return value; }
Json json_of(std::uint64_t value) { return value; }

template <typename T>
Json array_of(const std::vector<T>& items) {
  Json array = Json::array();
  for (const T& item : items) array.push_back(json_of(item));
  return array;
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? json_of(*value) : Json(nullptr);
}

Json json_of(const PinnedCpu& pinned) {
  return {{"cpu", pinned.cpu},
          {"isolated", pinned.isolated},
          {"governor", pinned.governor},
          {"siblings", pinned.siblings}};
}

Json json_of(const Counter& counter) {
  return {{"frequency", counter.frequency},
          {"source", counter.source},
          {"step", counter.step},
          {"read_ticks", counter.read_ticks},
          {"nop_ticks", counter.nop_ticks}};
}

Json json_of(const RunCounter& counter) {
  return {{"arch", arch::name_of(counter.arch)},
          {"source", counter.source},
          {"frequency", counter.frequency},
          {"spread", counter.spread},
          {"step", counter.step},
          {"read_ticks", counter.read_ticks},
          {"nop_ticks", counter.nop_ticks}};
}

Json json_of(const WatchedLine& line) {
  const bool good = line.problem.empty();
  const auto known = [&](double value) { return good ? Json(value) : Json(nullptr); };
  return {{"arch", arch::name_of(line.arch)},
          {"experiment", line.experiment},
          {"side", name_of(line.side)},
          {"seed", hex(line.seed)},
          {"unit", unit_of(line.measure)},
          {"problem", line.problem},
          {"off", known(line.off)},
          {"on", known(line.on)},
          {"ratio", good && line.off > 0 ? Json(line.on / line.off) : Json(nullptr)}};
}

Json json_of(const Watched& watched) {
  return {{"how", watched.how}, {"lines", array_of(watched.lines)}};
}

Json json_of(const LayoutValue& value) {
  return {{"seed", hex(value.seed)}, {"value", value.value}};
}

Json json_of(const Kernel& kernel) {
  return {{"arch", arch::name_of(kernel.arch)},
          {"side", name_of(kernel.side)},
          {"recipe", kernel.recipe},
          {"release", kernel.release},
          {"image_hash", kernel.image_hash},
          {"config_hash", kernel.config_hash}};
}

Json json_of(const Tool& tool) { return {{"name", tool.name}, {"version", tool.version}}; }

Json json_of(const Context& context) {
  Json seeds = Json::array();
  for (const std::uint64_t seed : context.seeds) seeds.push_back(hex(seed));
  return {{"date", context.date},
          {"command", context.command},
          {"version", context.version},
          {"host_cpu", context.host_cpu},
          {"host_arch", context.host_arch},
          {"host_cpus", context.host_cpus},
          {"virtual_host", context.virtual_host},
          {"pinned", or_null(context.pinned)},
          {"engine", context.engine},
          {"engine_version", context.engine_version},
          {"cpu_model", context.cpu_model},
          {"lane", name_of(context.lane)},
          {"says", text_of_lane(context)},
          {"watched", context.watched},
          {"mode", name_of(context.mode)},
          {"a", context.a},
          {"b", context.b},
          {"programs_hash", context.programs_hash},
          {"seeds", std::move(seeds)},
          {"kernels", array_of(context.kernels)},
          {"tools", array_of(context.tools)}};
}

Json json_of(const Bounds& bounds) {
  return {{"relative", bounds.relative},
          {"instructions", bounds.instructions},
          {"time_relative", bounds.time_relative},
          {"nanoseconds", bounds.nanoseconds},
          {"ticks", bounds.ticks},
          {"steps", bounds.steps}};
}

Json json_of(const Interval& interval) {
  return {{"lower", interval.lower}, {"upper", interval.upper}};
}

Json json_of(const Shift& shift) {
  return {{"estimate", shift.estimate},
          {"ninety_five", or_null(shift.ninety_five)},
          {"ninety", or_null(shift.ninety)},
          {"p_no_shift", shift.p_no_shift},
          {"exact", shift.exact}};
}

Json json_of(const CrossMeasured& measured) {
  return {{"median", measured.median},
          {"estimate", measured.ratio.estimate},
          {"ninety_five", or_null(measured.ratio.ninety_five)},
          {"slowed", or_null(measured.slowed)},
          {"in_function", or_null(measured.in_function)}};
}

Json json_of(const Summary& summary) {
  if (summary.count == 0) return nullptr;
  return {{"count", summary.count},
          {"median", summary.median},
          {"lower_quartile", summary.lower_quartile},
          {"upper_quartile", summary.upper_quartile},
          {"least", summary.least},
          {"most", summary.most}};
}

Json json_of(const Comparison& comparison) {
  return {{"first", json_of(comparison.a)},
          {"second", json_of(comparison.b)},
          {"shift", or_null(comparison.shift)},
          {"paired", comparison.paired},
          {"bound", comparison.bound},
          {"equivalence_p", comparison.equivalence_p},
          {"verdict", name_of(comparison.verdict)},
          {"smallest_effect", or_null(comparison.smallest_effect)},
          {"layouts_needed", or_null(comparison.needed)}};
}

Json json_of(const Metric& metric) {
  return {{"arch", arch::name_of(metric.arch)},
          {"experiment", metric.experiment},
          {"measure", name_of(metric.measure)},
          {"unit", unit_of(metric.measure)},
          {"resolution", metric.resolution},
          {"a", array_of(metric.a)},
          {"b", array_of(metric.b)},
          {"control", array_of(metric.control)},
          {"slowed", array_of(metric.slowed)},
          {"cost", json_of(metric.cost)},
          {"again", json_of(metric.again)},
          {"sensitivity", or_null(metric.sensitivity)},
          {"baseline_a", or_null(metric.baseline_a)},
          {"baseline_b", or_null(metric.baseline_b)}};
}

Json json_of(const Missing& missing) {
  return {{"arch", arch::name_of(missing.arch)},
          {"experiment", missing.experiment},
          {"reason", missing.reason},
          {"failed", missing.failed}};
}

Json json_of(const ProfileDifference& profile) {
  // Symbols without a difference are most of them, and say nothing but their sum.
  Json symbols = Json::array();
  std::uint64_t unchanged = 0;
  for (const SymbolDifference& symbol : profile.symbols) {
    if (symbol.difference() == 0) {
      unchanged += symbol.a;
      continue;
    }
    symbols.push_back({{"space", name_of(symbol.space)},
                       {"symbol", symbol.symbol},
                       {"a", symbol.a},
                       {"b", symbol.b},
                       {"difference", symbol.difference()}});
  }
  return {{"arch", arch::name_of(profile.arch)}, {"experiment", profile.experiment},
          {"with", name_of(profile.with)},       {"operations", profile.operations},
          {"layouts", profile.layouts},          {"total_a", profile.total_a},
          {"total_b", profile.total_b},          {"unchanged", unchanged},
          {"symbols", std::move(symbols)}};
}

Json json_of(const SensitivityLine& line) {
  return {{"arch", arch::name_of(line.known.arch)},
          {"experiment", line.known.experiment},
          {"space", name_of(line.known.space)},
          {"added", line.known.added},
          {"function", line.known.function},
          {"expected_shift", line.expected_shift},
          {"shift", or_null(line.shift)},
          {"shift_bound", line.shift_bound},
          {"in_function", or_null(line.in_function)},
          {"named", line.function},
          {"verdict", line.verdict ? Json(name_of(*line.verdict)) : Json(nullptr)},
          {"asked", line.asked},
          {"good", line.good}};
}

Json json_of(const Sensitivity& sensitivity) {
  return {{"good", sensitivity.good},
          {"lines", array_of(sensitivity.lines)},
          {"others", sensitivity.others}};
}

Json json_of(const Repeats& repeats) {
  return {{"boots", repeats.boots}, {"samples", repeats.samples}, {"differing", repeats.differing}};
}

Json json_of(const CrossCheck& check) {
  return {{"arch", arch::name_of(check.arch)},
          {"tool", check.plan.tool},
          {"foreign_experiment", check.plan.foreign},
          {"our_experiment", check.plan.ours},
          {"foreign", or_null(check.foreign)},
          {"ours", or_null(check.ours)},
          {"agrees", check.agrees},
          {"added", check.plan.slowed},
          {"seen", check.seen ? Json(*check.seen) : Json(nullptr)}};
}

Json json_of(const BaselineUse& baseline) {
  return {{"file", baseline.file},
          {"date", baseline.date},
          {"waived", baseline.waived},
          {"only_there", baseline.only_there},
          {"only_here", baseline.only_here}};
}

Json json_of(const Completeness& complete) {
  return {{"arch", arch::name_of(complete.arch)},
          {"side", name_of(complete.side)},
          {"boots", complete.boots},
          {"wanted", complete.wanted}};
}

Json json_of(const Counts& counts) {
  return {{"equivalent", counts.equivalent},
          {"slower", counts.slower},
          {"faster", counts.faster},
          {"undecided", counts.undecided}};
}

Json json_of(const Measured& measured) {
  return {{"experiment", measured.experiment},
          {"status", measured.status},
          {"problem", measured.problem},
          {"batch", measured.batch},
          {"user", measured.user},
          {"kernel", measured.kernel},
          {"ticks", measured.ticks}};
}

Json json_of(const Boot& boot) {
  return {{"arch", arch::name_of(boot.arch)},
          {"side", name_of(boot.side)},
          {"seed", hex(boot.seed)},
          {"kernel_text", hex(boot.kernel_text)},
          {"vdso", hex(boot.vdso)},
          {"counter", or_null(boot.counter)},
          {"preempted", or_null(boot.preempted)},
          {"experiments", array_of(boot.experiments)}};
}

// --- Google Benchmark's part ---

std::string recipe_of(const Report& report, arch::Arch arch, Side side) {
  for (const Kernel& kernel : report.context.kernels) {
    if (kernel.arch == arch && kernel.side == side) return kernel.recipe;
  }
  return side == Side::B ? report.context.b : report.context.a;
}

bool is_whole(Measure measure) { return measure != Measure::User && measure != Measure::Kernel; }

std::optional<double> part_of(const Report& report, const Metric& whole, Measure part, Side side,
                              std::uint64_t seed) {
  for (const Metric& metric : report.metrics) {
    if (metric.arch != whole.arch || metric.experiment != whole.experiment ||
        metric.measure != part) {
      continue;
    }
    for (const LayoutValue& value : values_of(metric, side)) {
      if (value.seed == seed) return value.value;
    }
  }
  return std::nullopt;
}

std::uint64_t operations_of(const Report& report, const Metric& metric, Side side,
                            std::uint64_t seed) {
  for (const Boot& boot : report.boots) {
    if (boot.arch != metric.arch || boot.side != side || boot.seed != seed) continue;
    for (const Measured& measured : boot.experiments) {
      if (measured.experiment != metric.experiment) continue;
      return std::max(measured.kernel.size(), measured.ticks.size()) *
             std::uint64_t{measured.batch};
    }
  }
  return 0;
}

std::string label_of(Measure measure) {
  return measure == Measure::Nanoseconds ? "time" : fmt::format("{}, not time", unit_of(measure));
}

struct Family {
  std::size_t index;
  std::size_t instance;
  std::string name;
};

Json entry_of(const Family& family, std::string_view run_type, std::size_t repetitions) {
  const bool aggregate = run_type == "aggregate";
  Json entry = {{"name", aggregate ? family.name + "_median" : family.name},
                {"family_index", family.index},
                {"per_family_instance_index", family.instance},
                {"run_name", family.name},
                {"run_type", run_type},
                {"repetitions", repetitions}};
  if (aggregate) {
    entry["aggregate_name"] = "median";
    entry["aggregate_unit"] = "time";
  }
  entry["threads"] = 1;
  return entry;
}

void add_value(Json& entry, std::uint64_t iterations, double value, const Metric& metric) {
  entry["iterations"] = iterations;
  entry["real_time"] = value;
  entry["cpu_time"] = value;
  entry["time_unit"] = "ns";
  entry["label"] = label_of(metric.measure);
  if (metric.measure == Measure::Nanoseconds) entry["ticks"] = or_null(ticks_of(metric, value));
}

void add_side(Json& entries, const Report& report, const Metric& metric, Side side,
              const Family& family) {
  const std::vector<LayoutValue>& values = values_of(metric, side);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t seed = values[i].seed;
    Json entry = entry_of(family, "iteration", values.size());
    entry["repetition_index"] = i;
    add_value(entry, operations_of(report, metric, side, seed), values[i].value, metric);
    if (metric.measure == Measure::Total) {
      for (const Measure part : {Measure::User, Measure::Kernel}) {
        entry[fmt::format("{}_instructions", name_of(part))] =
            or_null(part_of(report, metric, part, side, seed));
      }
    }
    entries.push_back(std::move(entry));
  }
  Json median = entry_of(family, "aggregate", values.size());
  add_value(median, values.size(), median_of(values_of(values)), metric);
  entries.push_back(std::move(median));
}

Json benchmarks_of(const Report& report) {
  Json entries = Json::array();
  std::size_t index = 0;
  for (const Metric& metric : report.metrics) {
    if (!is_whole(metric.measure)) continue;
    std::size_t instance = 0;
    for (const Side side : {Side::A, Side::B, Side::Control, Side::Slowed}) {
      if (values_of(metric, side).empty()) continue;
      const std::string name =
          fmt::format("{}/{}/{}/{}:{}", arch::name_of(metric.arch), metric.experiment,
                      unit_of(metric.measure), name_of(side), recipe_of(report, metric.arch, side));
      add_side(entries, report, metric, side, {index, instance++, name});
    }
    ++index;
  }
  return entries;
}

Json google_context(const Context& context) {
  const bool time = context.lane == Lane::Time;
  return {{"date", context.date},
          {"executable", "sealvisor bench"},
          {"num_cpus", context.host_cpus},
          {"library_build_type", "release"},
          {"real_time_is", time ? "time of one operation"
                                : "instructions of one operation, not a time; time_unit is there "
                                  "because the format asks for one"},
          {"says", text_of_lane(context)}};
}

/// A list with a line for each entry, anything else on one line.
std::string member_text(const Json& value) {
  if (!value.is_array() || value.empty()) return dump(value);
  std::string text = "[";
  for (std::size_t i = 0; i < value.size(); ++i) {
    text += (i == 0 ? "\n" : ",\n") + dump(value[i]);
  }
  return text + "\n]";
}

}  // namespace

std::string render_json(const Report& report) {
  const Json ours = {{"schema", kBenchSchema},
                     {"context", json_of(report.context)},
                     {"bounds", json_of(report.bounds)},
                     {"fail_on", name_of(report.fail_on)},
                     {"interrupted", report.interrupted},
                     {"complete", array_of(report.complete)},
                     {"failures", report.failures},
                     {"void_because", report.void_because},
                     {"counts", json_of(report.counts)},
                     {"metrics", array_of(report.metrics)},
                     {"foreign", array_of(report.foreign)},
                     {"missing", array_of(report.missing)},
                     {"profiles", array_of(report.profiles)},
                     {"sensitivity", or_null(report.sensitivity)},
                     {"repeats", or_null(report.repeats)},
                     {"cross_checks", array_of(report.cross_checks)},
                     {"counters", array_of(report.counters)},
                     {"watched", or_null(report.watched)},
                     {"baseline", or_null(report.baseline)},
                     {"boots", array_of(report.boots)},
                     {"conclusion", report.conclusion},
                     {"exit_code", static_cast<int>(report.exit_code)}};
  std::string text =
      fmt::format("{{\n\"context\": {},\n\"benchmarks\": {},\n\"sealvisor\": {{",
                  dump(google_context(report.context), 2), member_text(benchmarks_of(report)));
  bool first = true;
  for (const auto& [name, value] : ours.items()) {
    text += fmt::format("{}\n\"{}\": {}", first ? "" : ",", name, member_text(value));
    first = false;
  }
  return text + "\n}\n}\n";
}

}  // namespace sealvisor::bench
