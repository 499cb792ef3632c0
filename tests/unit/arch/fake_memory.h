// Page tables of a test, and a visitor that writes down what it is told.
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "arch/walk.h"

namespace sealvisor::arch {

/// Frames that exist are readable; all others are not memory.
class FakeMemory : public TableReader {
 public:
  void set(std::uint64_t frame, std::size_t index, std::uint64_t value) {
    frames_[frame].at(index) = value;
  }
  [[nodiscard]] bool read_entry(Gpa slot, std::uint64_t& value) const override {
    ++entries_read_;
    const auto found = frames_.find(frame_of(slot).number);
    if (found == frames_.end()) return false;
    value = found->second[slot_index(slot)];
    return true;
  }
  [[nodiscard]] bool read_table(Frame frame, Table& copy) const override {
    ++tables_read_;
    const auto found = frames_.find(frame.number);
    if (found == frames_.end()) return false;
    copy = found->second;
    return true;
  }
  [[nodiscard]] std::uint64_t entries_read() const { return entries_read_; }
  [[nodiscard]] std::uint64_t tables_read() const { return tables_read_; }

 private:
  std::map<std::uint64_t, Table> frames_;
  mutable std::uint64_t entries_read_ = 0;
  mutable std::uint64_t tables_read_ = 0;
};

/// Everything that visit() told, one line each, in order.
class Recorder : public Visitor {
 public:
  void table(Frame frame, unsigned level, Gva first, const Table& /*table*/) override {
    lines.push_back(fmt::format("table {:#x} level {} at {:#x}", frame.number, level, first.value));
  }
  void leaf(const LeafMapping& mapping) override {
    leaves.push_back(mapping);
    lines.push_back(fmt::format("leaf {:#x}", mapping.gva.value));
  }
  void non_present(Gva gva, Gpa slot, std::uint64_t value, unsigned level) override {
    other("non-present", gva, slot, value, level);
  }
  void malformed(Gva gva, Gpa slot, std::uint64_t value, unsigned level) override {
    other("malformed", gva, slot, value, level);
  }
  void unreadable(Frame frame, unsigned level, Gva first) override {
    lines.push_back(
        fmt::format("unreadable {:#x} level {} at {:#x}", frame.number, level, first.value));
  }

  std::vector<std::string> lines;
  std::vector<LeafMapping> leaves;

 private:
  void other(const char* what, Gva gva, Gpa slot, std::uint64_t value, unsigned level) {
    lines.push_back(fmt::format("{} {:#x} slot {:#x} value {:#x} level {}", what, gva.value,
                                slot.value, value, level));
  }
};

// Printers, so that a failed comparison can be read.
inline std::ostream& operator<<(std::ostream& out, const Permissions& p) {
  return out << (p.read ? 'r' : '-') << (p.write ? 'w' : '-') << (p.exec ? 'x' : '-') << " key "
             << unsigned{p.key};
}
inline std::ostream& operator<<(std::ostream& out, Gpa gpa) {
  return out << fmt::format("gpa {:#x}", gpa.value);
}
inline std::ostream& operator<<(std::ostream& out, Gva gva) {
  return out << fmt::format("gva {:#x}", gva.value);
}
inline std::ostream& operator<<(std::ostream& out, const LeafMapping& m) {
  return out << m.gva << " -> " << m.gpa << fmt::format(" size {:#x} ", m.size) << m.permissions
             << " slot " << m.slot << fmt::format(" value {:#x} level {}", m.value, m.level);
}
inline std::ostream& operator<<(std::ostream& out, const WalkStep& s) {
  return out << "slot " << s.slot << fmt::format(" value {:#x} level {}", s.value, s.level);
}
inline std::ostream& operator<<(std::ostream& out, WalkEnd end) {
  constexpr const char* kNames[] = {"Leaf",      "Absent",     "NonPresent",
                                    "Malformed", "Unreadable", "NonCanonical"};
  return out << kNames[static_cast<unsigned>(end)];
}
inline std::ostream& operator<<(std::ostream& out, EntryKind kind) {
  constexpr const char* kNames[] = {"Absent", "NonPresent", "Table", "Leaf", "Malformed"};
  return out << kNames[static_cast<unsigned>(kind)];
}

}  // namespace sealvisor::arch
