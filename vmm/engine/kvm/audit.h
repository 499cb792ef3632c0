// The audited watch: at each return to user mode, what differs in its tables becomes events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/model/table_scanner.h"

namespace sealvisor::engine::kvm {

/// Turns stops of a machine into events and hands them to an observer. Knows no KVM.
class Audit final : public model::EventSink {
 public:
  /// `memory` and `observer` must outlive this.
  Audit(arch::Arch arch, const memory::GuestMemory& memory, Observer& observer);

  void emit(const event::Event& event) override { batch_.push_back(event); }

  /// Traps were planted: what they leave open makes the watch incomplete.
  void on_planted(const Planted& planted, const VcpuState& state);
  /// User mode is about to run in `state`.
  void on_user_return(const VcpuState& state);
  /// The guest rang. Returns the observer's answer.
  [[nodiscard]] StopReply on_doorbell(const MachineExit& exit, const VcpuState& state);
  /// A store to a watched content frame changed one slot.
  void on_content_write(arch::Gpa slot, std::uint64_t old_value, std::uint64_t new_value,
                        std::uint8_t size, const VcpuState& state);
  /// The guest ended.
  void on_end();

  [[nodiscard]] std::uint64_t user_returns() const { return user_returns_; }
  [[nodiscard]] const model::TableScanner& scanner() const { return scanner_; }

 private:
  void note_paging(const VcpuState& state);
  [[nodiscard]] model::StoreSource source(const VcpuState& state) const;
  [[nodiscard]] event::Event stamp(event::Kind kind, const VcpuState& state) const;
  void flush();

  arch::Arch arch_;
  Observer& observer_;
  model::TableScanner scanner_;
  std::optional<model::PagingRegisters> paging_;
  std::vector<event::Event> batch_;
  std::uint64_t user_returns_ = 0;
};

}  // namespace sealvisor::engine::kvm
