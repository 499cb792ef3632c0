// What is known of guest memory from a trace alone: what the events told and what was read.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "arch/walk.h"
#include "vmm/event/event.h"

namespace sealvisor::evidence {

/// One frame. A word that is not known is 0 here.
struct ShadowFrame {
  arch::Table words{};
  std::bitset<arch::kTableEntries> known;
};

/// Writer and reader of a trace keep one each, and the two are the same behind each record: so a
/// trace has only what this does not say already.
class Shadow {
 public:
  /// Most frames. A guest's tables and what is read beside them are a few thousand; the engines
  /// follow 8,192 tables at once.
  static constexpr std::size_t kMostFrames = 65'536;

  /// The value of the word at `gpa`, a multiple of 8; 0 if it is not known.
  [[nodiscard]] std::uint64_t word(arch::Gpa gpa) const;
  [[nodiscard]] const ShadowFrame* find(arch::Frame frame) const;
  /// The frame to write to; made if there is none. nullptr: there would be too many.
  [[nodiscard]] ShadowFrame* at(arch::Frame frame);

  /// Takes in what `event` tells of memory. False: that would be too many frames.
  [[nodiscard]] bool apply(const event::Event& event);

 private:
  std::unordered_map<arch::Frame, std::unique_ptr<ShadowFrame>> frames_;
};

}  // namespace sealvisor::evidence
