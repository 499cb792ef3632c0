#include "vmm/app/scenarios.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "guest/scenario/plan_text.h"

namespace sealvisor::app {
namespace {

using scenario::Kind;
using scenario::Scenario;
using testing::HasSubstr;

std::vector<std::string> names_chosen(const std::vector<std::string>& patterns) {
  const auto chosen = choose_scenarios(patterns);
  std::vector<std::string> names;
  if (!chosen) return {chosen.error().message};
  for (const Scenario* scenario : chosen.value()) names.emplace_back(scenario->name);
  return names;
}

TEST(ChooseScenarios, WithoutPatternsTheDefaultOnes) {
  const auto chosen = choose_scenarios({});
  ASSERT_TRUE(chosen.ok());
  std::size_t by_default = 0;
  for (const Scenario& scenario : scenario::kScenarios) {
    by_default += scenario.tier == scenario::Tier::Default ? 1 : 0;
  }
  EXPECT_EQ(chosen.value().size(), by_default);
  for (const Scenario* scenario : chosen.value()) {
    EXPECT_EQ(scenario->tier, scenario::Tier::Default) << scenario->name;
  }
}

TEST(ChooseScenarios, EachOnceInTheOrderOfTheList) {
  EXPECT_THAT(names_chosen({"munmap/last-page", "munmap/*-page", "life/fork"}),
              testing::ElementsAre("life/fork", "munmap/first-page", "munmap/last-page"));
  EXPECT_THAT(names_chosen({"control/panic"}), testing::ElementsAre("control/panic"))
      << "one that is no default can be asked for";
}

TEST(ChooseScenarios, NamesWhatIsUnknownAndWhatIsClose) {
  struct Case {
    const char* pattern;
    const char* close;
  };
  const std::vector<Case> cases = {
      {"munmap/hole", "close: munmap/whole"},
      {"life/frok", "close: life/fork"},
      {"thousand", "close: life/thousand"},
      {"flood", "close: control/flood-console, control/flood-doorbell"},
      {"qqqqqqqqqqqqqqqq", "`sealvisor scenarios` lists them"},
      {"", "`sealvisor scenarios` lists them"},
  };
  for (const Case& one : cases) {
    const auto chosen = choose_scenarios({"life/*", one.pattern});
    ASSERT_FALSE(chosen.ok()) << one.pattern;
    EXPECT_EQ(chosen.error().code, ExitCode::Usage);
    EXPECT_THAT(chosen.error().message,
                HasSubstr("no scenario matches '" + std::string(one.pattern) + "'"));
    EXPECT_THAT(chosen.error().message, HasSubstr(one.close));
  }
}

TEST(ChooseScenarios, InFullHasAllButWhatIsNoTry) {
  const auto chosen = choose_scenarios({}, true);
  ASSERT_TRUE(chosen.ok());
  for (const Scenario& scenario : scenario::kScenarios) {
    const bool there =
        std::find(chosen.value().begin(), chosen.value().end(), &scenario) != chosen.value().end();
    const bool tried = scenario.kind == Kind::Cells || scenario.kind == Kind::Life;
    EXPECT_EQ(there, tried && scenario.tier != scenario::Tier::OnRequest) << scenario.name;
    EXPECT_FALSE(there && for_lifetime(scenario)) << scenario.name;
  }
  EXPECT_THAT(choose_scenarios({"munmap/whole"}, true).value(), testing::SizeIs(1));
}

class PlanOf : public testing::TestWithParam<arch::Arch> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, PlanOf, testing::ValuesIn(arch::kAllArchs),
                         [](const auto& one) { return std::string(arch::name_of(one.param)); });

TEST_P(PlanOf, MakesOneCellForEachMappingAndReadsBack) {
  const auto chosen = choose_scenarios({"*"});
  ASSERT_TRUE(chosen.ok());
  const auto plan = plan_of(chosen.value(), GetParam(), true);
  std::string text = std::string(scenario::kPlanHeader) + "\n";
  std::set<std::uint32_t> ids;
  std::size_t cells = 0;
  for (const scenario::PlanItem& item : plan) {
    text += scenario::plan_line(item);
    if (item.scenario->kind != Kind::Cells) continue;
    ++cells;
    ids.insert(item.cell);
    EXPECT_GE(item.cell, 1U);
  }
  std::size_t expected = 0;
  for (const Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != Kind::Cells) continue;
    for (const scenario::Mapping& mapping : scenario::kMappings) {
      expected += scenario::applies(scenario, mapping, GetParam()) ? 1 : 0;
    }
  }
  EXPECT_EQ(cells, expected);
  EXPECT_EQ(ids.size(), cells) << "each cell has a number of its own";
  const auto read = std::make_unique<scenario::Plan>();
  ASSERT_TRUE(scenario::parse_plan(text, *read)) << read->error << ": " << read->text;
  ASSERT_EQ(read->size, plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(read->items[i].scenario, plan[i].scenario);
    EXPECT_EQ(read->items[i].count, plan[i].count);
    EXPECT_EQ(read->items[i].cell, plan[i].cell);
    EXPECT_EQ(read->items[i].mapping, plan[i].mapping);
  }
}

TEST(ListScenarios, HasThemAllInBothFormats) {
  const std::string text = list_scenarios(100);
  const auto json = nlohmann::json::parse(list_scenarios_json());
  ASSERT_EQ(json.size(), scenario::kScenarios.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    const Scenario& scenario = scenario::kScenarios[i];
    EXPECT_THAT(text, HasSubstr(std::string(scenario.name) + " "));
    EXPECT_EQ(json[i]["name"], scenario.name);
    EXPECT_EQ(json[i]["by_default"], scenario.tier == scenario::Tier::Default);
    EXPECT_EQ(json[i]["full"], scenario.tier != scenario::Tier::OnRequest);
    EXPECT_EQ(json[i]["count"], scenario.count);
  }
}

}  // namespace
}  // namespace sealvisor::app
