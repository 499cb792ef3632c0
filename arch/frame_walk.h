// What the two architectures have in common in following a function to its end (frame_rule.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "arch/frame_rule.h"

namespace sealvisor::arch {

/// The registers that matter, while the rest of a function is followed.
struct FrameState {
  Symbolic sp{Symbolic::Kind::Sp, 0};
  Symbolic fp{Symbolic::Kind::Fp, 0};
  Symbolic lr{Symbolic::Kind::Lr, 0};
  /// x86-64: r10 as just popped, where a function that aligns its stack has its caller's (what GCC
  /// calls the dynamic realign argument pointer), and whether the stack pointer was taken from it.
  Symbolic realign{};
  bool realigned = false;
  /// What was stored since to words of the stack, by their offset from the stack pointer.
  std::map<std::int64_t, Symbolic> stored{};
};

/// Most words of FrameState::stored. Each way that is still to be tried has a copy.
inline constexpr std::size_t kMostStoredWords = 256;
/// Most ways that are kept to be tried.
inline constexpr std::size_t kMostWays = 1'024;

/// `value` plus `bytes`.
[[nodiscard]] constexpr Symbolic plus(Symbolic value, std::int64_t bytes) {
  if (value.kind != Symbolic::Kind::Sp && value.kind != Symbolic::Kind::Fp) return {};
  return {value.kind, value.offset + bytes};
}

/// The word that `address` plus `offset` points to.
[[nodiscard]] inline Symbolic load(const FrameState& state, Symbolic address, std::int64_t offset) {
  const Symbolic at = plus(address, offset);
  if (at.kind == Symbolic::Kind::Sp) {
    const auto found = state.stored.find(at.offset);
    return found != state.stored.end() ? found->second
                                       : Symbolic{Symbolic::Kind::SpWord, at.offset};
  }
  if (at.kind == Symbolic::Kind::Fp) return {Symbolic::Kind::FpWord, at.offset};
  return {};
}

inline void store(FrameState& state, Symbolic address, std::int64_t offset, Symbolic value) {
  const Symbolic at = plus(address, offset);
  if (at.kind != Symbolic::Kind::Sp) return;
  if (state.stored.size() >= kMostStoredWords && !state.stored.contains(at.offset)) {
    state.sp = {};  // Nothing is known any more, rather than what is no longer so.
    return;
  }
  state.stored.insert_or_assign(at.offset, value);
}

/// What comes after an instruction.
struct FrameStep {
  enum class Next : std::uint8_t {
    Behind,    ///< The instruction behind it.
    Jump,      ///< `target` only.
    Branch,    ///< Either.
    Indirect,  ///< A jump to who knows where: a tail call, or a table of addresses.
    Return,
    Leave,  ///< An exception return or the like.
    Stop,   ///< Nothing: a trap, or no instruction.
  };
  Next next = Next::Stop;
  std::uint64_t target = 0;
  std::uint64_t bytes = 0;  ///< Of the instruction.
};

/// Follows a function from `pc` on. `step(pc, state)` does one instruction to the state;
/// `finish(state)` is the rule where the function returns, or hands over to another. Ways are tried
/// in order, the one straight on first; a jump through a register counts as a tail call only if no
/// other way leads to an end.
template <typename Step, typename Finish>
[[nodiscard]] FrameRule follow(const CodeReader& code, std::uint64_t pc, Step step, Finish finish) {
  std::vector<std::pair<std::uint64_t, FrameState>> ways{{pc, FrameState{}}};
  std::set<std::uint64_t> seen;
  std::optional<FrameState> indirect;
  std::size_t steps = 0;
  while (!ways.empty()) {
    auto [at, state] = std::move(ways.back());
    ways.pop_back();
    bool on = true;
    while (on) {
      // Bounded, and each instruction once: a loop changes nothing of the stack.
      if (++steps > kMostFrameSteps || !seen.insert(at).second) break;
      const FrameStep done = step(at, state);
      const std::uint64_t behind = at + done.bytes;
      switch (done.next) {
        case FrameStep::Next::Behind:
          at = behind;
          break;
        case FrameStep::Next::Branch:
          if (ways.size() < kMostWays && code.same_function(at, done.target)) {
            ways.emplace_back(done.target, state);
          }
          at = behind;
          break;
        case FrameStep::Next::Jump:
          if (!code.same_function(at, done.target)) return finish(state);
          at = done.target;
          break;
        case FrameStep::Next::Indirect:
          if (!indirect) indirect = state;
          on = false;
          break;
        case FrameStep::Next::Return:
          return finish(state);
        case FrameStep::Next::Leave:
          return {FrameRule::End::Leaves, {}, {}, {}};
        case FrameStep::Next::Stop:
          on = false;
          break;
      }
    }
  }
  return indirect ? finish(*indirect) : FrameRule{};
}

}  // namespace sealvisor::arch
