#include "guest/scenario/plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "guest/scenario/plan_text.h"

namespace sealvisor::scenario {
namespace {

std::string_view error_of(std::string_view line) { return parse_plan_line(line).error; }

TEST(Plan, ReadsEachKindOfLine) {
  const ParsedItem cell = parse_plan_line("cell 17 [vvar] mprotect-rwx first-page");
  ASSERT_EQ(cell.error, "");
  EXPECT_EQ(cell.item.cell, 17U);
  EXPECT_EQ(cell.item.mapping->name, "[vvar]");
  EXPECT_EQ(cell.item.scenario->name, "mprotect/rwx-first-page");

  const ParsedItem compat = parse_plan_line("cell32 18 [vvar] munmap whole");
  ASSERT_EQ(compat.error, "");
  EXPECT_EQ(compat.item.mapping->name, "[vvar] (32-bit)");
  EXPECT_EQ(compat.item.scenario->name, "munmap/whole");

  const ParsedItem life = parse_plan_line("life thousand 1000");
  ASSERT_EQ(life.error, "");
  EXPECT_EQ(life.item.scenario->name, "life/thousand");
  EXPECT_EQ(life.item.count, 1000U);

  const ParsedItem stores = parse_plan_line("control stores 3");
  ASSERT_EQ(stores.error, "");
  EXPECT_EQ(stores.item.count, 3U);
  EXPECT_EQ(parse_plan_line("control stores").item.count, find("control/stores")->count);

  const ParsedItem copy = parse_plan_line("control copy-vdso");
  ASSERT_EQ(copy.error, "");
  EXPECT_EQ(copy.item.scenario->name, "control/copy-vdso");

  EXPECT_EQ(parse_plan_line("lie mapping").item.scenario->name, "lie/mapping");
  EXPECT_EQ(parse_plan_line("life inspection 2").item.scenario->name, "storm/inspection");
  const ParsedItem sequence = parse_plan_line("compat rr-record");
  ASSERT_EQ(sequence.error, "");
  EXPECT_EQ(sequence.item.scenario->name, "compat/rr-record");
  EXPECT_EQ(sequence.item.scenario->kind, Kind::Sequence);
  EXPECT_EQ(parse_plan_line("compat uml").item.scenario->name, "real/uml");
  const ParsedItem repeat = parse_plan_line("repeat-forkexec 200");
  ASSERT_EQ(repeat.error, "");
  EXPECT_EQ(repeat.item.scenario->kind, Kind::Benchmark);
  EXPECT_EQ(repeat.item.count, 200U);
}

TEST(Plan, ReadsASeed) {
  const ParsedItem campaign = parse_plan_line("seeded control/campaign 10000 4294967295 emulated");
  ASSERT_EQ(campaign.error, "");
  EXPECT_EQ(campaign.item.scenario->name, "control/campaign");
  EXPECT_EQ(campaign.item.count, 10'000U);
  EXPECT_EQ(campaign.item.seed, 4'294'967'295U);
  EXPECT_TRUE(campaign.item.emulated);
  EXPECT_EQ(plan_line(campaign.item), "seeded control/campaign 10000 4294967295 emulated\n");
  const ParsedItem storm = parse_plan_line("seeded life/storm 5 0");
  ASSERT_EQ(storm.error, "");
  EXPECT_EQ(storm.item.seed, 0U);
  EXPECT_FALSE(storm.item.emulated);
  EXPECT_EQ(plan_line(storm.item), "seeded life/storm 5 0\n");
}

TEST(Plan, NamesWhatIsWrongWithASeed) {
  EXPECT_EQ(error_of("control campaign 5"), "no such scenario");
  EXPECT_EQ(error_of("life storm 5"), "no such scenario");
  EXPECT_EQ(error_of("seeded control/stores 5 1"), "no such scenario that takes a seed");
  EXPECT_EQ(error_of("seeded campaign 5 1"), "no such scenario that takes a seed");
  EXPECT_EQ(error_of("seeded life/storm 0 1"), "a count is a number of 1 to 100000");
  for (const char* seed : {"", "x", "-1", "4294967296", "99999999999"}) {
    EXPECT_EQ(error_of("seeded life/storm 5 " + std::string(seed)),
              "a seed is a number of 0 to 4294967295")
        << seed;
  }
  EXPECT_EQ(error_of("seeded life/storm 5 1 wild"), "words after the last one that is expected");
}

TEST(Plan, NamesWhatIsWrongWithALine) {
  EXPECT_EQ(error_of(""), "no such item");
  EXPECT_EQ(error_of("cells 1 [vdso] munmap whole"), "no such item");
  EXPECT_EQ(error_of("cell 0 [vdso] munmap whole"), "a cell id is a number of 1 to 1000000");
  EXPECT_EQ(error_of("cell 1000001 [vdso] munmap whole"), "a cell id is a number of 1 to 1000000");
  EXPECT_EQ(error_of("cell 1x [vdso] munmap whole"), "a cell id is a number of 1 to 1000000");
  EXPECT_EQ(error_of("cell 4294967297 [vdso] munmap whole"),
            "a cell id is a number of 1 to 1000000");
  EXPECT_EQ(error_of("cell 1 [heap] munmap whole"), "no such mapping");
  EXPECT_EQ(error_of("cell 1 [sigpage] munmap whole"), "no such mapping");
  EXPECT_EQ(error_of("cell 1 [vdso] unmap whole"), "no such operation");
  EXPECT_EQ(error_of("cell 1 [vdso] munmap"), "no such form");
  EXPECT_EQ(error_of("cell 1 [vdso] mremap-shrink whole"), "this operation has no such form");
  EXPECT_EQ(error_of("cell 1 [vdso] munmap whole x"), "words after the last one that is expected");
  EXPECT_EQ(error_of("life sleep 3"), "no such scenario");
  EXPECT_EQ(error_of("life fork"), "a count is a number of 1 to 100000");
  EXPECT_EQ(error_of("life fork 0"), "a count is a number of 1 to 100000");
  EXPECT_EQ(error_of("life fork 100001"), "a count is a number of 1 to 100000");
  EXPECT_EQ(error_of("control copy-vdso 4"), "words after the last one that is expected");
  EXPECT_EQ(error_of("control fork"), "no such scenario");
  EXPECT_EQ(error_of("lie"), "no such scenario");
  EXPECT_EQ(error_of("compat rr-record 2"), "words after the last one that is expected");
  EXPECT_EQ(error_of("compat fork"), "no such scenario");
  EXPECT_EQ(error_of("repeat-forkexec"), "a count is a number of 1 to 100000");
}

struct PlanTest : testing::Test {
  std::unique_ptr<Plan> plan = std::make_unique<Plan>();
};

TEST_F(PlanTest, ReadsAWholePlan) {
  ASSERT_TRUE(parse_plan("sealvisor-plan 1\nlife fork 8\ncell 1 [vdso] munmap whole\n", *plan));
  ASSERT_EQ(plan->size, 2U);
  EXPECT_EQ(plan->items[0].scenario->name, "life/fork");
  EXPECT_EQ(plan->items[1].scenario->name, "munmap/whole");
}

TEST_F(PlanTest, RefusesWhatIsNoPlan) {
  EXPECT_FALSE(parse_plan("", *plan));
  EXPECT_EQ(plan->error, "empty");
  EXPECT_FALSE(parse_plan("sealvisor-plan 2\n", *plan));
  EXPECT_EQ(plan->error, "not a plan of this version");
  EXPECT_FALSE(parse_plan("sealvisor-plan 1\nlife fork 8", *plan));
  EXPECT_EQ(plan->error, "cut short: the last line does not end");
  EXPECT_EQ(plan->line, 2U);
  EXPECT_FALSE(parse_plan("sealvisor-plan 1\nlife fork 8\n\n", *plan));
  EXPECT_EQ(plan->error, "no such item");
  EXPECT_EQ(plan->line, 3U);
  EXPECT_FALSE(parse_plan(std::string(kMaxPlanSize + 1, 'x'), *plan));
  EXPECT_EQ(plan->error, "longer than 262144 bytes");
  std::string many(kPlanHeader);
  many += '\n';
  for (std::size_t i = 0; i <= kMaxPlanItems; ++i) many += "lie mapping\n";
  EXPECT_FALSE(parse_plan(many, *plan));
  EXPECT_EQ(plan->error, "more than 8192 items");
}

TEST_F(PlanTest, ReadsBackWhatItWrites) {
  std::string text(kPlanHeader);
  text += '\n';
  std::uint32_t cell = 0;
  std::size_t expected = 0;
  for (const Scenario& scenario : kScenarios) {
    if (scenario.kind == Kind::Cells) {
      for (const Mapping& mapping : kMappings) {
        text += plan_line({&scenario, 0, ++cell, &mapping});
        ++expected;
      }
    } else {
      text += plan_line({&scenario, scenario.count, 0, nullptr});
      ++expected;
    }
  }
  ASSERT_TRUE(parse_plan(text, *plan)) << plan->line << ": " << plan->error;
  ASSERT_EQ(plan->size, expected);
  std::string again(kPlanHeader);
  again += '\n';
  for (std::size_t i = 0; i < plan->size; ++i) again += plan_line(plan->items[i]);
  EXPECT_EQ(again, text);
}

TEST(Plan, ExpandsToTheMappingsOfTheGuest) {
  const auto mappings = [](const char* scenario, arch::Arch arch, bool full) {
    std::vector<std::string> names;
    std::uint32_t cell = 0;
    expand(*find(scenario), arch, full, cell,
           [&](const PlanItem& item) { names.emplace_back(item.mapping->name); });
    EXPECT_EQ(cell, names.size());
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(mappings("munmap/whole", arch::Arch::Arm64, false),
            (Names{"[vdso]", "[vvar]", "[vvar_vclock]"}));
  EXPECT_EQ(mappings("munmap/whole", arch::Arch::Arm64, true),
            (Names{"[vdso]", "[vvar]", "[vvar_vclock]", "[uprobes]", "[vdso] (32-bit)",
                   "[vvar] (32-bit)", "[vectors] (32-bit)", "[sigpage] (32-bit)"}));
  EXPECT_EQ(mappings("uprobe/hit", arch::Arch::X86_64, true),
            (Names{"[vdso]", "[vvar]", "[vvar_vclock]", "[uprobes]"}))
      << "the kernel of arm64 has no probes of 32-bit code, and none are tried on x86-64";
  EXPECT_TRUE(mappings("arch/map-vdso", arch::Arch::Arm64, true).empty());
}

}  // namespace
}  // namespace sealvisor::scenario
