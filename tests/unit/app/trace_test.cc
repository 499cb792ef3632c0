#include "vmm/app/trace.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/support/test_bundle.h"
#include "vmm/app/audit.h"

namespace sealvisor::test {
namespace {

using app::TraceFilter;
using app::TraceOptions;
using app::TraceRow;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TraceRow row() {
  TraceRow row;
  row.run = "x86_64 lts-sealed";
  row.event.kind = event::Kind::SlotWrite;
  row.event.level = 1;
  row.event.size = 8;
  row.event.parts = 1;
  row.event.icount = 1000;
  row.event.pc = 0xffffffff81000000;
  row.event.gpa = 0x3008;
  row.event.old_value = 0x400025;
  row.process = 7;
  row.function = "zap_pte_range+0x12";
  row.scenario = "munmap/whole";
  row.mappings = {"[vdso]"};
  row.gva = 0x7ffff7fd0000;
  row.frames = {{0x3000, 0x1000}, {0x400000, 0x1000}};
  return row;
}

TEST(TraceFilter, AsksForNothingByItself) { EXPECT_TRUE(app::matches({}, row())); }

TEST(TraceFilter, AsksForEachThing) {
  const auto both = [](const TraceFilter& fits, const TraceFilter& does_not) {
    EXPECT_TRUE(app::matches(fits, row()));
    EXPECT_FALSE(app::matches(does_not, row()));
  };
  both({.runs = {"arm64 *", "x86_64 *"}}, {.runs = {"arm64 *"}});
  both({.processes = {1, 7}}, {.processes = {1}});
  both({.mappings = {"[vvar]", "[vdso]"}}, {.mappings = {"[vvar]"}});
  both({.frames = {0x7000, 0x400fff}}, {.frames = {0x3ff000, 0x401000}});
  both({.functions = {"zap_*"}}, {.functions = {"zap"}});
  both({.kinds = {"slot-*"}}, {.kinds = {"root-load"}});
  both({.from = 1000}, {.from = 1001});
  both({.to = 1000}, {.to = 999});
  // All of them at once.
  both({.processes = {7}, .mappings = {"[vdso]"}}, {.processes = {7}, .mappings = {"[vvar]"}});
}

TEST(TraceFilter, AHugeLeafIsOfEachFrameInIt) {
  TraceRow huge = row();
  huge.frames = {{0x3000, 0x1000}, {0x200000, 0x200000}};
  for (const std::uint64_t frame : {0x3000U, 0x200000U, 0x201000U, 0x3fffffU}) {
    EXPECT_TRUE(app::matches({.frames = {frame}}, huge)) << frame;
  }
  for (const std::uint64_t frame : {0x1ff000U, 0x400000U, 0x4000U}) {
    EXPECT_FALSE(app::matches({.frames = {frame}}, huge)) << frame;
  }
}

TEST(TraceFilter, ThatNothingCanMatchIsRefused) {
  EXPECT_TRUE(app::check_filter({}).ok());
  EXPECT_TRUE(app::check_filter({.kinds = {"slot-*", "run-end"}, .from = 7, .to = 7}).ok());
  for (const char* none : {"slot-wirte", "table-copy", "sample", "unknown", ""}) {
    const auto status = app::check_filter({.kinds = {"slot-write", none}});
    ASSERT_FALSE(status.ok()) << none;
    EXPECT_EQ(status.error().code, ExitCode::Usage);
    EXPECT_THAT(status.error().message, StartsWith(std::string("--kind ") + none + ": "));
    EXPECT_THAT(status.error().message, HasSubstr("slot-write, content-write, user-entry"));
    EXPECT_THAT(status.error().message, Not(HasSubstr("table-copy,")));
  }
  const auto order = app::check_filter({.from = 8, .to = 7});
  ASSERT_FALSE(order.ok());
  EXPECT_EQ(order.error().code, ExitCode::Usage);
  EXPECT_THAT(order.error().message, HasSubstr("--from 8 is behind --to 7"));
}

TEST(TraceFilter, WhatHasNoFunctionOrProcessIsOfNone) {
  TraceRow other = row();
  other.function.clear();
  other.process.reset();
  EXPECT_FALSE(app::matches({.functions = {"*"}}, other));
  EXPECT_FALSE(app::matches({.processes = {7}}, other));
}

TEST(TraceLines, AreJsonLines) {
  const std::string line = app::render(row(), TraceOptions::Format::JsonLines);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["icount"], 1000);
  EXPECT_EQ(json["kind"], "slot-write");
  EXPECT_EQ(json["process"], 7);
  EXPECT_EQ(json["old"], "0x400025");
  EXPECT_EQ(json["new"], "0x0");
  EXPECT_EQ(json["function"], "zap_pte_range+0x12");
  EXPECT_EQ(json["mappings"], nlohmann::json({"[vdso]"}));
  EXPECT_EQ(json["gva"], "0x7ffff7fd0000");
  EXPECT_EQ(json["vcpu"], 0);
}

TEST(TraceLines, AreJsonLinesWhateverIsNotKnown) {
  TraceRow one = row();
  one.event.flags = event::kUserMode;
  one.process.reset();
  one.function.clear();
  one.mappings = {"[vdso]", "[vdso] (32-bit)"};
  one.gva = 0;
  one.scenario = "a\nb\x1b\xff";
  const std::string line = app::render(one, TraceOptions::Format::JsonLines);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_TRUE(std::all_of(line.begin(), line.end() - 1, [](char c) {
    return c >= ' ' && c <= '~';
  })) << line;
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["user_mode"], true);
  EXPECT_TRUE(json["process"].is_null());
  EXPECT_TRUE(json["function"].is_null());
  EXPECT_TRUE(json["gva"].is_null());
  EXPECT_EQ(json["mappings"], nlohmann::json({"[vdso]", "[vdso] (32-bit)"}));
}

