#include "bench/experiment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace sealvisor::bench {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '/';
}

constexpr const char* kParts[] = {"exec/", "mmap/", "vdso/"};

/// Why `name` could not stand in a plan, a message and a report; empty: it can.
std::string_view wrong_with(std::string_view name) {
  if (name.size() > kMaxName) return "too long";
  if (!std::all_of(name.begin(), name.end(), is_name_character)) return "a character";
  if (std::count(name.begin(), name.end(), '/') != 1) return "not one slash";
  if (name.front() == '/' || name.back() == '/') return "a part is empty";
  return {};
}

TEST(Experiments, AWrongNameIsSeen) {
  EXPECT_EQ(wrong_with("exec/fork-exit"), "");
  EXPECT_EQ(wrong_with(std::string(kMaxName - 4, 'x').append("/abcd")), "too long");
  EXPECT_EQ(wrong_with("exec/fork exit"), "a character");
  EXPECT_EQ(wrong_with("fork"), "not one slash");
  EXPECT_EQ(wrong_with("exec/"), "a part is empty");
}

TEST(Experiments, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const Experiment& experiment : experiments()) {
    EXPECT_EQ(wrong_with(experiment.name), "") << experiment.name;
    EXPECT_TRUE(names.insert(experiment.name).second) << experiment.name;
  }
  EXPECT_EQ(names.size(), experiments().size());
}

TEST(Experiments, HaveNumbersThatAPlanCanSay) {
  for (const Experiment& experiment : experiments()) {
    EXPECT_GE(experiment.samples, 1U) << experiment.name;
    EXPECT_LE(experiment.samples, kMaxSamplesOf) << experiment.name;
    // A tool runs long enough to warm itself up.
    EXPECT_GE(experiment.warm_up, experiment.group == Group::Foreign ? 0U : 1U) << experiment.name;
    EXPECT_LE(experiment.warm_up, kMaxSamplesOf) << experiment.name;
    EXPECT_GE(experiment.clock_batch, 1U) << experiment.name;
    EXPECT_LE(experiment.clock_batch, kMaxBatch) << experiment.name;
  }
}

/// Group of a name by its first part; of a 32-bit process, by whether 64-bit ones have it there.
Group group_named(std::string_view name) {
  if (name.starts_with("exec/")) return Group::Exec;
  if (name.starts_with("stress-ng/") || name.starts_with("perf-bench/")) return Group::Foreign;
  if (name.starts_with("mmap/")) return Group::Mmap;
  const std::string own(name.substr(name.find('/') + 1));
  for (const Group group : {Group::Exec, Group::Mmap}) {
    const char* const part = group == Group::Exec ? "exec/" : "mmap/";
    if (find_experiment(part + own) != nullptr) return group;
  }
  return Group::Vdso;
}

TEST(Experiments, AreInTheGroupThatTheirNameSays) {
  for (const Experiment& experiment : experiments()) {
    EXPECT_EQ(experiment.group, group_named(experiment.name)) << experiment.name;
  }
}

TEST(Experiments, HaveTheSystemCallAsControlOfEachCallOfTheVdso) {
  for (const Experiment& experiment : experiments()) {
    const std::string_view name = experiment.name;
    if (experiment.group != Group::Vdso || name.ends_with("-syscall")) continue;
    if (name.find("first-call") != std::string_view::npos) continue;
    const Experiment* control = find_experiment(std::string(name) + "-syscall");
    ASSERT_NE(control, nullptr) << name;
    EXPECT_EQ(control->on, experiment.on) << name;
  }
}

TEST(Experiments, OfA32BitProcessAreThoseOf64BitOnes) {
  // With clock_gettime64 where those have clock_gettime.
  constexpr std::string_view kLonger = "clock_gettime64-";
  for (const Experiment& experiment : experiments()) {
    std::string name(experiment.name);
    if (!name.starts_with("compat/")) continue;
    name.erase(0, name.find('/') + 1);
    if (name.starts_with(kLonger)) name.replace(0, kLonger.size(), "clock_gettime-");
    const bool there = std::any_of(std::begin(kParts), std::end(kParts), [&](const char* part) {
      return find_experiment(part + name) != nullptr;
    });
    EXPECT_TRUE(there) << experiment.name;
  }
}

TEST(Experiments, TakeEachClockAndFirstCallOf64BitProcessesIn32BitOnesToo) {
  for (const Experiment& experiment : experiments()) {
    std::string name(experiment.name);
    if (!name.starts_with("vdso/") || name.find("getrandom") != std::string::npos) continue;
    name.replace(0, 4, "compat");
    const std::size_t at = name.find("clock_gettime");
    if (at != std::string::npos) name.insert(at + std::string_view("clock_gettime").size(), "64");
    const Experiment* compat = find_experiment(name);
    ASSERT_NE(compat, nullptr) << name;
    EXPECT_EQ(compat->on, experiment.on) << name;
  }
}

TEST(Experiments, HaveAQuickPartOfEachGroup) {
  std::map<Group, int> quick;
  std::map<std::string_view, int> quick_parts;
  for (const Experiment& experiment : experiments()) {
    if (!experiment.quick) continue;
    ++quick[experiment.group];
    ++quick_parts[experiment.name.substr(0, experiment.name.find('/'))];
  }
  EXPECT_GE(quick[Group::Exec], 5);
  EXPECT_GE(quick[Group::Mmap], 5);
  EXPECT_GE(quick[Group::Vdso], 5);
  EXPECT_GE(quick_parts["compat"], 1);
  EXPECT_EQ(quick[Group::Foreign], 0) << "asked for by --cross-check alone";
  const int all = quick[Group::Exec] + quick[Group::Mmap] + quick[Group::Vdso];
  EXPECT_GE(all, 20);
  EXPECT_LE(all, 30);
}

TEST(Experiments, OfTheHostHaveOneOperationButThoseOfTools) {
  EXPECT_EQ(marks_batch(*find_experiment("vdso/gettimeofday")), 1U);
  EXPECT_EQ(marks_batch(*find_experiment("exec/fork-exit")), 1U);
  EXPECT_EQ(marks_batch(*find_experiment("stress-ng/exec-start")), 2U);
}

TEST(Experiments, OfToolsComeLast) {
  const auto all = experiments();
  const auto first = std::find_if(all.begin(), all.end(), [](const Experiment& experiment) {
    return experiment.group == Group::Foreign;
  });
  EXPECT_NE(first, all.end());
  EXPECT_TRUE(std::all_of(first, all.end(), [](const Experiment& experiment) {
    return experiment.group == Group::Foreign;
  }));
}

TEST(Experiments, AreFoundByTheirName) {
  const Experiment* found = find_experiment("exec/fork-exit");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->name, "exec/fork-exit");
  EXPECT_EQ(find_experiment("exec/fork-exi"), nullptr);
  EXPECT_EQ(find_experiment(""), nullptr);
}

TEST(Experiments, CountTheChecksOfTheWarmUpToo) {
  EXPECT_EQ(expected_checks(16, 4, 1), 20U);
  EXPECT_EQ(expected_checks(16, 4, 32), 640U);
  EXPECT_EQ(expected_checks(kMaxSamplesOf, 0, kMaxBatch), 256U * 1'000'000U);
}

}  // namespace
}  // namespace sealvisor::bench
