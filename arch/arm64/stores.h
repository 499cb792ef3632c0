// Doing a store in the guest's stead.
//
// A store to a KVM read-only memory slot exits. Only for a plain store of one general register does
// the exit carry the data (Arm ARM DDI 0487, "ESR_EL2", ISS encoding for a Data Abort, ISV); for
// all others the VMM gets KVM_EXIT_ARM_NISV, or an exit without a syndrome, and has to do what the
// instruction does. This decodes the instruction, does it on memory that the caller provides, and
// writes the registers that the CPU would have written.
//
// The instruction word and the registers are the guest's: any value has a result.
//
// Known: STR, STRB, STRH, STUR, STTR and STP, STNP in all their index forms, of general and of
// SIMD&FP registers; STLR and STLLR; the atomics of FEAT_LSE (LD<op>, ST<op>, SWP, CAS, CASP); ST1
// of 1 to 4 whole registers; DC ZVA. Exclusives have functions of their own, at the end. Not known:
// ST2 to ST4 and lanes of ST1, STLUR, the 128-bit and floating-point atomics, ST64B, tags, memory
// copy and set, SVE and SME.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "arch/address.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::arm64 {

/// A SIMD&FP register, bits 7:0 in the first byte: as KVM_GET_ONE_REG gives it on a little-endian
/// host, and as a little-endian store of Q writes it.
using Vector128 = std::array<std::byte, 16>;

/// The registers of the vCPU that a store reads or writes.
struct StoreRegisters {
  std::array<std::uint64_t, 31> x{};  ///< x0 to x30.
  std::uint64_t sp = 0;               ///< The one in use: SP_EL0 or SP_EL1, as PSTATE has it.
  std::uint64_t pc = 0;
  std::uint64_t pstate = 0;
  std::array<Vector128, 32> v{};  ///< Only read, and only if uses_vectors(); else may be anything.

  friend bool operator==(const StoreRegisters&, const StoreRegisters&) = default;
};

/// Whether the instruction is a load or store of SIMD&FP registers, so that `v` has to be loaded.
/// Of other instructions nothing is said. Arm ARM, "Loads and Stores": V in bit 26.
[[nodiscard]] constexpr bool uses_vectors(std::uint32_t word) {
  return (word & 0x0E000000U) == 0x0C000000U;
}

/// What else decides about a store.
struct StoreEnvironment {
  std::uint64_t sctlr_el1 = 0;  ///< EE and E0E: a big-endian guest is refused.
  /// DCZID_EL0: bits 3:0 are the block size of DC ZVA as a power of two of 4-byte words; bit 4,
  /// DZP, forbids it. Arm ARM, "DCZID_EL0".
  std::uint64_t dczid_el0 = 0;
};

/// Guest memory by the guest's addresses. The address is the one that the instruction computes: a
/// tag in its top byte (TCR_EL1.TBI) is still there, and nothing says that it translates.
///
/// Each instruction makes one read() of all that it may write, and then at most one write() of the
/// same range. So an implementation that translates in read() both pages of a range that crosses
/// into the next fails before anything has changed. Ranges are 1 to 2048 bytes and never wrap.
class StoreMemory {
 public:
  StoreMemory() = default;
  StoreMemory(const StoreMemory&) = delete;
  StoreMemory& operator=(const StoreMemory&) = delete;
  virtual ~StoreMemory() = default;

  [[nodiscard]] virtual Status read(Gva gva, std::span<std::byte> bytes) = 0;
  /// Must write all or nothing.
  [[nodiscard]] virtual Status write(Gva gva, std::span<const std::byte> bytes) = 0;
};

/// What an instruction did. All that are known write one range.
struct Store {
  Gva gva;
  std::vector<std::byte> before;  ///< What memory held; 1 to 2048 bytes.
  std::vector<std::byte> after;   ///< What it holds now; as many.
  /// False: memory was not written, and `after` is `before`. So of a compare-and-swap that found
  /// another value (the CPU may then write back what it found, which none can tell from this), and
  /// of an exclusive store that failed. True does not mean that the value is another one.
  bool written = false;

  friend bool operator==(const Store&, const Store&) = default;
};

/// An instruction that is not done here: unknown, unallocated, constrained unpredictable, or not
/// known in this state of the guest. Nothing has been read or changed; let the CPU do it.
struct UnknownStore {
  std::string message;  ///< Names the word and the reason.
};

using StoreOutcome = std::variant<Store, UnknownStore>;

