// What both mechanisms of the KVM engine do alike: stops of a machine become events, which an
// observer gets. Knows no KVM.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::engine::kvm {

class Watch : public model::EventSink {
 public:
  ~Watch() override = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void emit(const event::Event& event) override { batch_.push_back(event); }

  /// Traps were planted: what they leave open makes the watch incomplete.
  void on_planted(const Planted& planted, const VcpuState& state);
  /// User mode is about to run in `state`.
  void on_user_return(const VcpuState& state);
  /// The guest rang. Returns the observer's answer.
  [[nodiscard]] StopReply on_doorbell(const MachineExit& exit, const VcpuState& state);
  /// A store to watched content frames begins. Its slots are told next.
  void on_content_store() { next_moment(); }
  /// A store to a watched content frame changed one slot.
  void on_content_write(arch::Gpa slot, std::uint64_t old_value, std::uint64_t new_value,
                        std::uint8_t size, const VcpuState& state);
  /// Something can't be followed: the watch is incomplete from here on.
  void on_limit(event::Limit limit, arch::Gpa gpa, const VcpuState& state);
  /// The guest ended.
  void on_end();

  [[nodiscard]] std::uint64_t user_returns() const { return user_returns_; }

 protected:
  /// `observer` must outlive this.
  Watch(arch::Arch arch, Observer& observer) : arch_(arch), observer_(observer) {}

  [[nodiscard]] arch::Arch arch() const { return arch_; }
  [[nodiscard]] model::StoreSource source(const VcpuState& state) const;
  [[nodiscard]] event::Event stamp(event::Kind kind, const VcpuState& state) const;
  /// A stop of its own begins: events with the same pc before and after it are of two instructions.
  void next_moment() { ++moment_; }
  /// Hands what was emitted to the observer.
  void flush();

 private:
  void note_paging(const VcpuState& state);

  /// The format of the tables from now on.
  virtual void set_format(const arch::AnyFormat& format) = 0;
  /// Tables of the root that user mode will run on. Precondition: a format is set.
  virtual void follow_user(const VcpuState& state) = 0;
  /// Tables of the upper half too. Precondition: as follow_user, which was called before.
  virtual void follow_upper(const VcpuState& state) = 0;
  /// Most tables that were known at once.
  [[nodiscard]] virtual std::size_t most_tables() const = 0;

  arch::Arch arch_;
  Observer& observer_;
  std::optional<model::PagingRegisters> paging_;
  bool has_format_ = false;
  std::vector<event::Event> batch_;
  std::uint64_t user_returns_ = 0;
  std::uint64_t moment_ = 0;  ///< Stops so far: what events have in place of an instruction count.
};

}  // namespace sealvisor::engine::kvm
