#include "vmm/run/description.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "vmm/run/outcome.h"

namespace sealvisor::test {
namespace {

using testing::HasSubstr;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(Description, ComesBack) {
  const app::Temporary folder;
  run::RunRequest request = ScriptedRun::request(folder.path());
  request.arch = Arch::Arm64;
  request.engine = engine::Kind::Kvm;
  request.mechanism = engine::Mechanism::Audited;
  request.control = true;
  request.recipe = "lying:force-never";
  request.variant = "force-never";
  request.kernel_arguments = "proc_mem.force_override=never";
  request.cpu_model = "host";
  request.step_check = true;
  request.ours = false;
  request.leave_return = 3;
  request.vcpus = 2;
  request.timelines = true;
  scenario::PlanItem life;
  life.scenario = scenario::find("life/fork");
  life.count = 5;
  request.plan.push_back(life);
  scenario::PlanItem compat;
  compat.scenario = scenario::find("procmem/self");
  ASSERT_NE(compat.scenario, nullptr);
  compat.cell = 2;
  compat.mapping = scenario::mapping_named("[vdso] (32-bit)");
  request.plan.push_back(compat);
  run::ProgramRequest program;
  program.name = "tool";
  program.root = "/payload";
  program.run = "/bin/tool";
  program.arguments = {"-x", "two words"};
  program.environment = {"A=b"};
  program.limit_seconds = 7;
  program.output_bytes = 9;
  program.traced = false;
  request.programs = {program};
  request.payload = {image::InitramfsItem::directory("payload"),
                     image::InitramfsItem::file_from("payload/tool", folder.path() / "init", 0755)};
  request.program_file = "sealvisor-scenarios 1\n";
  request.program_file_name = "dir/scenarios";
  const auto text = run::describe_run(request);
  ASSERT_TRUE(text.ok()) << text.error().message;
  const auto again = run::parse_description(text.value());
  ASSERT_TRUE(again.ok()) << again.error().message;
  const run::RunRequest& back = again.value();
  EXPECT_NE(text.value().find("\"payload/tool\""), std::string::npos);
  ASSERT_EQ(back.programs.size(), 1U);
  EXPECT_EQ(back.programs[0].name, program.name);
  EXPECT_EQ(back.programs[0].root, program.root);
  EXPECT_EQ(back.programs[0].run, program.run);
  EXPECT_EQ(back.programs[0].arguments, program.arguments);
  EXPECT_EQ(back.programs[0].environment, program.environment);
  EXPECT_EQ(back.programs[0].limit_seconds, program.limit_seconds);
  EXPECT_EQ(back.programs[0].output_bytes, program.output_bytes);
  EXPECT_FALSE(back.programs[0].traced);
  EXPECT_EQ(back.program_file, request.program_file);
  EXPECT_EQ(back.program_file_name, request.program_file_name);
  EXPECT_EQ(back.arch, request.arch);
  EXPECT_EQ(back.recipe, request.recipe);
  EXPECT_EQ(back.variant, request.variant);
  EXPECT_EQ(back.kernel_arguments, request.kernel_arguments);
  EXPECT_EQ(back.engine, request.engine);
  EXPECT_EQ(back.mechanism, request.mechanism);
  EXPECT_TRUE(back.expectations && back.sealed && back.control && back.step_check);
  EXPECT_FALSE(back.ours);
  EXPECT_EQ(back.cpu_model, request.cpu_model);
  EXPECT_EQ(back.memory_bytes, request.memory_bytes);
  EXPECT_EQ(back.doorbell_limit, request.doorbell_limit);
  EXPECT_EQ(back.leave_return, request.leave_return);
  EXPECT_EQ(back.vcpus, request.vcpus);
  EXPECT_EQ(back.symbols, "vmlinux");
  EXPECT_TRUE(back.timelines) << "a trace has what they read, too";
  ASSERT_EQ(back.plan.size(), 3U);
  EXPECT_EQ(back.plan[0].scenario, request.plan[0].scenario);
  EXPECT_EQ(back.plan[0].mapping, request.plan[0].mapping);
  EXPECT_EQ(back.plan[1].count, 5U);
  EXPECT_EQ(back.plan[2].scenario, compat.scenario);
  EXPECT_EQ(back.plan[2].mapping, compat.mapping);
}

TEST(Description, HasAllThatASessionAndItsReportLookAt) {
  const app::Temporary folder;
  run::RunRequest request = ScriptedRun::request(folder.path());
  // None as a RunRequest has it by itself: what is not written would show.
  request.arch = Arch::Arm64;
  request.engine = engine::Kind::Kvm;
  request.mechanism = engine::Mechanism::Exact;
  request.recipe = "mine";
  request.variant = "a variant";
  request.expectations = false;
  request.sealed = true;
  request.control = true;
  request.memory_bytes = 128ULL << 20;
  request.cpu_model = "host";
  request.kernel_arguments = "quiet";
  request.doorbell_limit = 7;
  request.witness = true;
  request.drop_store = 9;
  request.step_check = true;
  request.leave_return = 3;
  request.left_out = {"variant one: no firmware", "variant two: no such machine"};
  const auto text = run::describe_run(request);
  ASSERT_TRUE(text.ok()) << text.error().message;
  auto again = run::parse_description(text.value());
  ASSERT_TRUE(again.ok()) << again.error().message;
  run::RunRequest& back = again.value();
  EXPECT_EQ(back.left_out, request.left_out);
  EXPECT_EQ(back.doorbell_limit, 7U);
  EXPECT_EQ(back.drop_store, 9U);
  EXPECT_TRUE(back.witness);
  EXPECT_FALSE(back.expectations);
  // And all else: the same request is described by the same bytes, but for its files.
  back.kernel_image = request.kernel_image;
  back.symbols = request.symbols;
  back.agent_dir = request.agent_dir;
  back.plugin = request.plugin;
  EXPECT_EQ(run::describe_run(back).value(), text.value());
}

TEST(Description, SaysWhetherThereAreSymbols) {
  const app::Temporary folder;
  run::RunRequest request = ScriptedRun::request(folder.path());
  request.symbols.clear();
  const auto text = run::describe_run(request);
  ASSERT_TRUE(text.ok()) << text.error().message;
  const auto again = run::parse_description(text.value());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again.value().symbols.empty());
  EXPECT_THAT(text.value(), HasSubstr("\"symbols\": null"));
}

TEST(Description, HasNothingOfTheHostsFolders) {
  const app::Temporary one;
  const app::Temporary other;
  const auto first = run::describe_run(ScriptedRun::request(one.path()));
  const auto second = run::describe_run(ScriptedRun::request(other.path()));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value(), second.value());
  const run::RunRequest request = ScriptedRun::request(other.path());
  other.file("vmlinux", "another kernel");
  const auto third = run::describe_run(request);
  ASSERT_TRUE(third.ok());
  EXPECT_NE(third.value(), first.value());
}

