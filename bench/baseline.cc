#include "bench/baseline.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/json.h"

namespace sealvisor::bench {

namespace {

/// Reads members; whatever is not as it must be is remembered, and read as nothing.
class Reader {
 public:
  [[nodiscard]] const std::string& problem() const { return problem_; }

  const nlohmann::json& member(const nlohmann::json& object, const char* name) {
    static const nlohmann::json kNothing;
    if (object.is_object()) {
      const auto found = object.find(name);
      if (found != object.end()) return *found;
    }
    wrong(name);
    return kNothing;
  }
  std::string text(const nlohmann::json& object, const char* name) {
    const nlohmann::json& value = member(object, name);
    if (value.is_string()) return value.get<std::string>();
    wrong(name);
    return "";
  }
  bool flag(const nlohmann::json& object, const char* name) {
    const nlohmann::json& value = member(object, name);
    if (value.is_boolean()) return value.get<bool>();
    wrong(name);
    return false;
  }
  const nlohmann::json& list(const nlohmann::json& object, const char* name) {
    static const nlohmann::json kNone = nlohmann::json::array();
    const nlohmann::json& value = member(object, name);
    if (value.is_array()) return value;
    wrong(name);
    return kNone;
  }
  arch::Arch arch(const nlohmann::json& object) {
    const auto arch = arch::parse_arch(text(object, "arch"));
    if (!arch) wrong("arch");
    return arch.value_or(arch::Arch::X86_64);
  }
  /// The one of `all` that is called so.
  template <typename T>
  T named(const nlohmann::json& object, const char* name, std::initializer_list<T> all) {
    const std::string word = text(object, name);
    for (const T one : all) {
      if (word == name_of(one)) return one;
    }
    wrong(name);
    return *all.begin();
  }

  /// A number that is written as a text, "0x1f".
  std::uint64_t hexadecimal(const nlohmann::json& object, const char* name) {
    const std::string word = text(object, name);
    std::uint64_t value = 0;
    const char* const end = word.data() + word.size();
    const bool marked = word.starts_with("0x");
    const auto read = std::from_chars(marked ? word.data() + 2 : end, end, value, 16);
    if (read.ec != std::errc{} || read.ptr != end) wrong(name);
    return value;
  }

  void wrong(const char* name) {
    if (problem_.empty()) problem_ = fmt::format("'{}' is missing or is not what it must be", name);
  }

 private:
  std::string problem_;
};

Kernel kernel_of(Reader& reader, const nlohmann::json& json) {
  Kernel kernel;
  kernel.arch = reader.arch(json);
  kernel.side = reader.named(json, "side", {Side::A, Side::B, Side::Control, Side::Slowed});
  kernel.recipe = reader.text(json, "recipe");
  kernel.release = reader.text(json, "release");
  kernel.image_hash = reader.text(json, "image_hash");
  kernel.config_hash = reader.text(json, "config_hash");
  return kernel;
}

Context context_of(Reader& reader, const nlohmann::json& json) {
  Context context;
  context.date = reader.text(json, "date");
  context.command = reader.text(json, "command");
  context.version = reader.text(json, "version");
  context.host_cpu = reader.text(json, "host_cpu");
  context.host_arch = reader.text(json, "host_arch");
  context.virtual_host = reader.text(json, "virtual_host");
  context.engine = reader.text(json, "engine");
  context.engine_version = reader.text(json, "engine_version");
  context.cpu_model = reader.text(json, "cpu_model");
  context.lane = reader.named(json, "lane", {Lane::Instructions, Lane::Time});
  context.watched = reader.flag(json, "watched");
  context.mode = reader.named(json, "mode", {Mode::Quick, Mode::Full});
  context.a = reader.text(json, "a");
  context.b = reader.text(json, "b");
  context.programs_hash = reader.text(json, "programs_hash");
  for (const nlohmann::json& kernel : reader.list(json, "kernels")) {
    context.kernels.push_back(kernel_of(reader, kernel));
  }
  return context;
}

std::vector<LayoutValue> values_in(Reader& reader, const nlohmann::json& metric, const char* side) {
  std::vector<LayoutValue> values;
  for (const nlohmann::json& layout : reader.list(metric, side)) {
    const nlohmann::json& value = reader.member(layout, "value");
    if (value.is_number()) {
      values.push_back({reader.hexadecimal(layout, "seed"), value.get<double>()});
    } else {
      reader.wrong("value");
    }
  }
  return values;
}

BaselineMetric metric_of(Reader& reader, const nlohmann::json& json) {
  BaselineMetric metric;
  metric.arch = reader.arch(json);
  metric.experiment = reader.text(json, "experiment");
  metric.measure = reader.named(
      json, "measure",
      {Measure::Total, Measure::User, Measure::Kernel, Measure::Nanoseconds, Measure::Ticks});
  metric.a = values_in(reader, json, "a");
  metric.b = values_in(reader, json, "b");
  return metric;
}

/// Says what differs, if anything does.
class Differences {
 public:
  void compare(Same what, const std::string& name, const std::string& now,
               const std::string& then) {
    if (now == then) return;
    found_.push_back({what, fmt::format("{} is '{}', in the baseline '{}'", name, now, then)});
  }
  void add(Same what, std::string text) { found_.push_back({what, std::move(text)}); }
  [[nodiscard]] std::vector<Unlike> take() { return std::move(found_); }

