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
  Sequence,   ///< Calls of known software on system mappings: `sealvisor compat` (guest/compat).
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
  MprotectX,
  MprotectWX,
  MprotectSame,
  MmapFixed,
};
inline constexpr std::size_t kOperationCount = 15;

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
    "munmap",        "mremap-move", "mremap-shrink", "mremap-grow",   "mremap-grow-move",
    "mprotect-none", "mprotect-r",  "mprotect-w",    "mprotect-rw",   "mprotect-rx",
    "mprotect-rwx",  "mprotect-x",  "mprotect-wx",   "mprotect-same", "mmap-fixed"};
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
  /// Each of `count` has an address space of its own, which the monitor must see.
  bool new_spaces = false;
  /// Words that the command line of an x86-64 guest must have for it.
  std::string_view x86_boot_words{};
};

namespace detail {

constexpr Scenario life(std::string_view name, std::uint32_t count, std::string_view description,
                        bool new_spaces = true) {
  return {.name = name,
          .description = description,
          .kind = Kind::Life,
          .count = count,
          .new_spaces = new_spaces};
}
constexpr Scenario cells(std::string_view name, Operation operation, Form form,
                         std::string_view description) {
  return {.name = name,
          .description = description,
          .kind = Kind::Cells,
          .operation = operation,
          .form = form};
}
constexpr Scenario on_request(std::string_view name, Kind kind, std::uint32_t count,
                              std::string_view description, std::string_view x86_boot_words = {}) {
  return {.name = name,
          .description = description,
          .kind = kind,
          .count = count,
          .by_default = false,
          .new_spaces = kind == Kind::Benchmark,
          .x86_boot_words = x86_boot_words};
}

}  // namespace detail

