// Hostile page tables: walks and visits end, read within bounds and tell the same story.
#include <map>

#include "arch/any_format.h"
#include "tests/fuzz/arch/formats.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point
using namespace sealvisor::arch;

class Memory : public TableReader {
 public:
  static constexpr std::uint64_t kFrames = 8;

  explicit Memory(fuzz::Input& input) {
    // 10 bytes an entry: where, and what. One bit in `where` points it at a frame that exists.
    while (!input.empty()) {
      const auto where = input.take<std::uint16_t>();
      auto value = input.take<std::uint64_t>();
      if ((where & 0x8000) != 0) {
        value = (value & ~std::uint64_t{0xFFFFFFFFFF000}) | (value >> 12) % kFrames << 12;
      }
      frames_[(where >> 9) % kFrames][where % kTableEntries] = value;
    }
  }
  [[nodiscard]] bool read_entry(Gpa slot, std::uint64_t& value) const override {
    fuzz::require(slot.value % 8 == 0);
    ++reads;
    const auto found = frames_.find(frame_of(slot).number);
    if (found == frames_.end()) return false;
    value = found->second[slot_index(slot)];
    return true;
  }
  [[nodiscard]] bool read_table(Frame frame, Table& copy) const override {
    ++reads;
    const auto found = frames_.find(frame.number);
    if (found == frames_.end()) return false;
    copy = found->second;
    return true;
  }

  mutable std::uint64_t reads = 0;

 private:
  std::map<std::uint64_t, Table> frames_;
};

class Checker : public Visitor {
 public:
  Checker(const AnyFormat& format, const Memory& memory) : format_(format), memory_(memory) {}

  void table(Frame /*frame*/, unsigned level, Gva first, const Table& /*table*/) override {
    fuzz::require(level >= 1 && level <= kMaxLevels);
    in_order(first);
  }
  void leaf(const LeafMapping& mapping) override {
    in_order(mapping.gva);
    if (++checked_ > 512) return;
    const Gva inside{mapping.gva.value + mapping.size / 3};
    const Walk walk = same_end(inside, WalkEnd::Leaf);
    fuzz::require(walk.output == Gpa{mapping.gpa.value + mapping.size / 3});
    fuzz::require(walk.size == mapping.size && walk.permissions == mapping.permissions);
    fuzz::require(walk.last() == WalkStep{mapping.slot, mapping.value, mapping.level});
  }
  void non_present(Gva gva, Gpa slot, std::uint64_t value, unsigned level) override {
    fuzz::require(same_end(gva, WalkEnd::NonPresent).last() == WalkStep{slot, value, level});
  }
  void malformed(Gva gva, Gpa slot, std::uint64_t value, unsigned level) override {
    fuzz::require(same_end(gva, WalkEnd::Malformed).last() == WalkStep{slot, value, level});
  }
  void unreadable(Frame frame, unsigned level, Gva first) override {
    const Walk walk = same_end(first, WalkEnd::Unreadable);
    fuzz::require(frame_of(walk.last().slot) == frame && walk.level == level);
  }

 private:
  void in_order(Gva gva) {
    fuzz::require(gva >= last_);
    last_ = gva;
  }
  Walk same_end(Gva gva, WalkEnd end) const {
    const Walk walk = arch::walk(format_, memory_, Frame{0}, gva);
    fuzz::require(walk.end == end);
    return walk;
  }

  const AnyFormat& format_;
  const Memory& memory_;
  Gva last_{};
  unsigned checked_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto format = fuzz::take_format(input);
  if (!format) return 0;
  const Gva gva{input.take<std::uint64_t>()};
  const Memory memory(input);
  const Walk walk = arch::walk(*format, memory, Frame{0}, gva);
  fuzz::require(memory.reads == walk.count && walk.count <= kMaxLevels);
  fuzz::require((walk.end == WalkEnd::Leaf) == (walk.size != 0));
  for (const Half half : {Half::Lower, Half::Upper}) {
    for (const Scope scope : {Scope::UserHalf, Scope::All}) {
      constexpr std::uint64_t kBudget = 64;
      Checker checker(*format, memory);
      const VisitSummary summary = visit(*format, memory, Frame{0}, half, checker,
                                         {.scope = scope, .table_budget = kBudget});
      fuzz::require(summary.tables <= kBudget);
      fuzz::require(!summary.budget_exceeded || summary.tables == kBudget);
    }
  }
  return 0;
}
