// What an operation is: the words for one thing that a victim asks the kernel to do to a system
// mapping. The list of them is in operations.h. Constant tables only: no allocation, no OS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "arch/arch.h"

namespace sealvisor::scenario {

/// The way in which an operation asks: one small function of the agent for each (guest/agent/acts).
/// What several operations of one call differ in is Operation::argument.
enum class Call : std::uint8_t {
  Munmap,
  MremapMove,
  MremapShrink,
  MremapGrow,  ///< argument: MREMAP_MAYMOVE or 0.
  MremapDontUnmap,
  MremapSame,
  MremapDuplicate,
  MremapOnto,
  MremapShrinkOver,  ///< Shrinks what is in front, and says that it reaches over it.
  Mprotect,          ///< argument: PROT_*, or kSameProtection.
  PkeyMprotect,      ///< argument: PROT_*.
  MmapFixed,
  MmapNoReplace,
  MmapHint,
  Madvise,  ///< argument: MADV_*, for this one and the next three.
  ProcessMadvise,
  ProcessMadviseOther,  ///< By another process.
  UringMadvise,
  UringWrite,     ///< A forced write through /proc/self/mem.
  MadviseFork,    ///< argument: MADV_*; then a fork, and a look into the child.
  ForcedMadvise,  ///< argument: MADV_*, behind a forced write to each page.
  RemapFilePages,
  Mlock,
  MlockOnFault,
  Munlock,
  MlockAll,
  Msync,         ///< argument: MS_*.
  UffdRegister,  ///< argument: UFFDIO_REGISTER_MODE_*.
  UffdMoveFrom,
  UffdMoveOnto,
  UffdCopyOnto,
  Mseal,
  MsealMunmap,
  BrkOver,
  ShmatOver,  ///< argument: SHM_REMAP or 0.
  PrctlName,
  ArchMapVdso,
  Mbind,
  MovePages,
  MigratePages,
  PtracePoke,
  ProcMemSelf,
  ProcMemOther,
  ProcMemTracer,
  ProcMemRead,
  VmWritev,
  VmReadv,
  Personality,  ///< argument: bits of personality(2).
  Knob,         ///< argument: a place in kKnobs.
  TimeNamespaceSetns,
  TimeNamespaceFork,
  UprobeHit,  ///< argument: how many probes are hit.
  Fork,
  CloneVm,
  PressureSwap,
  PressureCompact,
  PressureKsm,
  PressureMemcg,
  Race,  ///< argument: one of Racing.
};
inline constexpr std::size_t kCallCount = static_cast<std::size_t>(Call::Race) + 1;

/// Mprotect: ask for the permission that the mapping has.
inline constexpr std::uint32_t kSameProtection = 0x80;

/// What eight threads do at the same time.
enum class Racing : std::uint32_t { Munmap, Mprotect, Mremap, MmapFixed, Mixed };

/// Which pages it is asked for.
enum class Form : std::uint8_t {
  Whole,      ///< Every page of the mapping.
  FirstPage,  ///< Its first page; does not exist if that is the whole mapping.
  LastPage,   ///< Its last page; does not exist if that is the whole mapping.
  Neighbour,  ///< Its edge page and a free page next to it that the victim filled, in one call.
  Empty,      ///< No byte, at its start.
};
inline constexpr std::size_t kFormCount = 5;
inline constexpr std::array<std::string_view, kFormCount> kFormNames = {
    "whole", "first-page", "last-page", "neighbour", "empty"};

/// A set of forms.
struct Forms {
  std::uint8_t bits = 0;
  [[nodiscard]] constexpr bool has(Form form) const {
    return (bits >> static_cast<unsigned>(form) & 1U) != 0;
  }
  [[nodiscard]] constexpr std::size_t size() const {
    std::size_t count = 0;
    for (unsigned form = 0; form < kFormCount; ++form) count += bits >> form & 1U;
    return count;
  }
  friend constexpr Forms operator|(Forms a, Forms b) {
    return {static_cast<std::uint8_t>(a.bits | b.bits)};
  }
};
inline constexpr Forms kNoForm{0};
inline constexpr Forms kWhole{1U << static_cast<unsigned>(Form::Whole)};
inline constexpr Forms kFirst{1U << static_cast<unsigned>(Form::FirstPage)};
inline constexpr Forms kLast{1U << static_cast<unsigned>(Form::LastPage)};
inline constexpr Forms kNeighbour{1U << static_cast<unsigned>(Form::Neighbour)};
inline constexpr Forms kEmpty{1U << static_cast<unsigned>(Form::Empty)};
inline constexpr Forms kPages = kWhole | kFirst | kLast;
inline constexpr Forms kSpanning = kPages | kNeighbour;
inline constexpr Forms kEvery = kSpanning | kEmpty;

/// One thing that can be done to a mapping. Its scenarios are called after it: "madvise-cold" for
/// the whole is `madvise/cold`, for the first page `madvise/cold-first-page`.
struct Operation {
  std::string_view name;         ///< As in plans, messages and reports: "madvise-cold".
  std::string_view description;  ///< Of the whole mapping; the form says of which part else.
  Call call{};
  std::uint32_t argument = 0;
  Forms forms = kWhole;
  Forms by_default = kNoForm;  ///< Those that are tried when nothing is asked for.
  /// Why no mapping is ever changed by it, sealed or not; empty: the unsealed twin shows a change.
  std::string_view never{};
  /// A function of the kernel without which there is no such thing: the agent may then skip it.
  std::string_view needs{};
  std::optional<arch::Arch> only{};  ///< It exists on this architecture alone.
  bool native = false;               ///< It exists in 64-bit processes alone.
};

/// Whether the operation asks for a permission to write: then stores are tried afterwards.
[[nodiscard]] constexpr bool asks_for_write(const Operation& operation) {
  constexpr std::uint32_t kWrite = 2;  // PROT_WRITE
  return (operation.call == Call::Mprotect || operation.call == Call::PkeyMprotect) &&
         operation.argument != kSameProtection && (operation.argument & kWrite) != 0;
}

/// Whether a forked child is looked at too, once the operation is over.
[[nodiscard]] constexpr bool looks_into_child(Call call) {
  return call == Call::MadviseFork || call == Call::TimeNamespaceFork || call == Call::Fork;
}

/// Whether the operation works on all memory, so that a page of the victim's own must show that it
/// did anything (protocol::Bystander).
[[nodiscard]] constexpr bool has_bystander(Call call) {
  return call == Call::PressureSwap || call == Call::PressureCompact || call == Call::PressureKsm ||
         call == Call::PressureMemcg;
}

/// Whether it writes past the permissions of the mapping (FOLL_FORCE), where the kernel lets it.
[[nodiscard]] constexpr bool forces(Call call) {
  return call == Call::PtracePoke || call == Call::ProcMemSelf || call == Call::ProcMemOther ||
         call == Call::ProcMemTracer || call == Call::UringWrite;
}

/// Whether the process, or a child of it, enters a time namespace: then `[vvar]` changes, whatever
/// mapping the cell is of.
[[nodiscard]] constexpr bool enters_time_namespace(Call call) {
  return call == Call::TimeNamespaceSetns || call == Call::TimeNamespaceFork;
}

[[nodiscard]] constexpr std::string_view name_of(Form form) {
  return kFormNames[static_cast<std::size_t>(form)];
}
[[nodiscard]] constexpr std::optional<Form> form_named(std::string_view name) {
  for (std::size_t i = 0; i < kFormCount; ++i) {
    if (kFormNames[i] == name) return static_cast<Form>(i);
  }
  return std::nullopt;
}

}  // namespace sealvisor::scenario
