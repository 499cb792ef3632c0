#include "vmm/engine/tcg/event_pump.h"

#include <algorithm>

#include <fmt/format.h>

namespace sealvisor::engine::tcg {

namespace {

/// Records between two looks at the clock.
constexpr std::size_t kAtOnce = 4;

/// Kinds behind which the vCPU waits for an answer of the consumer's (event.h).
bool waits_for_answer(event::Kind kind) {
  return kind == event::Kind::Doorbell || kind == event::Kind::RunEnd;
}

}  // namespace

EventPump::Drained EventPump::drain() {
  const auto over = std::chrono::steady_clock::now() + kTurn;
  // Bounded: a vCPU that produces as fast as we consume must not keep the loop from its timers.
  bool in_time = true;
  while (room_ > 0 && in_time) {
    const auto ready = ring_.ready();
    if (ready.empty()) break;
    std::size_t done = 0;
    while (done < ready.size() && room_ > 0 && in_time) {
      const auto records = ready.subspan(done, std::min({ready.size() - done, room_, kAtOnce}));
      if (!pass_on(records)) {
        ring_.consume(done);  // What was passed on is not passed on again.
        return Drained::Broken;
      }
      newest_ = records.back();
      seen_any_ = true;
      room_ -= records.size();
      done += records.size();
      in_time = std::chrono::steady_clock::now() < over;
    }
    // All at once: the vCPU looks at what this writes with each record of its own.
    ring_.consume(done);
  }
  if (!in_time && room_ > 0 && !ring_.ready().empty()) return Drained::Some;
  return ring_.broken() ? Drained::Broken : Drained::All;
}

bool EventPump::pass_on(std::span<const event::Event> records) {
  // Whoever takes them has a place for each vCPU that there can be.
  if (std::any_of(records.begin(), records.end(),
                  [](const event::Event& one) { return one.vcpu >= event::kMostVcpus; })) {
    return false;
  }
  while (!records.empty()) {
    const auto copy = std::find_if(records.begin(), records.end(), [](const event::Event& event) {
      return event::has_copy(event.kind);
    });
    const auto before = static_cast<std::size_t>(copy - records.begin());
    if (before > 0) observer_.on_events(records.first(before));
    if (copy == records.end()) break;
    const arch::Table* table = ring_.copy_of(*copy);
    if (table == nullptr) return false;
    if (copy->kind == event::Kind::StackCopy) {
      observer_.on_stack_copy(*copy, *table);
    } else {
      observer_.on_table_copy(*copy, *table);
    }
    ring_.take_copy();
    records = records.subspan(before + 1);
  }
  return true;
}

PumpResult EventPump::on_byte(char byte) {
  PumpResult result;
  if (byte != event::kDrain && byte != event::kStop) {
    result.broken = true;
    return result;
  }
  stop_ = byte == event::kStop;
  // Behind kStop the vCPU waits, so one ring's worth is all there is.
  room_ = event::kRingCapacity;
  return go_on();
}

PumpResult EventPump::take_rest() {
  stop_ = false;
  room_ = event::kRingCapacity;
  return go_on();
}

PumpResult EventPump::go_on() {
  const Drained drained = drain();
  if (drained == Drained::All && stop_) return answer();
  PumpResult result;
  result.more = drained == Drained::Some;
  result.broken = drained == Drained::Broken;
  return result;
}

PumpResult EventPump::answer() {
  PumpResult result;
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
