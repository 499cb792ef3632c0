// The campaign of tamperings (scenario control/campaign), as both sides know it: what can be done
// to page tables and to code, by whom, and the messages that say what is about to be done. Plain
// types only.
//
// What these messages say is a claim, as all messages are. The monitor never takes it for finding
// anything: what it found is compared with it afterwards (vmm/run/campaign.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sealvisor::protocol {

/// What is done. "The page" is one of a system mapping that is populated; "reach" are all pages of
/// system mappings that the entry of the tampering's level translates.
enum class Edit : std::uint32_t {
  // Its own entry.
  WriteBit,       ///< Made writable.
  ExecuteBit,     ///< Execution turned over.
  UserBit,        ///< Closed to user mode.
  ProtectionKey,  ///< Another protection key; x86-64.
  ForeignFrame,   ///< Shows another frame.
  SwapFrames,     ///< Two pages show each other's frame.
  UnmapPage,      ///< Its entry is cleared.
  NonPresent,     ///< Its entry is not present, and not zero.
  MovePage,       ///< Its entry goes to another slot of its table.
  // Its frame somewhere else.
  AliasPage,       ///< In a free slot of the same table.
  AliasUpperHalf,  ///< In the kernel's half, open to user mode, through tables of the guest's own.
  AliasLarge,      ///< In a page of 2 MiB.
  // Upper levels.
  ReservedBit,        ///< An entry that the CPU faults on.
  CopyTable,          ///< The tables below an entry are replaced by copies: no change.
  CopyTableWritable,  ///< The same, and the page is writable in them.
  CopyTableForeign,   ///< The same, and the page shows another frame in them.
  CopyTableUnmapped,  ///< The same, and the page is not in them.
  UpperUser,          ///< An upper entry is closed to user mode.
  UpperExecute,       ///< An upper entry forbids execution.
  UpperUnmap,         ///< An upper entry is cleared.
  UpperNonPresent,    ///< An upper entry is not present, and not zero.
  UpperOutside,       ///< An upper entry links a table outside of RAM.
  Collapse,           ///< An upper entry is a large page.
  // The root.
  ReplaceRoot,  ///< A copy of the root, and of the tables to the page, is loaded: no change.
  ReplaceRootWritable,  ///< The same, and the page is writable in them.
  ReplaceRootForeign,   ///< The same, and the page shows another frame in them.
  ReplaceRootUnmapped,  ///< The same, and the page is not in them.
  // Code.
  Code,         ///< Stored to through the kernel's own mapping of memory.
  CodeByAlias,  ///< Stored to by user mode, through a second translation of its own making.
  // What is no violation, and must not be reported as one.
  SoftwareBit,    ///< A bit of the page's entry that the CPU ignores.
  SameValue,      ///< The page's entry is stored again as it is.
  FailedCompare,  ///< A compare-and-swap of the page's entry that fails.
};
inline constexpr std::size_t kEditCount = 32;

inline constexpr std::array<std::string_view, kEditCount> kEditNames = {
    "write-bit",
    "execute-bit",
    "user-bit",
    "protection-key",
    "foreign-frame",
    "swap-frames",
    "unmap-page",
    "non-present",
    "move-page",
    "alias-page",
    "alias-upper-half",
    "alias-large",
    "reserved-bit",
    "copy-table",
    "copy-table-writable",
    "copy-table-foreign",
    "copy-table-unmapped",
    "upper-user",
    "upper-execute",
    "upper-unmap",
    "upper-non-present",
    "upper-outside",
    "collapse",
    "replace-root",
    "replace-root-writable",
    "replace-root-foreign",
    "replace-root-unmapped",
    "code",
    "code-by-alias",
    "software-bit",
    "same-value",
    "failed-compare",
};
[[nodiscard]] constexpr std::string_view name_of(Edit edit) {
  return kEditNames[static_cast<std::size_t>(edit)];
}

/// Who stores.
enum class Writer : std::uint32_t {
  User,    ///< User mode, to the table itself, through /dev/mem.
  Kernel,  ///< The kernel, by the instruction that it is told to use (guest/agent/facility.h).
  DevMem,  ///< The kernel, by write() to /dev/mem.
};
inline constexpr std::size_t kWriterCount = 3;
inline constexpr std::array<std::string_view, kWriterCount> kWriterNames = {"user mode", "kernel",
                                                                            "/dev/mem"};
[[nodiscard]] constexpr std::string_view name_of(Writer writer) {
  return kWriterNames[static_cast<std::size_t>(writer)];
}

/// What lies between the change and its undoing.
enum class Shown : std::uint32_t {
  ToUserMode,  ///< User mode runs.
  ToNobody,    ///< Both are done in one system call.
};

/// One word that a tampering changes.
struct TamperedWord {
  std::uint64_t gpa;  ///< A multiple of 8 (checked). 0: none.
  std::uint64_t before;
  std::uint64_t after;
};

/// One tampering is about to be made; all earlier ones are undone.
struct Tampering {
  std::uint32_t number;  ///< 0-based in its campaign.
  std::uint32_t end;     ///< 1: none is about to be made, `number` were. All else is 0 then.
  Edit edit;
  Writer writer;
  Shown shown;
  std::uint32_t other;  ///< 1: to the address space of the process that Campaign::kOther came from.
  std::uint32_t level;  ///< Of the entry that changes; code: 0.
  std::uint32_t left_to_kernel;  ///< 1: undone by touching the page, not by a store.
  std::uint64_t gva;             ///< Of the page; a multiple of its size.
  std::uint64_t gva2;   ///< SwapFrames: of the other page. Aliases, MovePage: the second place.
  std::uint64_t frame;  ///< Gpa of what is shown in place of the page's own frame: ForeignFrame and
                        ///< the like, Collapse. ReplaceRoot: of the new root, see frame2. 0: none.
  std::uint64_t frame2;      ///< ReplaceRootForeign: of what is shown. 0: none.
  std::uint64_t store_pc;    ///< Of the instruction that changes the words; 0: the kernel's own.
  std::uint64_t restore_pc;  ///< Of the one that undoes it; 0: the kernel's own.
  std::uint64_t alias_pc;    ///< CodeByAlias: of the one that makes the second place.
  TamperedWord words[2];     ///< Entries, or words of code.
  std::uint64_t alias_word;  ///< CodeByAlias: gpa of the second place's entry.
  char way[24];              ///< Name of the store instruction; "" for the kernel's own.
};

/// A campaign begins.
struct Campaign {
  static constexpr std::uint32_t kBegins = 0;
  static constexpr std::uint32_t kOther = 1;  ///< Sent by the process that is tampered with too.
  std::uint32_t what;
  std::uint32_t count;  ///< Tamperings that are about to come.
  std::uint64_t seed;
  std::uint32_t user_ways;    ///< Store instructions that this CPU has, for user mode.
  std::uint32_t kernel_ways;  ///< For the kernel.
  std::uint32_t pages;        ///< Populated pages of system mappings that it chooses from.
  std::uint32_t code_pages;   ///< The first of them hold code.
};

/// Most pages that a campaign chooses from.
inline constexpr std::uint32_t kMostTamperedPages = 32;

}  // namespace sealvisor::protocol
