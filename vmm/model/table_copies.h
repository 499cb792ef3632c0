// Tables as the engine copied them out of guest memory at one moment.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "arch/walk.h"

namespace sealvisor::model {

/// What the re-walk reads where the vCPU does not wait for it. Reads as memory does.
class TableCopies final : public arch::TableReader {
 public:
  /// `memory` tells what is RAM at all, and must outlive this.
  explicit TableCopies(const arch::TableReader& memory) : memory_(memory) {}

  void add(arch::Frame frame, const arch::Table& table) { tables_[frame] = table; }
  /// Forgets everything: the next moment begins.
  void clear();

  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;
  /// A frame of RAM that was asked for and is not among the copies; nullopt: none since clear().
  [[nodiscard]] std::optional<arch::Frame> missing() const { return missing_; }

 private:
  [[nodiscard]] const arch::Table* find(arch::Frame frame) const;

  const arch::TableReader& memory_;
  std::unordered_map<arch::Frame, arch::Table> tables_;
  mutable std::optional<arch::Frame> missing_;
};

}  // namespace sealvisor::model
