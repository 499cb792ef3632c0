// Where a function that stands at some instruction will return to, from its machine code alone: no
// frame pointers, unwind tables or debug information.
//
// What is left of the function is followed to a return, and what it does to the stack pointer, the
// frame pointer and (arm64) the link register on the way is added up: pops, additions, restores.
// Calls in between leave them as they found them (System V psABI x86-64 3.2.1; AAPCS64 6.1.1). Of
// the ways that it can go the first that comes to a return counts: all of them must leave the same
// stack. Leaf functions and functions that share their end with another (tail calls) need no
// special case: the caller is whoever the function, as it is, returns to.
//
// Pure. The text is trusted no more than any input: each step is bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "arch/arch.h"

namespace sealvisor::arch {

/// A value that is known from the registers at the place where one looks from.
struct Symbolic {
  enum class Kind : std::uint8_t {
    Unknown,
    Sp,      ///< The stack pointer plus `offset`.
    Fp,      ///< The frame pointer (rbp, x29) plus `offset`.
    Lr,      ///< The link register (x30); `offset` is 0.
    SpWord,  ///< The 8 bytes at the stack pointer plus `offset`.
    FpWord,  ///< The 8 bytes at the frame pointer plus `offset`.
  };
  Kind kind = Kind::Unknown;
  std::int64_t offset = 0;
  friend constexpr bool operator==(const Symbolic&, const Symbolic&) = default;
};

/// How a function ends, seen from one of its instructions.
struct FrameRule {
  enum class End : std::uint8_t {
    Returns,  ///< To an address that `returns_to` tells.
    Leaves,   ///< The kernel: to what was interrupted, or to user mode.
    Unknown,  ///< No way to an end was found.
  };
  End end = End::Unknown;
  Symbolic returns_to{};
  Symbolic sp{};  ///< The caller's, once it has returned.
  Symbolic fp{};
  friend constexpr bool operator==(const FrameRule&, const FrameRule&) = default;
};

/// Machine code, by its address.
class CodeReader {
 public:
  virtual ~CodeReader() = default;
  /// The bytes from `address` on that are known, at most `room.size()`; how many.
  [[nodiscard]] virtual std::size_t read(std::uint64_t address,
                                         std::span<std::uint8_t> room) const = 0;
  /// Whether a jump from `from` to `to` stays in the function: else it is a tail call.
  [[nodiscard]] virtual bool same_function(std::uint64_t from, std::uint64_t to) const = 0;
};

/// Most instructions that are looked at for one rule.
inline constexpr std::size_t kMostFrameSteps = 4096;

/// The rule at `pc`: of the instruction that runs next, or runs just now.
[[nodiscard]] FrameRule frame_rule(Arch arch, const CodeReader& code, std::uint64_t pc);

/// Whether the instruction before `address` is a call, so that `address` can be one that a function
/// returns to.
[[nodiscard]] bool follows_call(Arch arch, const CodeReader& code, std::uint64_t address);

}  // namespace sealvisor::arch