/// Does the A64 instruction `word`, a number (instructions are little-endian whatever the data is):
/// memory, register results, writeback, pc + 4, and PSTATE.BTYPE and SS to 0 as after any
/// instruction that completes (Arm ARM, the description of BTYPE in "SPSR_EL1", SSAdvance).
///
/// Error: that of `memory`, unchanged; then no register has changed.
///
/// UnknownStore beside what is not in the list above: AArch32; big-endian data; writeback to a base
/// that is also stored (other than SP with XZR); atomics and STLR at an address that is not a
/// multiple of what they access, which may lie in two frames; a range that wraps; DC ZVA that
/// DCZID_EL0 forbids.
///
/// Not checked: permissions, and alignment where the guest asks for it (SCTLR_EL1.A, SA). Faults of
/// stage 1 come before the abort of stage 2 that made the exit (Arm ARM, "MMU fault
/// prioritization"), except for the page that a range crosses into, which is for `memory` to
/// refuse. STTR is like STUR here for the same reason. Acquire and release mean nothing while the
/// only vCPU stands still.
[[nodiscard]] Result<StoreOutcome> emulate_store(std::uint32_t word, StoreRegisters& registers,
                                                 StoreMemory& memory,
                                                 const StoreEnvironment& environment);

// Exclusives. The exit clears the exclusive monitor (the return to the guest is an ERET, which
// does: Arm ARM, AArch64.ExceptionReturn, ClearExclusiveLocal), so a store exclusive that is let
// run would fail, and its loop would come back to it for ever. It can be done here as a
// compare-and-swap if the value that the load exclusive gave is still in a register.
//
// Why that is right on one vCPU: let the load exclusive L be followed by register instructions
// only, up to the store exclusive S, and let memory now hold what L loaded. Then L, if it ran now,
// would load the same value, and the register instructions would compute the same from it. So the
// guest is in the state of one that was interrupted before L, and came from L to S without an exit
// in between; no other vCPU could have written meanwhile, so there the monitor was still set and S
// succeeded. Whatever wrote memory in between and restored it, an interrupt handler of the guest or
// another of its threads, did so before that L. If memory holds another value, S fails, as it does
// natively. It may also fail for any reason (Arm ARM, "Synchronization and semaphores"), so failing
// is never wrong.
//
// A guest that jumps between L and S breaks the premise. S then succeeds only where memory holds
// what some register of the guest holds, and writes what the guest could have written with STR.

/// No register: of a pair that is none.
inline constexpr unsigned kNoRegister = 32;

/// STXR, STLXR and their forms of 1 and 2 bytes; STXP and STLXP.
struct ExclusiveStore {
  unsigned size = 0;                       ///< Bytes of one register: 1, 2, 4 or 8.
  unsigned status_register = 0;            ///< Rs: gets 0 if the store was made, else 1.
  unsigned data_register = 0;              ///< Rt; 31 is XZR.
  unsigned base_register = 0;              ///< Rn; 31 is SP.
  unsigned second_register = kNoRegister;  ///< Rt2 of a pair; 31 is XZR.

  friend bool operator==(const ExclusiveStore&, const ExclusiveStore&) = default;
};

/// nullopt: another instruction, or constrained unpredictable (the status register is a data
/// register or the base). Arm ARM, "STXR", "STLXR", "STXP", "STLXP", "STXRB" and so on.
[[nodiscard]] std::optional<ExclusiveStore> decode_exclusive_store(std::uint32_t word);

/// Where the value of a load exclusive is.
struct LoadedRegisters {
  unsigned first = 0;
  unsigned second = kNoRegister;  ///< Of a pair.

  friend bool operator==(const LoadedRegisters&, const LoadedRegisters&) = default;
};

/// How many words before a store exclusive are looked at.
inline constexpr std::size_t kMostBefore = 8;

/// What still holds what the matching load exclusive loaded: the nearest of the last
/// kMostBefore words `before` the store in memory (the last is next to it). nullopt: there is none
/// of the same size and base register, or what stands between is not proved harmless: it writes a
/// loaded register or the base, loads, stores, or may leave other than by a B.cond, CBZ or CBNZ to
/// beyond the store. Also if a loaded register is XZR, the base or a data register.
///
/// So found in Linux's cmpxchg, xchg and atomic_fetch_*; not in atomic_add and atomic_add_return,
/// which compute in the loaded register.
[[nodiscard]] std::optional<LoadedRegisters> loaded_value_registers(
    std::span<const std::uint32_t> before, const ExclusiveStore& exclusive);

/// Does the store exclusive: written and status 0 if memory holds the value of `loaded`,
/// else status 1. Errors and UnknownStore as of emulate_store(). Preconditions: `exclusive` is from
/// decode_exclusive_store(), `loaded` from loaded_value_registers() for it.
[[nodiscard]] Result<StoreOutcome> emulate_exclusive_store(const ExclusiveStore& exclusive,
                                                           const LoadedRegisters& loaded,
                                                           StoreRegisters& registers,
                                                           StoreMemory& memory,
                                                           const StoreEnvironment& environment);

}  // namespace sealvisor::arch::arm64
