#include "vmm/app/declare_options.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "bench/paired.h"
#include "guest/scenario/plan.h"
#include "guest/scenario/programs.h"
#include "vmm/base/cpus.h"

namespace sealvisor::app {

namespace {

/// One value for each time that the option is given.
CLI::Option* add_list(CLI::App& app, const char* name, std::vector<std::string>& to,
                      const char* description) {
  return app.add_option(name, to, description)->allow_extra_args(false);
}

constexpr engine::Mechanism kMechanisms[] = {engine::Mechanism::Best, engine::Mechanism::Exact,
                                             engine::Mechanism::Audited};

void add_engine(CLI::App& app, engine::Kind& kind, bool& nested, const char* description) {
  app.add_option_function<std::string>(
         "--engine",
         [&kind, &nested](const std::string& word) {
           kind = word == "tcg" ? engine::Kind::Tcg : engine::Kind::Kvm;
           nested = word == "kvm-nested";
         },
         description)
      ->check(CLI::IsMember({"tcg", "kvm", "kvm-nested"}))
      ->type_name("ENGINE");
}

void add_machine(CLI::App& app, MachineOptions& machine) {
  CLI::Option* kernel =
      app.add_option("--kernel", machine.kernel, "an image of your own instead of a recipe")
          ->type_name("IMAGE");
  app.add_option("--symbols", machine.symbols, "vmlinux with the symbols of that image")
      ->type_name("FILE")
      ->needs(kernel);
  add_list(app, "--scenario", machine.scenarios,
           "pattern for the scenarios to run; may be repeated (`sealvisor scenarios` lists them)")
      ->type_name("GLOB");
  app.add_option("--memory", machine.memory_mib, "memory of a guest in MiB, an even number")
      ->type_name("MIB")
      ->check(CLI::Range(64, 2048))
      ->check(CLI::Validator(
          [](const std::string& text) {
            const bool odd = !text.empty() && (text.back() - '0') % 2 != 0;
            return odd ? text + " is not even" : std::string();
          },
          ""))
      ->capture_default_str();
  app.add_option("--cpu", machine.cpu_model, "CPU model, as QEMU's -cpu")->type_name("MODEL");
  add_engine(app, machine.engine, machine.nested,
             "tcg (any host, the default), kvm (this host's /dev/kvm and architecture) or "
             "kvm-nested (kvm in an emulated host)");
  app.add_option_function<std::string>(
         "--mechanism",
         [&machine](const std::string& word) {
           for (const auto mechanism : kMechanisms) {
             if (word == engine::name_of(mechanism)) machine.mechanism = mechanism;
           }
         },
         "of kvm and kvm-nested: exact (each store to a page table), audited (what differs when "
         "user "
         "mode is about to run) or best (exact where the host allows it, the default)")
      ->check(CLI::IsMember({"best", "exact", "audited"}))
      ->type_name("MECHANISM");
}

constexpr int kLongestDeadline = 86'400;

/// Of each command that runs guests and judges them.
void add_files(CLI::App& app, std::filesystem::path& json, std::filesystem::path& junit,
               std::filesystem::path& html) {
  app.add_option("--json", json, "write the whole report to this file")->type_name("FILE");
  app.add_option("--junit", junit, "write it as JUnit XML, for CI systems")->type_name("FILE");
  app.add_option("--html", html,
                 "write it as one page, with a timeline of each process that changed")
      ->type_name("FILE");
}

/// The same.
void add_bundle(CLI::App& app, std::filesystem::path& bundle) {
  app.add_option("--bundle", bundle,
                 "keep the evidence in this folder, new or empty, for `sealvisor audit` and "
                 "`sealvisor trace`")
      ->type_name("DIR");
}

void add_deadline(CLI::App& app, std::chrono::seconds& deadline, const std::string& usual) {
  app.add_option_function<int>(
         "--deadline",
         [&deadline](const int& seconds) { deadline = std::chrono::seconds(seconds); },
         fmt::format("most seconds for one guest (default {})", usual))
      ->type_name("SECONDS")
      ->check(CLI::Range(1, kLongestDeadline));
}

void add_expect(CLI::App& app, MachineOptions& machine) {
  app.add_option_function<std::string>(
         "--expect",
         [&machine](const std::string& word) {
           machine.expect = word == "sealed" ? Expect::Sealed : Expect::Unsealed;
         },
         "what that image must be, sealed or unsealed; without it only what it claims is held "
         "against it")
      ->check(CLI::IsMember({"sealed", "unsealed"}))
      ->type_name("WHAT")
      ->needs(app.get_option("--kernel"));
}

CLI::App* add_observe(CLI::App& app, ObserveOptions& observe, ArchWord& arch) {
  CLI::App* sub =
      app.add_subcommand("observe", "Run programs of your own in a guest, under full observation");
  // The first word that is no option, and all behind it, is the program's.
  sub->prefix_command();
  sub->footer(
      "What stands behind the options, or behind --, are the arguments of --payload's program.");
  CLI::Option* payload =
      sub->add_option("--payload", observe.payload,
                      "a static program, or a folder with programs and their libraries")
          ->type_name("FILE|DIR");
  sub->add_option("--run", observe.run, "which program of the folder")
      ->type_name("PROGRAM")
      ->needs(payload);
  sub->add_option("--scenarios", observe.scenarios,
                  "a folder with programs and a file `scenarios` that says what must come of them")
      ->type_name("DIR")
      ->excludes(payload);
  sub->add_option("--arch", arch.word, "x86_64 or arm64; default: what the programs are for")
      ->check(CLI::IsMember({"x86_64", "arm64"}))
      ->type_name("ARCH");
  CLI::Option* recipe =
      add_list(*sub, "--recipe", observe.recipes, "kernel recipe; may be repeated")
          ->type_name("NAME");
  add_machine(*sub, observe.machine);
  sub->remove_option(sub->get_option("--scenario"));
  sub->get_option("--kernel")->excludes(recipe);
  add_expect(*sub, observe.machine);
  sub->add_flag("--untraced", observe.untraced,
                "do not follow the program by ptrace: for programs that use ptrace themselves");
  sub->add_option("--limit", observe.limit_seconds, "seconds of the guest's clock for the program")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, kLongestDeadline))
      ->capture_default_str();
  sub->add_option("--output", observe.output_bytes,
                  "most bytes that are kept of its output, and of its errors")
      ->type_name("BYTES")
      ->check(CLI::Range(1, static_cast<int>(scenario::kMaxProgramOutput)))
      ->capture_default_str();
  add_files(*sub, observe.json, observe.junit, observe.html);
  add_bundle(*sub, observe.bundle);
  add_deadline(*sub, observe.deadline, std::to_string(kGuestDeadline.count()));
  sub->add_flag("--witness", observe.witness,
                "audit mode: a second, independent witness of each table write (slow)");
  return sub;
}

