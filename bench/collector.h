// From what the guest and the counting plugin say to samples. Knows no engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/samples.h"
#include "guest/protocol/doorbell.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"

namespace sealvisor::bench {

/// One line of the guest's plan.
struct PlanItem {
  std::string name;
  std::uint32_t samples = 0;
  std::uint32_t warm_up = 0;
  std::uint32_t batch = 1;
};

/// Takes messages and events of one boot in order. The guest is not trusted: what does not fit the
/// plan ends the boot with an error.
class Collector {
 public:
  /// `name_of`: a counter's place, for people (PlaceCount::place).
  Collector(Unit unit, std::vector<PlanItem> plan,
            std::function<std::string(std::uint64_t counter)> name_of)
      : plan_(std::move(plan)), name_of_(std::move(name_of)) {
    boot_.unit = unit;
  }

  /// Error: what is wrong with the message (exit code GuestFailed).
  [[nodiscard]] Status on_message(const protocol::Message& message);
  void on_event(const event::Event& event);
  /// Something that on_event() found; it can't say so itself.
  [[nodiscard]] const std::optional<std::string>& broken() const { return broken_; }

  [[nodiscard]] bool finished() const { return bye_; }
  /// How many experiments have ended.
  [[nodiscard]] std::size_t ended() const { return boot_.experiments.size() - (open_ ? 1 : 0); }
  [[nodiscard]] Boot& boot() { return boot_; }

 private:
  struct Profile {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> counts;  // counter, instructions
  };
  Status begin(const protocol::Experiment& experiment);
  Status end(const protocol::Experiment& experiment);
  Status take(const protocol::Samples& samples);

  std::vector<PlanItem> plan_;
  std::function<std::string(std::uint64_t)> name_of_;
  Boot boot_;
  bool open_ = false;
  std::vector<Profile> profiles_;  ///< Of the open experiment, one for each of its samples.
  std::optional<std::string> broken_;
  bool bye_ = false;
};

}  // namespace sealvisor::bench
