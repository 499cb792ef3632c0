#include "vmm/run/known.h"

#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace sealvisor::run {

using protocol::Target;

namespace {
/// Page faults of the guest's own program that it does not know of.
constexpr std::uint64_t kUnknownFaults = 8;

/// Violations that a block makes. `known`: changes of its stores, where these tell.
std::uint64_t violations_due(const protocol::Tamper& tamper, std::uint64_t known) {
  switch (tamper.target) {
    case Target::Entry:
      return tamper.pairs;  // Taking the permission away again is none.
    case Target::Code:
      // Putting code back changes code, and the second place of its page is a violation too.
      return std::uint64_t{tamper.pairs} * 2 + 1;
    case Target::CodeStores:
      return known + 1;
  }
  return 0;
}
}  // namespace

std::vector<std::string> TamperControl::on_block(const protocol::Tamper& tamper,
                                                 std::uint64_t space, std::uint64_t hardware_bits) {
  std::vector<std::string> wrong;
  if (tamper.end == 0) {
    if (block_) wrong.emplace_back("a block of known changes began inside another");
    block_ = Block{.tamper = tamper, .space = space, .hardware_bits = hardware_bits};
    return wrong;
  }
  if (!block_ || block_->tamper.gpa != tamper.gpa) {
    wrong.emplace_back("a block of known changes ended that did not begin");
    return wrong;
  }
  const Block block = *block_;
  block_.reset();
  const std::uint64_t stores = std::uint64_t{block.tamper.pairs} * 2;
  const std::uint64_t due = violations_due(block.tamper, block.known);
  made_ += due;
  judged_ += block.violations;
  if (!block.first_wrong.empty()) wrong.push_back(block.first_wrong);
  if (block.writes != stores) {
    wrong.push_back(fmt::format("{} stores were made to {:#x}, {} changes were seen", stores,
                                block.tamper.gpa, block.writes));
  }
  if (block.violations != due) {
    wrong.push_back(fmt::format("{} violations were made at {:#x}, {} were judged", due,
                                block.tamper.gpa, block.violations));
  }
  return wrong;
}

bool TamperControl::takes_stores() const {
  return block_ && block_->tamper.target == Target::CodeStores;
}

void TamperControl::on_write(const event::Event& event) {
  if (!block_ || takes_stores() || event.gpa != block_->tamper.gpa) return;
  // What is stored again unchanged, no lane promises to tell.
  if (event.old_value == event.new_value) return;
  const bool first = block_->writes++ % 2 == 0;
  const std::uint64_t from = first ? block_->tamper.original : block_->tamper.changed;
  const std::uint64_t to = first ? block_->tamper.changed : block_->tamper.original;
  const std::uint64_t judged = ~block_->hardware_bits;
  const bool right =
      ((event.old_value ^ from) & judged) == 0 && ((event.new_value ^ to) & judged) == 0;
  if (right || !block_->first_wrong.empty()) return;
  block_->first_wrong =
      fmt::format("change {} at {:#x}: expected {:#x} -> {:#x}, came {:#x} -> {:#x}",
                  block_->writes - 1, event.gpa, from, to, event.old_value, event.new_value);
}

bool TamperControl::takes(const seal::Violation& violation) {
  if (!block_) return false;
  const std::string_view invariant = violation.invariant;
  const bool here = violation.space == block_->space && violation.gva.value == block_->tamper.gva;
  const bool code = block_->tamper.target != Target::Entry;
  if (code && invariant == "S4" && here) {
    // A second place that user mode may read is told again when it becomes writable.
    if (!block_->second_place) ++block_->violations;
    block_->second_place = true;
    return true;
  }
  const bool mine = code ? invariant == "S5" : invariant == "S3" && here;
  if (mine) ++block_->violations;
  return mine;
}

std::vector<std::string> TamperControl::unfinished() const {
  if (!block_) return {};
  return {"a block of known changes never ended"};
}

std::vector<std::string> EntryControl::on_block(const protocol::Entries& entries,
                                                std::uint64_t user_entries) {
  const std::string name(entries.name, strnlen(entries.name, sizeof(entries.name)));
  if (entries.end == 0) {
    const bool inside = block_.has_value();
    block_ = Block{name, user_entries};
    if (inside) return {name + ": a block of known entries began inside another"};
    return {};
  }
  if (!block_ || block_->name != name) {
    return {name + ": a block of known entries ended that did not begin"};
  }
  const std::uint64_t counted = user_entries - block_->start;
  block_.reset();
  known_ += entries.entries;
  counted_ += counted;
  const std::uint64_t most = entries.entries + entries.interrupts + kUnknownFaults;
  if (counted >= entries.entries && counted <= most) return {};
  return {fmt::format("{}: {} entries to user mode and {} interrupts, {} entries were counted",
                      name, entries.entries, entries.interrupts, counted)};
}

std::vector<std::string> EntryControl::unfinished() const {
  if (!block_) return {};
  return {block_->name + ": a block of known entries never ended"};
}

}  // namespace sealvisor::run
