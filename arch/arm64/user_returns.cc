#include "arch/arm64/user_returns.h"

#include "arch/arm64/instructions.h"
#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {

namespace {

/// A64 instructions are little-endian whatever the data is.
std::uint32_t word_at(std::span<const std::byte> text, std::size_t offset) {
  std::uint32_t word = 0;
  for (std::size_t i = 4; i-- > 0;) {
    word = word << 8 | std::to_integer<std::uint32_t>(text[offset + i]);
  }
  return word;
}

}  // namespace

UserReturns find_user_returns(std::span<const std::byte> text, Gva first, std::size_t most) {
  UserReturns found;
  for (std::size_t offset = 0; text.size() - offset >= kTrapBytes; offset += kTrapBytes) {
    const std::uint32_t word = word_at(text, offset);
    if (classify(word).kind != InstructionFacts::Kind::ExceptionReturn) continue;
    if (found.sites.size() + found.authenticated.size() >= most) {
      found.too_many = true;
      break;
    }
    const Gva gva{first.value + offset};
    (word == kEretWord ? found.sites : found.authenticated).push_back(gva);
  }
  return found;
}

EretResult emulate_eret(const EretState& state) {
  using Target = EretResult::Target;
  if (!is_el1(state.pstate)) return {};
  const std::uint64_t saved = state.spsr_el1 & ~kSoftwareStep;
  const std::uint64_t mode = saved & kModeMask;
  if (is_el1(mode)) return {Target::Kernel, state.elr_el1, saved};
  if (mode == kModeEl0) return {Target::User, state.elr_el1, saved};
  if (mode == kModeUser32 && state.has_user32) {
    // The address is aligned to the instruction set, bit 5 (T): 2 bytes for T32, else 4.
    const std::uint64_t aligned = state.elr_el1 & ((saved & kThumb) != 0 ? ~1ULL : ~3ULL);
    return {Target::User, aligned & 0xFFFF'FFFF, saved};
  }
  // An illegal return keeps level, stack pointer and width, and takes these over all the same.
  constexpr std::uint64_t kTaken =
      kConditionFlags | kPrivilegedAccessNever | kMaskAllNmi | kMaskAll;
  const std::uint64_t kept = state.pstate & ~(kTaken | kSoftwareStep);
  return {Target::Illegal, state.elr_el1, kept | (saved & kTaken) | kIllegal};
}

}  // namespace sealvisor::arch::arm64
