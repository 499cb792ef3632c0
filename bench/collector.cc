#include "bench/collector.h"

#include <algorithm>

#include <fmt/format.h>

#include "bench/experiment.h"
#include "vmm/run/protocol_reader.h"

namespace sealvisor::bench {

using event::Kind;
using protocol::Type;

namespace {

Error bad_stream(std::string text) { return Error{ExitCode::GuestFailed, std::move(text)}; }

std::size_t samples_in(const Measured& measured, Lane lane) {
  return lane == Lane::Instructions ? measured.kernel.size() : measured.ticks.size();
}

}  // namespace

Status Collector::on_message(const protocol::Message& message) {
  if (broken_) return bad_stream(*broken_);
  switch (message.type) {
    case Type::Hello:
      release_ = run::text_of(message.body.hello.release);
      return {};
    case Type::Layout:
      layout_ = message.body.layout;
      return {};
    case Type::Experiment:
      return message.body.experiment.end == 0 ? begin(message.body.experiment)
                                              : end(message.body.experiment);
    case Type::Samples:
      return add(message.body.samples);
    case Type::Counter:
      return describe(message.body.counter);
    case Type::Bye:
      bye_ = true;
      return {};
    default:
      return bad_stream(fmt::format("message of type {}, and no benchmark sends it",
                                    static_cast<unsigned>(message.type)));
  }
}

Status Collector::begin(const protocol::Experiment& experiment) {
  const std::string name = run::text_of(experiment.name);
  if (open_) {
    return bad_stream(
        fmt::format("{} begins and {} has not ended", name, measured_.back().experiment));
  }
  const std::size_t next = measured_.size();
  if (next >= plan_.size() || plan_[next].experiment->name != name) {
    return bad_stream(fmt::format("experiment {} begins, expected {}", name,
                                  next < plan_.size() ? plan_[next].experiment->name : "none"));
  }
  const PlanItem& wanted = plan_[next];
  if (experiment.samples != wanted.samples || experiment.batch != wanted.batch) {
    return bad_stream(fmt::format("{}: {} samples of {} operations, expected {} of {}", name,
                                  experiment.samples, experiment.batch, wanted.samples,
                                  wanted.batch));
  }
  open_ = true;
  disturbed_ = false;
  counts_.clear();
  measured_.push_back({});
  measured_.back().experiment = name;
  measured_.back().batch = wanted.batch;
  return {};
}

Status Collector::end(const protocol::Experiment& experiment) {
  const std::string name = run::text_of(experiment.name);
  if (!open_ || measured_.back().experiment != name) {
    return bad_stream(fmt::format("experiment {} ends and has not begun", name));
  }
  open_ = false;
  Measured& measured = measured_.back();
  measured.status = experiment.status;
  if (measured.status != 0) return {};
  const PlanItem& wanted = item();
  const std::uint64_t checks = expected_checks(wanted.samples, wanted.warm_up, wanted.batch);
  if (samples_in(measured, lane_) != wanted.samples) {
    measured.problem =
        fmt::format("{} samples came, expected {}", samples_in(measured, lane_), wanted.samples);
  } else if (experiment.checked != checks) {
    measured.problem =
        fmt::format("{} operations came out right, expected {}", experiment.checked, checks);
  } else if (disturbed_) {
    measured.problem = "the console was written to meanwhile";
  }
  close_profile(measured);
  return {};
}

void Collector::close_profile(Measured& measured) {
  std::map<std::pair<Space, std::string>, std::uint64_t> places;
  for (const auto& [counter, instructions] : counts_) places[name_of_(counter)] += instructions;
  for (const auto& [place, instructions] : places) {
    measured.profile.push_back({place.first, place.second, instructions});
  }
}

Status Collector::add(const protocol::Samples& samples) {
  if (lane_ != Lane::Time || !open_)
    return bad_stream("samples of a clock, and none were asked for");
  if (!counter_) return bad_stream("samples of a clock that was not described");
  Measured& measured = measured_.back();
  const std::size_t have = measured.ticks.size();
  if (samples.first != have || samples.count > item().samples - have) {
    return bad_stream(
        fmt::format("{}: {} samples from number {} on, expected them from {} on, {} in all",
                    measured.experiment, samples.count, samples.first, have, item().samples));
  }
  measured.ticks.insert(measured.ticks.end(), samples.ticks, samples.ticks + samples.count);
  return {};
}

Status Collector::describe(const protocol::Counter& counter) {
  if (lane_ != Lane::Time || counter_)
    return bad_stream("a clock is described, and none was asked for");
  constexpr std::uint64_t kMostHertz = 100'000'000'000;
  if (counter.frequency > kMostHertz) {
    return bad_stream(fmt::format("a clock of {} ticks in a second, expected at most {}",
                                  counter.frequency, kMostHertz));
  }
  const auto real = [](std::uint64_t number) { return static_cast<double>(number); };
  const double read = real(counter.ticks_of_reads) / real(counter.reads);
  const double nops = std::max(real(counter.ticks_of_nops) - read, 0.0);
  counter_ = {counter.frequency, run::text_of(counter.source), counter.step, read,
              nops / real(counter.nops)};
  return {};
}

void Collector::on_console() {
  if (lane_ == Lane::Time && open_) disturbed_ = true;
}

void Collector::on_event(const event::Event& event) {
  if (broken_) return;
  if (event.kind == Kind::Count) {
    counts_[event.aux] += event.new_value;
    return;
  }
  if (event.kind != Kind::Sample) return;
  if (event.aux != 0 || !open_ || lane_ != Lane::Instructions) {
    broken_ = fmt::format("mark {:#x} out of place", event.aux);
  } else if (measured_.back().kernel.size() >= item().samples) {
    broken_ = fmt::format("{}: more samples than were asked for", measured_.back().experiment);
  } else {
    measured_.back().user.push_back(event.old_value);
    measured_.back().kernel.push_back(event.new_value);
  }
}

std::vector<Measured> Collector::take() {
  if (open_) measured_.pop_back();
  open_ = false;
  return std::move(measured_);
}

}  // namespace sealvisor::bench
