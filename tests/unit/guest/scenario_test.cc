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
  for (const Operation& operation : kOperations) {
    EXPECT_TRUE(words.insert(operation.name).second) << operation.name;
    EXPECT_FALSE(operation.name.empty());
    EXPECT_LT(operation.name.size(), protocol::kNameSize) << operation.name;
    EXPECT_NE(operation.forms.size(), 0U) << operation.name;
    EXPECT_EQ(operation.by_default.bits & ~operation.forms.bits, 0) << operation.name;
    EXPECT_EQ(operation_named(operation.name), &operation);
  }
  for (const auto name : kFormNames) {
    EXPECT_TRUE(words.insert(name).second) << name;
    EXPECT_LT(name.size(), protocol::kNameSize);
  }
  EXPECT_EQ(operation_named("unmap"), nullptr);
}

TEST(Scenarios, MappingsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const Mapping& mapping : kMappings) {
    EXPECT_TRUE(names.insert(mapping.name).second) << mapping.name;
    EXPECT_LT(mapping.name.size(), protocol::kNameSize);
    EXPECT_EQ(mapping.name.ends_with(kCompatSuffix), mapping.compat) << mapping.name;
    EXPECT_TRUE(mapping.name.starts_with(mapping.smaps_name)) << mapping.name;
    EXPECT_EQ(find_mapping(mapping.smaps_name, mapping.compat), &mapping);
    EXPECT_EQ(mapping_named(mapping.name), &mapping);
  }
  EXPECT_EQ(find_mapping("[heap]", false), nullptr);
}

TEST(Scenarios, FormsAreNamed) {
  EXPECT_EQ(name_of(Form::Neighbour), "neighbour");
  EXPECT_EQ(form_named("first-page"), Form::FirstPage);
  EXPECT_EQ(form_named(""), std::nullopt);
  EXPECT_TRUE(kSpanning.has(Form::Neighbour));
  EXPECT_FALSE(kPages.has(Form::Neighbour));
  EXPECT_EQ(kEvery.size(), kFormCount);
}

TEST(Scenarios, EveryFormOfEveryOperationIsTriedOnce) {
  std::size_t cells = 0;
  for (const Scenario& scenario : kScenarios) {
    EXPECT_EQ(scenario.operation != nullptr, scenario.kind == Kind::Cells) << scenario.name;
    if (scenario.kind != Kind::Cells) continue;
    ++cells;
    EXPECT_EQ(find_cells(*scenario.operation, scenario.form), &scenario);
    EXPECT_TRUE(scenario.operation->forms.has(scenario.form)) << scenario.name;
    EXPECT_EQ(scenario.tier == Tier::Default, scenario.operation->by_default.has(scenario.form));
  }
  std::size_t forms = 0;
  for (const Operation& operation : kOperations) forms += operation.forms.size();
  EXPECT_EQ(cells, forms);
  EXPECT_EQ(find_cells(*operation_named("mremap-shrink"), Form::Whole), nullptr);
}

/// What runs by default, and how long that takes, does not grow with the list.
TEST(Scenarios, TheDefaultOnesAreFew) {
  std::size_t by_default = 0;
  for (const Scenario& scenario : kScenarios) {
    if (scenario.kind == Kind::Cells && scenario.tier == Tier::Default) ++by_default;
  }
  EXPECT_EQ(by_default, 45U);
}

TEST(Scenarios, AreNamedAfterOperationAndForm) {
  const auto name = [](const char* operation, Form form) {
    return find_cells(*operation_named(operation), form)->name;
  };
  EXPECT_EQ(name("munmap", Form::Whole), "munmap/whole");
  EXPECT_EQ(name("munmap", Form::Empty), "munmap/empty");
  EXPECT_EQ(name("mremap-grow-move", Form::LastPage), "mremap/grow-move-last-page");
  EXPECT_EQ(name("mremap-shrink", Form::LastPage), "mremap/shrink");
  EXPECT_EQ(name("mprotect-none", Form::Whole), "mprotect/none");
  EXPECT_EQ(name("process-madvise-willneed", Form::FirstPage),
            "process/madvise-willneed-first-page");
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
  EXPECT_EQ(chosen("munmap/*"),
            (std::vector<std::string>{"munmap/whole", "munmap/first-page", "munmap/last-page",
                                      "munmap/neighbour", "munmap/empty"}));
  EXPECT_EQ(chosen("mprotect/r?"), (std::vector<std::string>{"mprotect/rw", "mprotect/rx"}));
  EXPECT_EQ(chosen("life/[ft]*"),
            (std::vector<std::string>{"life/fork", "life/threads", "life/thousand"}));
  EXPECT_EQ(chosen("*").size(), kScenarios.size());
  EXPECT_TRUE(chosen("munmap").empty());
}

}  // namespace
}  // namespace sealvisor::scenario