/// Every scenario, in the order in which they run.
inline constexpr auto kScenarios = std::to_array<Scenario>({
    detail::life("life/fork", 8, "forked children that live at the same time, touch and exit"),
    detail::life("life/vfork", 8, "vforked children that share the parent's memory, then exec"),
    detail::life("life/exec", 8, "fork and exec of a static program"),
    detail::life("life/exec-dynamic", 8,
                 "fork and exec of a program with an interpreter (two ELF files)"),
    detail::life("life/threads", 8, "threads of one process that touch and end at the same time",
                 false),
    detail::life("life/signals", 16,
                 "signals delivered and returned from, by the vdso where it does that", false),
    detail::life("life/exit", 9, "children that end by exit_group, by SIGKILL and by SIGSEGV"),
    detail::life("life/compat", 4, "fork and exec of a 32-bit program"),
    detail::life("life/thousand", 1000, "a thousand times fork and exec"),

    detail::cells("munmap/whole", Operation::Munmap, Form::Whole, "unmap the mapping"),
    detail::cells("munmap/first-page", Operation::Munmap, Form::FirstPage, "unmap its first page"),
    detail::cells("munmap/last-page", Operation::Munmap, Form::LastPage, "unmap its last page"),
    detail::cells("munmap/neighbour", Operation::Munmap, Form::Neighbour,
                  "unmap its edge page together with a page next to it"),

    detail::cells("mremap/move", Operation::MremapMove, Form::Whole, "move the mapping"),
    detail::cells("mremap/move-first-page", Operation::MremapMove, Form::FirstPage,
                  "move its first page"),
    detail::cells("mremap/move-last-page", Operation::MremapMove, Form::LastPage,
                  "move its last page"),
    detail::cells("mremap/shrink", Operation::MremapShrink, Form::LastPage,
                  "shrink it by its last page"),
    detail::cells("mremap/grow", Operation::MremapGrow, Form::Whole,
                  "grow it by one page, in place"),
    detail::cells("mremap/grow-move", Operation::MremapGrowMove, Form::Whole,
                  "grow it by one page, wherever there is room"),
    detail::cells("mremap/grow-last-page", Operation::MremapGrow, Form::LastPage,
                  "grow its last page by one, in place"),
    detail::cells("mremap/grow-move-last-page", Operation::MremapGrowMove, Form::LastPage,
                  "grow its last page by one, wherever there is room"),

    detail::cells("mprotect/none", Operation::MprotectNone, Form::Whole, "take every permission"),
    detail::cells("mprotect/r", Operation::MprotectR, Form::Whole, "make it read-only"),
    detail::cells("mprotect/w", Operation::MprotectW, Form::Whole, "make it write-only"),
    detail::cells("mprotect/rw", Operation::MprotectRW, Form::Whole, "make it writable"),
    detail::cells("mprotect/rx", Operation::MprotectRX, Form::Whole, "make it executable"),
    detail::cells("mprotect/rwx", Operation::MprotectRWX, Form::Whole,
                  "make it writable and executable"),
    detail::cells("mprotect/x", Operation::MprotectX, Form::Whole, "make it execute-only"),
    detail::cells("mprotect/wx", Operation::MprotectWX, Form::Whole,
                  "make it writable and executable, and not readable"),
    detail::cells("mprotect/same", Operation::MprotectSame, Form::Whole,
                  "ask for the permission that it has"),
    detail::cells("mprotect/none-first-page", Operation::MprotectNone, Form::FirstPage,
                  "take every permission of its first page"),
    detail::cells("mprotect/none-last-page", Operation::MprotectNone, Form::LastPage,
                  "take every permission of its last page"),
    detail::cells("mprotect/r-first-page", Operation::MprotectR, Form::FirstPage,
                  "make read-only its first page"),
    detail::cells("mprotect/r-last-page", Operation::MprotectR, Form::LastPage,
                  "make read-only its last page"),
    detail::cells("mprotect/w-first-page", Operation::MprotectW, Form::FirstPage,
                  "make write-only its first page"),
    detail::cells("mprotect/w-last-page", Operation::MprotectW, Form::LastPage,
                  "make write-only its last page"),
    detail::cells("mprotect/rw-first-page", Operation::MprotectRW, Form::FirstPage,
                  "make writable its first page"),
    detail::cells("mprotect/rw-last-page", Operation::MprotectRW, Form::LastPage,
                  "make writable its last page"),
    detail::cells("mprotect/rx-first-page", Operation::MprotectRX, Form::FirstPage,
                  "make executable its first page"),
    detail::cells("mprotect/rx-last-page", Operation::MprotectRX, Form::LastPage,
                  "make executable its last page"),
    detail::cells("mprotect/rwx-first-page", Operation::MprotectRWX, Form::FirstPage,
                  "make writable and executable its first page"),
    detail::cells("mprotect/rwx-last-page", Operation::MprotectRWX, Form::LastPage,
                  "make writable and executable its last page"),
    detail::cells("mprotect/x-first-page", Operation::MprotectX, Form::FirstPage,
                  "make execute-only its first page"),
    detail::cells("mprotect/x-last-page", Operation::MprotectX, Form::LastPage,
                  "make execute-only its last page"),
    detail::cells("mprotect/wx-first-page", Operation::MprotectWX, Form::FirstPage,
                  "make writable and executable, and not readable, its first page"),
    detail::cells("mprotect/wx-last-page", Operation::MprotectWX, Form::LastPage,
                  "make writable and executable, and not readable, its last page"),
    detail::cells("mprotect/same-first-page", Operation::MprotectSame, Form::FirstPage,
                  "ask for the permission of its first page"),
    detail::cells("mprotect/same-last-page", Operation::MprotectSame, Form::LastPage,
                  "ask for the permission of its last page"),
    detail::cells("mprotect/none-neighbour", Operation::MprotectNone, Form::Neighbour,
                  "take every permission of its edge page together with a page next to it"),
    detail::cells("mprotect/rwx-neighbour", Operation::MprotectRWX, Form::Neighbour,
                  "make writable and executable its edge page together with a page next to it"),

    detail::cells("mmap-fixed/whole", Operation::MmapFixed, Form::Whole,
                  "map anonymous memory over it"),
    detail::cells("mmap-fixed/first-page", Operation::MmapFixed, Form::FirstPage,
                  "map anonymous memory over its first page"),
    detail::cells("mmap-fixed/last-page", Operation::MmapFixed, Form::LastPage,
                  "map anonymous memory over its last page"),
    detail::cells("mmap-fixed/neighbour", Operation::MmapFixed, Form::Neighbour,
                  "map anonymous memory over its edge page together with a page next to it"),

    // With PAT, x86-64 refuses to map RAM through /dev/mem (arch/x86/mm/pat/memtype.c,
    // range_is_allowed).
    detail::on_request("control/stores", Kind::Control, 16,
                       "a known number of stores of every class to a page table", "nopat"),
    detail::on_request("control/entries", Kind::Control, 1000,
                       "a known number of entries to user mode of each kind (kvm lanes)"),
    detail::on_request("control/tamper-entry", Kind::Control, 1000,
                       "the kernel makes [vdso] writable in its page table and read-only again"),
    detail::on_request("control/tamper-code", Kind::Control, 16,
                       "change the code of [vdso] through a second mapping, and put it back",
                       "nopat"),
    detail::on_request("control/stores-code", Kind::Control, 8,
                       "a known number of stores of many classes to the code of [vdso], put back",
                       "nopat"),
    detail::on_request("control/copy-vdso", Kind::Control, 0,
                       "run a copy of the vdso's bytes elsewhere: no violation"),
    detail::on_request("control/panic", Kind::Control, 0,
                       "end the init process: the kernel panics"),
    detail::on_request("control/hang", Kind::Control, 0, "stop answering"),
    detail::on_request("control/flood-console", Kind::Control, 0,
                       "write to the console without end"),
    detail::on_request("control/flood-doorbell", Kind::Control, 0, "send messages without end"),
    detail::on_request("control/bad-message", Kind::Control, 0, "send a message of no known type"),
    detail::on_request("control/bad-pointer", Kind::Control, 0,
                       "ring with an address that is not mapped"),
    detail::on_request("lie/mapping", Kind::Lie, 0,
                       "announce a copy of the vdso's bytes as [vdso]"),
    detail::on_request("lie/claims", Kind::Lie, 0,
                       "false sl, false count, false place of the vdso, false touch"),
    detail::on_request("lie/vvar-from-boot", Kind::Lie, 0,
                       "announce anonymous memory as [vvar] from the first message on"),
    detail::on_request("lie/omit-vdso", Kind::Lie, 0, "never announce [vdso]"),
    detail::on_request("lie/skip", Kind::Lie, 0, "say of every cell that there is no such mapping"),
    detail::on_request("bench/fork-exec", Kind::Benchmark, 200, "fork and exec, silent"),

    detail::on_request("storm/time-namespace", Kind::Life, 8,
                       "processes enter a time namespace by setns, fork and exec"),
    detail::on_request("storm/inspection", Kind::Life, 8,
                       "others read a process's mappings, and clear their accessed bits"),
    detail::on_request("storm/shortage", Kind::Life, 1,
                       "memory is short: caches dropped, memory compacted, pages locked"),
    detail::on_request("control/own-calls", Kind::Control, 2,
                       "unmap, move, protect and drop one's own [vdso], where the kernel lets one"),

    detail::on_request("compat/criu-park", Kind::Sequence, 0, "CRIU restores a process"),
    detail::on_request("compat/criu-proxy", Kind::Sequence, 0,
                       "CRIU restores a process of another kernel"),
    detail::on_request("compat/criu-start", Kind::Sequence, 0, "CRIU starts"),
    detail::on_request("compat/criu-map", Kind::Sequence, 0,
                       "CRIU restores a process, where arch_prctl maps a vdso"),
    detail::on_request("compat/uml-stub", Kind::Sequence, 0, "UML makes an address space"),
    detail::on_request("compat/uml-flush", Kind::Sequence, 0, "UML execs a program, up to 6.8"),
    detail::on_request("compat/gvisor-stub", Kind::Sequence, 0, "gVisor makes a stub process"),
    detail::on_request("compat/rr-record", Kind::Sequence, 0, "rr records an exec"),
    detail::on_request("compat/rr-replay", Kind::Sequence, 0, "rr replays an exec"),
    detail::on_request("compat/rr-share", Kind::Sequence, 0, "rr makes a mapping shared"),
    detail::on_request("real/uml", Kind::Sequence, 0, "User-Mode Linux itself boots"),
    detail::on_request("real/criu", Kind::Sequence, 0, "CRIU itself dumps and restores a process"),
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
