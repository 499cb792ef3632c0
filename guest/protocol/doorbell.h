// The doorbell protocol: how the agent in the guest tells the VMM what it is about to do and what
// the kernel answered. Used by both sides; plain types only, no pointers, no padding.
//
// How it rings. The kernel command line carries `sealvisor.doorbell=0x<gpa>`: one page of device
// space where no device of the guest's kernel lives. The agent maps it through /dev/mem, fills one
// Message in its own memory, and stores the *address* of that message into the doorbell page: one
// naturally aligned 8-byte store to kRegister64 (64-bit processes) or one 4-byte store to
// kRegister32 (32-bit processes). The store is the whole transaction: the vCPU does not go on
// before the VMM has read the message. The VMM translates the address itself, under the root that
// the vCPU runs on, copies the message once, and checks the copy.
//
// What the guest says is a *claim*. The VMM never takes a root, a frame or a verdict from it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/protocol/tampering.h"

namespace sealvisor::protocol {

/// "SLV1" in little-endian order.
inline constexpr std::uint32_t kMagic = 0x31564C53;
/// Raised with every change of this header; the VMM refuses any other.
inline constexpr std::uint16_t kVersion = 10;

/// Offsets in the doorbell page.
inline constexpr std::uint64_t kRegister64 = 0;
inline constexpr std::uint64_t kRegister32 = 8;
/// Benchmarks: a 4-byte store of a Mark. No message, and the vCPU does not wait.
inline constexpr std::uint64_t kMarkRegister = 16;

/// A message is one aligned block, so that it never straddles a page.
inline constexpr std::size_t kMessageSize = 256;
inline constexpr std::size_t kNameSize = 48;
inline constexpr std::size_t kLongNameSize = 64;
/// Most pages of one mapping that a Touched message can report on.
inline constexpr std::uint32_t kMaxPages = 64;
/// Most system mappings that one process may announce.
inline constexpr std::uint32_t kMaxMappings = 16;
/// Most messages in one run; more is a flood (exit code 4). A thousand processes send less than a
/// fifth of it.
inline constexpr std::uint64_t kMaxMessages = 100'000;
/// Tokens from here on name fork pairs, each used once in a run.
inline constexpr std::uint64_t kFirstForkToken = std::uint64_t{1} << 32;

enum class Type : std::uint16_t {
  Hello = 1,        ///< First message of the init process.
  Mapping = 2,      ///< One system mapping of the sending process, read from its smaps.
  MappingsEnd = 3,  ///< All mappings of this process were sent.
  ScenarioBegin = 4,
  ScenarioEnd = 5,
  CellBegin = 6,    ///< Before a cell: the victim's mappings were just announced.
  Touched = 7,      ///< Every page of the mapping was touched from user mode; what happened.
  Before = 8,       ///< About to perform the operation of the cell.
  After = 9,        ///< The operation returned.
  CellEnd = 10,     ///< The cell is over (sent by the victim, or by its parent if it died).
  ForkParent = 11,  ///< About to fork; `token` names the pair.
  ForkChild = 12,   ///< First thing in the child of that fork.
  StoreBlock = 13,  ///< Control: a block of known stores begins or ends.
  Bye = 14,         ///< Last message of the init process; then it resets the machine.
  Tamper = 15,      ///< Control: a block of known changes to a system mapping begins or ends.
  Entries = 16,     ///< Control: a block of known entries to user mode begins or ends.
  Layout = 17,      ///< Benchmark: where this boot put the kernel and the vdso; after Hello.
  Experiment = 18,  ///< Benchmark: an experiment begins or ends.
  Samples = 19,     ///< Benchmark by the guest's own clock: some samples of the current experiment.
  Counter = 20,     ///< Benchmark by the guest's own clock: what that clock is; before any Samples.
  Bystander = 21,   ///< Pages of the victim's own that the operation must not leave as they are.
  Campaign = 22,    ///< Control: a campaign of tamperings begins.
  Tampering = 23,   ///< Control: one of them is about to be made, or the last one was.
  SequenceBegin = 30,   ///< A sequence of known software's calls begins (guest/compat).
  SequenceCall = 31,    ///< One of its calls returned, and all pages were touched since.
  SequenceEnd = 32,     ///< It is over (sent by the process, or by its parent if it died).
  Piece = 40,           ///< A piece of something that is longer than a message.
  ProgramBegin = 41,    ///< A program of the user's is about to start.
  ProgramEnd = 42,      ///< It is over, with all that it started.
  ProcessMapping = 43,  ///< One system mapping of a process of the program's, by its smaps.
  Process = 44,         ///< What happened to that process; behind its mappings.
};

/// What a store to kMarkRegister says.
enum class Mark : std::uint32_t {
  Begin = 1,  ///< One sample of the current experiment begins behind this store.
  End = 2,    ///< It ends before this one.
};

/// Where a Touched message stands.
enum class Moment : std::uint16_t {
  BeforeOperation = 0,
  AfterOperation = 1,
  AtNewPlace = 2,
  /// After an operation that asked for write permission, whatever it was told: each page was
  /// stored to. A private page that may be written looks in the tables as before until then.
  AfterStores = 3,
  /// After the operation, by a child that the victim forked since: what it got.
  InChild = 4,
};

/// Outcome of touching one page (one byte in `outcome`).
enum class Touch : std::uint8_t {
  NotTried = 0,
  Read = 1,
  Segv = 2,
  Bus = 3,
  Written = 4,  ///< Moment::AfterStores: the byte that was there was stored again.
};

struct Hello {
  std::uint32_t bits;       ///< 32 or 64: of the sending process.
  std::uint32_t page_size;  ///< AT_PAGESZ.
  std::uint64_t vdso;       ///< AT_SYSINFO_EHDR, 0 if there is none.
  std::uint32_t cpus;       ///< That the process may run on (sched_getaffinity).
  std::uint32_t reserved;
  char release[kLongNameSize];  ///< uname -r, NUL-terminated, cut to fit.
};

struct MappingClaim {
  std::uint64_t start;
  std::uint64_t end;
  std::uint32_t index;  ///< 0-based among this process's announced mappings.
  std::uint32_t readable : 1, writable : 1, executable : 1, sealed : 1;  ///< smaps; sealed: `sl`.
  char name[kNameSize];                                                  ///< As in smaps: "[vdso]".
};

struct MappingsEnd {
  std::uint32_t count;
  std::uint32_t reserved;
  std::uint64_t vdso;  ///< AT_SYSINFO_EHDR of this process.
};

struct Scenario {
  char name[kNameSize];
  std::int32_t status;  ///< ScenarioEnd: 0, or the errno that stopped it.
  std::uint32_t count;  ///< ScenarioEnd: what it counted (processes, cells, stores).
};

struct Cell {
  char mapping[kNameSize];
  char operation[kNameSize];
  char form[kNameSize];
  std::uint64_t start;  ///< Range that the operation was asked to change. A skipped cell: 0.
  std::uint64_t end;
};

struct Touched {
  std::uint64_t start;  ///< First page that was touched.
  std::uint32_t pages;
  Moment moment;
  std::uint16_t reserved;
  Touch outcome[kMaxPages];
};

struct After {
  std::int64_t result;      ///< As the raw system call returned it: -errno on failure.
  std::uint64_t new_start;  ///< Where the range is said to be now (mremap), 0 if not moved.
};

/// Why a cell was not tried (CellEnd::skipped).
enum class Skip : std::uint32_t {
  No = 0,           ///< It was tried.
  TooFewPages = 1,  ///< The form is the whole mapping, or nothing would be left.
  NoMapping = 2,    ///< This guest has no such mapping. CellBegin and CellEnd come from init.
  NoRoom = 3,       ///< No free page next to the mapping (form neighbour).
  Unsupported = 4,  ///< This kernel has no such operation (scenario::Operation::needs).
};

struct CellEnd {
  std::int32_t signal;    ///< Signal that killed the victim, 0 if it ended by itself.
  std::uint32_t skipped;  ///< One of Skip.
};

/// Sent before the operation (`end` 0) and behind it (1): at least one of these pages must show
/// another entry then, or the operation did nothing that could have hit the mapping.
struct Bystander {
  std::uint64_t start;
  std::uint32_t pages;  ///< At most kMaxBystanders.
  std::uint32_t end;
};
inline constexpr std::uint32_t kMaxBystanders = 16384;

struct Fork {
  std::uint32_t vfork;  ///< 1: the child shares the parent's memory.
  std::uint32_t reserved;
};

/// What the bytes of a known store are.
enum class Pattern : std::uint32_t {
  Counting = 0,  ///< store_pattern_byte(i, k): even, never zero, so that no entry becomes valid.
  Zeros = 1,
  Same = 2,       ///< Every store leaves what store 0 of Counting would (rep stos).
  Unchanged = 3,  ///< A compare that fails: what is there stays, whether or not it is written back.
  Restored = 4,   ///< What was there when the first block of the control began.
};

/// Byte `k` of store `i` (both 0-based) of a block with Pattern::Counting.
[[nodiscard]] constexpr std::uint8_t store_pattern_byte(std::uint32_t i, std::uint32_t k) {
  return static_cast<std::uint8_t>(2 * ((i + k) % 127 + 1));
}

/// A block of known stores. Store `i` of `stores` is one store instruction (or one iteration of a
/// string instruction). It writes `width` bytes from byte `offset + i * step` of the frame `gpa`
/// on; what runs past that frame's end goes to the start of the frame `next_gpa`. Nothing else
/// stores to either frame between begin and end.
struct StoreBlock {
  char store_class[kNameSize];
  std::uint64_t gpa;       ///< Frame that the stores go to, as the guest knows it (checked).
  std::uint64_t next_gpa;  ///< Frame behind it in the guest's addresses, 0 if no store reaches it.
  std::uint32_t stores;    ///< Known number of stores between begin and end.
  std::uint32_t end;       ///< 0: begins, 1: ended.
  std::uint32_t offset;    ///< Bytes, less than a page.
  std::int32_t step;       ///< Bytes; 0: all go to the same place; negative: downwards.
  std::uint32_t width;     ///< Bytes of one store.
  Pattern pattern;
};

/// What a block of known changes stores to.
enum class Target : std::uint32_t {
  Entry = 0,  ///< The last-level entry that maps a page of [vdso] in the sending process.
  Code = 1,   ///< Eight bytes of a page of [vdso].
  /// A page of [vdso], by the stores of the StoreBlock messages between begin and end.
  CodeStores = 2,
};

/// A block of known changes. `pairs` times `changed` is stored, then `original`: to an entry by the
/// kernel, each in a system call of its own, so that user mode runs after each; to code by user
/// mode. Nothing else stores to that word between begin and end. With Target::CodeStores the blocks
/// say what is stored: original, changed and pairs are 0, and nothing else stores to the page.
struct Tamper {
  std::uint64_t gpa;       ///< Of the word, a multiple of 8 (checked). CodeStores: of the page.
  std::uint64_t gva;       ///< Entry: the page that it maps. Code: the second place of its page.
  std::uint64_t original;  ///< What is there when the block begins, and when it ends.
  std::uint64_t changed;
  std::uint32_t pairs;
  std::uint32_t end;  ///< 0: begins, 1: ended.
  Target target;
  std::uint32_t reserved;
};

/// A block of known entries to user mode: between begin and end there are `entries`, up to one more
/// for each interrupt, and a few for page faults that the sender does not know of.
struct Entries {
  char name[kNameSize];      ///< What makes them: "syscall", "fault".
  std::uint32_t entries;     ///< In all.
  std::uint32_t end;         ///< 0: begins, 1: ended.
  std::uint64_t interrupts;  ///< End: that the kernel served meanwhile, by /proc/stat.
};

struct Layout {
  std::uint64_t text;       ///< Address of the kernel's `_text` (/proc/kallsyms).
  std::uint64_t vdso;       ///< AT_SYSINFO_EHDR of the process that runs the experiments.
  std::uint64_t vdso_size;  ///< Bytes of its [vdso], whole pages (/proc/self/maps).
};

/// Between begin and end of an experiment there are `samples` samples of `batch` operations each,
/// all on this vCPU.
struct Experiment {
  char name[kLongNameSize];  ///< As in bench/experiment.h: "exec/fork-exit".
  std::uint32_t samples;
  std::uint32_t batch;
  std::uint32_t end;      ///< 0: begins, 1: ended.
  std::int32_t status;    ///< End: 0, or the errno that stopped it. ENOTSUP: not on this guest.
  std::uint64_t checked;  ///< End: operations whose outcome was looked at and was right.
};

/// The counter that user mode reads, as the guest sees it.
struct Counter {
  std::uint64_t frequency;  ///< Ticks in a second; 0: not known.
  char source[kNameSize];   ///< Who says so: "CNTFRQ_EL0".
  std::uint64_t step;       ///< It goes up by multiples of this: divides all readings' differences.
  /// So many readings, one behind the other, took so many ticks.
  std::uint64_t reads;
  std::uint64_t ticks_of_reads;
  /// So many `nop` took at least so many ticks, a reading included.
  std::uint64_t nops;
  std::uint64_t ticks_of_nops;
};

inline constexpr std::uint32_t kMaxSamples = 24;
struct Samples {
  std::uint32_t first;  ///< 0-based number of ticks[0] in its experiment.
  std::uint32_t count;
  std::uint64_t ticks[kMaxSamples];
};

struct SequenceBegin {
  char name[kNameSize];    ///< Of the scenario: "compat/criu-park".
  std::uint32_t mappings;  ///< That the process has, by /proc/self/maps.
  std::uint32_t reserved;
};

/// Most calls of one sequence.
inline constexpr std::uint32_t kMaxCalls = 64;
struct SequenceCall {
  char call[16];             ///< "munmap".
  char what[kNameSize * 2];  ///< "all below the stub".
  std::uint32_t index;       ///< 0-based.
  std::uint32_t ends;        ///< 1: the software gives up if this one fails.
  std::int64_t result;       ///< As the raw system call returned it: -errno on failure.
  std::uint64_t start;       ///< Range that it was asked to change.
  std::uint64_t end;
  std::uint64_t new_start;  ///< Where that is said to be now (mremap), 0 if it was not moved.
};

struct SequenceEnd {
  std::int32_t signal;     ///< Signal that killed the process, 0 if it ended by itself.
  std::uint32_t calls;     ///< Made; 0 if it was killed.
  std::uint32_t gave_up;   ///< 1: a call failed that the software can't do without.
  std::uint32_t mappings;  ///< That the process has left, by /proc/self/maps; 0 if it was killed.
};

/// What a piece is of.
enum class Content : std::uint32_t {
  Symbols = 0,  ///< /proc/kallsyms as it is; before anything else than Hello.
  Output = 1,   ///< What the program wrote to its standard output.
  Errors = 2,   ///< And to its standard error.
};

/// Most bytes of one piece.
inline constexpr std::uint32_t kMaxPiece = 65536;
/// The vCPU stands still while the VMM reads it where it is.
struct Piece {
  std::uint64_t address;  ///< In the memory of the sender.
  std::uint32_t bytes;
  Content content;
  std::uint32_t last;   ///< 1: there are no more.
  std::int32_t status;  ///< Last: 0, or the errno for which there are none.
};

/// Most programs of one run.
inline constexpr std::uint32_t kMaxPrograms = 256;
struct ProgramBegin {
  std::uint32_t index;   ///< 0-based, in the list that the VMM gave.
  std::uint32_t traced;  ///< 1: Process messages come.
};

/// How a program ended.
enum class ProgramOutcome : std::uint32_t {
  Exited = 0,     ///< By itself; `value` is its exit status.
  Killed = 1,     ///< By the signal `value`.
  TooLong = 2,    ///< By the agent: its time was up.
  NotRun = 3,     ///< It could not be started; `value` is the errno.
  NotTraced = 4,  ///< It could not be traced; `value` is the errno. It was not started.
};
struct ProgramEnd {
  std::uint32_t index;
  ProgramOutcome outcome;
  std::int32_t value;
  std::uint32_t left_running;     ///< Processes that were still there and that the agent ended.
  std::uint64_t output_left_out;  ///< Bytes past the bound on what is passed on.
};

/// What happened to a process.
enum class ProcessEvent : std::uint32_t {
  Begun = 0,    ///< By fork and the like.
  Exec = 1,     ///< It runs another image now. Its mappings were read and touched.
  Exiting = 2,  ///< Its memory is still there. Its mappings were read and touched.
  Ended = 3,    ///< `value` is its exit status, or minus the signal that ended it.
};
struct Process {
  std::uint32_t pid;
  std::uint32_t parent;  ///< Begun: the process that made it; else 0.
  ProcessEvent event;
  std::int32_t value;
  std::uint32_t mappings;  ///< ProcessMapping messages in front of this one.
  std::uint32_t bits;      ///< Exec: 32 or 64.
  /// Exec, Exiting: a page of its stack and the frame that it lies in, by its pagemap. No other
  /// process has that frame. 0: not known.
  std::uint64_t marker_gva;
  std::uint64_t marker_gpa;
  char name[kNameSize * 2];  ///< Exec: the end of the path of its image.
};

struct Message {
  std::uint32_t magic;
  std::uint16_t version;
  Type type;
  std::uint64_t sequence;  ///< Of the sending program image: starts at 0, one more each time.
                           ///< A forked child and an exec'd image start again.
  std::uint64_t token;     ///< Names the cell or the fork pair; 0 elsewhere. Fork pairs are
                           ///< numbered from kFirstForkToken on, cells below it. Mapping and
                           ///< MappingsEnd carry the cell or pair that their process belongs to,
                           ///< ProcessMapping (whose body is `mapping`) the pid of its process.
  std::uint32_t pid;       ///< As the guest knows it: a label for people.
  std::uint32_t length;    ///< Bytes of `body` that count: sizeof of the body of this type.
  union {
    Hello hello;
    MappingClaim mapping;
    MappingsEnd mappings_end;
    Scenario scenario;
    Cell cell;
    Touched touched;
    After after;
    CellEnd cell_end;
    Fork fork;
    Bystander bystander;
    StoreBlock store_block;
    Tamper tamper;
    Entries entries;
    Layout layout;
    Experiment experiment;
    Samples samples;
    Counter counter;
    Campaign campaign;
    Tampering tampering;
    SequenceBegin sequence_begin;
    SequenceCall sequence_call;
    SequenceEnd sequence_end;
    Piece piece;
    ProgramBegin program_begin;
    ProgramEnd program_end;
    Process process;
    std::uint8_t raw[kMessageSize - 32];
  } body;
};
static_assert(sizeof(Message) == kMessageSize);
static_assert(offsetof(Message, body) == 32);
static_assert(alignof(Touched) <= 8 && sizeof(Touched) == 16 + kMaxPages);

}  // namespace sealvisor::protocol