CLI::App* add_verify(CLI::App& app, VerifyOptions& verify, ArchWord& arch) {
  CLI::App* sub = app.add_subcommand("verify", "Boot guests, watch them from outside, judge them");
  sub->add_option("--arch", arch.word, "x86_64, arm64 or all")
      ->check(CLI::IsMember({"x86_64", "arm64", "all"}))
      ->type_name("ARCH");
  CLI::Option* recipe = add_list(*sub, "--recipe", verify.recipes,
                                 "kernel recipe; may be repeated (default: lts-sealed, "
                                 "lts-unsealed, and lying as control)")
                            ->type_name("NAME");
  add_machine(*sub, verify.machine);
  sub->get_option("--kernel")->excludes(recipe);
  sub->add_flag("--full", verify.machine.full,
                "every operation and process life against every mapping, or with --scenario those "
                "that are named (docs/matrix.md)");
  add_list(*sub, "--variant", verify.variants,
           "of tcg: another CPU or kernel command line; may be repeated; all: the usual guest and "
           "every variant (`sealvisor scenarios --variants` lists them)")
      ->type_name("NAME")
      ->excludes(sub->get_option("--kernel"));
  add_expect(*sub, verify.machine);
  add_files(*sub, verify.json, verify.junit, verify.html);
  add_bundle(*sub, verify.bundle);
  add_deadline(*sub, verify.deadline,
               fmt::format("{}, with --full {}; of kvm-nested {}", kGuestDeadline.count(),
                           kFullDeadline.count(), kNestedGuestDeadline.count()));
  sub->add_option("--seed", verify.seed,
                  "of control/campaign and life/storm: what is done comes from it")
      ->type_name("N")
      ->check(CLI::Range(std::uint64_t{0}, scenario::kMaxSeed))
      ->capture_default_str();
  sub->add_option("--count", verify.count,
                  "of control/campaign and life/storm: how many tamperings, or processes")
      ->type_name("N")
      ->check(CLI::Range(std::uint32_t{1}, scenario::kMaxCount));
  sub->add_flag("--witness", verify.witness,
                "audit mode: a second, independent witness of each table write (slow)");
  sub->add_flag("--step-check", verify.step_check,
                "of kvm on arm64: count entries to user mode by single step too, in samples, and "
                "find those without a trap (slow)");
  sub->add_option(
         "--leave-return", verify.leave_return,
         "of kvm, a control: the Nth return to user mode gets no trap, which must be found")
      ->type_name("N");
  return sub;
}

