#include "vmm/app/run_progress.h"

#include <algorithm>

namespace sealvisor::app {

namespace {

// In cells, about: what was seen of tcg guests on both architectures.
constexpr double kBoot = 100;
constexpr double kProcessesInACell = 4;  ///< Of scenarios that make processes.
constexpr double kProgramWeight = 100;   ///< One of the user's: it may do anything.

bool has_cells(const run::RunRequest& request) {
  return std::any_of(request.plan.begin(), request.plan.end(), [](const scenario::PlanItem& item) {
    return item.scenario->kind == scenario::Kind::Cells;
  });
}

Work work_of(const scenario::PlanItem& item, bool count_cells) {
  const bool cell = item.scenario->kind == scenario::Kind::Cells;
  return {cell == count_cells ? 1U : 0U, cell ? 1 : std::max(item.count / kProcessesInACell, 1.0)};
}

}  // namespace

Work work_of(const run::RunRequest& request) {
  const bool count_cells = has_cells(request);
  Work all{0, kBoot};
  for (const scenario::PlanItem& item : request.plan) {
    const Work work = work_of(item, count_cells);
    all.count += work.count;
    all.weight += work.weight;
  }
  if (!count_cells) all.count += request.programs.size();
  all.weight += kProgramWeight * static_cast<double>(request.programs.size());
  return all;
}

const char* counted_in(std::span<const run::RunRequest> requests) {
  if (std::any_of(requests.begin(), requests.end(), has_cells)) return "cells";
  const bool programs = std::any_of(requests.begin(), requests.end(),
                                    [](const auto& request) { return !request.programs.empty(); });
  return programs ? "programs" : "scenarios";
}

RunProgress::RunProgress(Progress& progress, const run::RunRequest& request)
    : progress_(progress), all_(work_of(request)) {
  const bool count_cells = has_cells(request);
  Work sum{0, kBoot};
  after_.push_back(sum);
  for (const scenario::PlanItem& item : request.plan) {
    const Work work = work_of(item, count_cells);
    sum = {sum.count + work.count, sum.weight + work.weight};
    after_.push_back(sum);
  }
  for (std::size_t i = 0; i < request.programs.size(); ++i) {
    sum = {sum.count + (count_cells ? 0U : 1U), sum.weight + kProgramWeight};
    after_.push_back(sum);
  }
}

RunProgress::~RunProgress() {
  progress_.give_up(all_.count - reached_.count, all_.weight - reached_.weight);
}

void RunProgress::done(std::size_t items) { reach(after_[std::min(items, after_.size() - 1)]); }

void RunProgress::reach(const Work& work) {
  // The agent decides what it says; time does not run backwards.
  if (work.weight <= reached_.weight) return;
  progress_.advance(work.count - reached_.count, work.weight - reached_.weight);
  reached_ = work;
}

}  // namespace sealvisor::app
