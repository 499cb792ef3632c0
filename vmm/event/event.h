// What an engine observed, as fixed-size records in the order in which it happened.
#pragma once

#include <cstdint>
#include <type_traits>

namespace sealvisor::event {

/// Raised with every change of the record; plugin and VMM refuse any other.
inline constexpr std::uint32_t kEventVersion = 7;

/// Most vCPUs of a guest. They run in turn, so that their events have one order.
inline constexpr unsigned kMostVcpus = 2;

enum class Kind : std::uint8_t {
  /// The registers that define the paging format changed. x86-64: old_value = CR0, new_value = CR4,
  /// aux = EFER. arm64: old_value = TCR_EL1, new_value = SCTLR_EL1.
  Registers = 1,
  /// A root was loaded. root = raw register value (CR3, TTBR0_EL1 or TTBR1_EL1), gpa = its frame's
  /// gpa, level = top level, flags & kUpperHalf for TTBR1, aux = user_instructions().
  RootLoad = 2,
  /// A table frame is watched from now on. gpa = frame, level = its level,
  /// new_value = 1 for the upper half.
  TableAdded = 3,
  /// A non-zero entry that a table held when it was added. gpa = slot, new_value = entry.
  EntryFound = 4,
  /// A table frame is no longer linked at this level. gpa = frame, level,
  /// new_value = 1 for the upper half.
  TableRemoved = 5,
  /// A store changed, or rewrote, one 8-byte slot of a watched table frame. gpa = slot, old_value,
  /// new_value = whole slot, level = lowest one at which the frame is linked. A store that spans n
  /// slots makes n records: part 0..n-1 of parts. aux = user_instructions().
  SlotWrite = 6,
  /// The same for a watched content frame (code of a system mapping).
  ContentWrite = 7,
  /// User mode is about to run its first instruction since the last change. root = raw root it runs
  /// on (x86-64 CR3, arm64 TTBR0_EL1), aux = raw TTBR1_EL1 (arm64), pc = its address; flags &
  /// kUserMode: user mode made the change itself, pc is of the instruction that it did so with, and
  /// the next one is about to run. old_value = user_instructions().
  UserEntry = 8,
  /// The doorbell was rung. gpa = offset in the doorbell page, new_value = stored word (the gva of
  /// the message), size = bytes stored, old_value = user_instructions(). The vCPU waits for the
  /// VMM.
  Doorbell = 9,
  /// The tables that the user half of this root links were copied, by the TableCopy records since
  /// the last Sync: to be compared with the model. root, gpa, level as in RootLoad.
  Sync = 10,
  /// A bound was reached; from here on the watch is incomplete. aux = Limit.
  Limit = 11,
  /// The engine is about to end. old_value = stores that missed the page cache, new_value = stores
  /// to watched frames, aux = most tables watched at once. flags & kWitness: gpa = stores that the
  /// second witness caught, root = differences that it found. The vCPU waits for the VMM.
  RunEnd = 12,
  /// A table as guest memory holds it at this moment, read there and not from what was observed.
  /// gpa = frame, level, aux = number of the copy in the ring (ring.h).
  TableCopy = 13,
  /// Counting: a sample of a benchmark ended. old_value = instructions of user mode in it,
  /// new_value = of the kernel, aux = 0; or aux = the word of a mark that was none or out of place.
  Sample = 14,
  /// Counting: what one counter of the sample before it counted. aux = its number
  /// (count_table.h), new_value = instructions.
  Count = 15,
  /// The kernel's stack as it is while the store of the record behind this one is made. old_value =
  /// stack pointer, new_value = frame pointer (rbp, x29), gpa = link register (arm64: x30), aux =
  /// number of the copy in the ring: the bytes from the stack pointer on, zeroes where it ends.
  StackCopy = 16,
};

/// "slot-write", for people and for programs; "unknown" of a kind that there is not.
[[nodiscard]] constexpr const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::Registers:
      return "registers";
    case Kind::RootLoad:
      return "root-load";
    case Kind::TableAdded:
      return "table-added";
    case Kind::EntryFound:
      return "entry-found";
    case Kind::TableRemoved:
      return "table-removed";
    case Kind::SlotWrite:
      return "slot-write";
    case Kind::ContentWrite:
      return "content-write";
    case Kind::UserEntry:
      return "user-entry";
    case Kind::Doorbell:
      return "doorbell";
    case Kind::Sync:
      return "sync";
    case Kind::Limit:
      return "limit";
    case Kind::RunEnd:
      return "run-end";
    case Kind::TableCopy:
      return "table-copy";
    case Kind::Sample:
      return "sample";
    case Kind::Count:
      return "count";
    case Kind::StackCopy:
      return "stack-copy";
  }
  return "unknown";
}

