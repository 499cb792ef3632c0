// The consumer's end of the ring: hands records to the observer and answers the plugin's waits.
#pragma once

#include <optional>
#include <string>

#include "vmm/engine/engine.h"
#include "vmm/event/ring.h"

namespace sealvisor::engine::tcg {

/// What the loop has to do next.
struct PumpResult {
  bool answer = false;                 ///< Send kGo: the vCPU waits.
  bool broken = false;                 ///< The ring's indices made no sense.
  std::optional<std::string> give_up;  ///< The observer wants the guest ended, or asked too much.
};

/// Not thread-safe; all calls come from the loop.
class EventPump {
 public:
  /// `ring` was initialised; its memory and `observer` outlive the pump.
  EventPump(event::Ring ring, Observer& observer) : ring_(ring), observer_(observer) {}

  /// Handles one byte from the plugin: kDrain or kStop. Any other byte counts as broken.
  [[nodiscard]] PumpResult on_byte(char byte);
  /// Takes what is left, at most one whole ring. False: broken.
  [[nodiscard]] bool drain();
  /// Whether any record ever came.
  [[nodiscard]] bool seen_any() const { return seen_any_; }

 private:
  /// Gives `records` to the observer. False: a copy's number made no sense.
  [[nodiscard]] bool pass_on(std::span<const event::Event> records);
  [[nodiscard]] PumpResult on_stop();

  event::Ring ring_;
  Observer& observer_;
  /// The newest record that on_stopped() has not been asked about.
  std::optional<event::Event> newest_;
  bool seen_any_ = false;
};

}  // namespace sealvisor::engine::tcg