TEST(TraceLines, AreCsvWithAHead) {
  const auto csv = [](const TraceRow& row) { return app::render(row, TraceOptions::Format::Csv); };
  EXPECT_EQ(app::head_of(TraceOptions::Format::Csv),
            "run,icount,kind,process,scenario,gpa,level,old,new,aux,root,pc,function,user_mode,"
            "size,part,parts,mappings,gva,vcpu\n");
  EXPECT_EQ(csv(row()),
            "x86_64 lts-sealed,1000,slot-write,7,munmap/whole,0x3008,1,0x400025,0x0,0x0,0x0,"
            "0xffffffff81000000,zap_pte_range+0x12,false,8,0,1,[vdso],0x7ffff7fd0000,0\n");
  // What is not known is empty; several mappings are one field.
  TraceRow one = row();
  one.event.flags = event::kUserMode;
  one.process.reset();
  one.function.clear();
  one.mappings = {"[vdso]", "[vdso] (32-bit)"};
  one.gva = 0;
  one.event.vcpu = 1;
  EXPECT_EQ(csv(one),
            "x86_64 lts-sealed,1000,slot-write,,munmap/whole,0x3008,1,0x400025,0x0,0x0,0x0,"
            "0xffffffff81000000,,true,8,0,1,[vdso];[vdso] (32-bit),,1\n");
  one = row();
  one.scenario = "a \"b\", c";
  EXPECT_THAT(csv(one), HasSubstr(",7,\"a \"\"b\"\", c\",0x3008,"));
  // An event is a line, whatever a bundle has for names.
  one.scenario = "a\r\nb";
  one.run = "\x1b[2J";
  EXPECT_THAT(csv(one), StartsWith("\\x1b[2J,1000,"));
  EXPECT_THAT(csv(one), HasSubstr(",a\\x0d\\x0ab,"));
  EXPECT_EQ(app::head_of(TraceOptions::Format::JsonLines), "");
}

