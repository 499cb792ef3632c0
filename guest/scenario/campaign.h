// The list of tamperings that a seed stands for. Constant tables and pure functions: the same seed
// gives the same list on the same guest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/protocol/tampering.h"
#include "guest/scenario/random.h"

namespace sealvisor::scenario {

using protocol::Edit;
using protocol::Shown;
using protocol::Writer;

/// Bits of EditTraits::writers.
inline constexpr unsigned kByUser = 1U << static_cast<unsigned>(Writer::User);
inline constexpr unsigned kByKernel = 1U << static_cast<unsigned>(Writer::Kernel);
inline constexpr unsigned kByDevMem = 1U << static_cast<unsigned>(Writer::DevMem);
inline constexpr unsigned kByAny = kByUser | kByKernel | kByDevMem;

/// What an edit can be.
struct EditTraits {
  Edit edit;
  unsigned writers;
  /// Levels of the entry that it changes; 0: no entry of a fixed level.
  std::uint32_t lowest = 1;
  std::uint32_t highest = 1;
  bool to_nobody = true;  ///< Can be made and undone in one system call.
  bool to_other = true;   ///< Can be done to another process.
  bool x86_only = false;
  /// Whether an emulator's page-table walker is needed that never looks where it is not asked to,
  /// or a kernel half that is looked at each time.
  bool tcg_only = false;
};

inline constexpr std::array<EditTraits, protocol::kEditCount> kEdits = {{
    {Edit::WriteBit, kByAny},
    {Edit::ExecuteBit, kByAny},
    {Edit::UserBit, kByAny},
    {.edit = Edit::ProtectionKey, .writers = kByAny, .x86_only = true},
    {Edit::ForeignFrame, kByAny},
    // Two stores: what user mode sees after the first is another thing in another process.
    {.edit = Edit::SwapFrames, .writers = kByUser | kByKernel, .to_other = false},
    {Edit::UnmapPage, kByAny},
    {Edit::NonPresent, kByAny},
    {.edit = Edit::MovePage, .writers = kByUser | kByKernel, .to_other = false},
    {.edit = Edit::AliasPage, .writers = kByAny, .to_other = false},
    {.edit = Edit::AliasUpperHalf,
     .writers = kByUser | kByKernel,
     .lowest = 4,
     .highest = 4,
     .to_other = false,
     .tcg_only = true},
    {.edit = Edit::AliasLarge, .writers = kByAny, .lowest = 2, .highest = 2, .to_other = false},
    {.edit = Edit::ReservedBit, .writers = kByAny, .lowest = 4, .highest = 4},
    {Edit::CopyTable, kByAny, 2, 4},
    {Edit::CopyTableWritable, kByAny, 2, 4},
    {Edit::CopyTableForeign, kByAny, 2, 4},
    {Edit::CopyTableUnmapped, kByAny, 2, 4},
    {Edit::UpperUser, kByAny, 2, 4},
    {Edit::UpperExecute, kByAny, 2, 4},
    {Edit::UpperUnmap, kByAny, 2, 4},
    {Edit::UpperNonPresent, kByAny, 2, 4},
    {.edit = Edit::UpperOutside, .writers = kByAny, .lowest = 2, .highest = 4, .tcg_only = true},
    {Edit::Collapse, kByAny, 2, 3},
    {.edit = Edit::ReplaceRoot,
     .writers = kByKernel,
     .lowest = 0,
     .highest = 0,
     .to_nobody = false,
     .to_other = false},
    {.edit = Edit::ReplaceRootWritable,
     .writers = kByKernel,
     .lowest = 0,
     .highest = 0,
     .to_nobody = false,
     .to_other = false},
    {.edit = Edit::ReplaceRootForeign,
     .writers = kByKernel,
     .lowest = 0,
     .highest = 0,
     .to_nobody = false,
     .to_other = false},
    {.edit = Edit::ReplaceRootUnmapped,
     .writers = kByKernel,
     .lowest = 0,
     .highest = 0,
     .to_nobody = false,
     .to_other = false},
    {.edit = Edit::Code, .writers = kByKernel, .lowest = 0, .highest = 0, .to_other = false},
    {.edit = Edit::CodeByAlias,
     .writers = kByUser,
     .lowest = 0,
     .highest = 0,
     .to_nobody = false,
     .to_other = false},
    {Edit::SoftwareBit, kByAny},
    {.edit = Edit::SameValue, .writers = kByAny, .to_nobody = false},
    {.edit = Edit::FailedCompare, .writers = kByUser | kByKernel, .to_nobody = false},
}};

/// Each edit stands at its own number: checked when this is compiled.
[[nodiscard]] constexpr bool edits_are_in_order() {
  for (std::size_t i = 0; i < kEdits.size(); ++i) {
    if (static_cast<std::size_t>(kEdits[i].edit) != i) return false;
  }
  return true;
}
static_assert(edits_are_in_order());

/// Which pages of system mappings: of code that can be stored to, of what a process has for itself,
/// and all others.
enum class PageGroup : std::uint8_t { Code, Shared, Own };

[[nodiscard]] constexpr PageGroup page_group_of(std::string_view mapping) {
  if (mapping == "[vdso]") return PageGroup::Code;
  return mapping == "[uprobes]" ? PageGroup::Own : PageGroup::Shared;
}

/// What a guest has for a campaign: populated pages, by groups, in the order of PageGroup's Code,
/// Shared, Own; in each in the order of their addresses.
struct Offer {
  bool x86 = false;
  bool keys = false;             ///< Protection keys are on; x86-64.
  bool emulated = false;         ///< A lane of KVM: only what those promise anything of.
  std::uint32_t pages = 0;       ///< Populated pages of system mappings; at least 2.
  std::uint32_t code_pages = 0;  ///< The first of them hold code.
  /// The last of them are of one process alone, as [uprobes]: at least two others are there.
  std::uint32_t own_pages = 0;
};

/// One tampering. Which instruction stores is the agent's to find: from `way` on the first of its
/// list that can make this very change.
struct Choice {
  Edit edit{};
  Writer writer{};
  Shown shown{};
  bool other = false;
  bool left_to_kernel = false;
  std::uint32_t page = 0;
  std::uint32_t page2 = 0;  ///< SwapFrames: another one.
  std::uint32_t level = 0;
  std::uint64_t way = 0;    ///< As they come, for the agent to take the rest of a division by.
  std::uint64_t way2 = 0;   ///< Of the store that undoes it.
  std::uint64_t place = 0;  ///< Where there is more than one.
};

/// Whether the guest can have it.
[[nodiscard]] constexpr bool possible(const EditTraits& traits, const Offer& offer) {
  return (offer.x86 || !traits.x86_only) && (traits.edit != Edit::ProtectionKey || offer.keys) &&
         !(offer.emulated && traits.tcg_only);
}

/// Number `index` of the list that `seed` stands for. It does not depend on those before it.
[[nodiscard]] constexpr Choice choose(const Offer& offer, std::uint64_t seed, std::uint32_t index) {
  Random random(Random(seed).next() ^ (std::uint64_t{index} << 32 | index));
  Choice choice;
  const EditTraits* traits = nullptr;
  do {
    // Code takes every store instruction: more of it, so that each has its turn among 10,000 of
    // seed 1, also those that only the first page of code offers (InFull/Promised holds it to
    // that).
    constexpr std::uint32_t kMoreCode = 16;
    const std::uint32_t drawn = random.below(protocol::kEditCount + kMoreCode);
    traits =
        drawn < protocol::kEditCount
            ? &kEdits[drawn]
            : &kEdits[static_cast<std::size_t>(drawn % 2 == 0 ? Edit::Code : Edit::CodeByAlias)];
  } while (!possible(*traits, offer));
  choice.edit = traits->edit;
  do {
    choice.writer = static_cast<Writer>(random.below(protocol::kWriterCount));
  } while ((traits->writers & (1U << static_cast<unsigned>(choice.writer))) == 0);
  // Only the kernel does two things in one system call.
  const bool to_nobody = random.chance(25);
  if (to_nobody && traits->to_nobody && choice.writer == Writer::Kernel) {
    choice.shown = Shown::ToNobody;
  }
  choice.other = random.chance(20) && traits->to_other;
  const bool code = choice.edit == Edit::Code || choice.edit == Edit::CodeByAlias;
  const std::uint32_t pages = offer.pages - (choice.other ? offer.own_pages : 0);
  choice.page = random.below(code ? offer.code_pages : pages);
  choice.page2 = (choice.page + 1 + random.below(pages - 1)) % pages;
  choice.level = traits->lowest + random.below(traits->highest - traits->lowest + 1);
  choice.left_to_kernel = random.chance(50) && choice.edit == Edit::UnmapPage && !choice.other &&
                          choice.shown == Shown::ToUserMode;
  choice.way = random.next() >> 32;
  choice.way2 = random.next() >> 32;
  choice.place = random.next();
  return choice;
}

}  // namespace sealvisor::scenario