/// Whether a record of this kind has a page of the ring's copies beside it.
[[nodiscard]] constexpr bool has_copy(Kind kind) {
  return kind == Kind::TableCopy || kind == Kind::StackCopy;
}

/// RootLoad: TTBR1_EL1. EntryFound, SlotWrite: the entry translates the upper half.
inline constexpr std::uint8_t kUpperHalf = 1;
inline constexpr std::uint8_t kUserMode = 2;  ///< SlotWrite, ContentWrite: user mode stored.
                                              ///< UserEntry: because it stored.
inline constexpr std::uint8_t kWitness = 8;   ///< RunEnd: the second witness ran.

enum class Limit : std::uint64_t {
  TableFrames = 1,
  ContentFrames = 2,
  UntranslatedStore = 3,  ///< The engine could not tell where a store went.
  UntrappedReturn = 4,    ///< kvm: a return to user mode has no trap, or none was found at all.
  UnfollowedStore = 5,    ///< kvm: a store that can be neither done for the guest nor stepped.
  OtherPaging = 6,        ///< User mode runs on a vCPU whose tables are not decoded as the first's.
};

/// What `limit` means for the watch, for people.
[[nodiscard]] constexpr const char* text_of(Limit limit) {
  switch (limit) {
    case Limit::TableFrames:
      return "more table frames than can be watched";
    case Limit::ContentFrames:
      return "more frames of code than can be watched";
    case Limit::UntranslatedStore:
      return "a store that could not be placed";
    case Limit::UntrappedReturn:
      return "a return to user mode that has no trap";
    case Limit::UnfollowedStore:
      return "a store to a table that could not be followed";
    case Limit::OtherPaging:
      return "user mode on a vCPU whose paging is not that of the first";
  }
  return "a bound that is not known here";
}

/// One record. `icount`: guest instructions of the blocks started so far, on all vCPUs. `vcpu`: on
/// which it happened, below kMostVcpus.
struct Event {
  Kind kind;
  std::uint8_t level;
  std::uint8_t size;    ///< Bytes of the whole store.
  std::uint8_t offset;  ///< Byte in the slot where this part of the store begins.
  std::uint8_t part;
  std::uint8_t parts;
  std::uint8_t vcpu;
  std::uint8_t flags;
  std::uint64_t icount;
  std::uint64_t pc;
  std::uint64_t root;
  std::uint64_t gpa;
  std::uint64_t old_value;
  std::uint64_t new_value;
  std::uint64_t aux;
};
static_assert(sizeof(Event) == 64);
static_assert(std::is_trivially_copyable_v<Event>);

/// Instructions that user mode had begun when `event` came, the one that stored included; 0 where
/// the lane does not count them, and for records that do not carry it. Two events with the same
/// number: no instruction of user mode began between them.
[[nodiscard]] constexpr std::uint64_t user_instructions(const Event& event) {
  switch (event.kind) {
    case Kind::RootLoad:
    case Kind::SlotWrite:
    case Kind::ContentWrite:
      return event.aux;
    case Kind::UserEntry:
    case Kind::Doorbell:
      return event.old_value;
    default:
      return 0;
  }
}

}  // namespace sealvisor::event
