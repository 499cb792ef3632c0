#include "bench/collector.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "vmm/run/protocol_reader.h"

namespace sealvisor::bench {

using event::Kind;
using protocol::Type;

namespace {

Error bad(std::string text) { return Error{ExitCode::GuestFailed, std::move(text)}; }

}  // namespace

std::size_t median_sample(const std::vector<Sample>& samples) {
  std::vector<std::size_t> order(samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return samples[a].total() < samples[b].total();
  });
  return order.empty() ? 0 : order[(order.size() - 1) / 2];
}

Status Collector::on_message(const protocol::Message& message) {
  switch (message.type) {
    case Type::Hello:
      boot_.release = run::text_of(message.body.hello.release);
      return {};
    case Type::Layout:
      boot_.vdso = message.body.layout.vdso;
      return {};
    case Type::Experiment:
      return message.body.experiment.end == 0 ? begin(message.body.experiment)
                                              : end(message.body.experiment);
    case Type::Samples:
      return take(message.body.samples);
    case Type::Bye:
      bye_ = true;
      return {};
    default:
      return bad(fmt::format("message of type {}, and no benchmark sends it",
                             static_cast<unsigned>(message.type)));
  }
}

Status Collector::begin(const protocol::Experiment& experiment) {
  const std::string name = run::text_of(experiment.name);
  if (open_) {
    return bad(fmt::format("{} begins and {} has not ended", name, boot_.experiments.back().name));
  }
  const std::size_t next = boot_.experiments.size();
  if (next >= plan_.size() || plan_[next].name != name) {
    return bad(fmt::format("experiment {} begins, expected {}", name,
                           next < plan_.size() ? plan_[next].name : "none"));
  }
  const PlanItem& item = plan_[next];
  if (experiment.samples != item.samples || experiment.batch != item.batch) {
    return bad(fmt::format("{}: {} samples of {} operations, expected {} of {}", name,
                           experiment.samples, experiment.batch, item.samples, item.batch));
  }
  open_ = true;
  profiles_.clear();
  boot_.experiments.emplace_back();
  boot_.experiments.back().name = name;
  boot_.experiments.back().batch = item.batch;
  return {};
}

Status Collector::end(const protocol::Experiment& experiment) {
  const std::string name = run::text_of(experiment.name);
  if (!open_ || boot_.experiments.back().name != name) {
    return bad(fmt::format("experiment {} ends and has not begun", name));
  }
  open_ = false;
  ExperimentRun& run = boot_.experiments.back();
  const PlanItem& item = plan_[boot_.experiments.size() - 1];
  run.status = experiment.status;
  run.checked = experiment.checked;
  if (run.status != 0) return {};
  if (run.samples.size() != item.samples) {
    return bad(
        fmt::format("{}: {} samples came, expected {}", name, run.samples.size(), item.samples));
  }
  const std::uint64_t operations = std::uint64_t{item.samples + item.warm_up} * item.batch;
  if (run.checked != operations) {
    return bad(fmt::format("{}: {} operations were done as they should, expected {}", name,
                           run.checked, operations));
  }
  run.median_sample = median_sample(run.samples);
  if (run.median_sample >= profiles_.size()) return {};
  // Several counters can have one name.
  std::map<std::string, std::uint64_t> by_place;
  std::uint64_t sum = 0;
  for (const auto& [counter, instructions] : profiles_[run.median_sample].counts) {
    by_place[name_of_(counter)] += instructions;
    sum += instructions;
  }
  if (sum != run.samples[run.median_sample].total()) {
    return bad(fmt::format("{}: the profile has {} instructions, the sample {}", name, sum,
                           run.samples[run.median_sample].total()));
  }
  for (const auto& [place, instructions] : by_place) run.profile.push_back({place, instructions});
  std::stable_sort(
      run.profile.begin(), run.profile.end(),
      [](const PlaceCount& a, const PlaceCount& b) { return a.instructions > b.instructions; });
  return {};
}

Status Collector::take(const protocol::Samples& samples) {
  if (boot_.unit != Unit::Ticks || !open_)
    return bad("samples of a clock, and none were asked for");
  ExperimentRun& run = boot_.experiments.back();
  const PlanItem& item = plan_[boot_.experiments.size() - 1];
  if (samples.first != run.samples.size() || samples.count > item.samples - run.samples.size()) {
    return bad(fmt::format("{}: samples {} to {}, expected them from {} on, {} in all", run.name,
                           samples.first, samples.first + samples.count, run.samples.size(),
                           item.samples));
  }
  if (samples.frequency == 0) return bad("the guest's clock has no frequency");
  boot_.ticks_per_second = static_cast<double>(samples.frequency);
  for (std::uint32_t i = 0; i < samples.count; ++i) run.samples.push_back({samples.ticks[i], 0});
  return {};
}

void Collector::on_event(const event::Event& event) {
  if (broken_) return;
  if (event.kind == Kind::Sample) {
    if (event.aux != 0 || !open_ || boot_.unit != Unit::Instructions) {
      broken_ = fmt::format("mark {:#x} out of place", event.aux);
      return;
    }
    ExperimentRun& run = boot_.experiments.back();
    if (run.samples.size() >= plan_[boot_.experiments.size() - 1].samples) {
      broken_ = fmt::format("{}: more samples than were asked for", run.name);
      return;
    }
    run.samples.push_back({event.old_value, event.new_value});
  } else if (event.kind == Kind::Count && open_ && !boot_.experiments.back().samples.empty()) {
    profiles_.resize(boot_.experiments.back().samples.size());
    profiles_.back().counts.emplace_back(event.aux, event.new_value);
  }
}

}  // namespace sealvisor::bench
