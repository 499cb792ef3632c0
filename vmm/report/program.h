// What came of the user's own programs in one guest, as plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sealvisor::report {

enum class Change : std::uint8_t;  // report.h
struct EntryChange;

/// What the kernel says of a process's mapping, in its smaps. A claim.
struct ProcessMapping {
  std::string name;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  bool sealed = false;  ///< `sl`.
};

/// A process, as the agent's tracer tells of it.
struct ProgramProcess {
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;  ///< 0: the first one.
  std::string image;         ///< End of the path that it last executed; empty: its parent's.
  unsigned bits = 0;         ///< 32 or 64; 0: not known.
  std::vector<ProcessMapping> first;  ///< When its (last) image began.
  /// Before it ended, or before it ran another image; nullopt: that was not seen.
  std::optional<std::vector<ProcessMapping>> last;
  /// Exit status, or minus the signal; nullopt: its end was not seen.
  std::optional<std::int32_t> status;
};

/// One system mapping in one address space, from outside.
struct ProgramMapping {
  std::string name;
  std::uint64_t place = 0;
  std::uint32_t pages = 0;
  std::uint32_t seen = 0;  ///< Pages that were populated.
  Change change{};         ///< The worst that user mode could see.
  /// Populated pages that were absent when the address space ended, and of which it is not known
  /// whether they would have come back: nothing touched them. Not part of `change`.
  std::uint32_t absent = 0;
  std::string text;  ///< One line.
  std::vector<EntryChange> changes;
  std::uint64_t changes_left_out = 0;
};

/// One broken invariant.
struct ProgramViolation {
  std::string invariant;
  std::string mapping;
  std::string text;
  bool shared = false;  ///< Of the frame itself, which all processes share.
};

/// An address space that the program ran in.
struct ProgramSpace {
  std::uint64_t id = 0;
  std::vector<std::uint32_t> pids;  ///< Processes that were seen in it; empty: not traced, or lost.
  std::string image;                ///< The tracer's word, else the name on its stack.
  std::uint64_t user_entries = 0;
  bool ended = false;    ///< Before the program did.
  bool touched = false;  ///< The agent had its mappings touched at its end.
  std::vector<ProgramMapping> mappings;
  std::vector<ProgramViolation> violations;
  std::uint64_t violations_left_out = 0;
};

struct Program {
  enum class Outcome : std::uint8_t {
    Exited,     ///< `value`: its exit status.
    Killed,     ///< `value`: the signal.
    TooLong,    ///< Its time was up.
    NotRun,     ///< `value`: errno.
    NotTraced,  ///< `value`: errno.
    CutOff,     ///< The guest ended first.
  };
  std::string name;
  std::vector<std::string> command;  ///< Its image and arguments.
  Outcome outcome = Outcome::CutOff;
  std::int32_t value = 0;
  bool traced = false;
  bool judged = false;             ///< The user said what must come of it (app::judge_scenarios()).
  std::uint32_t left_running = 0;  ///< Processes that it left and that were ended.
  std::vector<ProgramProcess> processes;
  std::uint64_t processes_left_out = 0;
  std::vector<ProgramSpace> spaces;
  std::uint64_t spaces_left_out = 0;
  std::string output;  ///< As it wrote it, up to a bound.
  std::string errors;
  std::uint64_t output_left_out = 0;  ///< Bytes of both.
};

/// "exit status 0", "killed by SIGSEGV", "could not be run: ENOENT" ...
[[nodiscard]] std::string outcome_text(const Program& program);
/// Whether it ended by itself with exit status 0.
[[nodiscard]] bool succeeded(const Program& program);
/// Whether it ended, or could not begin, otherwise than `succeeded`, and nobody said that it must.
[[nodiscard]] bool failed_by_itself(const Program& program);
/// Whether it ran, and yet no address space of it with a system mapping was seen.
[[nodiscard]] bool not_observed(const Program& program);
/// Mappings, over all address spaces, that user mode saw change.
[[nodiscard]] std::size_t changed_mappings(const Program& program);
/// Of these, those of which nothing but private copies of pages were seen: writes past the
/// permissions of the mapping, by ptrace or /proc/PID/mem.
[[nodiscard]] std::size_t forced_mappings(const Program& program);

/// Mappings, over all address spaces, of which no page was ever populated: nothing is known of
/// them.
[[nodiscard]] std::size_t unobserved_mappings(const Program& program);
/// Mappings with pages that were absent at the end and that nothing touched again.
[[nodiscard]] std::size_t absent_mappings(const Program& program);

/// What became of a mapping: "gone (2 of 2 pages)".
[[nodiscard]] std::string change_text(const ProgramMapping& mapping);
/// What the smaps of the process of `space` said of `mapping`, when its image began and when it
/// ended: "sl, not listed at its end"; "-": nothing.
[[nodiscard]] std::string claim_text(const Program& program, const ProgramSpace& space,
                                     const ProgramMapping& mapping);

}  // namespace sealvisor::report
