#include "bench/collector.h"

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "bench/experiment.h"

namespace sealvisor::test {
namespace {

using bench::Collector;
using bench::Lane;
using bench::Space;
using event::Event;
using event::Kind;
using protocol::Message;
using protocol::Type;

Message experiment(const char* name, bool end, std::uint32_t samples = 3,
                   std::uint64_t checked = 0) {
  Message message{};
  message.type = Type::Experiment;
  auto& body = message.body.experiment;
  std::strncpy(body.name, name, sizeof(body.name) - 1);
  body.samples = samples;
  body.batch = 1;
  body.end = end ? 1 : 0;
  body.checked = checked;
  return message;
}

Event sample(std::uint64_t user, std::uint64_t kernel) {
  Event event{};
  event.kind = Kind::Sample;
  event.old_value = user;
  event.new_value = kernel;
  return event;
}

Event count(std::uint64_t counter, std::uint64_t instructions) {
  Event event{};
  event.kind = Kind::Count;
  event.aux = counter;
  event.new_value = instructions;
  return event;
}

Message clock_of(std::uint64_t frequency) {
  Message message{};
  message.type = Type::Counter;
  auto& body = message.body.counter;
  body.frequency = frequency;
  std::strncpy(body.source, "CNTFRQ_EL0", sizeof(body.source) - 1);
  body.step = 2;
  body.reads = 100;
  body.ticks_of_reads = 300;
  body.nops = 4096;
  body.ticks_of_nops = 1027;
  return message;
}

bench::PlanItem item(const char* name, std::uint32_t warm_up = 1) {
  bench::PlanItem item;
  item.experiment = bench::find_experiment(name);
  item.samples = 3;
  item.warm_up = warm_up;
  item.batch = 1;
  return item;
}

std::pair<Space, std::string> place_of(std::uint64_t counter) {
  return {counter < 20 ? Space::User : Space::Kernel, "place " + std::to_string(counter / 10)};
}

constexpr const char* kFork = "exec/fork-exit";
constexpr const char* kTime = "vdso/gettimeofday";

Collector counting() { return {Lane::Instructions, {item(kFork), item(kTime)}, place_of}; }

TEST(Collector, AddsTheProfilesOfAllSamples) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment(kFork, false)).ok());
  for (const std::uint64_t instructions : {900U, 100U, 500U}) {
    collector.on_event(sample(10, instructions));
    collector.on_event(count(1, 10));
    collector.on_event(count(20, instructions - 60));
    collector.on_event(count(21, 40));
    collector.on_event(count(30, 20));
  }
  ASSERT_TRUE(collector.on_message(experiment(kFork, true, 3, 4)).ok());
  ASSERT_EQ(collector.ended(), 1U);
  const auto measured = collector.take();
  EXPECT_EQ(measured[0].user, (std::vector<std::uint64_t>{10, 10, 10}));
  EXPECT_EQ(measured[0].kernel, (std::vector<std::uint64_t>{900, 100, 500}));
  EXPECT_EQ(measured[0].problem, "");
  // Counters of one name are one place.
  ASSERT_EQ(measured[0].profile.size(), 3U);
  EXPECT_EQ(measured[0].profile[0].symbol, "place 2");
  EXPECT_EQ(measured[0].profile[0].count, 1440U);
  EXPECT_EQ(measured[0].profile[1].count, 60U);
  EXPECT_EQ(measured[0].profile[2].space, Space::User);
  EXPECT_EQ(measured[0].profile[2].count, 30U);
}

TEST(Collector, KeepsAnExperimentThatTheGuestCanNotRun) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment(kFork, false)).ok());
  Message end = experiment(kFork, true);
  end.body.experiment.status = ENOTSUP;
  ASSERT_TRUE(collector.on_message(end).ok());
  const auto measured = collector.take();
  EXPECT_EQ(measured[0].status, ENOTSUP);
  EXPECT_TRUE(measured[0].kernel.empty());
}

TEST(Collector, NamesSamplesThatAreMissing) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment(kFork, false)).ok());
  ASSERT_TRUE(collector.on_message(experiment(kFork, true, 3, 4)).ok());
  EXPECT_EQ(collector.take()[0].problem, "0 samples came, expected 3");
}

TEST(Collector, NamesWorkThatWasNotDone) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment(kFork, false)).ok());
  for (int i = 0; i < 3; ++i) collector.on_event(sample(1, 1));
  ASSERT_TRUE(collector.on_message(experiment(kFork, true, 3, 3)).ok());
  EXPECT_EQ(collector.take()[0].problem, "3 operations came out right, expected 4");
}

TEST(Collector, IsFinishedWhenAllHaveEndedAndTheAgentSaysSo) {
  Collector collector = counting();
  Message bye{};
  bye.type = Type::Bye;
  for (const char* name : {kFork, kTime}) {
    ASSERT_TRUE(collector.on_message(experiment(name, false)).ok());
    EXPECT_FALSE(collector.finished());
    ASSERT_TRUE(collector.on_message(experiment(name, true)).ok());
  }
  EXPECT_FALSE(collector.finished());
  ASSERT_TRUE(collector.on_message(bye).ok());
  EXPECT_TRUE(collector.finished());
}

TEST(Collector, GivesOnlyWhatHasEnded) {
  Collector collector = counting();
  Message bye{};
  bye.type = Type::Bye;
  ASSERT_TRUE(collector.on_message(experiment(kFork, false)).ok());
  ASSERT_TRUE(collector.on_message(bye).ok());
  EXPECT_FALSE(collector.finished());
  EXPECT_TRUE(collector.take().empty());
}

struct Wrong {
  const char* name;
  std::function<Status(Collector&)> act;
  const char* says;
};

