#include "vmm/engine/tcg/event_pump.h"

#include <algorithm>

#include <fmt/format.h>

namespace sealvisor::engine::tcg {

namespace {

/// Kinds behind which the vCPU waits for an answer of the consumer's (event.h).
bool waits_for_answer(event::Kind kind) {
  return kind == event::Kind::Doorbell || kind == event::Kind::Sync || kind == event::Kind::RunEnd;
}

}  // namespace

bool EventPump::drain() {
  // Bounded: a vCPU that produces as fast as we consume must not keep the loop from its timers.
  std::uint64_t room = event::kRingCapacity;
  while (room > 0) {
    const auto ready = ring_.ready();
    if (ready.empty()) break;
    const auto records = ready.first(std::min<std::size_t>(ready.size(), room));
    observer_.on_events(records);
    newest_ = records.back();
    seen_any_ = true;
    room -= records.size();
    ring_.consume(records.size());
  }
  return !ring_.broken();
}

PumpResult EventPump::on_byte(char byte) {
  PumpResult result;
  if (byte == event::kStop) return on_stop();
  result.broken = byte != event::kDrain || !drain();
  return result;
}

PumpResult EventPump::on_stop() {
  PumpResult result;
  // The vCPU waits, so one ring's worth is all there is.
  if (!drain()) {
    result.broken = true;
    return result;
  }
  result.answer = true;
  // Without a record that asks for an answer the vCPU only waited for room.
  if (!newest_ || !waits_for_answer(newest_->kind)) return result;
  const event::Event stopped = *newest_;
  newest_.reset();
  StopReply reply = observer_.on_stopped(stopped);
  const std::size_t wanted = reply.watch_content.size();
  if (wanted > event::kMaxContentFrames) {
    result.give_up = fmt::format("{} content frames to watch, at most {} can be", wanted,
                                 event::kMaxContentFrames);
    return result;
  }
  event::RingHeader& header = ring_.header();
  header.content_count = static_cast<std::uint32_t>(wanted);
  std::transform(reply.watch_content.begin(), reply.watch_content.end(), header.content_frames,
                 [](arch::Frame frame) { return frame.number; });
  result.give_up = std::move(reply.give_up);
  return result;
}

}  // namespace sealvisor::engine::tcg
