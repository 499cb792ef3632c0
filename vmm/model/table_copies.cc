#include "vmm/model/table_copies.h"

namespace sealvisor::model {

void TableCopies::clear() {
  tables_.clear();
  missing_.reset();
}

const arch::Table* TableCopies::find(arch::Frame frame) const {
  const auto found = tables_.find(frame);
  if (found != tables_.end()) return &found->second;
  if (!missing_ && is_ram_(frame)) missing_ = frame;
  return nullptr;
}

bool TableCopies::read_entry(arch::Gpa slot, std::uint64_t& value) const {
  const arch::Table* table = find(arch::frame_of(slot));
  if (table == nullptr || (slot.value & 7) != 0) return false;
  value = (*table)[arch::slot_index(slot)];
  return true;
}

bool TableCopies::read_table(arch::Frame frame, arch::Table& copy) const {
  const arch::Table* table = find(frame);
  if (table == nullptr) return false;
  copy = *table;
  return true;
}

}  // namespace sealvisor::model
