// What a scenario is, and those that are no cells: lives, storms, controls, lies, benchmarks, and
// the sequences of known software.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "guest/scenario/operation.h"

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

/// When a scenario runs that nobody named.
enum class Tier : std::uint8_t {
  Default,    ///< Always.
  Full,       ///< With --full.
  OnRequest,  ///< Never.
};

/// One thing to try.
struct Scenario {
  std::string_view name{};  ///< Unique; at most kNameSize - 1 characters, and NUL-terminated.
  std::string_view description{};
  Kind kind{};
  const Operation* operation = nullptr;  ///< Kind Cells only, and never null there.
  Form form = Form::Whole;               ///< Kind Cells only.
  /// What the plan line asks for by default: processes, threads, signals or stores; 0: no count.
  std::uint32_t count = 0;
  Tier tier = Tier::Default;
  /// Each of `count` has an address space of its own, which the monitor must see.
  bool new_spaces = false;
  /// Words that the command line of an x86-64 guest must have for it.
  std::string_view x86_boot_words{};
  bool seeded = false;  ///< What it does comes from a seed.
};

/// Most processes, threads, signals or stores that one plan line may ask for.
inline constexpr std::uint32_t kMaxCount = 100'000;

namespace detail {

constexpr Scenario life(std::string_view name, std::uint32_t count, std::string_view description,
                        bool new_spaces = true) {
  return {.name = name,
          .description = description,
          .kind = Kind::Life,
          .count = count,
          .new_spaces = new_spaces};
}
constexpr Scenario rare_life(std::string_view name, std::uint32_t count,
                             std::string_view description) {
  Scenario scenario = life(name, count, description);
  scenario.tier = Tier::Full;
  return scenario;
}
constexpr Scenario on_request(std::string_view name, Kind kind, std::uint32_t count,
                              std::string_view description, std::string_view x86_boot_words = {}) {
  return {.name = name,
          .description = description,
          .kind = kind,
          .count = count,
          .tier = Tier::OnRequest,
          .new_spaces = kind == Kind::Benchmark || kind == Kind::Life,
          .x86_boot_words = x86_boot_words};
}
constexpr Scenario seeded(Scenario scenario) {
  scenario.seeded = true;
  return scenario;
}

}  // namespace detail

inline constexpr auto kLives = std::to_array<Scenario>({
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
    detail::rare_life("life/clone-vm", 4,
                      "children that share the parent's memory without being its threads"),
    detail::rare_life("life/exec-thread", 4, "exec from a thread that is not the first"),
    detail::rare_life("life/exec-failed", 4,
                      "exec that fails once the old program is gone already"),
    detail::rare_life("life/exec-failed-late", 4,
                      "exec that fails once the new program has its vdso"),
    detail::rare_life("life/core-dump", 4, "children that dump core"),
    detail::rare_life("life/personality", 4, "exec under each personality that moves mappings"),
    detail::rare_life("life/knobs", 4, "exec with each sysctl turned that moves mappings"),
    detail::rare_life("life/uprobes", 4, "exec of a program with probes, which all are hit"),
    detail::rare_life("life/mrelease", 4, "killed children whose memory process_mrelease takes"),
    detail::rare_life("life/oom", 1, "a child whose memory the OOM killer takes, and its reaper"),
});

inline constexpr auto kRequested = std::to_array<Scenario>({
    detail::seeded(detail::on_request(
        "life/storm", Kind::Life, 40,
        "storms of fork, exec, mmap, mprotect and mremap beside the system mappings, as a seed "
        "picks them; nothing hostile")),
    // With PAT, x86-64 refuses to map RAM through /dev/mem (arch/x86/mm/pat/memtype.c,
    // range_is_allowed).
    detail::on_request("control/stores", Kind::Control, 16,
                       "a known number of stores of every class to a page table", "nopat"),
    detail::on_request("control/entries", Kind::Control, 1000,
                       "a known number of entries to user mode of each kind (kvm lanes)"),
    detail::on_request("control/tamper-entry", Kind::Control, 1000,
                       "the kernel makes [vdso] writable in its page table and read-only again"),
    detail::on_request("control/tamper-compat", Kind::Control, 1000,
                       "the kernel makes [vdso] of a 32-bit process writable, and read-only again"),
    detail::on_request("control/tamper-code", Kind::Control, 16,
                       "change the code of [vdso] through a second mapping, and put it back",
                       "nopat"),
    detail::on_request("control/stores-code", Kind::Control, 8,
                       "a known number of stores of many classes to the code of [vdso], put back",
                       "nopat"),
    detail::seeded(detail::on_request(
        "control/campaign", Kind::Control, 500,
        "tamperings of many kinds that a seed picks, past every check, each undone (recipe "
        "tampering)",
        "nopat")),
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

    // Where every change is listed (`sealvisor lifetime`) what these do to one is no violation.
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
    detail::on_request("compat/uml-flush", Kind::Sequence, 0, "UML execs a program, up to 5.11"),
    detail::on_request("compat/gvisor-stub", Kind::Sequence, 0, "gVisor makes a stub process"),
    detail::on_request("compat/gvisor-ptrace", Kind::Sequence, 0,
                       "gVisor makes a stub process, by ptrace"),
    detail::on_request("compat/rr-record", Kind::Sequence, 0, "rr records an exec"),
    detail::on_request("compat/rr-replay", Kind::Sequence, 0, "rr replays an exec"),
    detail::on_request("compat/rr-move", Kind::Sequence, 0, "rr copies a process"),
    detail::on_request("real/uml", Kind::Sequence, 0, "User-Mode Linux itself boots"),
    detail::on_request("real/criu", Kind::Sequence, 0, "CRIU itself dumps and restores a process"),
});

}  // namespace sealvisor::scenario