CLI::App* add_boot(CLI::App& app, BootOptions& boot, ArchWord& arch) {
  CLI::App* sub = app.add_subcommand(
      "boot",
      "Boot one guest with its console on this terminal, unwatched; Ctrl-A x quits. The agent asks "
      "for commands, or runs the scenarios that are named");
  sub->add_option("--arch", arch.word, "x86_64 or arm64")
      ->check(CLI::IsMember({"x86_64", "arm64"}))
      ->type_name("ARCH");
  CLI::Option* recipe = sub->add_option("--recipe", boot.recipe, "kernel recipe")
                            ->type_name("NAME")
                            ->capture_default_str();
  add_machine(*sub, boot.machine);
  sub->get_option("--kernel")->excludes(recipe);
  sub->add_option("--initramfs", boot.initramfs, "a user space of your own instead of the agent")
      ->type_name("FILE")
      ->excludes(sub->get_option("--scenario"));
  sub->add_option("--append", boot.arguments, "more words for the kernel's command line")
      ->type_name("WORDS");
  return sub;
}

void add_bench_files(CLI::App& sub, BenchOptions& bench) {
  sub.add_option("--save", bench.save, "keep this run for a later --baseline")->type_name("FILE");
  CLI::Option* baseline =
      sub.add_option("--baseline", bench.baseline,
                     "compare with a run that was saved; exit 1 if anything is slower")
          ->type_name("FILE");
  sub.add_option_function<std::vector<std::string>>(
         "--baseline-anyway",
         [&bench](const std::vector<std::string>& words) {
           static constexpr std::pair<const char*, bench::Same> kWords[] = {
               {"machine", bench::Same::Machine},
               {"engine", bench::Same::Engine},
               {"kernels", bench::Same::Kernels},
               {"programs", bench::Same::Programs}};
           for (const auto& [word, what] : kWords) {
             if (std::find(words.begin(), words.end(), word) != words.end()) {
               bench.may_differ.push_back(what);
             }
           }
         },
         "what may differ from the baseline: machine, engine, kernels, programs; a list with "
         "commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"machine", "engine", "kernels", "programs"}))
      ->type_name("WHAT")
      ->needs(baseline);
  sub.add_option("--json", bench.json,
                 "write the whole report, in the format of Google Benchmark with an addition")
      ->type_name("FILE");
  sub.add_option("--csv", bench.csv, "write a line for each comparison")->type_name("FILE");
  sub.add_option("--html", bench.html, "write a page with plots (needs gnuplot)")
      ->type_name("FILE");
}

CLI::App* add_bench(CLI::App& app, BenchOptions& bench, ArchWord& arch) {
  CLI::App* sub = app.add_subcommand(
      "bench", "What kernel b costs more than kernel a in exec, mmap and vdso calls, with a bound");
  sub->add_option("--arch", arch.word, "x86_64, arm64 or all")
      ->check(CLI::IsMember({"x86_64", "arm64", "all"}))
      ->type_name("ARCH");
  add_engine(*sub, bench.engine, bench.nested,
             "tcg (counts instructions; any host, the default), kvm (time by the guest's clock; "
             "this host's /dev/kvm and architecture) or kvm-nested (kvm in an emulated host, for "
             "trials: its times are none of hardware)");
  sub->add_option(
         "--pin", bench.pin,
         "of kvm: the CPU that runs the guests (default: the last one that is isolated, or "
         "the last one)")
      ->check(CLI::Range(0U, kMostCpus - 1))
      ->type_name("CPU");
  sub->add_option("--a", bench.a, "recipe to compare with")
      ->type_name("RECIPE")
      ->capture_default_str();
  sub->add_option("--b", bench.b, "recipe that is compared")
      ->type_name("RECIPE")
      ->capture_default_str();
  add_list(*sub, "--filter", bench.filters, "pattern for the experiments to run; may be repeated")
      ->type_name("GLOB");
  CLI::Option* quick = sub->add_flag_callback(
      "--quick", [&bench] { bench.mode = bench::Mode::Quick; },
      "fewer experiments and layouts, in a minute or two (the default)");
  sub->add_flag_callback(
         "--full", [&bench] { bench.mode = bench::Mode::Full; }, "all of them, in a quarter hour")
      ->excludes(quick);
  sub->add_option("--layouts", bench.layouts, "boots of each kernel, each with a layout of its own")
      ->type_name("N")
      ->check(CLI::Range(static_cast<std::uint32_t>(bench::kLeastPairs), kMostLayouts));
  sub->add_option("--seed", bench.seed, "where the layouts are taken from")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->capture_default_str();
  sub->add_option_function<std::string>(
         "--fail-on",
         [&bench](const std::string& word) {
           bench.fail_on = word == "any" ? bench::FailOn::Any : bench::FailOn::Slower;
         },
         "exit 1 if b is slower in anything, or is anything but equivalent (any)")
      ->check(CLI::IsMember({"slower", "any"}))
      ->type_name("WHAT");
  sub->add_flag("--explain", bench.explain, "say in which functions the kernels differ");
  sub->add_flag("--cross-check", bench.cross_check,
                "measure by stress-ng and perf bench too, in the same guests, and compare "
                "(guest/tools/fetch gets them)");
  add_bench_files(*sub, bench);
  return sub;
}

/// `compat` and `lifetime`.
CLI::App* add_watched(CLI::App& app, const char* name, const char* description,
                      WatchedOptions& watched, ArchWord& arch) {
  CLI::App* sub = app.add_subcommand(name, description);
  sub->add_option("--arch", arch.word, "x86_64, arm64 or all")
      ->check(CLI::IsMember({"x86_64", "arm64", "all"}))
      ->type_name("ARCH");
  CLI::Option* recipe = add_list(*sub, "--recipe", watched.recipes,
                                 "kernel recipe; may be repeated (default: lts-sealed and "
                                 "lts-unsealed)")
                            ->type_name("NAME");
  add_machine(*sub, watched.machine);
  sub->get_option("--kernel")->excludes(recipe);
  sub->add_option("--json", watched.json, "write the whole report to this file")->type_name("FILE");
  add_deadline(*sub, watched.deadline, std::to_string(watched.deadline.count()));
  return sub;
}

CLI::App* add_compat(CLI::App& app, CompatOptions& compat, ArchWord& arch) {
  CLI::App* sub = add_watched(
      app, "compat",
      "What a seal breaks: the calls of CRIU, UML, gVisor and rr on system mappings, made and "
      "watched",
      compat, arch);
  sub->add_flag("--real", compat.real,
                "also run the real user-mode-linux and criu of the host's archive, in x86-64 "
                "guests (guest/real/fetch gets them)")
      ->excludes(sub->get_option("--kernel"));
  return sub;
}

CLI::App* add_lifetime(CLI::App& app, LifetimeOptions& lifetime, ArchWord& arch) {
  return add_watched(
      app, "lifetime",
      "Whether the kernel itself changes a system mapping while its process lives: every change, "
      "with its call path",
      lifetime, arch);
}

CLI::App* add_audit(CLI::App& app, AuditOptions& audit) {
  CLI::App* sub = app.add_subcommand(
      "audit", "Compute the verdicts of a bundle again from its traces, and find what was changed");
  sub->add_option("folder", audit.folder, "what --bundle made")->type_name("DIR")->required();
  sub->add_option("--seal", audit.seal, "the seal that it must have, as it was printed")
      ->type_name("HEX");
  return sub;
}

/// A number, decimal or with 0x in front. The library takes more: a 0 in front makes it octal, a
/// sign wraps around, and what is too large becomes the largest one.
CLI::Validator whole_number() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const bool hexadecimal = text.starts_with("0x");
        const std::string_view digits = std::string_view(text).substr(hexadecimal ? 2 : 0);
        const bool octal = !hexadecimal && digits.size() > 1 && digits.front() == '0';
        std::uint64_t value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(),
                                                  value, hexadecimal ? 16 : 10);
        const bool whole = end == digits.data() + digits.size();
        if (error == std::errc() && whole && !octal) return {};
        return fmt::format(
            "{}: expected a number below 2^64, decimal without a 0 in front or "
            "hexadecimal behind 0x",
            text);
      },
      "");
}

