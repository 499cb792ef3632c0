// Writes to the entries of system mappings, who made them, and what became of the system mappings
// of each process: a part of the report's model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sealvisor::report {

/// One write to a page-table entry on the path of a system mapping, or one to its code.
struct EntryChange {
  std::string mapping;
  std::uint64_t gva = 0;  ///< Page that the entry translates; 0: not known.
  std::uint64_t gpa = 0;  ///< Of the entry.
  unsigned level = 0;
  std::uint64_t old_value = 0;
  std::uint64_t new_value = 0;
  std::string old_text;  ///< Decoded bit by bit.
  std::string new_text;
  std::uint64_t pc = 0;     ///< Of the instruction that wrote it.
  std::string function;     ///< "ptep_clear+0x12", or "user mode".
  std::string instruction;  ///< Disassembly.
  std::uint64_t icount = 0;
  std::uint64_t root = 0;
  bool transient = false;  ///< Undone before user mode ran.
};

/// A line of a listing.
struct CodeLine {
  std::uint64_t address = 0;
  std::string bytes;  ///< "48 c7 03 00".
  std::string text;   ///< Disassembly.
};

/// Where the bytes of a listing are from.
enum class CodeSource : std::uint8_t {
  None,            ///< They were not to be had: there is no listing.
  Memory,          ///< Guest memory, when the first write of this writer in a cell came.
  MemoryAtTheEnd,  ///< Guest memory, after the guest's end.
  Vmlinux,  ///< The file that the symbols are from: what the kernel patches as it boots is not in
            ///< it.
};
[[nodiscard]] const char* name_of(CodeSource source);

/// An instruction that wrote, with the code around it.
struct Writer {
  std::uint64_t pc = 0;
  std::string function;  ///< As in EntryChange.
  CodeSource source = CodeSource::None;
  std::vector<CodeLine> lines;  ///< In address order. The one at `pc` is the writer.
};

/// What a moment of a timeline is.
enum class MomentKind : std::uint8_t {
  Found,      ///< User mode is about to run, and the mapping is at this place.
  Populated,  ///< A page of it shows for the first time. `write`: who put it there, if it was told.
  Written,    ///< An entry on the way to a page was written: `write`.
  Seen,       ///< User mode sees a page that is not as it was.
  Elsewhere,  ///< A frame of it shows at a second place. `write` as above.
  Broken,     ///< An invariant does not hold.
  Ended,      ///< The address space ended.
};
[[nodiscard]] const char* name_of(MomentKind kind);

/// When in the life of its process a moment is.
enum class Phase : std::uint8_t {
  Installation,  ///< Until a page shows for the first time.
  Life,
  Exit,  ///< After user mode ran there for the last time.
};
[[nodiscard]] const char* name_of(Phase phase);

struct Moment {
  MomentKind kind{};
  Phase phase{};
  std::uint64_t icount = 0;  ///< As in EntryChange.
  std::string mapping;       ///< Empty: all of them.
  std::uint64_t gva = 0;     ///< Its place, or the page's; 0: not known.
  std::uint32_t pages = 1;   ///< That the entry is on the way to.
  std::string text;          ///< One line; empty where `write` says all.
  std::optional<EntryChange> write;
};

/// A system mapping at its place in one process.
struct PlacedMapping {
  std::string mapping;
  std::uint64_t gva = 0;
  std::uint32_t pages = 0;
  std::uint32_t populated = 0;  ///< That were ever seen populated.
};

/// Bounds on what is kept of one run; what is past one is counted.
inline constexpr std::size_t kMostProcesses = 1000;
inline constexpr std::size_t kMostMoments = 1000;  ///< Of one process.

/// An address space that user mode ran on and that has system mappings: a process from an exec or a
/// fork to the next exec or its end, with all the threads that share it.
struct Process {
  std::uint64_t id = 0;  ///< Unique in a run.
  std::uint64_t root = 0;
  std::string scenario;               ///< Under way when it was first looked at.
  std::optional<std::uint32_t> cell;  ///< Whose victim it was, or a child that the victim forked.
  std::uint64_t began = 0;            ///< icount of the first load of its root.
  std::optional<std::uint64_t> ended;
  std::uint64_t user_entries = 0;  ///< Times that user mode was judged in it.
  std::vector<PlacedMapping> mappings;
  /// Whether there is anything but installation, exit, and bits that say that a page was used.
  bool changed = false;
  /// In order. Of processes that nothing happened to only the first of each scenario has one.
  std::vector<Moment> timeline;
  std::uint64_t moments_left_out = 0;
};

struct ProcessesLeftOut {
  std::uint64_t changed = 0;
  std::uint64_t unchanged = 0;
};

}  // namespace sealvisor::report
