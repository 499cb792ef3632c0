#include "vmm/run/recent_writes.h"

#include <algorithm>
#include <array>
#include <cstddef>

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
  Numbered& oldest = ring_[next_];
  if (oldest.event.kind == Kind::RootLoad) {
    before_[oldest.event.vcpu] = arch::frame_of(arch::Gpa{oldest.event.gpa});
  }
  oldest = {number, event};
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

std::uint64_t RecentWrites::begun_since(const Event& cause, arch::Frame then, arch::Frame root,
                                        const Event& moment) const {
  std::uint64_t from = event::user_instructions(cause);
  std::uint64_t begun = 0;
  std::array<std::optional<arch::Frame>, event::kMostVcpus> loaded = before_;
  const auto shown = [&] { return std::find(loaded.begin(), loaded.end(), root) != loaded.end(); };
  const auto load = [&](const Event& one) {
    loaded[one.vcpu] = arch::frame_of(arch::Gpa{one.gpa});
  };
  const auto at = [&](std::size_t place) -> const Event& {
    return ring_[(next_ + place) % ring_.size()].event;
  };
  std::size_t i = 0;
  for (; i < ring_.size() && event::user_instructions(at(i)) < from; ++i) {
    if (at(i).kind == Kind::RootLoad) load(at(i));
  }
  loaded[cause.vcpu] = then;
  // One that came before the cause at the same number is passed over by the last one before it.
  for (; i < ring_.size(); ++i) {
    const Event& one = at(i);
    if (one.kind != Kind::RootLoad) continue;
    const std::uint64_t now = std::max(from, event::user_instructions(one));
    if (shown()) begun += now - from;
    from = now;
    load(one);
  }
  if (shown()) begun += event::user_instructions(moment) - from;
  return begun;
}

}  // namespace sealvisor::run
