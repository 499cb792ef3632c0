// The exact-count control: known stores to a watched table must give exactly their events.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/event/event.h"
#include "vmm/model/mirror.h"

namespace sealvisor::run {

/// Collects the writes between a block's two messages and compares them, one by one, with what the
/// announced stores must do: each slot, old value, new value, in order, none more and none less.
///
/// A store wider than 8 bytes may reach the monitor as several operations of the emulator; records
/// of one instruction (same pc, same instruction count) are joined slot by slot before comparing.
class StoreControl {
 public:
  explicit StoreControl(const model::Mirror& mirror) : mirror_(mirror) {}

  /// A SlotWrite, before or after the mirror has applied it.
  void on_write(const event::Event& event);
  /// A StoreBlock message (begin or end), with every earlier write applied. Returns what is wrong.
  [[nodiscard]] std::vector<std::string> on_block(const protocol::StoreBlock& block);
  /// Blocks that began and never ended.
  [[nodiscard]] std::vector<std::string> unfinished() const;

  /// Different classes of stores among the blocks that ended.
  [[nodiscard]] std::size_t classes() const { return classes_.size(); }
  [[nodiscard]] std::uint64_t stores() const { return stores_; }

 private:
  struct Write {
    std::uint64_t gpa = 0;
    std::uint64_t old_value = 0;
    std::uint64_t new_value = 0;
    std::uint64_t pc = 0;
    std::uint64_t icount = 0;
    friend bool operator==(const Write& a, const Write& b) {
      return a.gpa == b.gpa && a.old_value == b.old_value && a.new_value == b.new_value;
    }
  };
  struct Window {
    std::uint64_t gpa = 0;
    bool watched = false;
    std::array<std::uint8_t, arch::kPageSize> bytes{};
  };

  [[nodiscard]] Window window(std::uint64_t gpa) const;
  [[nodiscard]] std::vector<Write> expected();
  [[nodiscard]] std::vector<Write> joined() const;
  [[nodiscard]] std::string compare();

  const model::Mirror& mirror_;
  bool open_ = false;
  protocol::StoreBlock block_{};
  Window first_;
  Window next_;
  std::vector<Write> seen_;
  std::set<std::string> classes_;
  std::uint64_t stores_ = 0;
};

}  // namespace sealvisor::run
