#include "guest/scenario/scenario.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "guest/scenario/select.h"

namespace sealvisor::scenario {
namespace {

TEST(Scenarios, NamesAreUniqueAndFitAMessage) {
  std::set<std::string_view> names;
  for (const Scenario& scenario : kScenarios) {
    EXPECT_TRUE(names.insert(scenario.name).second) << scenario.name;
    EXPECT_LT(scenario.name.size(), protocol::kNameSize) << scenario.name;
    EXPECT_NE(scenario.name.find('/'), std::string_view::npos) << scenario.name;
    EXPECT_EQ(scenario.name.find(' '), std::string_view::npos) << scenario.name;
    EXPECT_EQ(scenario.name.data()[scenario.name.size()], '\0') << scenario.name;
    EXPECT_FALSE(scenario.description.empty()) << scenario.name;
    EXPECT_LE(scenario.count, kMaxCount) << scenario.name;
  }
}

TEST(Scenarios, CellWordsAreUniqueAndFitAMessage) {
  std::set<std::string_view> words;
  for (const auto name : kOperationNames) {
    EXPECT_TRUE(words.insert(name).second) << name;
    EXPECT_FALSE(name.empty());
    EXPECT_LT(name.size(), protocol::kNameSize);
  }
  for (const auto name : kFormNames) {
    EXPECT_TRUE(words.insert(name).second) << name;
    EXPECT_LT(name.size(), protocol::kNameSize);
  }
  for (const auto name : kMappings) EXPECT_LT(name.size(), protocol::kNameSize);
}

TEST(Scenarios, NamesAndEnumeratorsAgree) {
  EXPECT_EQ(name_of(Operation::Munmap), "munmap");
  EXPECT_EQ(name_of(Operation::MremapGrowMove), "mremap-grow-move");
  EXPECT_EQ(name_of(Operation::MprotectNone), "mprotect-none");
  EXPECT_EQ(name_of(Operation::MprotectSame), "mprotect-same");
  EXPECT_EQ(name_of(Operation::MmapFixed), "mmap-fixed");
  EXPECT_EQ(name_of(Form::Neighbour), "neighbour");
  for (std::size_t i = 0; i < kOperationCount; ++i) {
    EXPECT_EQ(operation_named(kOperationNames[i]), static_cast<Operation>(i));
  }
  EXPECT_EQ(operation_named("unmap"), std::nullopt);
  EXPECT_EQ(form_named("first-page"), Form::FirstPage);
  EXPECT_EQ(form_named(""), std::nullopt);
}

TEST(Scenarios, EveryOperationIsTriedAndEachPairOnce) {
  std::set<std::pair<Operation, Form>> pairs;
  std::set<Operation> operations;
  for (const Scenario& scenario : kScenarios) {
    if (scenario.kind != Kind::Cells) continue;
    EXPECT_TRUE(pairs.insert({scenario.operation, scenario.form}).second) << scenario.name;
    operations.insert(scenario.operation);
    EXPECT_EQ(find_cells(scenario.operation, scenario.form), &scenario);
    EXPECT_TRUE(scenario.by_default) << scenario.name;
  }
  EXPECT_EQ(operations.size(), kOperationCount);
  EXPECT_EQ(find_cells(Operation::MremapShrink, Form::Whole), nullptr);
}

TEST(Scenarios, FindsByName) {
  ASSERT_NE(find("life/thousand"), nullptr);
  EXPECT_EQ(find("life/thousand")->count, 1000U);
  EXPECT_EQ(short_name(*find("life/thousand")), "thousand");
  EXPECT_EQ(find("life/"), nullptr);
  EXPECT_EQ(find("thousand"), nullptr);
}

std::vector<std::string> chosen(const char* pattern) {
  std::vector<std::string> names;
  for (const Scenario& scenario : kScenarios) {
    if (matches(scenario, pattern)) names.emplace_back(scenario.name);
  }
  return names;
}

TEST(Scenarios, PatternsChoose) {
  EXPECT_EQ(chosen("munmap/*"), (std::vector<std::string>{"munmap/whole", "munmap/first-page",
                                                          "munmap/last-page", "munmap/neighbour"}));
  EXPECT_EQ(chosen("*/whole"), (std::vector<std::string>{"munmap/whole", "mmap-fixed/whole"}));
  EXPECT_EQ(chosen("mprotect/r?"), (std::vector<std::string>{"mprotect/rw", "mprotect/rx"}));
  EXPECT_EQ(chosen("life/[ft]*"),
            (std::vector<std::string>{"life/fork", "life/threads", "life/thousand"}));
  EXPECT_EQ(chosen("*").size(), kScenarios.size());
  EXPECT_TRUE(chosen("munmap").empty());
}

}  // namespace
}  // namespace sealvisor::scenario
