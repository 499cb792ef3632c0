// Guest page tables as the events tell them: what the VMM believes is in memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch/any_format.h"
#include "arch/walk.h"
#include "vmm/event/event.h"

namespace sealvisor::model {

/// The event-sourced copy of every watched table. Reads as memory does, so that the one walker
/// works on it too.
///
/// Checks the stream as it goes: the old value of each write must be what the mirror holds. A
/// stream that was mutated, cut or reordered shows in broken_links(), and in the next re-walk.
class Mirror final : public arch::TableReader {
 public:
  /// Applies TableAdded, EntryFound, SlotWrite and TableRemoved; ignores the rest.
  void apply(const event::Event& event);

  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;
  /// The mirrored table in `frame`; nullptr if none is watched there. Valid until the next apply().
  [[nodiscard]] const arch::Table* table(arch::Frame frame) const;

  [[nodiscard]] std::size_t size() const { return tables_.size(); }
  [[nodiscard]] std::size_t most() const { return most_; }
  /// Writes whose old value was not what the mirror held, plus writes to frames that it lacks.
  [[nodiscard]] std::uint64_t broken_links() const { return broken_links_; }
  [[nodiscard]] const std::string& first_broken() const { return first_broken_; }

  /// Frames that are mirrored now.
  [[nodiscard]] std::vector<arch::Frame> frames() const;

 private:
  struct Entry {
    arch::Table table{};
    std::uint32_t uses = 0;  // levels and halves at which it is linked
  };
  void note_broken(const event::Event& event, std::uint64_t held);

  std::unordered_map<arch::Frame, Entry> tables_;
  std::size_t most_ = 0;
  std::uint64_t broken_links_ = 0;
  std::string first_broken_;
};

/// What one comparison of memory with the mirror found.
struct Rewalk {
  std::uint64_t tables = 0;      ///< Tables compared.
  std::uint64_t mismatches = 0;  ///< Entries that differ, and tables that only one side has.
  std::string first;             ///< The first difference, for people. Empty if there is none.
  bool exhausted = false;        ///< It ran out of its budget, which is a mismatch too.
};

/// Walks `root` in `memory`, independently of the events, and compares every table on the way with
/// the mirror, entry by entry, accessed and dirty bits left out. Precondition: the vCPU is stopped
/// and every event before that point was applied.
[[nodiscard]] Rewalk rewalk(const arch::AnyFormat& format, const arch::TableReader& memory,
                            const Mirror& mirror, arch::Frame root, arch::Half half,
                            arch::Scope scope);

}  // namespace sealvisor::model
