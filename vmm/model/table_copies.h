// Tables as the engine copied them out of guest memory at one moment.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "arch/walk.h"

namespace sealvisor::model {

/// What the re-walk reads where the vCPU does not wait for it. Reads as memory does.
class TableCopies final : public arch::TableReader {
 public:
  /// `is_ram` tells what is RAM at all.
  explicit TableCopies(std::function<bool(arch::Frame)> is_ram) : is_ram_(std::move(is_ram)) {}

  void add(arch::Frame frame, const arch::Table& table) { tables_[frame] = table; }
  /// Forgets everything: the next moment begins.
  void clear();

  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;
  /// A frame of RAM that was asked for and is not among the copies; nullopt: none since clear().
  [[nodiscard]] std::optional<arch::Frame> missing() const { return missing_; }

 private:
  [[nodiscard]] const arch::Table* find(arch::Frame frame) const;

  std::function<bool(arch::Frame)> is_ram_;
  std::unordered_map<arch::Frame, arch::Table> tables_;
  mutable std::optional<arch::Frame> missing_;
};

}  // namespace sealvisor::model
