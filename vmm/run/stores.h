// The exact-count controls: known stores to a watched table, or to watched code, must give exactly
// their events.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
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
  using Bytes = std::array<std::uint8_t, arch::kPageSize>;
  /// What a frame holds now; nullopt: it is none whose stores are told.
  using Content = std::function<std::optional<Bytes>(arch::Frame)>;

  /// For frames that `content` knows. `what` such a frame is, for people.
  StoreControl(std::string what, Content content)
      : what_(std::move(what)), content_(std::move(content)) {}
  /// For tables that `mirror` has; it must outlive this.
  explicit StoreControl(const model::Mirror& mirror);

  /// A SlotWrite or ContentWrite, before or after a mirror has applied it.
  void on_write(const event::Event& event);
  /// A StoreBlock message (begin or end), with every earlier write applied. Returns what is wrong.
  [[nodiscard]] std::vector<std::string> on_block(const protocol::StoreBlock& block);
  /// Blocks that began and never ended.
  [[nodiscard]] std::vector<std::string> unfinished() const;

  /// Different classes of stores among the blocks that ended.
  [[nodiscard]] std::size_t classes() const { return classes_.size(); }
  [[nodiscard]] std::uint64_t stores() const { return stores_; }
  /// How often these stores gave a slot another value.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

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
    Bytes bytes{};
  };

  [[nodiscard]] Window window(std::uint64_t gpa) const;
  /// Byte `at` of what the block in progress leaves in `window`, as its store `i` stores it from
  /// its byte `k`.
  [[nodiscard]] std::uint8_t stored_byte(const Window& window, std::uint64_t at, std::uint32_t i,
                                         std::uint32_t k) const;
  [[nodiscard]] std::vector<Write> expected();
  [[nodiscard]] std::vector<Write> joined() const;
  [[nodiscard]] std::string compare(const std::vector<Write>& want) const;

  std::string what_;
  Content content_;
  bool open_ = false;
  protocol::StoreBlock block_{};
  Window first_;
  Window next_;
  std::optional<Window> original_;  ///< The first frame when the first block began.
  std::vector<Write> seen_;
  std::set<std::string> classes_;
  std::uint64_t stores_ = 0;
  std::uint64_t changes_ = 0;
};

}  // namespace sealvisor::run
