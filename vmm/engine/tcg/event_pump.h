// The consumer's end of the ring: hands records to the observer and answers the plugin's waits.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vmm/engine/engine.h"
#include "vmm/event/ring.h"

namespace sealvisor::engine::tcg {

/// What the loop has to do next.
struct PumpResult {
  bool answer = false;                 ///< Send kGo: the vCPU waits.
  bool more = false;                   ///< Its turn is over with records left: call go_on().
  bool broken = false;                 ///< What stands in the ring made no sense.
  std::optional<std::string> give_up;  ///< The observer wants the guest ended, or asked too much.
};

/// Not thread-safe; all calls come from the loop.
class EventPump {
 public:
  /// `ring` was initialised; its memory and `observer` outlive the pump.
  EventPump(event::Ring ring, Observer& observer) : ring_(ring), observer_(observer) {}

  /// What one call may take of the loop's time. A hostile guest can make the observer search for
  /// a second behind each record; deadline and signals must get their turn between them.
  static constexpr std::chrono::milliseconds kTurn{50};

  /// Handles one byte from the plugin: kDrain or kStop. Any other byte counts as broken.
  [[nodiscard]] PumpResult on_byte(char byte);
  /// Goes on with the byte whose result was `more`. Precondition: no other came in between.
  [[nodiscard]] PumpResult go_on();
  /// Takes what is left once nobody writes any more; again while the result is `more`. Nothing is
  /// answered.
  [[nodiscard]] PumpResult take_rest();
  /// Whether any record ever came.
  [[nodiscard]] bool seen_any() const { return seen_any_; }

 private:
  enum class Drained : std::uint8_t { All, Some, Broken };
  /// Takes records, until its turn is over or `room_` is used up.
  [[nodiscard]] Drained drain();
  /// Gives `records` to the observer. False: a copy's number, or a vCPU's, made no sense.
  [[nodiscard]] bool pass_on(std::span<const event::Event> records);
  /// The vCPU waits, and all that it wrote was taken.
  [[nodiscard]] PumpResult answer();

  event::Ring ring_;
  Observer& observer_;
  /// The newest record that on_stopped() has not been asked about.
  std::optional<event::Event> newest_;
  std::uint64_t room_ = 0;  ///< Records that may still be taken for the present byte.
  bool stop_ = false;       ///< The present byte is kStop.
  bool seen_any_ = false;
};

}  // namespace sealvisor::engine::tcg
