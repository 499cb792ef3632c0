#include "vmm/run/recent_writes.h"

#include <algorithm>

namespace sealvisor::run {

using event::Event;
using event::Kind;

void RecentWrites::on_event(const Event& event, std::uint64_t number) {
  const bool store = event.kind == Kind::SlotWrite && event.old_value != event.new_value;
  const bool load = event.kind == Kind::RootLoad && (event.flags & event::kUpperHalf) == 0;
  if (!store && !load) return;
  if (ring_.size() < kMost) {
    ring_.push_back({number, event});
    return;
  }
  ring_[next_] = {number, event};
  next_ = (next_ + 1) % kMost;
}

std::optional<Event> RecentWrites::cause(std::span<const arch::Gpa> slots, arch::Frame root,
                                         std::uint64_t since) const {
  const Event* load = nullptr;
  for (std::size_t i = ring_.size(); i > 0; --i) {
    const Numbered& one = ring_[(next_ + i - 1) % ring_.size()];
    if (one.number <= since) break;
    if (one.event.kind == Kind::RootLoad) {
      if (load == nullptr && arch::frame_of(arch::Gpa{one.event.gpa}) == root) load = &one.event;
      continue;
    }
    if (std::find(slots.begin(), slots.end(), arch::Gpa{one.event.gpa}) != slots.end()) {
      return one.event;
    }
  }
  return load == nullptr ? std::nullopt : std::optional(*load);
}

}  // namespace sealvisor::run
