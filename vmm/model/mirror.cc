#include "vmm/model/mirror.h"

#include <algorithm>

#include <fmt/format.h>

namespace sealvisor::model {

using arch::Frame;
using arch::Gpa;
using event::Event;
using event::Kind;

void Mirror::note_broken(const Event& event, std::uint64_t held) {
  if (broken_links_++ == 0) {
    first_broken_ =
        fmt::format("write to {:#x} at instruction {} says old {:#x}, model holds {:#x}", event.gpa,
                    event.icount, event.old_value, held);
  }
}

void Mirror::apply(const Event& event) {
  const Frame frame = arch::frame_of(Gpa{event.gpa});
  switch (event.kind) {
    case Kind::TableAdded: {
      Entry& entry = tables_[frame];
      ++entry.uses;
      most_ = std::max(most_, tables_.size());
      break;
    }
    case Kind::TableRemoved: {
      const auto found = tables_.find(frame);
      if (found == tables_.end()) {
        note_broken(event, 0);
      } else if (--found->second.uses == 0) {
        tables_.erase(found);
      }
      break;
    }
    case Kind::EntryFound:
    case Kind::SlotWrite: {
      const auto found = tables_.find(frame);
      if (found == tables_.end()) {
        note_broken(event, 0);
        break;
      }
      std::uint64_t& held = found->second.table[arch::slot_index(Gpa{event.gpa})];
      if (event.kind == Kind::SlotWrite && held != event.old_value) note_broken(event, held);
      held = event.new_value;
      break;
    }
    default:
      break;
  }
}

const arch::Table* Mirror::table(Frame frame) const {
  const auto found = tables_.find(frame);
  return found == tables_.end() ? nullptr : &found->second.table;
}

bool Mirror::read_entry(Gpa slot, std::uint64_t& value) const {
  const arch::Table* held = table(arch::frame_of(slot));
  if (held == nullptr || (slot.value & 7) != 0) return false;
  value = (*held)[arch::slot_index(slot)];
  return true;
}

bool Mirror::read_table(Frame frame, arch::Table& copy) const {
  const arch::Table* held = table(frame);
  if (held == nullptr) return false;
  copy = *held;
  return true;
}

std::vector<Frame> Mirror::frames() const {
  std::vector<Frame> frames;
  frames.reserve(tables_.size());
  for (const auto& [frame, entry] : tables_) frames.push_back(frame);
  std::sort(frames.begin(), frames.end());
  return frames;
}

namespace {

class Comparer final : public arch::Visitor {
 public:
  Comparer(const arch::AnyFormat& format, const Mirror& mirror, Rewalk& result)
      : format_(format), mirror_(mirror), result_(result) {}

  void table(Frame frame, unsigned level, arch::Gva /*first*/, const arch::Table& table) override {
    ++result_.tables;
    const arch::Table* held = mirror_.table(frame);
    if (held == nullptr) {
      note(fmt::format("level-{} table at {:#x} is in memory but no event told of it", level,
                       frame.gpa().value));
      return;
    }
    const std::uint64_t judged = ~arch::hardware_bits(format_, level);
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < table.size(); ++i) difference |= (table[i] ^ (*held)[i]) & judged;
    if (difference == 0) return;
    for (std::size_t i = 0; i < table.size(); ++i) {
      if (((table[i] ^ (*held)[i]) & judged) == 0) continue;
      note(fmt::format("level-{} entry at {:#x}: memory holds {:#x}, the events told {:#x}", level,
                       frame.slot(i).value, table[i], (*held)[i]));
    }
  }

 private:
  void note(std::string text) {
    if (result_.mismatches++ == 0) result_.first = std::move(text);
  }
  const arch::AnyFormat& format_;
  const Mirror& mirror_;
  Rewalk& result_;
};

}  // namespace

Rewalk rewalk(const arch::AnyFormat& format, const arch::TableReader& memory, const Mirror& mirror,
              Frame root, arch::Half half, arch::Scope scope) {
  Rewalk result;
  Comparer comparer(format, mirror, result);
  const arch::VisitSummary summary =
      arch::visit(format, memory, root, half, comparer, {.scope = scope, .tables_only = true});
  result.exhausted = summary.budget_exceeded;
  if (summary.budget_exceeded && result.mismatches++ == 0) {
    result.first = fmt::format("root {:#x} links more tables than a re-walk reads ({})",
                               root.gpa().value, summary.tables);
  }
  return result;
}

}  // namespace sealvisor::model
