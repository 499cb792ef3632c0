// What `sealvisor lifetime` found: every change of a system mapping in the life of a process, and
// who made it. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sealvisor::report {

/// What one write did to a page of a system mapping.
enum class Effect : std::uint8_t {
  FilledIn,    ///< The mapping's own frame, with its own permissions, where nothing was.
  Removed,     ///< Its translation went.
  OtherFrame,  ///< Another frame came, or came in its place.
  Permission,  ///< Other permissions, or an entry that hardware does not translate through.
  Upper,       ///< An entry of an upper level on its path.
  Rewritten,   ///< Nothing that hardware or user mode would see: a software bit, the same value.
  Place,       ///< Its frame at a second place.
  Content,     ///< Bytes of its code.
};
[[nodiscard]] const char* name_of(Effect effect);

/// Writes to one mapping with the same effect, cause and call path.
struct LifeChange {
  std::string mapping;
  Effect effect{};
  std::string cause;              ///< seal::name_of(Cause).
  std::string by;                 ///< The call or function that decided it.
  std::vector<std::string> path;  ///< Functions, the one that stored first.
  bool path_complete = false;
  bool in_life = false;    ///< A change in a process's life: neither filled in nor gone with it.
  bool by_kernel = false;  ///< In life, and the kernel's own doing.
  std::uint64_t writes = 0;
  std::uint64_t seen = 0;    ///< User mode ran next and saw another state of the page.
  std::uint64_t undone = 0;  ///< It was as before when user mode ran next.
  std::uint64_t at_end = 0;  ///< User mode did not run again in that address space.
  std::uint64_t spaces = 0;  ///< Address spaces in which it happened.
  std::map<std::string, std::uint64_t> scenarios{};  ///< Writes, by what ran then.
  std::string example;  ///< The first of them: entry, old and new value.
};

enum class LifeVerdict : std::uint8_t {
  NeverChanged,  ///< By the kernel itself, in the life of a process.
  Changed,
  NotKnown,    ///< Some changes have no known cause, or the watch was incomplete.
  Unobserved,  ///< User mode was never judged with a page of it.
};
[[nodiscard]] const char* name_of(LifeVerdict verdict);

/// One mapping over all processes that had it.
struct MappingLife {
  std::string mapping;
  std::optional<bool> claims_sealed;
  std::uint64_t spaces = 0;           ///< Address spaces that showed it to user mode.
  std::uint64_t entries = 0;          ///< Times that user mode was judged in them.
  std::uint64_t pages_populated = 0;  ///< Of all of them.
  std::uint64_t pages_never = 0;
  std::uint64_t pages_kept = 0;  ///< There at the end of their address space.
  std::uint64_t pages_gone = 0;  ///< Populated once, and absent at its end.
  std::uint64_t refaulted = 0;   ///< Times that a page came back as it was.
  std::uint64_t filled_in = 0;   ///< Pages that were written in, by faults.
  std::uint64_t copied = 0;      ///< Pages that were there when their address space was seen first.
  std::uint64_t removed_at_exit = 0;
  std::uint64_t removed_at_exec = 0;
  LifeVerdict verdict = LifeVerdict::Unobserved;
  std::vector<std::string> changed_by;  ///< Changed: "time namespace (vdso_join_timens)".
  std::string text;                     ///< One sentence.
};

/// "12 address spaces, 48 pages, 3,456 entries to user mode": on how much what is said of it rests.
[[nodiscard]] std::string watched_of(const MappingLife& life);

struct Lifetime {
  std::vector<MappingLife> mappings;
  std::vector<LifeChange> changes;
  std::uint64_t writes = 0;            ///< To entries and code of system mappings, in all.
  std::uint64_t paths = 0;             ///< Call paths that differ.
  std::uint64_t paths_incomplete = 0;  ///< Of these, the ones that do not lead to an entry.
  std::uint64_t without_stack = 0;     ///< Writes of which only the storing function is known.
};

}  // namespace sealvisor::report
