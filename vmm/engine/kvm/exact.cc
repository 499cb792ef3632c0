#include "vmm/engine/kvm/exact.h"

#include <algorithm>
#include <utility>

#include "vmm/model/paging.h"

namespace sealvisor::engine::kvm {

using arch::Frame;
using arch::Gpa;
using arch::Half;
using event::Event;
using event::Kind;

Exact::Exact(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer)
    : Watch(arch, observer),
      memory_(memory),
      ram_{arch::frame_of(memory.base()), memory.size() >> arch::kPageShift},
      tracker_(memory, ram_, *this) {}

void Exact::emit(const Event& event) {
  if (event.kind == Kind::TableAdded || event.kind == Kind::TableRemoved) {
    touched_.push_back(arch::frame_of(Gpa{event.gpa}));
  }
  Watch::emit(event);
}

void Exact::load(std::uint64_t raw, Half half, const VcpuState& state) {
  const Frame root = model::root_of(arch(), raw);
  if (!ram_.contains(root)) return;
  std::optional<Frame>& told = told_.at(half == Half::Upper ? 1 : 0);
  if (told != root || !tracker_.has_root(root, half)) {
    Event event = stamp(Kind::RootLoad, state);
    event.root = raw;
    event.gpa = root.gpa().value;
    event.level = static_cast<std::uint8_t>(arch::top_level(*tracker_.format(), half));
    event.flags = half == Half::Upper ? event::kUpperHalf : std::uint8_t{0};
    emit(event);
    told = root;
  }
  static_cast<void>(tracker_.load_root(root, half, source(state)));
}

void Exact::follow_user(const VcpuState& state) { load(state.root, Half::Lower, state); }

void Exact::follow_upper(const VcpuState& state) {
  // The root of x86-64 has both halves.
  if (arch() == arch::Arch::Arm64) load(state.upper_root, Half::Upper, state);
}

bool Exact::is_own_write(const Stored& store) const {
  const arch::Frame frame = arch::frame_of(store.gpa);
  const arch::Table* known = tracker_.shadow(frame);
  arch::Table now;
  if (known == nullptr || !memory_.read_table(frame, now)) return false;
  // One slot at a time: all others as they are known.
  arch::Table one = *known;
  const std::size_t slot = arch::slot_index(store.gpa);
  one[slot] = now[slot];
  return tracker_.differing_slots(frame, one) == 0;
}

void Exact::on_stores(std::vector<Stored> stores, bool stepped, const VcpuState& state) {
  if (!tracker_.format()) return;
  next_moment();
  if (stepped) std::erase_if(stores, [this](const Stored& store) { return is_own_write(store); });
  // The kernel runs: the root of the process that ran last is in nobody's use.
  if (!state.user_mode) tracker_.leave(Half::Lower);
  const auto slots = [](const Stored& store) {
    return static_cast<std::uint32_t>(arch::slot_index(Gpa{store.gpa.value + store.bytes - 1}) -
                                      arch::slot_index(store.gpa) + 1);
  };
  model::StorePart part;
  for (const Stored& store : stores) {
    part.whole += store.bytes;
    part.parts += slots(store);
  }
  for (const Stored& store : stores) {
    part.gpa = store.gpa;
    part.bytes = store.bytes;
    if (tracker_.is_watched(arch::frame_of(store.gpa))) tracker_.stored(part, source(state));
    part.part += slots(store);
  }
  flush();
}

GuardChange Exact::take_change() {
  GuardChange change;
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  for (const Frame frame : std::exchange(touched_, {})) {
    const bool wanted = tracker_.is_watched(frame);
    if (wanted && guarded_.insert(frame).second) change.on.push_back(frame);
    if (!wanted && guarded_.erase(frame) != 0) change.off.push_back(frame);
  }
  return change;
}

}  // namespace sealvisor::engine::kvm