TEST(TraceLines, AreForPeople) {
  const auto text = [](const TraceRow& row) {
    return app::render(row, TraceOptions::Format::Text);
  };
  EXPECT_THAT(text(row()), HasSubstr("process    7 0x3008 level 1 0x400025 -> 0x0 by "
                                     "zap_pte_range+0x12 [vdso] at 0x7ffff7fd0000 in "
                                     "munmap/whole\n"));
  TraceRow one = row();
  one.event.vcpu = 1;
  EXPECT_THAT(text(one), HasSubstr("slot-write    vCPU 1 process    7 "));
  one.event.flags = event::kUserMode;
  one.event.pc = 0x401000;
  one.function.clear();
  one.process.reset();
  one.mappings = {"[vdso]", "[vdso] (32-bit)"};
  one.scenario = "a\nb\x1b";
  EXPECT_THAT(text(one), HasSubstr("process    - 0x3008 level 1 0x400025 -> 0x0 by user mode at "
                                   "0x401000 [vdso], [vdso] (32-bit) at 0x7ffff7fd0000 in "
                                   "a\\x0ab\\x1b\n"));
}

class TraceCommand : public testing::Test {
 protected:
  void SetUp() override {
    bundle_.make(ScriptedRun::Kernel::Obeys);
    options_.folder = bundle_.folder();
  }
  /// The lines that come.
  std::vector<std::string> list(int expected = 0) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    EXPECT_EQ(app::trace(options_), expected);
    said_ = testing::internal::GetCapturedStderr();
    std::istringstream stream(testing::internal::GetCapturedStdout());
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    const std::string listed = stream.str();
    for (const std::string& text : {said_, listed}) {
      EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
    }
    return lines;
  }
  static std::ptrdiff_t files_in(const std::filesystem::path& folder) {
    return std::distance(std::filesystem::directory_iterator(folder),
                         std::filesystem::directory_iterator());
  }
  /// No entry is ever cleared, says whoever seals it again.
  void forge() {
    bundle_.forge([](event::Event& event) {
      if (event.kind == event::Kind::SlotWrite && event.new_value == 0) {
        event.new_value = event.old_value;
      }
      return true;
    });
  }
  TestBundle bundle_;
  TraceOptions options_;
  std::string said_;
};

TEST_F(TraceCommand, ListsAllEvents) {
  // Copies of tables are no events that a session applies.
  auto opened = app::open_run(bundle_.folder(), {TestBundle::kRun, 0, 0, {}});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  evidence::TraceReader trace(*opened.value().source);
  std::vector<std::string> kinds;
  std::size_t copies = 0;
  for (;;) {
    const auto step = trace.next();
    ASSERT_TRUE(step.ok()) << step.error().message;
    if (step.value().kind == evidence::Step::Kind::Ended) break;
    if (step.value().kind == evidence::Step::Kind::Copy) ++copies;
    if (step.value().kind != evidence::Step::Kind::Event) continue;
    kinds.emplace_back(event::name_of(step.value().event.kind));
  }
  EXPECT_GT(copies, 0U);
  EXPECT_GT(kinds.size(), 20U);
  options_.format = TraceOptions::Format::JsonLines;
  const auto lines = list();
  ASSERT_EQ(lines.size(), kinds.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(nlohmann::json::parse(lines[i])["kind"], kinds[i]) << i;
  }
  EXPECT_EQ(said_, fmt::format("{} of {} events, in 1 of 1 runs\n", kinds.size(), kinds.size()));
}

TEST_F(TraceCommand, LeavesOutARunThatIsNotWholeAndSaysSo) {
  const auto all = list();
  seal_again(bundle_.folder(), [](evidence::Manifest& manifest) {
    evidence::RunEntry other;
    other.folder = "runs/arm64-lts-sealed";
    other.not_whole = "No space left on device";
    manifest.runs.insert(manifest.runs.begin(), other);
  });
  EXPECT_EQ(list(static_cast<int>(ExitCode::Failed)), all);
  EXPECT_THAT(said_, HasSubstr("runs/arm64-lts-sealed is left out: its evidence is not whole: No "
                               "space left on device"));
  EXPECT_THAT(said_, HasSubstr("in 1 of 2 runs"));
}

