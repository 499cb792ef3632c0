// Everything that one `verify` found, as plain values: what text, JSON and later formats print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/report/lifetime.h"
#include "vmm/report/process.h"
#include "vmm/report/program.h"

namespace sealvisor::report {

/// What the guest itself says. A claim, never an observation.
struct Claim {
  bool made = false;           ///< False: the operation never returned to the agent.
  std::int64_t result = 0;     ///< Raw system call return: -errno, or 0, or an address.
  std::string text;            ///< "EPERM", "ok", "ok -> 0x7f..".
  std::optional<bool> sealed;  ///< `sl` in VmFlags of smaps before the operation.
};

/// What happened to a mapping, as user mode can see it. Order = severity, least first.
enum class Change : std::uint8_t {
  Unobserved,         ///< No page of it was ever populated: nothing can be said.
  Unchanged,          ///< Every populated page is where it was, same frame, same permissions.
  Refaulted,          ///< Unchanged, but the kernel zapped a page and faulted the same frame in.
  Added,              ///< Still there, and its frames are now reachable at a second place too.
  PermissionChanged,  ///< Same place, other permissions, or a non-present PROT_NONE entry.
  Privatised,         ///< Same place and permissions, another frame: a copy of the page, some of
                      ///< whose bytes may differ.
  Gone,               ///< A populated page is no longer reachable.
  Replaced,           ///< Another frame is mapped in its place.
  Moved,              ///< Gone from its place and reachable at another.
};
[[nodiscard]] const char* name_of(Change change);

/// Why a change of a sealed mapping is none that the seal is to keep out.
enum class Exception : std::uint8_t {
  None,
  Forced,    ///< A write past the permissions of the mapping (FOLL_FORCE: ptrace, /proc/PID/mem).
  ByDesign,  ///< The kernel means it so: time namespaces, what a child does not inherit.
};
[[nodiscard]] const char* name_of(Exception exception);

/// Verdict on a cell: claim, observation and expectation side by side.
enum class Verdict : std::uint8_t {
  Held,    ///< Recipe that is to be sealed: nothing user-visible changed in the pages that were
           ///< populated, as expected of a seal. Whatever refused it, and also where the kernel has
           ///< nothing to refuse: where something else comes before the seal (EACCES of mprotect on
           ///< [vvar]), no proof that there is one.
  Forced,  ///< Recipe that is to be sealed: changed as expected, by Exception::Forced.
  ByDesign,    ///< The same, by Exception::ByDesign.
  AsExpected,  ///< Unsealed recipe: did what an unsealed kernel is expected to do. Own image, of
               ///< which nothing is known: nothing contradicts the claim; "ok" and unchanged is
               ///< no contradiction.
  Violation,   ///< Expected to be unchanged, observed changed.
  Mismatch,    ///< Observation as expected, claim not; or an expected change did not happen.
  Unobserved,  ///< Nothing could be observed. Never counted as held.
  Skipped,     ///< The form does not exist for this mapping.
};
[[nodiscard]] const char* name_of(Verdict verdict);

struct Pages {
  std::uint32_t total = 0;
  std::uint32_t observed = 0;  ///< Populated before the operation.
  std::uint32_t kept = 0;
  std::uint32_t refaulted = 0;
  std::uint32_t changed = 0;
};

struct Observation {
  Change change = Change::Unobserved;
  Pages pages;
  std::string text;           ///< One line: "2 of 2 pages kept", "moved to 0x7f.. (2 pages)".
  std::string permissions{};  ///< PermissionChanged: what is left, "r--" or "non-present".
};

struct Expected {
  std::vector<int> errnos;       ///< Acceptable; 0 = success.
  std::optional<Change> change;  ///< Nullopt: any that user mode sees, but some.
  std::string text;
  std::string source;         ///< Kernel file and function, or document.
  std::string permissions{};  ///< PermissionChanged: what must be left; empty: not judged.
  Exception exception = Exception::None;  ///< Of a sealed recipe only.
  bool by_seal = false;  ///< Of a sealed recipe: an unsealed one is expected to act otherwise.
  std::string breaks{};  ///< Invariants that break on the way, beside those of the change: "S2 S5".
};

/// Observation of a cell whose turn never came.
inline constexpr const char* kNotReached = "unobserved: the guest did not get there";

struct Cell {
  std::uint32_t id = 0;
  std::string scenario;  ///< Its name for --scenario.
  std::string mapping;
  std::string operation;
  std::string form;
  Claim claim;
  Observation observation;
  std::optional<Expected> expectation;
  Verdict verdict = Verdict::Unobserved;
  std::vector<std::string>
      broken;  ///< Invariants that user mode saw broken, "S1".."S8", each once.
  std::vector<EntryChange> changes;
  std::uint64_t changes_left_out = 0;  ///< Past the bound on kept changes.
  bool lie = false;  ///< Control runs: this recipe is documented to lie here, so it must be caught.
};

/// A scenario without cells: processes that live and die under the invariants.
struct Life {
  std::string name;
  std::int32_t status = 0;   ///< errno the agent reports, 0 = ran.
  std::uint32_t count = 0;   ///< What the agent says it did.
  bool complete = true;      ///< False: the run ended in the midst of it.
  bool unsupported = false;  ///< A kernel of the user's that can't do it, which is nothing wrong.
  std::uint64_t address_spaces = 0;  ///< Generations observed while it ran.
  std::uint64_t user_entries = 0;    ///< Times that user mode was judged.
  std::uint64_t violations = 0;
  std::uint64_t pages_kept = 0;
  std::uint64_t pages_refaulted = 0;
  std::uint64_t pages_unobserved = 0;
  std::uint64_t teardowns = 0;  ///< Removals that ended with their address space.
  std::uint64_t inherited = 0;  ///< Mappings compared between parent and child (S8).
};

/// What became of one mapping of a process.
struct MappingOutcome {
  std::string mapping;
  Observation observation;
};

/// One call of a sequence of known software (guest/compat).
struct SequenceCall {
  std::string call;  ///< "munmap".
  std::string what;  ///< "all below the stub".
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t new_start = 0;
  bool ends = false;  ///< The software gives up if it fails.
  std::int64_t result = 0;
  std::string answer;                    ///< Claimed: "EPERM", "ok".
  std::vector<MappingOutcome> outcomes;  ///< Mappings that user mode saw change in this call.
  std::vector<EntryChange> changes;      ///< The first few writes to their entries.
  std::uint64_t changes_left_out = 0;
};

enum class SequenceVerdict : std::uint8_t {
  Works,       ///< Every call was answered as the software needs it, and did what it says.
  Breaks,      ///< The call that a seal forbids was refused, and nothing changed.
  Unexpected,  ///< Something else; a finding says what.
  Unobserved,  ///< It did not come to its end, or nothing of the mappings was ever populated.
};
[[nodiscard]] const char* name_of(SequenceVerdict verdict);

/// A sequence of known software's calls on system mappings, in a process of its own.
struct Sequence {
  std::string name;  ///< Of its scenario.
  std::string software;
  std::string when;
  std::string source;
  std::string then;  ///< What the software does when a call fails.
  std::vector<SequenceCall> calls;
  std::optional<std::size_t> first_failed;  ///< Index of a call.
  bool gave_up = false;                     ///< What the process says: the software would.
  std::int32_t signal = 0;                  ///< That killed it.
  bool complete = false;
  std::uint32_t mappings_before = 0;     ///< Of all kinds, by its /proc/self/maps.
  std::uint32_t mappings_left = 0;       ///< The same at the end.
  std::vector<MappingOutcome> outcomes;  ///< From before the first call to the end: what is left.
  std::string expected;                  ///< In words; empty: nothing is known beforehand.
  std::string expected_source;
  SequenceVerdict verdict = SequenceVerdict::Unobserved;
};

/// A real program that ran in the guest.
struct RealRun {
  std::string name;                ///< "uml", "criu".
  std::string package;             ///< Of the host's archive, with its version.
  std::vector<std::string> steps;  ///< What it is to do, in order.
  std::size_t done = 0;            ///< How many of these came out right, by the agent.
  std::vector<std::string> lines;  ///< What it printed, and what the agent says of it.
  std::uint64_t lines_left_out = 0;
  std::optional<std::size_t> expected;  ///< Steps; nullopt: nothing is known of this kernel.
  std::string expected_source;
};

/// A sequence that this guest was not asked for, and why not.
struct NotTried {
  std::string name;
  std::string reason;
};

/// One thing that is wrong, or worth knowing, with its invariant.
struct Finding {
  std::string id;  ///< Stable: "arch/recipe/mapping/operation/form/invariant".
  /// "S1".."S8", "claim", "identity", "expectation", "monitor"; from conclude(): "unobserved",
  /// "control" (a lie that was not caught), "went-away" (a known finding that was not there);
  /// "evidence" (the host could not keep the trace).
  std::string invariant;
  std::string text;
  bool known = false;  ///< Listed in the reviewed file, with this reason.
  std::string reason;
};

/// A system mapping that the monitor found in the first process.
struct MappingInfo {
  std::string name;
  std::uint32_t pages = 0;
  std::uint32_t populated = 0;
  std::optional<bool> claims_sealed;
  std::vector<std::string> identified_by;  ///< "announcement", "content", "kernel image".
  std::vector<std::uint64_t> frames;       ///< gpa; 0 = never populated.
};

struct Counts {
  std::uint64_t events = 0;
  std::uint64_t table_writes = 0;
  std::uint64_t content_writes = 0;
  std::uint64_t user_entries = 0;
  std::uint64_t roots = 0;   ///< Address-space generations.
  std::uint64_t frames = 0;  ///< Most table frames watched at once.
  std::uint64_t rewalks = 0;
  std::uint64_t rewalked_tables = 0;
  std::uint64_t mismatches = 0;
  std::uint64_t doorbells = 0;
  std::uint64_t transient = 0;
  std::uint64_t teardowns = 0;
  std::uint64_t violations = 0;
  std::optional<std::uint64_t> witness_stores;  ///< Audit mode only.
  std::optional<std::uint64_t> witness_differences;
  /// control/stores only: stores that were compared one by one, and their classes.
  std::optional<std::uint64_t> known_stores;
  std::optional<std::uint64_t> known_store_classes;
  /// control/stores-code: the same of stores to the code of a system mapping.
  std::optional<std::uint64_t> known_code_stores;
  std::optional<std::uint64_t> known_code_store_classes;
  /// control/tamper-*, control/stores-code: known changes that break an invariant, and those that
  /// were judged so.
  std::optional<std::uint64_t> known_changes;
  std::optional<std::uint64_t> known_changes_judged;
  /// control/entries: entries to user mode that the guest knows of, and those that were counted
  /// meanwhile (up to one more for each interrupt).
  std::optional<std::uint64_t> known_entries;
  std::optional<std::uint64_t> known_entries_counted;
  /// kvm with --step-check: instructions that were stepped through, entries to user mode among them
  /// and those of these that no trap told.
  std::optional<std::uint64_t> stepped_instructions;
  std::optional<std::uint64_t> stepped_entries;
  std::optional<std::uint64_t> stepped_untrapped;
};

/// control/campaign: tamperings that the guest says it made, compared one by one with what was
/// found without its help.
struct Campaign {
  /// All of one kind.
  struct Row {
    std::string edit;
    std::string writer;
    bool undone_at_once = false;  ///< Before user mode ran.
    std::uint64_t made = 0;
    std::uint64_t right = 0;  ///< Found as they are, and nothing else found.
  };
  std::uint64_t seed = 0;
  std::uint64_t asked = 0;
  std::uint64_t made = 0;
  /// Those that user mode can see, and stores to code; of these, reported before the next
  /// instruction of user mode, with class, page, frame and writer.
  std::uint64_t visible = 0;
  std::uint64_t reported = 0;
  std::uint64_t transient = 0;  ///< Undone before user mode ran; of these, recorded as such.
  std::uint64_t recorded = 0;
  std::uint64_t harmless = 0;  ///< Those that change nothing for user mode.
  std::uint64_t to_other = 0;  ///< To the address space of another process.
  std::uint64_t false_alarms = 0;
  std::uint32_t user_ways = 0;  ///< Store instructions that the guest's CPU has; used.
  std::uint32_t user_ways_used = 0;
  std::uint32_t kernel_ways = 0;
  std::uint32_t kernel_ways_used = 0;
  std::vector<Row> rows;
};

/// How the guest ended.
struct Ending {
  bool good = false;         ///< The agent said goodbye and the machine reset.
  std::string text;          ///< "agent finished", "kernel panic", "deadline of 60 s passed" ...
  std::string console_tail;  ///< Last lines, when not good.
  bool interrupted = false;  ///< Not good because somebody ended it (SIGINT, SIGTERM).
};

/// What the engine did, in numbers.
struct Cost {
  std::string name;  ///< "exits: return to user mode".
  std::uint64_t count = 0;
  double microseconds = 0;  ///< In all, in the VMM; 0: not measured.
};

/// What the start of a guest cost. "Init": the agent's first message, before anything else.
struct Start {
  /// CPU of the VMM itself, user and system, up to the guest's first instruction (the first
  /// KVM_RUN; tcg: QEMU is told to go on, and QEMU's own time is not in it): all of the process up
  /// to where it prepares its first guest, which all its guests have in common, and from there on
  /// this guest's threads. nullopt: not measured.
  std::optional<double> cpu_ms;
  /// kvm: exits by kind from the first KVM_RUN to init, which is the last of them.
  std::optional<std::vector<Cost>> exits;
  /// Instructions that the guest had run at init. kvm: nullopt unless the host has a counter and
  /// lets the user have it.
  std::optional<std::uint64_t> instructions;
};

/// The trace that was kept of a run.
struct Evidence {
  std::uint64_t events = 0;
  std::uint64_t trace_bytes = 0;
  std::uint64_t trace_blocks = 0;
  std::string trace_end;  ///< Digest of its last block, hexadecimal.
};

struct Run {
  arch::Arch arch{};
  std::string recipe;     ///< Or the path of the user's image.
  std::string variant{};  ///< Of the machine or the kernel's command line; empty: the usual one.
  bool protection_keys = false;  ///< The guest has them on.
  bool sealed = false;           ///< What the recipe is expected to be.
  bool control = false;          ///< A negative control: violations are what it is for.
  bool expectations = true;      ///< False for a user's own image: nothing is known beforehand.
  bool ours = true;              ///< False for a user's own image.
  std::string engine = "tcg";
  std::string lane = "exact";
  std::string kernel;  ///< uname -r and version, as the guest says.
  std::string kernel_path;
  std::string kernel_packing;  ///< What it was unpacked from, from outside in; empty: nothing.
  std::string engine_version;
  std::string cpu_model;
  std::string mechanism;  ///< What the watch rests on in this run; empty: as the lane says.
  std::vector<Cost> costs;
  std::vector<MappingInfo> mappings;
  std::vector<Cell> cells;
  std::vector<Life> lives;
  std::vector<Program> programs;  ///< The user's own.
  std::string symbols;            ///< Where functions' names are from; empty: they have none.
  /// In the order in which they began; only if the run was asked for timelines.
  std::vector<Process> processes;
  ProcessesLeftOut processes_left_out;
  std::vector<Writer> writers;      ///< Of the writes in cells and timelines, in the order of pc.
  std::vector<Sequence> sequences;  ///< `sealvisor compat`.
  std::vector<NotTried> not_tried;
  std::optional<RealRun> real;
  std::optional<Lifetime> lifetime;  ///< `sealvisor lifetime`.
  Counts counts;
  std::optional<Campaign> campaign;
  std::vector<std::string> blind_spots;
  std::vector<Finding> findings;
  Ending ending;
  double seconds = 0;        ///< Wall time.
  double cpu_seconds = 0;    ///< QEMU and VMM.
  double start_to_init = 0;  ///< Wall seconds from start to the first message of the agent.
  Start start;
  /// Memory of the VMM's process beside guest memory: what is resident of all its mappings but
  /// those of guest RAM (smaps, Rss), its program and libraries included, QEMU's process not. As it
  /// is at the end of this guest, with all evidence still there: the heap does not shrink while a
  /// guest of kvm runs, so that this is its peak. What earlier guests of the process left, and
  /// others that run beside it, is in it. nullopt: can't be told.
  std::optional<std::uint64_t> resident_bytes;
  std::optional<Evidence> evidence;  ///< nullopt: none was asked for, or it could not be kept.
  bool good = false;                 ///< This run came out as its recipe says it must.
  std::string summary;               ///< One line.
};

/// A run that was asked for and could not start: no guest ran, nothing is said about it.
struct NotRun {
  arch::Arch arch{};
  std::string recipe;
  Error error;
};

struct Report {
  std::vector<Run> runs;
  std::vector<NotRun> not_run;
  std::vector<Finding> findings;  ///< Over all runs, new ones first.
  std::string conclusion;
  ExitCode exit_code = ExitCode::AsExpected;
  std::string threat_model;  ///< Printed with each verdict.
};

}  // namespace sealvisor::report