void add_filter(CLI::App& app, TraceFilter& filter) {
  add_list(app, "--run", filter.runs, "runs by pattern, as \"x86_64 lts-*\"")->type_name("GLOB");
  app.add_option("--process", filter.processes,
                 "address spaces by number, as the column `process` has them")
      ->allow_extra_args(false)
      ->check(whole_number())
      ->type_name("N");
  add_list(app, "--mapping", filter.mappings, "what has to do with this system mapping: \"[vdso]\"")
      ->type_name("NAME");
  app.add_option("--frame", filter.frames, "what is stored to this frame, or maps it")
      ->allow_extra_args(false)
      ->check(whole_number())
      ->type_name("GPA");
  add_list(app, "--function", filter.functions, "what this function of the kernel stored")
      ->type_name("GLOB");
  add_list(app, "--kind", filter.kinds, "events of this kind, as the column `kind` has them")
      ->type_name("GLOB");
  app.add_option("--from", filter.from,
                 "from this instruction of the guest on; of a run under kvm, which counts none: "
                 "from this stop of the vCPU on")
      ->check(whole_number())
      ->type_name("N");
  app.add_option("--to", filter.to, "up to this one")->check(whole_number())->type_name("N");
}

CLI::App* add_trace(CLI::App& app, TraceOptions& trace) {
  CLI::App* sub = app.add_subcommand("trace", "List the events of a bundle");
  sub->require_subcommand(1);
  CLI::App* query = sub->add_subcommand("query", "For people, a line an event");
  CLI::App* to_file = sub->add_subcommand("export", "For programs: JSON Lines, or CSV");
  to_file
      ->add_option_function<std::string>(
          "--format",
          [&trace](const std::string& word) {
            trace.format =
                word == "csv" ? TraceOptions::Format::Csv : TraceOptions::Format::JsonLines;
          },
          "jsonl (the default) or csv")
      ->check(CLI::IsMember({"jsonl", "csv"}))
      ->type_name("FORMAT");
  to_file->add_option("--out", trace.out, "instead of standard output")->type_name("FILE");
  for (CLI::App* one : {query, to_file}) {
    one->add_option("folder", trace.folder, "what --bundle made")->type_name("DIR")->required();
    add_filter(*one, trace.filter);
  }
  to_file->preparse_callback(
      [&trace](std::size_t) { trace.format = TraceOptions::Format::JsonLines; });
  return sub;
}

