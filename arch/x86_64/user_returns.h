// Where a running x86-64 Linux returns to user mode, and where a trap can be planted before it.
//
// The complete list of ways into user mode, Linux 6.12 and 7.x, and what covers each:
//
//   sysretq  entry_SYSCALL_64                       pad before it
//   sysretl  entry_SYSCALL_compat; 32-bit SYSENTER  pad before it
//            leaves there too
//   sysretl  entry_SYSCALL32_ignore (no 32-bit      pad before it
//            support)
//   iretq    native_irq_return_iret: interrupts,    pad before the assertion that precedes it, in
//            exceptions, int 0x80, system calls     swapgs_restore_regs_and_return_to_usermode:
//            that can't use sysret, new tasks,      with page-table isolation too, and on the way
//            signals, and NMIs that came from       to native_irq_return_ldt (espfix, 16-bit stack
//            user mode                              segments)
//   eretu    asm_fred_exit_user                     no pad: FRED must be hidden, see cpuid.h
//
// What looks alike but stays in the kernel: iretq of sync_core() (it returns to the next
// instruction), the two of asm_exc_nmi (NMIs that came from the kernel),
// restore_regs_and_return_to_ kernel (shares native_irq_return_iret, but does not pass the pad),
// early_idt_handler_common, and the handlers in head_64.S and relocate_kernel_64.S of before and
// after the kernel's life; erets. lretq is used for the kernel's own segments only, sysexit and
// iret without REX.W by 32-bit kernels only. Xen PV returns by hypercall, which KVM does not offer.
// VMX and SVM, by which a guest could run user mode of a guest of its own, must be hidden, see
// cpuid.h.
//
// The pad is room for VERW: CLEAR_CPU_BUFFERS of arch/x86/include/asm/nospec-branch.h is an
// ALTERNATIVE of nothing and a 7-byte "verw x86_verw_sel(%rip)". Once alternatives are patched it
// is VERW or one 7-byte NOP; which one, cpuid.h decides.
//
// Sources: arch/x86/entry/entry_64.S, entry_64_compat.S, entry_64_fred.S, calling.h;
// arch/x86/include/asm/sync_core.h, nops.h, nospec-branch.h. Encodings: Intel SDM volume 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "arch/address.h"

namespace sealvisor::arch::x86_64 {

enum class ReturnKind : std::uint8_t { Sysretq, Sysretl, Iretq, Eretu };
/// "sysretq", "sysretl", "iretq", "eretu".
[[nodiscard]] const char* name_of(ReturnKind kind);

/// Bytes that a pad can have.
inline constexpr std::size_t kLeastPadBytes = 3;
inline constexpr std::size_t kMostPadBytes = 8;

/// A return that a trap can be planted before.
struct ReturnSite {
  Gva instruction{};  ///< Of the return itself.
  ReturnKind kind{};
  Gva pad{};                  ///< Where to plant.
  std::size_t pad_bytes = 0;  ///< kLeastPadBytes to kMostPadBytes; one NOP.

  friend bool operator==(const ReturnSite&, const ReturnSite&) = default;
};

/// Why a return has no trap.
enum class NoTrap : std::uint8_t {
  NoPad,            ///< Nothing that is known stands before it.
  PadFilled,        ///< VERW stands in the pad: the CPUID filter failed or was overruled.
  NotPatched,       ///< The pad still is single-byte NOPs: the kernel will patch it yet.
  ReturnsToKernel,  ///< An exact form of those above that stay in the kernel.
  /// Disassembly from most places before it passes over it: these bytes are part of another
  /// instruction, or no code at all. A guess, if a good one; all others of the list are exact.
  InsideAnother,
};
/// "no padding before it" and so on, for people.
[[nodiscard]] const char* name_of(NoTrap why);

struct BareReturn {
  Gva instruction{};
  ReturnKind kind{};
  NoTrap why{};

  friend bool operator==(const BareReturn&, const BareReturn&) = default;
};

struct UserReturns {
  std::vector<ReturnSite> sites;
  std::vector<BareReturn> bare;
  bool too_many = false;  ///< The search gave up: there are more.
};

/// Finds every encoding of a return in `text`, whose first byte is at `first`; both lists in
/// address order. Precondition: alternatives are patched, and `text` is live text at its run-time
/// address (KASLR included). A range that ends in the middle of a site hides that site, so give
/// whole ranges. `text` may be anything; what it can do at most is to be found. The search gives up
/// once it has more than `most` in both lists: each may cost some 50 us.
[[nodiscard]] UserReturns find_user_returns(
    std::span<const std::byte> text, Gva first,
    std::size_t most = std::numeric_limits<std::size_t>::max());

/// What to plant over a pad: "out imm8, al" (E6 ib, SDM 2B "OUT") to `port` and one NOP for the
/// rest. It changes no register and no flag. Empty if `pad_bytes` is not kLeastPadBytes to
/// kMostPadBytes.
[[nodiscard]] std::vector<std::byte> trap_bytes(std::size_t pad_bytes, std::uint8_t port);

/// The NOP of `bytes` bytes that Linux patches in (nops.h); empty if it is not 1 to 8.
[[nodiscard]] std::span<const std::byte> nop_of(std::size_t bytes);

}  // namespace sealvisor::arch::x86_64
