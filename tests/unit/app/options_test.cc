#include "vmm/app/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace sealvisor::app {
namespace {

using arch::Arch;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

template <typename Options>
Options parsed(const std::string& line) {
  auto command = parse_options(words(line));
  EXPECT_TRUE(command.ok()) << line << ": " << (command ? "" : command.error().message);
  if (!command) return {};
  const auto* options = std::get_if<Options>(&command.value());
  EXPECT_NE(options, nullptr) << line;
  return options != nullptr ? *options : Options{};
}

TEST(Options, VerifyByDefaultIsTheMainJob) {
  const auto verify = parsed<VerifyOptions>("verify");
  EXPECT_THAT(verify.archs, ElementsAre(Arch::X86_64, Arch::Arm64));
  EXPECT_THAT(verify.recipes, ElementsAre("lts-sealed", "lts-unsealed", "lying"));
  EXPECT_TRUE(verify.machine.scenarios.empty());
  EXPECT_TRUE(verify.machine.kernel.empty());
  EXPECT_EQ(verify.machine.memory_mib, 256U);
  EXPECT_EQ(verify.deadline.count(), 120);
  EXPECT_FALSE(verify.witness);
  EXPECT_EQ(verify.seed, 1U);
  EXPECT_EQ(verify.count, 0U);
}

TEST(Options, VerifyTakesAllItsOptions) {
  const auto verify = parsed<VerifyOptions>(
      "verify --arch arm64 --recipe a --recipe b --scenario munmap/* --scenario life/fork "
      "--json out.json --junit out.xml --html out.html --bundle dir --deadline 5 "
      "--memory 512 --cpu max --witness --seed 7 --count 9");
  EXPECT_THAT(verify.archs, ElementsAre(Arch::Arm64));
  EXPECT_THAT(verify.recipes, ElementsAre("a", "b"));
  EXPECT_THAT(verify.machine.scenarios, ElementsAre("munmap/*", "life/fork"));
  EXPECT_EQ(verify.json, "out.json");
  EXPECT_EQ(verify.junit, "out.xml");
  EXPECT_EQ(verify.html, "out.html");
  EXPECT_EQ(verify.bundle, "dir");
  EXPECT_EQ(verify.deadline.count(), 5);
  EXPECT_EQ(verify.machine.memory_mib, 512U);
  EXPECT_EQ(verify.machine.cpu_model, "max");
  EXPECT_TRUE(verify.witness);
  EXPECT_EQ(verify.seed, 7U);
  EXPECT_EQ(verify.count, 9U);
}

/// A default `verify` there is to be done with the defaults.
TEST(Options, AGuestInAnEmulatedHostHasMoreTime) {
  EXPECT_EQ(parsed<VerifyOptions>("verify --engine kvm-nested").deadline.count(), 600);
  EXPECT_EQ(parsed<VerifyOptions>("verify --engine kvm-nested --deadline 120").deadline.count(),
            120);
  EXPECT_EQ(parsed<VerifyOptions>("verify --engine tcg").deadline.count(), 120);
}

TEST(Options, AnAuditTakesAFolderAndASeal) {
  EXPECT_EQ(parsed<AuditOptions>("audit b").folder, "b");
  EXPECT_EQ(parsed<AuditOptions>("audit b").seal, "");
  EXPECT_EQ(parsed<AuditOptions>("audit b --seal abc").seal, "abc");
  EXPECT_EQ(parsed<AuditOptions>("audit b --seal 0ABC").seal, "0abc");
}

TEST(Options, ATraceIsListedForPeopleOrForPrograms) {
  using Format = TraceOptions::Format;
  EXPECT_EQ(parsed<TraceOptions>("trace query b").format, Format::Text);
  EXPECT_EQ(parsed<TraceOptions>("trace export b").format, Format::JsonLines);
  const auto csv = parsed<TraceOptions>("trace export b --format csv --out o.csv");
  EXPECT_EQ(csv.format, Format::Csv);
  EXPECT_EQ(csv.folder, "b");
  EXPECT_EQ(csv.out, "o.csv");
  const TraceFilter filter =
      parsed<TraceOptions>(
          "trace query b --run x86* --process 7 --process 8 --mapping [vdso] --frame 0x400000 "
          "--function zap_* --kind slot-write --from 10 --to 20")
          .filter;
  EXPECT_THAT(filter.runs, ElementsAre("x86*"));
  EXPECT_THAT(filter.processes, ElementsAre(7U, 8U));
  EXPECT_THAT(filter.mappings, ElementsAre("[vdso]"));
  EXPECT_THAT(filter.frames, ElementsAre(0x400000U));
  EXPECT_THAT(filter.functions, ElementsAre("zap_*"));
  EXPECT_THAT(filter.kinds, ElementsAre("slot-write"));
  EXPECT_EQ(filter.from, 10U);
  EXPECT_EQ(filter.to, 20U);
  const TraceFilter bounds =
      parsed<TraceOptions>("trace query b --from 0 --to 18446744073709551615").filter;
  EXPECT_EQ(bounds.from, 0U);
  EXPECT_EQ(bounds.to, UINT64_MAX);
  EXPECT_EQ(parsed<TraceOptions>("trace query b --to 0xFfffffffffffffff").filter.to, UINT64_MAX);
}

TEST(Options, ANumberOfATraceIsTakenAsItStands) {
  for (const char* option : {"--from", "--to", "--frame", "--process"}) {
    // Octal, too large, hexadecimal and too large, no digits, more than digits.
    for (const char* number : {"010", "18446744073709551616", "0x10000000000000000", "0x", "0xg",
                               "1e3", "7x", "0X10", "1'000", "1_000", "+1"}) {
      const auto command = parse_options({"trace", "query", "b", option, number});
      ASSERT_FALSE(command.ok()) << option << " " << number;
      EXPECT_EQ(command.error().code, ExitCode::Usage);
      EXPECT_THAT(command.error().message, HasSubstr(number)) << option;
      EXPECT_THAT(command.error().message, HasSubstr("expected a number below 2^64")) << option;
    }
    EXPECT_FALSE(parse_options({"trace", "query", "b", option, "-1"}).ok()) << option;
    EXPECT_FALSE(parse_options({"trace", "query", "b", option, ""}).ok()) << option;
  }
}

TEST(Options, AnImageOfTheUsersBringsItsArchitecture) {
  const auto own = parsed<VerifyOptions>("verify --kernel bzImage --symbols vmlinux");
  EXPECT_EQ(own.machine.kernel, "bzImage");
  EXPECT_EQ(own.machine.symbols, "vmlinux");
  EXPECT_TRUE(own.archs.empty());
  EXPECT_TRUE(parsed<VerifyOptions>("verify --kernel i --arch all").archs.empty());
  EXPECT_THAT(parsed<VerifyOptions>("verify --kernel i --arch arm64").archs,
              ElementsAre(Arch::Arm64));
}

TEST(Options, AnImageOfTheUsersMayGoIntoAnEmulatedHost) {
  const auto own = parsed<VerifyOptions>("verify --engine kvm-nested --kernel i --json r.json");
  EXPECT_TRUE(own.machine.nested);
  EXPECT_EQ(own.machine.kernel, "i");
  EXPECT_TRUE(own.archs.empty());
}

TEST(Options, ControlsOfTheKvmLane) {
  const auto verify = parsed<VerifyOptions>(
      "verify --engine kvm-nested --arch arm64 --step-check --leave-return 2");
  EXPECT_TRUE(verify.step_check);
  EXPECT_EQ(verify.leave_return, 2U);
}

TEST(Options, ObserveByDefaultTakesWhatThePayloadIsFor) {
  const auto observe = parsed<ObserveOptions>("observe --payload tool");
  EXPECT_EQ(observe.payload, "tool");
  EXPECT_TRUE(observe.archs.empty());
  EXPECT_TRUE(observe.arguments.empty());
  EXPECT_THAT(observe.recipes, ElementsAre("lts-sealed"));
  EXPECT_EQ(observe.deadline.count(), 120);
  EXPECT_EQ(observe.limit_seconds, 60U);
  EXPECT_FALSE(observe.untraced);
}

TEST(Options, ObserveTakesAllItsOptions) {
  const auto observe = parsed<ObserveOptions>(
      "observe --payload dir --run bin/tool --arch arm64 --recipe a --recipe b --untraced --limit "
      "9 "
      "--output 100 --json r.json --junit r.xml --html r.html --bundle b --deadline 300 --memory "
      "512 --witness");
  EXPECT_EQ(observe.run, "bin/tool");
  EXPECT_THAT(observe.archs, ElementsAre(Arch::Arm64));
  EXPECT_THAT(observe.recipes, ElementsAre("a", "b"));
  EXPECT_TRUE(observe.untraced);
  EXPECT_EQ(observe.limit_seconds, 9U);
  EXPECT_EQ(observe.output_bytes, 100U);
  EXPECT_EQ(observe.json, "r.json");
  EXPECT_EQ(observe.junit, "r.xml");
  EXPECT_EQ(observe.html, "r.html");
  EXPECT_EQ(observe.bundle, "b");
  EXPECT_EQ(observe.deadline.count(), 300);
  EXPECT_EQ(observe.machine.memory_mib, 512U);
  EXPECT_TRUE(observe.witness);
  EXPECT_EQ(parsed<ObserveOptions>("observe --scenarios dir").scenarios, "dir");
  EXPECT_EQ(parsed<ObserveOptions>("observe --payload p --kernel i --expect sealed").machine.expect,
            Expect::Sealed);
}

/// From the first word that is no option on, as they are: words in brackets too.
TEST(Options, ArgumentsOfAProgramReachItAsTheyAre) {
  const auto arguments = [](const std::string& line) {
    return parsed<ObserveOptions>("observe --payload p " + line).arguments;
  };
  EXPECT_THAT(arguments("unmap [vdso]"), ElementsAre("unmap", "[vdso]"));
  EXPECT_THAT(arguments("verify --arch [a,b] -x"), ElementsAre("verify", "--arch", "[a,b]", "-x"));
  EXPECT_THAT(arguments("-- --limit 3 [vdso]"), ElementsAre("--limit", "3", "[vdso]"));
  EXPECT_THAT(arguments("-- -- x"), ElementsAre("--", "x"));
  EXPECT_THAT(arguments("--"), ElementsAre());
  EXPECT_THAT(arguments("- x"), ElementsAre("-", "x"));
}

TEST(Options, BenchByDefaultAsksWhatSealingCosts) {
  const auto bench = parsed<BenchOptions>("bench");
  EXPECT_THAT(bench.archs, ElementsAre(Arch::X86_64, Arch::Arm64));
  EXPECT_EQ(bench.a, "lts-unsealed");
  EXPECT_EQ(bench.b, "lts-sealed");
  EXPECT_EQ(bench.mode, bench::Mode::Quick);
  EXPECT_EQ(bench.fail_on, bench::FailOn::Nothing);
  EXPECT_TRUE(bench.filters.empty());
  EXPECT_EQ(bench.layouts, 0U);
  EXPECT_EQ(bench.seed, 1U);
  EXPECT_FALSE(bench.explain);
  EXPECT_FALSE(bench.cross_check);
  for (const auto* path : {&bench.save, &bench.json, &bench.csv, &bench.html, &bench.baseline}) {
    EXPECT_TRUE(path->empty());
  }
  EXPECT_TRUE(bench.may_differ.empty());
}

TEST(Options, BenchTakesAllItsOptions) {
  const auto bench = parsed<BenchOptions>(
      "bench --arch arm64 --a one --b two --filter exec/* --filter vdso/time --full --layouts 20 "
      "--seed 18446744073709551615 --save s --baseline b --baseline-anyway machine,kernels "
      "--json j --csv c --html h --fail-on any --explain --cross-check");
  EXPECT_THAT(bench.archs, ElementsAre(Arch::Arm64));
  EXPECT_EQ(bench.a, "one");
  EXPECT_EQ(bench.b, "two");
  EXPECT_THAT(bench.filters, ElementsAre("exec/*", "vdso/time"));
  EXPECT_EQ(bench.mode, bench::Mode::Full);
  EXPECT_EQ(bench.layouts, 20U);
  EXPECT_EQ(bench.seed, 18446744073709551615U);
  EXPECT_EQ(bench.save, "s");
  EXPECT_EQ(bench.baseline, "b");
  EXPECT_THAT(bench.may_differ, ElementsAre(bench::Same::Machine, bench::Same::Kernels));
  EXPECT_EQ(bench.json, "j");
  EXPECT_EQ(bench.csv, "c");
  EXPECT_EQ(bench.html, "h");
  EXPECT_EQ(bench.fail_on, bench::FailOn::Any);
  EXPECT_TRUE(bench.explain);
  EXPECT_TRUE(bench.cross_check);
  EXPECT_EQ(parsed<BenchOptions>("bench --quick").mode, bench::Mode::Quick);
  EXPECT_EQ(parsed<BenchOptions>("bench --fail-on slower").fail_on, bench::FailOn::Slower);
  EXPECT_THAT(parsed<BenchOptions>("bench --baseline b --baseline-anyway engine "
                                   "--baseline-anyway programs")
                  .may_differ,
              ElementsAre(bench::Same::Engine, bench::Same::Programs));
}

TEST(Options, BenchCountsUnlessItIsToTime) {
  EXPECT_EQ(parsed<BenchOptions>("bench").engine, engine::Kind::Tcg);
  EXPECT_EQ(parsed<BenchOptions>("bench --engine tcg --explain").engine, engine::Kind::Tcg);
  const auto kvm = parsed<BenchOptions>("bench --engine kvm --pin 3 --html h");
  EXPECT_EQ(kvm.engine, engine::Kind::Kvm);
  EXPECT_FALSE(kvm.nested);
  EXPECT_EQ(kvm.pin, 3U);
  EXPECT_EQ(kvm.archs.size(), 1U) << "the host's own";
  const auto nested = parsed<BenchOptions>("bench --engine kvm-nested");
  EXPECT_EQ(nested.engine, engine::Kind::Kvm);
  EXPECT_TRUE(nested.nested);
  EXPECT_EQ(nested.pin, std::nullopt);
  EXPECT_THAT(nested.archs, ElementsAre(Arch::X86_64, Arch::Arm64));
  EXPECT_EQ(
      parsed<BenchOptions>("bench --engine kvm-nested --arch arm64 --json j --baseline b").json,
      "j");
}

TEST(Options, CompatAndLifetimeRunTheTwins) {
  const auto compat = parsed<CompatOptions>("compat");
  EXPECT_THAT(compat.archs, ElementsAre(Arch::X86_64, Arch::Arm64));
  EXPECT_THAT(compat.recipes, ElementsAre("lts-sealed", "lts-unsealed"));
  EXPECT_EQ(compat.deadline, std::chrono::seconds(120));
  EXPECT_FALSE(compat.real);
  EXPECT_TRUE(parsed<CompatOptions>("compat --real").real);
  const auto lifetime = parsed<LifetimeOptions>("lifetime");
  EXPECT_THAT(lifetime.archs, ElementsAre(Arch::X86_64, Arch::Arm64));
  EXPECT_THAT(lifetime.recipes, ElementsAre("lts-sealed", "lts-unsealed"));
  EXPECT_EQ(lifetime.deadline, std::chrono::seconds(900));
  const auto all = parsed<CompatOptions>(
      "compat --arch arm64 --recipe a --recipe b --scenario compat/rr* --json j --deadline 9");
  EXPECT_THAT(all.archs, ElementsAre(Arch::Arm64));
  EXPECT_THAT(all.recipes, ElementsAre("a", "b"));
  EXPECT_THAT(all.machine.scenarios, ElementsAre("compat/rr*"));
  EXPECT_EQ(all.json, "j");
  EXPECT_EQ(all.deadline, std::chrono::seconds(9));
  const auto own = parsed<LifetimeOptions>("lifetime --kernel bzImage --symbols vmlinux");
  EXPECT_TRUE(own.archs.empty());
  EXPECT_EQ(own.machine.kernel, "bzImage");
}

TEST(Options, KernelBecomesWordsForTheScript) {
  struct Case {
    const char* line;
    std::vector<std::string> arguments;
  };
  const std::vector<Case> cases = {
      {"kernel list", {"list"}},
      {"kernel list --json", {"list", "--json"}},
      {"kernel build lying", {"build", "lying"}},
      {"kernel build lying arm64", {"build", "lying", "arm64"}},
      {"kernel build lying --update", {"build", "lying", "--update"}},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(parsed<KernelOptions>(one.line).arguments, one.arguments) << one.line;
  }
}

TEST(Options, TheOtherCommands) {
  EXPECT_FALSE(parsed<ScenariosOptions>("scenarios").json);
  EXPECT_TRUE(parsed<ScenariosOptions>("scenarios --json").json);
  parsed<DoctorOptions>("doctor");
  const auto boot = parsed<BootOptions>("boot --arch arm64 --append quiet --initramfs x.cpio");
  EXPECT_THAT(boot.archs, ElementsAre(Arch::Arm64));
  EXPECT_EQ(boot.recipe, "lts-sealed");
  EXPECT_EQ(boot.arguments, "quiet");
  EXPECT_EQ(boot.initramfs, "x.cpio");
  EXPECT_THAT(parsed<PrintOptions>("--version").text, HasSubstr("sealvisor "));
  EXPECT_THAT(parsed<PrintOptions>("--help").text, HasSubstr("Exit codes"));
  EXPECT_THAT(parsed<PrintOptions>("verify --help").text, HasSubstr("--witness"));
  EXPECT_THAT(parsed<PrintOptions>("kernel build --help").text, HasSubstr("--update"));
}

TEST(Options, EachMistakeGetsOneSentence) {
  struct Case {
    const char* line;
    const char* message;  ///< A part of it.
  };
  const std::vector<Case> cases = {
      {"", "subcommand"},
      {"verfy", "no command 'verfy', expected verify"},
      {"verify --arch riscv", "riscv not in {x86_64,arm64,all}"},
      {"verify --recipe", "--recipe"},
      {"verify --recipe a --kernel i", " excludes --"},
      {"verify --symbols s", "--symbols requires --kernel"},
      {"verify --deadline 0", "0 not in range"},
      {"verify --deadline soon", "soon"},
      {"verify --memory 32", "32 not in range"},
      {"verify --memory 129", "129 is not even"},
      {"verify --step-check", "--engine kvm"},
      {"verify --leave-return 2", "--engine kvm"},
      {"verify --engine kvm-nested --bundle b", "need one --arch"},
      {"verify --engine kvm-nested --json r", "need one --arch"},
      {"verify --engine kvm-nested --junit r", "need one --arch"},
      {"verify --engine kvm-nested --html r", "need one --arch"},
      {"verify --json r --html ./r", "--json and --html both name r, expected a file for each"},
      {"verify --no-such-thing", "--no-such-thing"},
      {"verify stray", "stray"},
      {"verify --expect sealed", "requires --kernel"},
      {"observe", "needs --payload or --scenarios"},
      {"observe word", "there is no --payload"},
      {"observe --payload p --limt 3", "no option --limt"},
      {"observe --payload p --arch all", "all not in {x86_64,arm64}"},
      {"observe --payload p --scenarios d", " excludes --"},
      {"observe --run x", "requires --payload"},
      {"observe --scenarios d -- word", "there is no --payload"},
      {"observe --payload p --scenario s", "no option --scenario"},
      {"observe --payload p --expect sealed", "requires --kernel"},
      {"observe --payload p --kernel i --expect both", "both not in {sealed,unsealed}"},
      {"observe --payload p --engine kvm-nested", "takes --engine tcg or kvm"},
      {"observe --payload p --json r --html ./r",
       "--json and --html both name r, expected a file for each; see `sealvisor observe --help`"},
      {"observe --payload p --engine kvm --witness", "--witness is for --engine tcg"},
      {"bench --quick --full", " excludes --"},
      {"bench --layouts 3", "3 not in range"},
      {"bench --layouts 257", "257 not in range"},
      {"bench --seed -1", "-1"},
      {"bench --fail-on faster", "faster not in {slower,any}"},
      {"bench --baseline-anyway machine", "requires --baseline"},
      {"bench --baseline b --baseline-anyway weather", "weather not in"},
      {"bench --b lts-unsealed", "--a and --b are both lts-unsealed"},
      {"bench --engine qemu", "--engine"},
      {"verify --engine kvm --variant smp", "--variant smp is for --engine tcg"},
      {"verify --engine kvm-nested --variant smp", "--variant smp is for --engine tcg"},
      {"bench --engine kvm --explain", "--explain is for --engine tcg"},
      {"bench --engine kvm-nested --explain", "--explain is for --engine tcg"},
      {"bench --engine kvm --cross-check", "--cross-check is for --engine tcg"},
      {"bench --pin 1", "--pin is for --engine kvm"},
      {"bench --engine kvm-nested --pin 0", "--pin is for --engine kvm"},
      {"bench --engine kvm --pin 8192", "8192 not in range"},
      {"bench --engine kvm --pin -1", "-1"},
      {"bench --engine kvm-nested --arch arm64 --html h", "--html is for"},
      {"bench --engine kvm-nested --csv c", "need one --arch"},
      {"bench --engine kvm-nested --arch all --baseline b", "need one --arch"},
      {"bench stray", "stray"},
      {"compat --engine kvm", "`sealvisor compat` takes --engine tcg"},
      {"compat --arch riscv", "riscv not in {x86_64,arm64,all}"},
      {"compat --kernel k --recipe r", " excludes --"},
      {"compat --kernel k --real", " excludes --"},
      {"lifetime --engine kvm-nested", "`sealvisor lifetime` takes --engine tcg"},
      {"lifetime --mechanism exact", "--mechanism"},
      {"lifetime stray", "stray"},
      {"compat --junit f", "`sealvisor compat` takes no --junit"},
      {"compat --arch arm64 --html=f", "`sealvisor compat` takes no --html"},
      {"lifetime --bundle d", "`sealvisor lifetime` takes no --bundle"},
      {"lifetime --timelines", "--timelines"},
      {"boot --arch all", "all not in {x86_64,arm64}"},
      {"boot --initramfs x --scenario y", " excludes --"},
      {"kernel", "subcommand"},
      {"kernel build", "recipe"},
      {"kernel build a riscv", "riscv"},
      {"scenarios --yaml", "--yaml"},
      {"audit", "folder"},
      {"audit a b", "b"},
      {"trace", "subcommand"},
      {"trace query", "folder"},
      {"trace query b --format csv", "--format"},
      {"trace export b --format xml", "xml not in {jsonl,csv}"},
      {"trace query b --from soon", "soon"},
  };
  for (const Case& one : cases) {
    const auto command = parse_options(words(one.line));
    ASSERT_FALSE(command.ok()) << one.line;
    EXPECT_EQ(command.error().code, ExitCode::Usage);
    EXPECT_THAT(command.error().message, HasSubstr(one.message)) << one.line;
    EXPECT_THAT(command.error().message, HasSubstr("--help`")) << one.line;
    EXPECT_EQ(command.error().message.find('\n'), std::string::npos) << one.line;
  }
}

}  // namespace
}  // namespace sealvisor::app