Status begun(Collector& collector) { return collector.on_message(experiment(kFork, false)); }

const Wrong kWrong[] = {
    {"AnotherName", [](Collector& c) { return c.on_message(experiment(kTime, false)); },
     "vdso/gettimeofday begins, expected exec/fork-exit"},
    {"OtherSamples", [](Collector& c) { return c.on_message(experiment(kFork, false, 4)); },
     "4 samples of 1 operations, expected 3 of 1"},
    {"TwoAtOnce", [](Collector& c) { return begun(c).ok() ? begun(c) : Status(); },
     "exec/fork-exit has not ended"},
    {"EndsWithoutBegin", [](Collector& c) { return c.on_message(experiment(kTime, true)); },
     "has not begun"},
    {"ClockOfAnInstructionCount",
     [](Collector& c) {
       Message message{};
       message.type = Type::Samples;
       message.body.samples.count = 1;
       return begun(c).ok() ? c.on_message(message) : Status();
     },
     "none were asked for"},
    {"NoBenchmark",
     [](Collector& c) {
       Message message{};
       message.type = Type::CellBegin;
       return c.on_message(message);
     },
     "no benchmark sends it"},
    {"AMarkOutOfPlace",
     [](Collector& c) {
       c.on_event(sample(1, 1));
       return begun(c);
     },
     "out of place"},
    {"MoreSamplesThanAskedFor",
     [](Collector& c) {
       if (!begun(c).ok()) return Status();
       for (int i = 0; i < 4; ++i) c.on_event(sample(1, 1));
       return c.on_message(experiment(kFork, true, 3, 4));
     },
     "more samples than were asked for"},
};

class CollectorRefuses : public testing::TestWithParam<Wrong> {};

TEST_P(CollectorRefuses, AndSaysWhy) {
  Collector collector = counting();
  const Status status = GetParam().act(collector);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ExitCode::GuestFailed);
  EXPECT_NE(status.error().message.find(GetParam().says), std::string::npos)
      << status.error().message;
}

INSTANTIATE_TEST_SUITE_P(All, CollectorRefuses, testing::ValuesIn(kWrong),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(Collector, TakesSamplesOfAClockInOrder) {
  Collector collector(Lane::Time, {item(kTime, 0)}, place_of);
  ASSERT_TRUE(collector.on_message(experiment(kTime, false)).ok());
  Message message{};
  message.type = Type::Samples;
  auto& body = message.body.samples;
  body.count = 2;
  body.ticks[0] = 5;
  body.ticks[1] = 7;
  const Status early = collector.on_message(message);
  ASSERT_FALSE(early.ok());
  EXPECT_NE(early.error().message.find("not described"), std::string::npos);
  ASSERT_TRUE(collector.on_message(clock_of(1'000'000)).ok());
  ASSERT_TRUE(collector.on_message(message).ok());
  EXPECT_FALSE(collector.on_message(message).ok()) << "the same again";
  body.first = 2;
  EXPECT_FALSE(collector.on_message(message).ok()) << "more than were asked for";
  body.count = 1;
  ASSERT_TRUE(collector.on_message(message).ok());
  ASSERT_TRUE(collector.on_message(experiment(kTime, true, 3, 3)).ok());
  const auto measured = collector.take();
  EXPECT_EQ(measured[0].problem, "");
  EXPECT_EQ(measured[0].ticks, (std::vector<std::uint64_t>{5, 7, 5}));
  ASSERT_TRUE(collector.counter());
  EXPECT_EQ(collector.counter()->frequency, 1'000'000U);
  EXPECT_EQ(collector.counter()->source, "CNTFRQ_EL0");
  EXPECT_EQ(collector.counter()->step, 2U);
  EXPECT_DOUBLE_EQ(collector.counter()->read_ticks, 3);
  EXPECT_DOUBLE_EQ(collector.counter()->nop_ticks, 0.25) << "less a reading";
}

TEST(Collector, RefusesAClockThatNoOneAskedForOrThatIsNone) {
  Collector counts = counting();
  EXPECT_FALSE(counts.on_message(clock_of(1'000'000)).ok());
  Collector times(Lane::Time, {item(kTime, 0)}, place_of);
  EXPECT_FALSE(times.on_message(clock_of(100'000'000'001)).ok());
  ASSERT_TRUE(times.on_message(clock_of(100'000'000'000)).ok());
  EXPECT_FALSE(times.on_message(clock_of(1'000'000)).ok()) << "a second time";
}

/// A quiet console is part of what is measured.
TEST(Collector, NamesATimedExperimentThatTheConsoleDisturbed) {
  for (const bool during : {false, true}) {
    Collector collector(Lane::Time, {item(kTime, 0)}, place_of);
    ASSERT_TRUE(collector.on_message(clock_of(1'000'000)).ok());
    collector.on_console();
    ASSERT_TRUE(collector.on_message(experiment(kTime, false)).ok());
    if (during) collector.on_console();
    Message message{};
    message.type = Type::Samples;
    message.body.samples.count = 3;
    ASSERT_TRUE(collector.on_message(message).ok());
    ASSERT_TRUE(collector.on_message(experiment(kTime, true, 3, 3)).ok());
    collector.on_console();
    EXPECT_EQ(collector.take()[0].problem, during ? "the console was written to meanwhile" : "");
  }
  // A count is the same whatever the console does.
  Collector counts = counting();
  ASSERT_TRUE(counts.on_message(experiment(kFork, false)).ok());
  counts.on_console();
  for (int i = 0; i < 3; ++i) counts.on_event(sample(1, 1));
  ASSERT_TRUE(counts.on_message(experiment(kFork, true, 3, 4)).ok());
  EXPECT_EQ(counts.take()[0].problem, "");
}

}  // namespace
}  // namespace sealvisor::test
