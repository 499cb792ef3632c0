// The plugin's end of the ring: adds records, wakes the VMM, waits for it.
#pragma once

#include <cstdint>

#include "vmm/base/fd.h"
#include "vmm/event/ring.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::engine::tcg {

/// Producer of events. If the VMM is gone (end of file), ends the whole process: without its
/// verifier this guest must not run on.
class Channel final : public model::EventSink {
 public:
  /// `memory` is what `ring` views.
  Channel(Mapping memory, event::Ring ring, Fd socket)
      : memory_(std::move(memory)), ring_(ring), socket_(std::move(socket)) {}

  /// Adds one record; waits for room if the ring is full.
  void emit(const event::Event& event) override;
  /// Adds a TableCopy or StackCopy with its content; waits for room.
  void emit_copy(const event::Event& event, const arch::Table& table);
  /// Adds a record that the VMM must handle before the vCPU goes on, and waits.
  void emit_and_wait(const event::Event& event);

  [[nodiscard]] event::RingHeader& commands() { return ring_.header(); }

 private:
  void wait_for_vmm();
  void notify(char byte);
  /// Tells the VMM, each time that enough has come together.
  void notify_now_and_then();

  Mapping memory_;
  event::Ring ring_;
  Fd socket_;
};

}  // namespace sealvisor::engine::tcg
