#include "tests/unit/report/samples.h"

#include <cerrno>
#include <utility>

namespace sealvisor::report::samples {

namespace {

Cell cell(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made;
  made.id = 7;
  made.scenario = operation + "/" + form;
  made.mapping = mapping;
  made.operation = operation;
  made.form = form;
  return made;
}

Run run(arch::Arch arch, const std::string& recipe, bool sealed) {
  Run made;
  made.arch = arch;
  made.recipe = recipe;
  made.sealed = sealed;
  made.kernel = "6.12.117-sealvisor";
  made.kernel_path = "/somewhere/image";
  made.engine_version = "QEMU 10.0.2";
  made.cpu_model = arch == arch::Arch::X86_64 ? "qemu64" : "cortex-a72";
  made.mappings = {{"[vdso]", 2, 2, sealed, {"announcement", "content"}, {0x23a1000, 0x23a2000}},
                   {"[vvar]", 4, 1, sealed, {"announcement"}, {0x23a3000, 0, 0, 0}}};
  made.counts.events = 123'456;
  made.counts.table_writes = 101'234;
  made.counts.user_entries = 9'876;
  made.counts.roots = 1'044;
  made.counts.frames = 117;
  made.counts.rewalks = 2'310;
  made.counts.rewalked_tables = 40'021;
  made.counts.doorbells = 412;
  made.blind_spots = {"stale TLB entries and DMA: out of scope",
                      std::string(arch::name_of(arch)) + " has a blind spot of its own"};
  made.ending = {true, "agent finished", ""};
  made.seconds = 5.25;
  made.cpu_seconds = 4.5;
  made.start_to_init = 0.75;
  made.start = {4.25, std::vector<Cost>{{"serial line", 1'020}, {"doorbells", 1}}, 1'234'567};
  made.resident_bytes = 5'767'168;
  return made;
}

}  // namespace

Cell held(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = cell(mapping, operation, form);
  made.claim = {true, -EPERM, "EPERM", true};
  made.observation = {Change::Unchanged, {2, 2, 2, 0, 0}, "unchanged"};
  made.expectation = Expected{{EPERM}, Change::Unchanged, "EPERM", "mm/vma.c: can_modify_vma"};
  made.expectation->by_seal = true;
  made.verdict = Verdict::Held;
  return made;
}

Campaign campaign() {
  Campaign made;
  made.seed = 5;
  made.asked = made.made = 12;
  made.visible = 9;
  made.reported = 8;
  made.transient = made.recorded = 2;
  made.harmless = 1;
  made.to_other = 3;
  made.user_ways = 117;
  made.user_ways_used = 6;
  made.kernel_ways = 116;
  made.kernel_ways_used = 4;
  made.rows = {{"write-bit", "user mode", false, 5, 4},
               {"write-bit", "kernel", true, 2, 2},
               {"write-bit", "/dev/mem", false, 4, 4},
               {"same-value", "user mode", false, 1, 1}};
  return made;
}

EntryChange entry_change() {
  EntryChange made;
  made.mapping = "[vdso]";
  made.gva = 0x7ffff7fc1000;
  made.gpa = 0x1f2a608;
  made.level = 1;
  made.old_value = 0x80000000023a1025;
  made.new_value = 0;
  made.old_text = "P R US A NX key 0 gpa 0x23a1000";
  made.new_text = "absent";
  made.pc = 0xffffffff81234567;
  made.function = "zap_present_ptes+0x1a2";
  made.instruction = "xchg qword ptr [rbx], rax";
  made.icount = 123'456'789;
  made.root = 0x1e00000;
  return made;
}

Cell changed(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = cell(mapping, operation, form);
  made.claim = {true, 0, "ok", false};
  made.observation = {Change::Gone, {2, 2, 0, 0, 2}, "gone"};
  made.expectation = Expected{{0}, Change::Gone, "ok", "mm/vma.c: do_vmi_munmap"};
  made.verdict = Verdict::AsExpected;
  made.changes = {entry_change()};
  return made;
}

Cell violated(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = held(mapping, operation, form);
  made.claim = {true, 0, "ok", true};
  made.observation = {Change::Gone, {2, 2, 0, 0, 2}, "gone"};
  made.verdict = Verdict::Violation;
  made.changes = {entry_change()};
  return made;
}

Cell forced(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = cell(mapping, operation, form);
  made.claim = {true, 0, "ok", true};
  made.observation = {Change::Privatised, {2, 2, 0, 0, 1}, "privatised: 8 bytes differ"};
  made.expectation = Expected{{0}, Change::Privatised, "ok", "mm/memory.c: __access_remote_vm"};
  made.expectation->exception = Exception::Forced;
  made.expectation->breaks = "S2 S5";
  made.verdict = Verdict::Forced;
  made.broken = {"S2", "S5"};
  made.changes = {entry_change()};
  return made;
}

Cell skipped(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = cell(mapping, operation, form);
  made.observation.text = "this guest has no such mapping";
  made.verdict = Verdict::Skipped;
  return made;
}

Cell unobserved(const std::string& mapping, const std::string& operation, const std::string& form) {
  Cell made = held(mapping, operation, form);
  made.observation = {
      Change::Unobserved, {1, 0, 0, 0, 0}, "unobserved: no page of it was ever populated"};
  made.verdict = Verdict::Unobserved;
  return made;
}

Life life(const std::string& name) {
  Life made;
  made.name = name;
  made.count = 8;
  made.address_spaces = 9;
  made.user_entries = 512;
  made.pages_kept = 27;
  made.teardowns = 27;
  made.inherited = 16;
  return made;
}

Writer writer() {
  Writer made;
  made.pc = entry_change().pc;
  made.function = entry_change().function;
  made.source = CodeSource::Memory;
  made.lines = {{made.pc - 3, "48 89 fb", "mov rbx, rdi"},
                {made.pc, "48 87 03", "xchg qword ptr [rbx], rax"},
                {made.pc + 3, "48 85 c0", "test rax, rax"}};
  return made;
}

namespace {

Moment moment(MomentKind kind, Phase phase, std::uint64_t icount, const std::string& text) {
  Moment made;
  made.kind = kind;
  made.phase = phase;
  made.icount = icount;
  made.mapping = "[vdso]";
  made.gva = entry_change().gva;
  made.text = text;
  return made;
}

Moment write_moment(MomentKind kind, Phase phase, std::uint64_t icount, bool back) {
  Moment made = moment(kind, phase, icount, "");
  made.write = entry_change();
  made.write->icount = icount;
  if (back) {
    std::swap(made.write->old_value, made.write->new_value);
    std::swap(made.write->old_text, made.write->new_text);
  }
  return made;
}

}  // namespace

Process quiet_process(std::uint64_t id, const std::string& scenario) {
  Process made;
  made.id = id;
  made.root = 0x1e00000 + id * 0x1000;
  made.scenario = scenario;
  made.began = 120'000'000;
  made.ended = 124'000'000;
  made.user_entries = 7;
  made.mappings = {{"[vdso]", entry_change().gva, 2, 2}, {"[vvar]", 0x7ffff7fbd000, 4, 1}};
  made.timeline = {write_moment(MomentKind::Populated, Phase::Installation, 120'500'000, true),
                   moment(MomentKind::Found, Phase::Installation, 121'000'000, "2 pages"),
                   write_moment(MomentKind::Written, Phase::Exit, 123'900'000, false),
                   moment(MomentKind::Ended, Phase::Exit, 124'000'000,
                          "3 pages were there, 0 were gone, 3 had never been populated")};
  made.timeline[2].pages = 2;
  made.timeline.back().mapping.clear();
  made.timeline.back().gva = 0;
  return made;
}

Process changed_process(std::uint64_t id, const Cell& cell) {
  Process made = quiet_process(id, cell.scenario);
  made.cell = cell.id;
  made.changed = true;
  const std::vector<Moment> life = {
      write_moment(MomentKind::Written, Phase::Life, 123'456'789, false),
      moment(MomentKind::Seen, Phase::Life, 123'500'000, "r-x gpa 0x23a1000 -> absent"),
      write_moment(MomentKind::Elsewhere, Phase::Life, 123'500'000, true),
      moment(MomentKind::Broken, Phase::Life, 123'600'000,
             "S1: [vdso] page 0 at 0x7ffff7fc1000: was populated, touched again, and is gone"),
      write_moment(MomentKind::Written, Phase::Life, 123'700'000, false)};
  made.timeline.insert(made.timeline.begin() + 2, life.begin(), life.end());
  made.timeline[4].text = "page 0 shows here too, r-x";
  made.timeline[6].write->transient = true;
  return made;
}

Run sealed_run(arch::Arch arch) {
  Run made = run(arch, "lts-sealed", true);
  made.cells = {held("[vdso]", "munmap", "whole"), held("[vdso]", "munmap", "first-page"),
                held("[vvar]", "munmap", "whole"), held("[vvar]", "mprotect-rw", "whole"),
                skipped("[vvar_vclock]", "munmap", "whole")};
  made.lives = {life("life/fork"), life("life/exec")};
  made.processes = {quiet_process(1, "boot"), quiet_process(2, "munmap/whole")};
  made.processes[0].ended.reset();
  made.processes[1].cell = made.cells[0].id;
  made.processes_left_out = {0, 1234};
  made.writers = {writer()};
  return made;
}

Run unsealed_run(arch::Arch arch) {
  Run made = run(arch, "lts-unsealed", false);
  made.cells = {changed("[vdso]", "munmap", "whole"), changed("[vvar]", "munmap", "whole")};
  made.lives = {life("life/fork")};
  made.cells[1].id = 8;
  made.processes = {quiet_process(1, "boot"), changed_process(2, made.cells[0]),
                    changed_process(3, made.cells[1])};
  made.processes[2].moments_left_out = 17;
  made.writers = {writer()};
  return made;
}

Run lying_run(arch::Arch arch) {
  Run made = run(arch, "lying", true);
  made.control = true;
  made.cells = {violated("[vdso]", "munmap", "whole"), held("[vdso]", "munmap", "first-page"),
                violated("[vvar]", "munmap", "whole"), violated("[vvar]", "munmap", "first-page")};
  made.cells[0].claim = {true, -EPERM, "EPERM", true};
  for (Cell& cell : made.cells) cell.lie = cell.verdict == Verdict::Violation;
  for (std::size_t i = 0; i < made.cells.size(); ++i) {
    made.cells[i].id = static_cast<std::uint32_t>(i) + 1;
  }
  made.processes = {changed_process(2, made.cells[0])};
  made.processes_left_out = {3, 0};
  made.writers = {writer()};
  const std::string prefix = std::string(arch::name_of(arch)) + "/lying/";
  for (const Cell& cell : made.cells) {
    if (!cell.lie) continue;
    made.findings.push_back(
        {prefix + cell.mapping + "/" + cell.operation + "/" + cell.form + "/claim", "claim",
         "the kernel claims that it is sealed (sl) and yet: gone", false, ""});
  }
  return made;
}

Run failed_run(arch::Arch arch) {
  Run made = run(arch, "lts-sealed", true);
  made.cells = {unobserved("[vdso]", "munmap", "whole")};
  made.cells[0].observation.text = "unobserved: the guest did not get there";
  made.ending = {false, "kernel panic", "line one\r\nKernel panic - not syncing\x1b[31m\xff\n"};
  return made;
}

Program program() {
  Program made;
  made.name = "tool";
  made.command = {"/tool", "--word"};
  made.outcome = Program::Outcome::Killed;
  made.value = 11;
  made.traced = true;
  made.output = "binary \xff and text\n";
  ProgramProcess process;
  process.pid = 70;
  process.image = "/tool";
  process.bits = 64;
  process.first = {{"[vdso]", 0x7ffff7fd0000, 0x7ffff7fd2000, true}};
  process.last.emplace();
  process.status = -11;
  made.processes = {process, ProgramProcess{}};
  ProgramSpace space;
  space.id = 9;
  space.pids = {70};
  space.image = "/tool";
  ProgramMapping mapping;
  mapping.name = "[vdso]";
  mapping.place = 0x7ffff7fd0000;
  mapping.pages = mapping.seen = 2;
  mapping.change = Change::Gone;
  mapping.text = "2 of 2 pages";
  mapping.changes.emplace_back().mapping = "[vdso]";
  space.mappings = {mapping};
  space.violations = {{"S1", "[vdso]", "is gone"}};
  made.spaces = {space};
  return made;
}

Run run_of(const Program& program) {
  Run run = sealed_run();
  run.cells.clear();
  run.lives.clear();
  run.programs = {program};
  return run;
}

}  // namespace sealvisor::report::samples
