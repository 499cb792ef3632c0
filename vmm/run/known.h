// Controls in which the guest does a known thing a known number of times: changes to a system
// mapping, and entries to user mode. What was judged must be exactly that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/event/event.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

/// Takes the violations that a block of known changes must cause, and misses those that did not
/// come. Create it only if the plan asks for such a control: else a guest could hide a violation
/// by announcing it.
class TamperControl {
 public:
  /// A Tamper message (begin or end) from the address space `space`, with every earlier event
  /// applied. `hardware_bits`: bits of an entry that the table walker sets by itself. Returns what
  /// is wrong.
  [[nodiscard]] std::vector<std::string> on_block(const protocol::Tamper& tamper,
                                                  std::uint64_t space, std::uint64_t hardware_bits);
  /// A SlotWrite or ContentWrite.
  void on_write(const event::Event& event);
  /// Whether stores that blocks announce are to code now (protocol::Target::CodeStores).
  [[nodiscard]] bool takes_stores() const;
  /// One of these blocks ended: it gave slots another value so many times. Precondition:
  /// takes_stores().
  void on_known_stores(std::uint64_t changes) { block_->known += changes; }
  /// True if the violation is one that the block must cause: it is counted, and is no finding.
  [[nodiscard]] bool takes(const seal::Violation& violation);
  /// A block that began and never ended.
  [[nodiscard]] std::vector<std::string> unfinished() const;

  /// Changes of all blocks that ended, and how many of these were judged.
  [[nodiscard]] std::uint64_t made() const { return made_; }
  [[nodiscard]] std::uint64_t judged() const { return judged_; }

 private:
  struct Block {
    protocol::Tamper tamper{};
    std::uint64_t space = 0;
    std::uint64_t hardware_bits = 0;
    std::uint64_t writes = 0;
    std::uint64_t known = 0;  ///< CodeStores: changes that its stores made.
    std::uint64_t violations = 0;
    bool second_place = false;
    std::string first_wrong{};  ///< The first write that is not the next one of the block.
  };
  std::optional<Block> block_;
  std::uint64_t made_ = 0;
  std::uint64_t judged_ = 0;
};

/// Compares counted entries to user mode with those that the guest knows of.
class EntryControl {
 public:
  /// An Entries message (begin or end) when `user_entries` were counted so far. Returns what is
  /// wrong.
  [[nodiscard]] std::vector<std::string> on_block(const protocol::Entries& entries,
                                                  std::uint64_t user_entries);
  [[nodiscard]] std::vector<std::string> unfinished() const;

  /// Entries that the guest knows of in all blocks that ended, and those that were counted there.
  [[nodiscard]] std::uint64_t known() const { return known_; }
  [[nodiscard]] std::uint64_t counted() const { return counted_; }

 private:
  struct Block {
    std::string name;
    std::uint64_t start = 0;
  };
  std::optional<Block> block_;
  std::uint64_t known_ = 0;
  std::uint64_t counted_ = 0;
};

}  // namespace sealvisor::run
