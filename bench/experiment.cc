#include "bench/experiment.h"

#include "bench/experiment_list.h"

namespace sealvisor::bench {

std::span<const Experiment> experiments() { return kExperiments; }

const Experiment* find_experiment(std::string_view name) {
  for (const Experiment& experiment : experiments()) {
    if (experiment.name == name) return &experiment;
  }
  return nullptr;
}

}  // namespace sealvisor::bench
