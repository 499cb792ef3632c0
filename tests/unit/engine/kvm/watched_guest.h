// A guest of two dozen frames that the watches of the KVM engine are shown.
#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/watch.h"

namespace sealvisor::engine::kvm {

/// Keeps what a watch tells.
class Recorder final : public Observer {
 public:
  void on_events(std::span<const event::Event> events) override {
    seen.insert(seen.end(), events.begin(), events.end());
  }
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {
    FAIL();
  }
  StopReply on_stopped(const event::Event& event) override {
    stops.push_back(event);
    return {{arch::Frame{7}}, std::nullopt};
  }
  void on_console(std::span<const char> /*bytes*/) override { FAIL(); }

  [[nodiscard]] std::vector<event::Kind> kinds() const {
    std::vector<event::Kind> all;
    for (const event::Event& event : seen) all.push_back(event.kind);
    return all;
  }
  std::vector<event::Event> seen;
  std::vector<event::Event> stops;
};

class WatchedGuest : public testing::TestWithParam<arch::Arch> {
 protected:
  WatchedGuest()
      : memory(std::move(memory::GuestMemory::create(GetParam(), 64 << 20)).value()),
        ram(std::move(GuestRam::map(memory)).value()) {}

  void put(arch::Gpa slot, std::uint64_t value) { std::memcpy(ram.at(slot, 8).data(), &value, 8); }
  [[nodiscard]] arch::Frame frame(std::uint64_t number) const {
    return arch::Frame{arch::frame_of(memory.base()).number + number};
  }
  /// Four levels of tables to one page, from `first` on; the root's frame.
  arch::Frame tables(std::uint64_t first) {
    for (std::uint64_t i = 0; i < 3; ++i) {
      put(frame(first + i).slot(0), test::table_entry(GetParam(), frame(first + i + 1)));
    }
    put(frame(first + 3).slot(5), test::leaf_entry(GetParam(), frame(1000).gpa()));
    return frame(first);
  }
  [[nodiscard]] VcpuState state(arch::Frame root) const {
    VcpuState now;
    now.root = root.gpa().value;
    now.upper_root = frame(500).gpa().value;
    now.user_mode = true;
    // As tests/unit/support/fake_guest.h, format_for().
    now.paging = GetParam() == arch::Arch::X86_64
                     ? model::PagingRegisters{1ULL << 31, 1ULL << 5, 0xC00}
                     : model::PagingRegisters{16 | (16ULL << 16) | (2ULL << 30), 1, 0};
    return now;
  }

  memory::GuestMemory memory;
  GuestRam ram;
  Recorder recorder;
};
}  // namespace sealvisor::engine::kvm