TEST(Description, NamesAFileThatIsNotThere) {
  const app::Temporary folder;
  run::RunRequest request = ScriptedRun::request(folder.path());
  request.kernel_image = folder.path() / "none";
  const auto text = run::describe_run(request);
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().code, ExitCode::HostLacks);
  EXPECT_THAT(text.error().message, HasSubstr("none: No such file"));
}

TEST(Description, RefusesWhatItIsNot) {
  const app::Temporary folder;
  const std::string text = run::describe_run(ScriptedRun::request(folder.path())).value();
  const auto why = [](const std::string& edited) {
    const auto request = run::parse_description(edited);
    return request ? std::string() : request.error().message;
  };
  EXPECT_EQ(why(text), "");
  EXPECT_THAT(why("no JSON"), HasSubstr("run: no JSON"));
  EXPECT_THAT(why("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(why(replaced(text, "sealvisor-run-1", "sealvisor-run-9")), HasSubstr("\"schema\""));
  EXPECT_THAT(why(replaced(text, "\"x86_64\"", "\"vax\"")), HasSubstr("\"arch\""));
  EXPECT_THAT(why(replaced(text, "\"tcg\"", "\"xen\"")), HasSubstr("\"engine\""));
  EXPECT_THAT(why(replaced(text, "\"best\"", "\"worst\"")), HasSubstr("\"mechanism\""));
  EXPECT_THAT(why(replaced(text, "67108864", "67108865")), HasSubstr("\"memory_bytes\""));
  EXPECT_THAT(why(replaced(text, "67108864", "999999999999")), HasSubstr("\"memory_bytes\""));
  EXPECT_THAT(why(replaced(text, "67108864", "-1")), HasSubstr("\"memory_bytes\""));
  EXPECT_THAT(why(replaced(text, "\"vcpus\": 1", "\"vcpus\": 0")), HasSubstr("\"vcpus\""));
  EXPECT_THAT(why(replaced(text, "\"vcpus\": 1", "\"vcpus\": 3")), HasSubstr("\"vcpus\""));
  EXPECT_THAT(why(replaced(text, "cell 1 [vdso]", "cell 1 [heap]")),
              HasSubstr("line 1, 'cell 1 [heap] munmap whole': no such mapping"));
  EXPECT_THAT(why(replaced(text, "\"witness\": false", "\"witness\": 0")),
              HasSubstr("\"witness\""));
  EXPECT_THAT(why(replaced(text, "\"event_version\": ", "\"event_version\": 1")),
              HasSubstr("\"event_version\""));
}

TEST(Outcome, ComesBack) {
  engine::Outcome outcome;
  outcome.end = engine::End::GuestCrashed;
  outcome.text = "triple fault";
  outcome.version = "QEMU 10.0.2";
  outcome.cpu_model = "max";
  outcome.lane = "audited";
  outcome.mechanism = "traps";
  outcome.limits = {"one", "two"};
  outcome.stepped = engine::StepCount{1, 2, 3};
  const std::string text = run::render_outcome(outcome);
  const auto again = run::parse_outcome(text);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(run::render_outcome(again.value()), text);
  EXPECT_EQ(again.value().end, outcome.end);
  std::string symbols;
  EXPECT_TRUE(run::parse_outcome(run::render_outcome(outcome, "abc"), &symbols).ok());
  EXPECT_EQ(symbols, "abc");
  EXPECT_FALSE(run::parse_outcome("{}").ok());
  EXPECT_FALSE(run::parse_outcome(replaced(text, "guest crashed", "happily")).ok());
  EXPECT_FALSE(run::parse_outcome(replaced(text, "\"entries\":2", "\"entries\":-2")).ok());
}

TEST(ConsoleTail, DoesNotDependOnHowTheBytesCame) {
  std::string all;
  run::ConsoleTail one;
  for (int i = 0; i < 20'000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    all += line;
    one.add(line);
  }
  run::ConsoleTail whole;
  whole.add(all);
  EXPECT_EQ(one.text(), whole.text());
  EXPECT_EQ(one.text(), all.substr(all.size() - one.text().size()));
  EXPECT_EQ(one.text().size(), 8192U);
}

}  // namespace
}  // namespace sealvisor::test