TEST_F(TraceCommand, FindsWhoUnmappedTheVdso) {
  options_.format = TraceOptions::Format::JsonLines;
  options_.filter.mappings = {"[vdso]"};
  options_.filter.functions = {"zap_*"};
  options_.filter.kinds = {"slot-write"};
  std::size_t cleared = 0;
  for (const std::string& line : list()) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["mappings"][0], "[vdso]");
    if (json["new"] != "0x0") continue;
    ++cleared;
    EXPECT_EQ(json["scenario"], "munmap/whole");
    EXPECT_EQ(json["process"], 1);
  }
  EXPECT_EQ(cleared, 2U);
}

TEST_F(TraceCommand, FindsByFrameAndTime) {
  options_.format = TraceOptions::Format::JsonLines;
  options_.filter.frames = {FakeGuest::kVdso.gpa().value};
  const auto lines = list();
  ASSERT_FALSE(lines.empty());
  const auto last = nlohmann::json::parse(lines.back())["icount"].get<std::uint64_t>();
  options_.filter.from = last;
  EXPECT_FALSE(list().empty());
  options_.filter.from = last + 1;
  EXPECT_TRUE(list().empty());
}

TEST_F(TraceCommand, FindsFramesInsideHugeLeaves) {
  TestBundle other;
  // To the only process there is.
  other.at_the_end = [](ScriptedRun& script) {
    FakeGuest& guest = script.guest();
    const Frame root{FakeGuest(Arch::X86_64).next_table};
    guest.store(guest.slot_at(root, Gva{0x100000000000}, 3), 0x83);      // 1 GiB at 0
    guest.store(guest.slot_at(root, Gva{0x180000000000}, 2), 0x400083);  // 2 MiB at 0x400000
  };
  other.make(ScriptedRun::Kernel::Refuses);
  options_.folder = other.folder();
  options_.format = TraceOptions::Format::JsonLines;
  options_.filter.kinds = {"slot-write"};
  const auto found = [&](std::uint64_t frame) {
    options_.filter.frames = {frame};
    std::vector<int> levels;
    for (const std::string& line : list()) {
      const auto json = nlohmann::json::parse(line);
      if (json["level"] == 1 || (json["new"] != "0x83" && json["new"] != "0x400083")) continue;
      EXPECT_EQ(json["mappings"], nlohmann::json({"[vdso]"})) << line;
      levels.push_back(json["level"]);
    }
    return levels;
  };
  const std::vector<int> both = {3, 2};
  const std::vector<int> larger = {3};
  EXPECT_EQ(found(0x400000), both);
  EXPECT_EQ(found(0x401000), both);
  EXPECT_EQ(found(0x5ff000), both);
  EXPECT_EQ(found(0x600000), larger);
  EXPECT_EQ(found(0x3ffff000), larger);
  EXPECT_TRUE(found(0x40000000).empty());
}

TEST_F(TraceCommand, NamesWhatThereIsInPlaceOfAnEmptyList) {
  options_.filter.mappings = {"[vdso]", "[vdos]"};
  EXPECT_FALSE(list().empty());
  EXPECT_THAT(said_, HasSubstr("--mapping [vdos]: there is none of this name, but [vdso]\n"));
  EXPECT_THAT(said_, Not(HasSubstr("--mapping [vdso]")));
  options_.filter = {.runs = {"arm64 *"}};
  EXPECT_TRUE(list(2).empty());
  EXPECT_THAT(said_, HasSubstr("--run arm64 *: there is none of this name, but x86_64 lts-sealed"));
  options_.filter = {.kinds = {"slot-wirte"}};
  EXPECT_TRUE(list(2).empty());
  EXPECT_THAT(said_, HasSubstr("--kind slot-wirte"));
  options_.filter = {.from = 2, .to = 1};
  EXPECT_TRUE(list(2).empty());
}

