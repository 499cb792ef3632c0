#include "vmm/app/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "vmm/app/declare_options.h"
#include "vmm/app/report_files.h"
#include "vmm/app/variants.h"
#include "vmm/engine/kvm/host.h"

namespace sealvisor::app {

namespace {

constexpr const char* kVersion = "sealvisor " SEALVISOR_VERSION;

std::vector<arch::Arch> archs_of(const std::string& word) {
  if (const auto arch = arch::parse_arch(word)) return {*arch};
  return {};
}

KernelOptions kernel_options(const CLI::App& kernel, const KernelWords& words) {
  KernelOptions options;
  if (kernel.got_subcommand("list")) {
    options.arguments = {"list"};
    if (words.json) options.arguments.emplace_back("--json");
    return options;
  }
  options.arguments = {"build", words.recipe};
  if (!words.arch.empty()) options.arguments.push_back(words.arch);
  if (words.update) options.arguments.emplace_back("--update");
  return options;
}

/// The name behind "sealvisor" that help would be about.
std::string help_about(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "sealvisor" : "sealvisor " + chosen.front()->get_name();
}

/// --cpu names a model of QEMU's; a KVM guest has the host's CPU. The tcg engine has one mechanism.
Status check_engine(const char* command, const MachineOptions& machine) {
  if (machine.engine == engine::Kind::Tcg && machine.mechanism != engine::Mechanism::Best) {
    return Error{
        ExitCode::Usage,
        fmt::format("--mechanism is for --engine kvm and kvm-nested; see `sealvisor {} --help`",
                    command)};
  }
  if (machine.engine == engine::Kind::Tcg || machine.nested || machine.cpu_model.empty()) return {};
  return Error{ExitCode::Usage,
               "--cpu is for --engine tcg and kvm-nested: a guest of kvm has the "
               "host's CPU"};
}

/// What an engine of `bench` can't do.
Status check_bench(const BenchOptions& bench, bool one_arch) {
  const auto refuse = [](const char* what) {
    return Error{ExitCode::Usage, std::string(what) + "; see `sealvisor bench --help`"};
  };
  const bool kvm = bench.engine == engine::Kind::Kvm;
  if (kvm && bench.explain) {
    return refuse(
        "--explain is for --engine tcg: a clock does not say in which functions time is spent, "
        "and counted instructions do");
  }
  if (kvm && bench.cross_check) {
    return refuse(
        "--cross-check is for --engine tcg: tools of others are compared by instructions");
  }
  if (bench.pin && (!kvm || bench.nested)) return refuse("--pin is for --engine kvm");
  if (!bench.nested) return {};
  if (!bench.html.empty()) {
    return refuse("--html is for --engine tcg and kvm: an emulated host has no gnuplot");
  }
  const bool files = !bench.json.empty() || !bench.save.empty() || !bench.csv.empty();
  if (one_arch || (!files && bench.baseline.empty())) return {};
  return refuse(
      "--json, --save, --csv and --baseline with --engine kvm-nested need one --arch: each host "
      "writes a report");
}

/// `compat` and `lifetime`, which watch the tcg lane.
Status complete_watched(const char* command, WatchedOptions& options, const ArchWord& arch) {
  options.archs = archs_of(arch.word);
  if (options.machine.engine != engine::Kind::Tcg) {
    return Error{
        ExitCode::Usage,
        fmt::format("`sealvisor {0}` takes --engine tcg; see `sealvisor {0} --help`", command)};
  }
  if (auto fits = check_engine(command, options.machine); !fits) return fits;
  if (options.archs.empty() && options.machine.kernel.empty()) {
    options.archs.assign(arch::kAllArchs.begin(), arch::kAllArchs.end());
  }
  if (options.recipes.empty()) {
    options.recipes.assign(std::begin(kTwinRecipes), std::end(kTwinRecipes));
  }
  return {};
}

Status check_observe(const ObserveOptions& observe, const std::vector<std::string>& left) {
  if (!left.empty() && left.front().starts_with("-") && left.front() != "-") {
    return Error{ExitCode::Usage,
                 fmt::format("no option {}; -- goes before arguments that look like one; see "
                             "`sealvisor observe --help`",
                             left.front())};
  }
  if (observe.payload.empty() && !observe.arguments.empty()) {
    return Error{ExitCode::Usage, fmt::format("'{}' is an argument, and there is no --payload; see "
                                              "`sealvisor observe --help`",
                                              observe.arguments.front())};
  }
  if (observe.payload.empty() && observe.scenarios.empty()) {
    return Error{ExitCode::Usage,
                 "observe needs --payload or --scenarios; see `sealvisor observe --help`"};
  }
  if (auto fits = check_engine("observe", observe.machine); !fits) return fits;
  if (observe.machine.nested) {
    return Error{ExitCode::Usage,
                 "observe takes --engine tcg or kvm; see `sealvisor observe --help`"};
  }
  if (observe.witness && observe.machine.engine != engine::Kind::Tcg) {
    return Error{ExitCode::Usage, "--witness is for --engine tcg; see `sealvisor observe --help`"};
  }
  return {};
}

// One for each command: defaults, and what does not fit together.

Result<Command> complete_verify(CommandLine& line) {
  VerifyOptions& verify = line.verify;
  verify.archs = archs_of(line.verify_arch.word);
  if (auto fits = check_engine("verify", verify.machine); !fits) return fits.error();
  if (line.parts.verify->count("--deadline") == 0) {
    if (verify.machine.full) verify.deadline = kFullDeadline;
    if (verify.machine.nested) {
      verify.deadline = std::max(verify.deadline, kNestedGuestDeadline);
    }
  }
  if (verify.witness && verify.machine.engine != engine::Kind::Tcg) {
    return Error{ExitCode::Usage, "--witness is for --engine tcg; see `sealvisor verify --help`"};
  }
  if ((verify.step_check || verify.leave_return != 0) &&
      verify.machine.engine != engine::Kind::Kvm) {
    return Error{ExitCode::Usage,
                 "--step-check and --leave-return are for --engine kvm and kvm-nested; see "
                 "`sealvisor verify --help`"};
  }
  if (auto apart = check_apart({verify.json, verify.junit, verify.html}, "verify"); !apart)
    return apart.error();
  const bool any_file = !verify.json.empty() || !verify.junit.empty() || !verify.html.empty() ||
                        !verify.bundle.empty();
  if (verify.machine.nested && verify.archs.empty() && verify.machine.kernel.empty() && any_file) {
    return Error{ExitCode::Usage,
                 "--json, --junit, --html and --bundle with --engine kvm-nested need one --arch: "
                 "each host writes its own; see `sealvisor verify --help`"};
  }
  if (verify.archs.empty() && verify.machine.kernel.empty() &&
      verify.machine.engine == engine::Kind::Kvm && !verify.machine.nested) {
    auto native = engine::kvm::native_arch();
    if (!native) return native.error();
    verify.archs = {native.value()};
  }
  if (verify.archs.empty() && verify.machine.kernel.empty()) {
    verify.archs.assign(arch::kAllArchs.begin(), arch::kAllArchs.end());
  }
  if (!verify.variants.empty()) {
    if (verify.machine.engine != engine::Kind::Tcg || !verify.machine.cpu_model.empty()) {
      return Error{ExitCode::Usage,
                   fmt::format("--variant {} is for --engine tcg, and not with --cpu; see "
                               "`sealvisor verify --help`",
                               fmt::join(verify.variants, ", "))};
    }
    if (auto chosen = choose_variants(verify.variants, verify.archs); !chosen) {
      return chosen.error();
    }
  }
  if (verify.recipes.empty()) {
    verify.recipes.assign(std::begin(kDefaultRecipes), std::end(kDefaultRecipes));
  }
  return Command(std::move(verify));
}

/// `behind`: what stands behind --.
Result<Command> complete_observe(CommandLine& line, const std::vector<std::string>& behind) {
  ObserveOptions& observe = line.observe;
  const std::vector<std::string> left = line.parts.observe->remaining();
  observe.arguments = left;
  observe.arguments.insert(observe.arguments.end(), behind.begin(), behind.end());
  if (auto good = check_observe(observe, left); !good) return good.error();
  if (auto apart = check_apart({observe.json, observe.junit, observe.html}, "observe"); !apart) {
    return apart.error();
  }
  observe.archs = archs_of(line.observe_arch.word);
  if (observe.recipes.empty()) observe.recipes = {kObservedRecipe};
  return Command(std::move(observe));
}

Result<Command> complete_boot(CommandLine& line) {
  BootOptions& boot = line.boot;
  boot.archs = archs_of(line.boot_arch.word);
  if (auto fits = check_engine("boot", boot.machine); !fits) return fits.error();
  if (boot.machine.nested) {
    return Error{ExitCode::Usage, "boot takes --engine tcg or kvm; see `sealvisor boot --help`"};
  }
  return Command(std::move(boot));
}

Result<Command> complete_bench(CommandLine& line) {
  BenchOptions& bench = line.bench;
  bench.archs = archs_of(line.bench_arch.word);
  if (auto fits = check_bench(bench, !bench.archs.empty()); !fits) return fits.error();
  if (bench.archs.empty() && bench.engine == engine::Kind::Kvm && !bench.nested) {
    auto native = engine::kvm::native_arch();
    if (!native) return native.error();
    bench.archs = {native.value()};
  }
  if (bench.archs.empty()) bench.archs.assign(arch::kAllArchs.begin(), arch::kAllArchs.end());
  if (bench.a == bench.b) {
    return Error{ExitCode::Usage,
                 fmt::format("--a and --b are both {}: that comparison is in each run; see "
                             "`sealvisor bench --help`",
                             bench.a)};
  }
  return Command(std::move(bench));
}

Command complete_audit(AuditOptions& audit) {
  // Digits are digits: tools that print digests differ in their case.
  std::transform(audit.seal.begin(), audit.seal.end(), audit.seal.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return Command(std::move(audit));
}

/// The command that was parsed. `behind`: what stands behind --.
Result<Command> complete(CommandLine& line, const std::vector<std::string>& behind) {
  if (*line.parts.verify) return complete_verify(line);
  if (*line.parts.observe) return complete_observe(line, behind);
  if (*line.parts.boot) return complete_boot(line);
  if (*line.parts.bench) return complete_bench(line);
  if (*line.parts.compat) {
    auto fits = complete_watched("compat", line.compat, line.compat_arch);
    return fits ? Result<Command>(Command(std::move(line.compat))) : fits.error();
  }
  if (*line.parts.lifetime) {
    auto fits = complete_watched("lifetime", line.lifetime, line.lifetime_arch);
    return fits ? Result<Command>(Command(std::move(line.lifetime))) : fits.error();
  }
  if (*line.parts.audit) return complete_audit(line.audit);
  if (*line.parts.trace) return Command(std::move(line.trace));
  if (*line.parts.scenarios) return Command(line.scenarios);
  if (*line.parts.doctor) return Command(DoctorOptions{});
  if (*line.parts.kernel) return Command(kernel_options(*line.parts.kernel, line.kernel));
  return Error{ExitCode::Usage, "a subcommand is required; see `sealvisor --help`"};
}

/// Files that `verify` writes and these commands don't: better said than "not expected".
Status check_files(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return {};
  const std::string& command = arguments.front();
  if (command != "compat" && command != "lifetime") return {};
  for (const std::string& argument : arguments) {
    const std::string option = argument.substr(0, argument.find('='));
    if (option != "--bundle" && option != "--junit" && option != "--html") continue;
    return Error{ExitCode::Usage,
                 fmt::format("`sealvisor {0}` takes no {1}, which is for `sealvisor verify`: it "
                             "writes its report with --json; see `sealvisor {0} --help`",
                             command, option)};
  }
  return {};
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

Result<Command> parse_options(const std::vector<std::string>& arguments) {
  CLI::App app("Verify from outside that a Linux kernel keeps its system mappings sealed.",
               "sealvisor");
  app.set_version_flag("--version", kVersion);
  // At most one here, so that an unknown word is named; that there is one is asked for below.
  app.require_subcommand(0, 1);
  app.footer(
      "Exit codes: 0 as expected, 1 an invariant or an expectation failed, 2 usage, 3 the host "
      "lacks something, 4 a guest failed, 5 a program of observe failed by its own account.");
  CommandLine line;
  declare_options(app, line);

  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const bool known = std::any_of(commands.begin(), commands.end(), [&](const CLI::App* one) {
    return !arguments.empty() && one->check_name(arguments.front());
  });
  if (!arguments.empty() && !arguments.front().starts_with('-') && !known) {
    return Error{
        ExitCode::Usage,
        fmt::format("no command '{}', expected verify, observe, boot, bench, compat, lifetime, "
                    "audit, trace, scenarios, doctor or kernel; see `sealvisor --help`",
                    arguments.front())};
  }
  // What is behind -- goes to the user's program as it is: the library takes words in brackets
  // apart.
  const bool observes = !arguments.empty() && arguments.front() == "observe";
  const auto mark =
      observes ? std::find(arguments.begin(), arguments.end(), "--") : arguments.end();
  if (auto fits = check_files(arguments); !fits) return fits.error();
  try {
    // The library takes arguments from the back.
    app.parse(std::vector<std::string>(std::make_reverse_iterator(mark), arguments.rend()));
  } catch (const CLI::CallForVersion&) {
    return Command(PrintOptions{std::string(kVersion) + "\n"});
  } catch (const CLI::Success&) {
    const CLI::App* about = &app;
    while (!about->get_subcommands().empty()) about = about->get_subcommands().front();
    return Command(PrintOptions{about->help()});
  } catch (const CLI::Error& error) {
    return Error{ExitCode::Usage,
                 fmt::format("{}; see `{} --help`", one_line(error.what()), help_about(app))};
  }
  return complete(line, mark == arguments.end()
                            ? std::vector<std::string>()
                            : std::vector<std::string>(mark + 1, arguments.end()));
}

}  // namespace sealvisor::app
