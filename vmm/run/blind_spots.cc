#include "vmm/run/blind_spots.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/scenario.h"

namespace sealvisor::run {

namespace {

// NOLINTBEGIN(bugprone-suspicious-missing-comma): sentences that are longer than a line.

// What the audited lane can't see (docs/lanes.md).
std::vector<std::string> audited_blind_spots() {
  return {
      "transient changes: only what is there when user mode is about to run is seen, and not who "
      "wrote it",
      "user mode is watched at its entries: what it changes by itself between two of them, through "
      "a writable alias of a table, is seen at the next one",
      "returns to user mode in code that was not there when the traps were planted (modules, "
      "generated code)",
      "the kernel half of the address space: looked at when the agent rings, not at each return",
      "an address space whose user half was exchanged as a whole while another one ran counts as a "
      "new one",
      "the guest can read the planted bytes",
      "accessed and dirty bits: not judged",
      "stale TLB entries and DMA: out of scope",
      "kernel access to user memory through a transient state: not seen",
      "one vCPU only",
  };
}

// What the exact lane of kvm can't see.
std::vector<std::string> guarded_blind_spots() {
  return {
      "an address space is followed from its first return to user mode on: what the kernel wrote "
      "before is found as it is then",
      "accessed and dirty bits: not judged",
      "a store that is stepped over, for the engine can't do it in the guest's stead, shows only "
      "where it changed something",
      "user mode is watched at its entries; a return in code that was not there when the traps "
      "were "
      "planted (modules, generated code) has none",
      "the guest can read the planted bytes",
      "stale TLB entries and DMA: out of scope",
      "kernel access to user memory through a transient state: recorded, not judged",
      "one vCPU only",
  };
}

// NOLINTEND(bugprone-suspicious-missing-comma)

/// One thing that a plan may leave out, and whether a cell is of that thing.
struct Untried {
  const char* what;
  bool (*is)(const scenario::PlanItem& cell);
};

template <scenario::Call... kCalls>
bool asks_by(const scenario::PlanItem& cell) {
  return ((cell.scenario->operation->call == kCalls) || ...);
}

using scenario::Call;
constexpr auto kUntried = std::to_array<Untried>({
    {"operations on mappings of 32-bit processes",
     [](const scenario::PlanItem& cell) { return cell.mapping->compat; }},
    {"operations on [uprobes]",
     [](const scenario::PlanItem& cell) { return cell.mapping->smaps_name == "[uprobes]"; }},
    {"madvise", asks_by<Call::Madvise>},
    {"the same through process_madvise and io_uring",
     asks_by<Call::ProcessMadvise, Call::ProcessMadviseOther, Call::UringMadvise>},
    {"pkey_mprotect", asks_by<Call::PkeyMprotect>},
    {"mseal", asks_by<Call::Mseal, Call::MsealMunmap>},
    {"shmat, brk and remap_file_pages",
     asks_by<Call::ShmatOver, Call::BrkOver, Call::RemapFilePages>},
    {"locks in memory", asks_by<Call::Mlock, Call::MlockOnFault, Call::Munlock, Call::MlockAll>},
    {"userfaultfd",
     asks_by<Call::UffdRegister, Call::UffdMoveFrom, Call::UffdMoveOnto, Call::UffdCopyOnto>},
    {"writes forced through /proc/PID/mem or ptrace",
     [](const scenario::PlanItem& cell) { return forces(cell.scenario->operation->call); }},
    {"process_vm_writev", asks_by<Call::VmWritev>},
    {"personality and sysctls that move mappings", asks_by<Call::Personality, Call::Knob>},
    {"time namespaces",
     [](const scenario::PlanItem& cell) {
       return enters_time_namespace(cell.scenario->operation->call);
     }},
    {"probes", asks_by<Call::UprobeHit>},
    {"memory pressure",
     [](const scenario::PlanItem& cell) { return has_bystander(cell.scenario->operation->call); }},
    {"threads that race", asks_by<Call::Race>},
});

/// What can't be said of programs of the user's.
std::vector<std::string> program_blind_spots() {
  return {
      "a system mapping that no process of the agent's own has, as a program's [uprobes], is not "
      "known by its frames and not watched",
      "system calls of programs are not seen, only what becomes of their mappings: which call it "
      "was, and what it answered, is the program's word",
      "pages of a mapping that nothing touched: absent is then not told from gone",
  };
}

/// Of every lane: what none of them looks at, and what this plan does not try.
void add_common(const RunRequest& request, std::vector<std::string>& spots) {
  if (!request.programs.empty()) {
    for (std::string& spot : program_blind_spots()) spots.push_back(std::move(spot));
    return;
  }
  spots.emplace_back(
      "that a system call was really made is the agent's word: a refusal and a call that was never "
      "made look the same from outside");
  std::vector<std::string_view> untried;
  for (const Untried& one : kUntried) {
    const bool tried =
        std::any_of(request.plan.begin(), request.plan.end(), [&](const scenario::PlanItem& item) {
          return item.scenario->kind == scenario::Kind::Cells && one.is(item);
        });
    if (!tried) untried.emplace_back(one.what);
  }
  const bool all_lives =
      std::all_of(scenario::kLives.begin(), scenario::kLives.end(), [&](const auto& life) {
        return std::any_of(request.plan.begin(), request.plan.end(),
                           [&](const auto& item) { return item.scenario->name == life.name; });
      });
  if (!all_lives) untried.emplace_back("some of the lives and deaths of processes");
  for (const std::string& left_out : request.left_out) spots.push_back("not run: " + left_out);
  if (!untried.empty()) {
    spots.push_back(fmt::format("not tried: {} (--full tries them)", fmt::join(untried, "; ")));
  }
}

std::string several_vcpus(unsigned vcpus) {
  return fmt::format(
      "{} vCPUs run in turn on one thread: no two stores at the same time, and turns as long as "
      "QEMU makes them; a vCPU may go by a translation that another has changed until it drops it, "
      "which is a stale TLB entry",
      vcpus);
}

std::vector<std::string> lane_blind_spots(const RunRequest& request, const report::Run& run) {
  if (request.engine == engine::Kind::Kvm) {
    auto spots = run.lane == "exact" ? guarded_blind_spots() : audited_blind_spots();
    if (request.arch == arch::Arch::X86_64) {
      spots.emplace_back(
          "entries to user mode are not counted by single step on x86-64: it ends at each return "
          "to "
          "user mode");
    } else if (!request.step_check) {
      spots.emplace_back(
          "no count of entries to user mode by single step in this run (--step-check adds it)");
    }
    if (request.arch == arch::Arch::Arm64) {
      spots.emplace_back(
          "single step in the guest (ptrace, uprobes) does not work while it is watched: KVM "
          "suppresses it");
      spots.emplace_back(
          "a store to the code of a system mapping that the engine can't do in the guest's stead "
          "(st2 to st4, lanes, a store exclusive without its load) ends the guest as crashed");
    } else {
      spots.emplace_back(
          "a store to the code of a system mapping that KVM does not emulate (fstp, movd, AVX, "
          "cmpxchg16b) is not done: user mode gets an undefined-instruction exception");
    }
    return spots;
  }
  std::vector<std::string> spots = {
      "accessed and dirty bits: the table walker sets them without a store; they are not judged",
      "stale TLB entries and DMA: out of scope",
      "kernel access to user memory through a transient state: recorded, not judged",
      "user mode is recognised by addresses of the lower half",
      request.vcpus == 1 ? "one vCPU only" : several_vcpus(request.vcpus),
      "instructions whose encoding rules a store out are not instrumented (docs/lanes.md)",
  };
  if (request.arch == arch::Arch::X86_64) {
    spots.emplace_back(
        "stack pushes by interrupts, syscalls and iret have no callback: one that hits a table "
        "frame shows in the next re-walk, or at once with --witness");
  } else {
    if (request.cpu_model.empty()) {
      spots.emplace_back(
          "memory-copy instructions (FEAT_MOPS) would escape: the default CPU model has none");
    } else {
      spots.push_back("memory-copy instructions (FEAT_MOPS) escape if CPU model " +
                      request.cpu_model + " has them: only a re-walk or --witness would show it");
    }
    spots.emplace_back("'dc zva' has no callback: it is reported once memory shows its zeroes");
  }
  if (!run.counts.known_stores && request.programs.empty()) {
    spots.emplace_back("no count of known stores in this run (--scenario control/stores)");
  }
  if (!run.counts.witness_stores) {
    spots.emplace_back("no second witness in this run (--witness adds it)");
  }
  return spots;
}

/// Of a campaign of tamperings (docs/trust.md): what is not tried, and what this lane does not
/// tell, so that nobody takes it for promised.
void add_campaign(const RunRequest& request, const report::Run& run,
                  std::vector<std::string>& spots) {
  spots.emplace_back(
      "not tampered with: mappings of 32-bit processes (control/tamper-compat does, in one way), "
      "tables of five levels, a kernel with tables of its own, a root that is loaded and left "
      "again before user mode runs");
  spots.emplace_back(
      "an entry that is cleared counts as told by a removal: that alone is no violation, for the "
      "kernel may bring the page back");
  if (request.arch == arch::Arch::X86_64) {
    spots.emplace_back(
        "not stored with: instructions that store more than is to be chosen (fxsave, xsave, fsave, "
        "what the CPU pushes)");
  }
  if (!run.protection_keys && request.arch == arch::Arch::X86_64) {
    spots.emplace_back("protection keys are off in this guest: none was tampered with");
  }
  if (request.engine != engine::Kind::Kvm) return;
  if (request.arch == arch::Arch::Arm64) {
    spots.emplace_back(
        "[uprobes] was not tampered with: KVM suppresses the single step of a probe while it "
        "watches");
  }
  spots.emplace_back(
      "not tampered with in this lane, which promises nothing of it: a second place in the "
      "kernel's "
      "half, an entry that links a table outside of RAM, code by instructions that end a guest");
  spots.emplace_back(
      run.lane == "exact"
          ? "of tamperings not told: how many instructions user mode ran before one was found, "
            "which "
            "instruction stored to code or loaded a root"
          : "of tamperings not told: who stored to an entry or loaded a root, which instruction "
            "stored to code, how many instructions user mode ran before one was found, and those "
            "that were undone before user mode ran: none of these is recorded");
}

}  // namespace

std::vector<std::string> blind_spots(const RunRequest& request, const report::Run& run) {
  std::vector<std::string> spots = lane_blind_spots(request, run);
  add_common(request, spots);
  if (run.campaign) add_campaign(request, run, spots);
  return spots;
}

}  // namespace sealvisor::run
