// The one list of what is tried in a guest, shared by the agent (which does it) and the VMM (which
// writes the plan and judges the outcome). Constant tables only: no allocation, no OS.
//
// A *scenario* has a name that people type (`munmap/first-page`). A scenario of kind Cells stands
// for one *cell* per system mapping: mapping x operation x form. The three words of a cell are the
// ones that the doorbell messages and the reports carry.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/protocol/doorbell.h"

namespace sealvisor::scenario {

/// What a scenario consists of.
enum class Kind : std::uint8_t {
  Life,       ///< Processes come and go; no system mapping is attacked.
  Cells,      ///< One operation in one form, against each system mapping in turn.
  Control,    ///< Checks the monitor itself.
  Lie,        ///< The agent announces something that is not so.
  Benchmark,  ///< Work to measure; sends no messages while it works.
};

/// What a victim asks the kernel to do to a system mapping.
enum class Operation : std::uint8_t {
  Munmap,
  MremapMove,
  MremapShrink,
  MremapGrow,
  MremapGrowMove,
  MprotectNone,
  MprotectR,
  MprotectW,
  MprotectRW,
  MprotectRX,
  MprotectRWX,
  MprotectSame,
  MmapFixed,
};
inline constexpr std::size_t kOperationCount = 13;

/// Which pages it is asked for.
enum class Form : std::uint8_t {
  Whole,      ///< Every page of the mapping.
  FirstPage,  ///< Its first page; does not exist if that is the whole mapping.
  LastPage,   ///< Its last page; does not exist if that is the whole mapping.
  Neighbour,  ///< Its edge page and a free page next to it that the victim filled, in one call.
};
inline constexpr std::size_t kFormCount = 4;

/// Names as they stand in plans, messages and reports. Index = enumerator.
inline constexpr std::array<std::string_view, kOperationCount> kOperationNames = {
    "munmap",        "mremap-move",   "mremap-shrink", "mremap-grow", "mremap-grow-move",
    "mprotect-none", "mprotect-r",    "mprotect-w",    "mprotect-rw", "mprotect-rx",
    "mprotect-rwx",  "mprotect-same", "mmap-fixed"};
inline constexpr std::array<std::string_view, kFormCount> kFormNames = {"whole", "first-page",
                                                                        "last-page", "neighbour"};

/// Mappings that cells are made for, by their name in smaps. One that a guest does not have is
/// skipped by the agent (CellEnd says so).
inline constexpr std::array<std::string_view, 3> kMappings = {"[vdso]", "[vvar]", "[vvar_vclock]"};

[[nodiscard]] constexpr std::string_view name_of(Operation operation) {
  return kOperationNames[static_cast<std::size_t>(operation)];
}
[[nodiscard]] constexpr std::string_view name_of(Form form) {
  return kFormNames[static_cast<std::size_t>(form)];
}
[[nodiscard]] constexpr std::optional<Operation> operation_named(std::string_view name) {
  for (std::size_t i = 0; i < kOperationCount; ++i) {
    if (kOperationNames[i] == name) return static_cast<Operation>(i);
  }
  return std::nullopt;
}
[[nodiscard]] constexpr std::optional<Form> form_named(std::string_view name) {
  for (std::size_t i = 0; i < kFormCount; ++i) {
    if (kFormNames[i] == name) return static_cast<Form>(i);
  }
  return std::nullopt;
}

/// One thing to try.
struct Scenario {
  std::string_view name;  ///< Unique; at most kNameSize - 1 characters; NUL-terminated literal.
  std::string_view description;
  Kind kind;
  Operation operation = Operation::Munmap;  ///< Kind Cells only.
  Form form = Form::Whole;                  ///< Kind Cells only.
  /// What the plan line asks for by default: processes, threads, signals or stores; 0: no count.
  std::uint32_t count = 0;
  /// Part of `sealvisor verify` when no --scenario is given.
  bool by_default = true;
};

/// Every scenario, in the order in which they run.
inline constexpr auto kScenarios = std::to_array<Scenario>({
    {"life/fork",
     "forked children that live at the same time, touch and exit",
     Kind::Life,
     {},
     {},
     8},
    {"life/vfork",
     "vforked children that share the parent's memory, then exec",
     Kind::Life,
     {},
     {},
     8},
    {"life/exec", "fork and exec of a static program", Kind::Life, {}, {}, 8},
    {"life/exec-dynamic",
     "fork and exec of a program with an interpreter (two ELF files)",
     Kind::Life,
     {},
     {},
     8},
    {"life/threads",
     "threads of one process that touch and end at the same time",
     Kind::Life,
     {},
     {},
     8},
    {"life/signals",
     "signals delivered and returned from, by the vdso where it does that",
     Kind::Life,
     {},
     {},
     16},
    {"life/exit",
     "children that end by exit_group, by SIGKILL and by SIGSEGV",
     Kind::Life,
     {},
     {},
     9},
    {"life/compat", "fork and exec of a 32-bit program", Kind::Life, {}, {}, 4},
    {"life/thousand", "a thousand times fork and exec", Kind::Life, {}, {}, 1000},

    {"munmap/whole", "unmap the mapping", Kind::Cells, Operation::Munmap, Form::Whole},
    {"munmap/first-page", "unmap its first page", Kind::Cells, Operation::Munmap, Form::FirstPage},
    {"munmap/last-page", "unmap its last page", Kind::Cells, Operation::Munmap, Form::LastPage},
    {"munmap/neighbour", "unmap its edge page together with a page next to it", Kind::Cells,
     Operation::Munmap, Form::Neighbour},

    {"mremap/move", "move the mapping", Kind::Cells, Operation::MremapMove, Form::Whole},
    {"mremap/move-first-page", "move its first page", Kind::Cells, Operation::MremapMove,
     Form::FirstPage},
    {"mremap/move-last-page", "move its last page", Kind::Cells, Operation::MremapMove,
     Form::LastPage},
    {"mremap/shrink", "shrink it by its last page", Kind::Cells, Operation::MremapShrink,
     Form::LastPage},
    {"mremap/grow", "grow it by one page, in place", Kind::Cells, Operation::MremapGrow,
     Form::Whole},
    {"mremap/grow-move", "grow it by one page, wherever there is room", Kind::Cells,
     Operation::MremapGrowMove, Form::Whole},

    {"mprotect/none", "take every permission", Kind::Cells, Operation::MprotectNone, Form::Whole},
    {"mprotect/r", "make it read-only", Kind::Cells, Operation::MprotectR, Form::Whole},
    {"mprotect/w", "make it write-only", Kind::Cells, Operation::MprotectW, Form::Whole},
    {"mprotect/rw", "make it writable", Kind::Cells, Operation::MprotectRW, Form::Whole},
    {"mprotect/rx", "make it executable", Kind::Cells, Operation::MprotectRX, Form::Whole},
    {"mprotect/rwx", "make it writable and executable", Kind::Cells, Operation::MprotectRWX,
     Form::Whole},
    {"mprotect/none-first-page", "take every permission of its first page", Kind::Cells,
     Operation::MprotectNone, Form::FirstPage},
    {"mprotect/none-last-page", "take every permission of its last page", Kind::Cells,
     Operation::MprotectNone, Form::LastPage},
    {"mprotect/rwx-first-page", "make its first page writable and executable", Kind::Cells,
     Operation::MprotectRWX, Form::FirstPage},
    {"mprotect/rwx-last-page", "make its last page writable and executable", Kind::Cells,
     Operation::MprotectRWX, Form::LastPage},
    {"mprotect/same", "ask for the permission that it has", Kind::Cells, Operation::MprotectSame,
     Form::Whole},

    {"mmap-fixed/whole", "map anonymous memory over it", Kind::Cells, Operation::MmapFixed,
     Form::Whole},
    {"mmap-fixed/first-page", "map anonymous memory over its first page", Kind::Cells,
     Operation::MmapFixed, Form::FirstPage},
    {"mmap-fixed/last-page", "map anonymous memory over its last page", Kind::Cells,
     Operation::MmapFixed, Form::LastPage},

    {"control/stores",
     "a known number of stores of every class to a page table",
     Kind::Control,
     {},
     {},
     16,
     false},
    {"control/copy-vdso",
     "run a copy of the vdso's bytes elsewhere: no violation",
     Kind::Control,
     {},
     {},
     0,
     false},
    {"control/panic", "end the init process: the kernel panics", Kind::Control, {}, {}, 0, false},
    {"control/hang", "stop answering", Kind::Control, {}, {}, 0, false},
    {"control/flood-console", "write to the console without end", Kind::Control, {}, {}, 0, false},
    {"control/flood-doorbell", "send messages without end", Kind::Control, {}, {}, 0, false},
    {"control/bad-message", "send a message of no known type", Kind::Control, {}, {}, 0, false},
    {"control/bad-pointer",
     "ring with an address that is not mapped",
     Kind::Control,
     {},
     {},
     0,
     false},
    {"lie/mapping", "announce a copy of the vdso's bytes as [vdso]", Kind::Lie, {}, {}, 0, false},
    {"bench/fork-exec", "fork and exec, silent", Kind::Benchmark, {}, {}, 200, false},
});

/// Most processes, threads, signals or stores that one plan line may ask for.
inline constexpr std::uint32_t kMaxCount = 100'000;

/// The scenario called `name`; nullptr if there is none.
[[nodiscard]] constexpr const Scenario* find(std::string_view name) {
  for (const Scenario& scenario : kScenarios) {
    if (scenario.name == name) return &scenario;
  }
  return nullptr;
}

/// The scenario that a cell belongs to; nullptr if that pair is not listed.
[[nodiscard]] constexpr const Scenario* find_cells(Operation operation, Form form) {
  for (const Scenario& scenario : kScenarios) {
    if (scenario.kind == Kind::Cells && scenario.operation == operation && scenario.form == form) {
      return &scenario;
    }
  }
  return nullptr;
}

/// The part of a scenario's name behind the slash: the word that plan lines other than `cell` use.
[[nodiscard]] constexpr std::string_view short_name(const Scenario& scenario) {
  return scenario.name.substr(scenario.name.find('/') + 1);
}

}  // namespace sealvisor::scenario
