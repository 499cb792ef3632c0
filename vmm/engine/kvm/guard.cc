#include "vmm/engine/kvm/guard.h"

#include <cstring>
#include <utility>

namespace sealvisor::engine::kvm {

using arch::Frame;

namespace {

/// False: outside RAM.
bool copy(const GuestRam& ram, Frame frame, arch::Table& to) {
  const std::span<std::byte> from = ram.at(frame.gpa(), arch::kPageSize);
  if (from.empty()) return false;
  std::memcpy(to.data(), from.data(), arch::kPageSize);
  return true;
}

}  // namespace

Status Guard::change(std::span<const Frame> on, std::span<const Frame> off) {
  for (const Frame frame : off) {
    if (frames_.erase(frame) == 0) continue;
    if (auto done = ram_.let_write(frame, true); !done) return done;
  }
  for (const Frame frame : on) {
    if (ram_.at(frame.gpa(), arch::kPageSize).empty() || !frames_.insert(frame).second) continue;
    if (auto done = ram_.let_write(frame, false); !done) return done;
  }
  return {};
}

Status Guard::open(Frame frame) {
  arch::Table content;
  if (!holds(frame) || is_open(frame) || !copy(ram_, frame, content)) return {};
  open_.emplace(frame, content);
  return ram_.let_write(frame, true);
}

Status Guard::open_all() {
  for (const Frame frame : frames_) {
    if (auto done = open(frame); !done) return done;
  }
  return {};
}

Result<std::vector<Stored>> Guard::close() {
  std::vector<Stored> stores;
  for (const auto& [frame, before] : std::exchange(open_, {})) {
    if (auto done = ram_.let_write(frame, false); !done) return done.error();
    arch::Table now;
    if (!copy(ram_, frame, now)) continue;
    for (std::size_t i = 0; i < arch::kTableEntries; ++i) {
      if (now[i] != before[i]) stores.push_back({frame.slot(i), 8});
    }
  }
  return stores;
}

}  // namespace sealvisor::engine::kvm