TEST_F(TraceCommand, WritesToAFile) {
  const app::Temporary folder;
  options_.format = TraceOptions::Format::Csv;
  options_.out = folder.path() / "events.csv";
  EXPECT_TRUE(list().empty());
  EXPECT_TRUE(app::Temporary::read(options_.out).starts_with("run,icount,kind,"));
  EXPECT_EQ(files_in(folder.path()), 1) << "nothing is left over";
  options_.out = folder.path() / "none/events.csv";
  EXPECT_TRUE(list(2).empty());
  EXPECT_THAT(said_, HasSubstr("--out"));
}

TEST_F(TraceCommand, SaysWhyAFileCouldNotBeWritten) {
  options_.out = "/dev/full";
  EXPECT_TRUE(list(3).empty());
  EXPECT_EQ(said_, "sealvisor: writing /dev/full: No space left on device\n");
}

TEST_F(TraceCommand, NeverWritesIntoTheBundle) {
  const std::string report = bundle_.read(evidence::kReportName);
  options_.out = bundle_.file(evidence::kReportName);
  EXPECT_TRUE(list(2).empty());
  EXPECT_THAT(said_, HasSubstr("is in the bundle"));
  EXPECT_EQ(bundle_.read(evidence::kReportName), report);
  options_.out = bundle_.file("runs/events.csv");
  EXPECT_TRUE(list(2).empty());
  EXPECT_FALSE(std::filesystem::exists(options_.out));
}

TEST_F(TraceCommand, ATraceThatDoesNotFollowFromItselfIsNoList) {
  const app::Temporary folder;
  forge();
  list(1);
  EXPECT_THAT(said_, HasSubstr("does not follow from itself"));
  EXPECT_THAT(said_, HasSubstr("step "));
  options_.format = TraceOptions::Format::Csv;
  options_.out = folder.file("events.csv", "of yesterday");
  EXPECT_TRUE(list(1).empty());
  EXPECT_EQ(app::Temporary::read(options_.out), "of yesterday");
  EXPECT_EQ(files_in(folder.path()), 1) << "nothing is left over";
}

TEST_F(TraceCommand, ATraceWithOtherEventsThanItsManifestIsNoList) {
  seal_again(bundle_.folder(), [](evidence::Manifest& manifest) { ++manifest.runs.at(0).events; });
  list(1);
  EXPECT_THAT(said_, HasSubstr("the manifest says"));
}

TEST_F(TraceCommand, PassesNothingOnToTheTerminal) {
  // list() looks for what would move a cursor.
  bundle_.write("\x1b[2J", "x");
  EXPECT_TRUE(list(1).empty());
  EXPECT_THAT(said_, HasSubstr("\\x1b[2J"));
  std::filesystem::remove(bundle_.file("\x1b[2J"));
  for (const char* name : {evidence::kRunName, evidence::kSymbolsName}) {
    const std::string path = std::string(TestBundle::kRun) + "/" + name;
    const std::string was = bundle_.read(path);
    bundle_.write(path, "{\"schema\": \"\x1b[2J\x9b\"}");
    bundle_.seal_again();
    EXPECT_TRUE(list(1).empty()) << name;
    EXPECT_THAT(said_, StartsWith("sealvisor: ")) << name;
    bundle_.write(path, was);
    bundle_.seal_again();
  }
}

TEST_F(TraceCommand, ListsNothingOfABundleThatWasChanged) {
  bundle_.write(evidence::kReportName, "{}");
  EXPECT_TRUE(list(1).empty());
  EXPECT_THAT(said_, HasSubstr("report.json"));
}

}  // namespace
}  // namespace sealvisor::test