CLI::App* add_kernel(CLI::App& app, KernelWords& words) {
  CLI::App* sub = app.add_subcommand("kernel", "List and build guest kernels");
  sub->require_subcommand(1);
  CLI::App* list = sub->add_subcommand("list", "Recipes, and which of them are built");
  list->add_flag("--json", words.json, "for programs");
  CLI::App* build = sub->add_subcommand("build", "Build a recipe, unless it is built");
  build->add_option("recipe", words.recipe, "its name")->type_name("RECIPE")->required();
  build->add_option("arch", words.arch, "x86_64, arm64 or all (default)")
      ->type_name("ARCH")
      ->check(CLI::IsMember({"x86_64", "arm64", "all"}));
  build->add_flag("--update", words.update, "fetch the newest source first");
  return sub;
}

CLI::App* add_scenarios(CLI::App& app, ScenariosOptions& scenarios) {
  CLI::App* sub = app.add_subcommand("scenarios", "List what can be tried");
  CLI::Option* as_json = sub->add_flag("--json", scenarios.json, "for programs");
  sub->add_flag("--variants", scenarios.variants, "list the variants of `verify --variant` instead")
      ->excludes(as_json);
  return sub;
}

}  // namespace

void declare_options(CLI::App& app, CommandLine& line) {
  line.parts.verify = add_verify(app, line.verify, line.verify_arch);
  line.parts.observe = add_observe(app, line.observe, line.observe_arch);
  line.parts.boot = add_boot(app, line.boot, line.boot_arch);
  line.parts.bench = add_bench(app, line.bench, line.bench_arch);
  line.parts.compat = add_compat(app, line.compat, line.compat_arch);
  line.parts.lifetime = add_lifetime(app, line.lifetime, line.lifetime_arch);
  line.parts.audit = add_audit(app, line.audit);
  line.parts.trace = add_trace(app, line.trace);
  line.parts.scenarios = add_scenarios(app, line.scenarios);
  line.parts.doctor =
      app.add_subcommand("doctor", "What this host can do, and why: one line for each lane");
  line.parts.kernel = add_kernel(app, line.kernel);
}

}  // namespace sealvisor::app
