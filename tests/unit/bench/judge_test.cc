#include "bench/judge.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>

#include "bench/budgets.h"

namespace sealvisor::bench {
namespace {

using Json = nlohmann::json;

Json good_run(const char* arch, int exits) {
  return {
      {"arch", arch},
      {"lane", "exact"},
      {"start",
       {{"cpu_ms", 4.5},
        {"exits",
         {{{"name", "serial line"}, {"count", exits - 1}}, {{"name", "doorbells"}, {"count", 1}}}},
        {"instructions", nullptr}}},
      {"resident_bytes", 8 << 20},
      {"costs",
       {{{"name", "judgements of user mode"}, {"count", 10}, {"microseconds", 55.0}},
        {{"name", "stores to tables told"}, {"count", 2}, {"microseconds", 5.0}}}},
      {"seconds", 12.5}};
}

/// Names of those that are over.
std::string over(const Json& run) {
  std::string names;
  for (const Figure& figure : figures_of(run)) {
    if (is_over(figure)) names += figure.name + ";";
  }
  return names;
}

TEST(Judge, TakesWhatIsWithinBudget) {
  EXPECT_EQ(over(good_run("arm64", 100)), "");
  EXPECT_EQ(over(good_run("x86_64", 1000)), "");
}

TEST(Judge, NamesWhatIsOver) {
  EXPECT_EQ(over(good_run("arm64", 101)), "exits to init;");
  EXPECT_EQ(over(good_run("x86_64", 1001)), "exits to init;");
  Json run = good_run("arm64", 37);
  run["resident_bytes"] = (8 << 20) + 1;
  EXPECT_EQ(over(run), "VMM memory beside the guest's, bytes;");
}

TEST(Judge, WhatIsNotReportedIsOver) {
  for (const Json& nothing : {Json(nullptr), Json("37"), Json::array({1}), Json::object()}) {
    Json run = good_run("arm64", 37);
    run["start"]["exits"] = nothing;
    EXPECT_EQ(over(run), "exits to init;") << nothing;
    run = good_run("arm64", 37);
    run["resident_bytes"] = nothing;
    EXPECT_EQ(over(run), "VMM memory beside the guest's, bytes;") << nothing;
  }
  EXPECT_EQ(over(Json::object()), "exits to init;VMM memory beside the guest's, bytes;");
  EXPECT_EQ(over(Json()), "exits to init;VMM memory beside the guest's, bytes;");
}

TEST(Judge, ReadsTheMeansAndSaysThem) {
  const auto figures = figures_of(good_run("arm64", 37));
  const auto value = [&](const std::string& name) {
    const auto found = std::find_if(figures.begin(), figures.end(),
                                    [&](const Figure& figure) { return figure.name == name; });
    return found == figures.end() ? std::nullopt : found->value;
  };
  EXPECT_EQ(value("exits to init"), 37);
  EXPECT_EQ(value("microseconds for each judgement"), 5.5);
  EXPECT_EQ(value("microseconds for each store to a table"), 2.5);
  EXPECT_EQ(value("seconds"), 12.5);
  EXPECT_NE(text_of({"exits", 37, 100}).find("37 (at most 100)"), std::string::npos);
  EXPECT_EQ(text_of({"exits", 37, 100}).find("OVER"), std::string::npos);
  EXPECT_NE(text_of({"exits", 101, 100}).find("OVER"), std::string::npos);
  EXPECT_NE(text_of({"exits", std::nullopt, 100}).find("not reported"), std::string::npos);
}

TEST(Judge, FindsTheMostThatAnyRunHeld) {
  EXPECT_EQ(
      most_resident(
          {{"runs",
            {{{"resident_bytes", 3}}, {{"resident_bytes", 7}}, {{"resident_bytes", nullptr}}}}}),
      7);
  EXPECT_EQ(most_resident({{"runs", Json::array()}}), std::nullopt);
}

TEST(Judge, AFileThatIsNoReportIsRefused) {
  EXPECT_FALSE(read_report("/dev/null"));
  EXPECT_FALSE(read_report("/nowhere"));
}

}  // namespace
}  // namespace sealvisor::bench