 private:
  std::vector<Unlike> found_;
};

void compare_kernels(Differences& differences, const Context& now, const Context& then) {
  for (const Kernel& kernel : now.kernels) {
    if (kernel.side != Side::A && kernel.side != Side::B) continue;
    const auto saved = std::find_if(
        then.kernels.begin(), then.kernels.end(),
        [&](const Kernel& one) { return one.arch == kernel.arch && one.side == kernel.side; });
    const std::string name =
        fmt::format("{} of {}", arch::name_of(kernel.arch), name_of(kernel.side));
    if (saved == then.kernels.end()) {
      differences.add(Same::Kernels, fmt::format("the baseline has no kernel {}", name));
      continue;
    }
    differences.compare(Same::Kernels, "the recipe " + name, kernel.recipe, saved->recipe);
    differences.compare(Same::Kernels, "the release " + name, kernel.release, saved->release);
    differences.compare(Same::Kernels, "the image " + name, kernel.image_hash, saved->image_hash);
    differences.compare(Same::Kernels, "the configuration " + name, kernel.config_hash,
                        saved->config_hash);
  }
}

}  // namespace

const char* name_of(Same what) {
  switch (what) {
    case Same::Machine:
      return "machine";
    case Same::Engine:
      return "engine";
    case Same::Kernels:
      return "kernels";
    case Same::Programs:
      return "programs";
  }
  return "?";
}

Result<Baseline> parse_baseline(std::string_view text, const std::string& file) {
  const auto refuse = [&](const std::string& why) {
    return Error{ExitCode::Usage, fmt::format("{}: no baseline: {}", file, why)};
  };
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return refuse("it is not JSON");
  const nlohmann::json* ours = nullptr;
  if (json.is_object() && json.contains("sealvisor")) ours = &json["sealvisor"];
  if (ours == nullptr || !ours->is_object()) {
    return refuse("`sealvisor bench` did not write it (--save or --json)");
  }
  Reader reader;
  const std::string schema = reader.text(*ours, "schema");
  if (schema != kBenchSchema) {
    return refuse(fmt::format("its schema is '{}', expected {}", schema, kBenchSchema));
  }
  Baseline baseline;
  baseline.file = file;
  baseline.context = context_of(reader, reader.member(*ours, "context"));
  for (const nlohmann::json& metric : reader.list(*ours, "metrics")) {
    baseline.metrics.push_back(metric_of(reader, metric));
  }
  const bool interrupted = reader.flag(*ours, "interrupted");
  const bool is_void = !reader.list(*ours, "void_because").empty();
  if (!reader.problem().empty()) return refuse(reader.problem());
  if (interrupted) return refuse("that run was interrupted");
  if (is_void) return refuse("that run was void");
  return baseline;
}

std::vector<Unlike> differences(const Context& now, const Context& then) {
  Differences found;
  found.compare(Same::Machine, "the host's CPU", now.host_cpu, then.host_cpu);
  found.compare(Same::Machine, "the host's architecture", now.host_arch, then.host_arch);
  found.compare(Same::Machine, "what shows that the host is virtual", now.virtual_host,
                then.virtual_host);
  found.compare(Same::Engine, "the engine", now.engine, then.engine);
  found.compare(Same::Engine, "the engine's version", now.engine_version, then.engine_version);
  found.compare(Same::Engine, "the guest's CPU", now.cpu_model, then.cpu_model);
  found.compare(Same::Engine, "what is measured", name_of(now.lane), name_of(then.lane));
  found.compare(Same::Engine, "interception", now.watched ? "on" : "off",
                then.watched ? "on" : "off");
  compare_kernels(found, now, then);
  found.compare(Same::Programs, "the hash of the guest's programs", now.programs_hash,
                then.programs_hash);
  return found.take();
}

Result<std::vector<std::string>> check_baseline(const Context& now, const Baseline& baseline,
                                                const std::vector<Same>& may_differ) {
  std::vector<std::string> waived;
  std::vector<std::string> refused;
  std::vector<std::string> words;
  for (const Unlike& unlike : differences(now, baseline.context)) {
    const bool may =
        std::find(may_differ.begin(), may_differ.end(), unlike.what) != may_differ.end();
    (may ? waived : refused).push_back(unlike.text);
    const std::string word = name_of(unlike.what);
    if (!may && std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  if (refused.empty()) return waived;
  return Error{ExitCode::Usage,
               fmt::format("{} is of something else: {}; compare all the same with "
                           "--baseline-anyway {}",
                           baseline.file, fmt::join(refused, "; "), fmt::join(words, ","))};
}

}  // namespace sealvisor::bench
