// The invariants S1 to S8 as pure functions: what was observed in, violations out.
//
// S1 presence     a populated page stays reachable (judged where the guest touched it again)
// S2 frame        a populated page keeps its frame
// S3 permission   no gain of write or execute, no loss of read, no change of key
// S4 place        the mapping does not move; no second user-reachable translation of its frames
// S5 content      code frames do not change
// S6 path         changes at upper levels count by what they do to S1-S4: the views that are judged
//                 here come from whole walks
// S7 teardown     a removal is pending until user mode runs, or the address space ends: only looks
//                 taken when user mode runs are judged here
// S8 inheritance  a forked child has its parent's mappings, same place, same frames
//
// tests/unit/seal/policy_test.cc has them all in one table, each held and broken.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/model/space.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

/// One broken invariant, at one page of one mapping.
struct Violation {
  const char* invariant = "";  ///< "S1".."S8".
  std::uint64_t space = 0;
  model::MappingPage page;
  arch::Gva gva{};
  std::string text;  ///< What is there and what was expected.
  /// What user mode reaches at `gva`, or reached if it reaches nothing now; S5 of a store: whose
  /// code changed.
  arch::Frame frame{};
  /// The store, or the load of a root, that made it so, where the lane tells it.
  std::optional<event::Event> cause = std::nullopt;
};

/// S2, S3 (and S1 for entries that no longer translate): judges one change of a page's view that
/// user mode can see. An absent entry alone is no violation: the kernel may zap a page and fault
/// the same frame in again; see judge_gone.
[[nodiscard]] std::vector<Violation> judge_transition(arch::Arch arch,
                                                      const model::Identities& identities,
                                                      const model::AddressSpace& space,
                                                      const model::PageTransition& transition);

/// S4: a frame of a system mapping is user-reachable away from its mapping's place.
[[nodiscard]] Violation judge_elsewhere(const model::Identities& identities,
                                        const model::AddressSpace& space,
                                        const model::Elsewhere& elsewhere);

/// S1: user mode has just touched every page of the placement; one that was populated before and
/// has no translation now is gone.
[[nodiscard]] std::vector<Violation> judge_gone(const model::Identities& identities,
                                                const model::AddressSpace& space,
                                                const model::Placement& placement);

/// S5: whether `event` is a store that changed code of a system mapping, as content or as an entry
/// of a table that the guest made of it. Data as [vvar]'s changes all the time.
[[nodiscard]] std::optional<Violation> judge_content(const model::Identities& identities,
                                                     const event::Event& event);

/// S5: `space` now shows a copy of a page of code that differs from it in `bytes` bytes: what user
/// mode would execute there has changed, though the kernel's frame has not.
[[nodiscard]] Violation judge_copy(const model::Identities& identities,
                                   const model::AddressSpace& space,
                                   const model::PageTransition& transition, std::uint32_t bytes);

/// S8: `parent` as it was at the fork, `child` after it touched every page.
[[nodiscard]] std::vector<Violation> judge_inheritance(const model::Identities& identities,
                                                       const model::AddressSpace& parent,
                                                       const model::AddressSpace& child);

/// S8: the auxiliary vector (AT_SYSINFO_EHDR, as the process reports it; 0: none) must name the
/// place where the frames of mapping `vdso` are, which the process has just touched. nullopt: it
/// does.
[[nodiscard]] std::optional<Violation> judge_vdso_address(const model::Identities& identities,
                                                          const model::AddressSpace& space,
                                                          std::size_t vdso, arch::Gva auxiliary);

/// "[vdso] page 1 at 0x7fff..".
[[nodiscard]] std::string name_page(const model::Identities& identities, model::MappingPage page,
                                    arch::Gva gva);

}  // namespace sealvisor::seal
