#include "bench/collector.h"

#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using bench::Collector;
using bench::PlaceCount;
using bench::Unit;
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

Collector counting() {
  return Collector(Unit::Instructions, {{"exec/fork-exit", 3, 1, 1}, {"mmap/brk", 3, 1, 1}},
                   [](std::uint64_t counter) { return "place " + std::to_string(counter / 10); });
}

TEST(Collector, KeepsTheProfileOfTheSampleInTheMiddle) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment("exec/fork-exit", false)).ok());
  const std::uint64_t kernel[] = {900, 100, 500};
  for (const std::uint64_t instructions : kernel) {
    collector.on_event(sample(10, instructions));
    collector.on_event(count(1, 10));
    collector.on_event(count(20, instructions - 60));
    collector.on_event(count(21, 40));
    collector.on_event(count(30, 20));
  }
  ASSERT_TRUE(collector.on_message(experiment("exec/fork-exit", true, 3, 4)).ok());
  ASSERT_EQ(collector.ended(), 1U);
  const auto& run = collector.boot().experiments[0];
  EXPECT_EQ(run.median_sample, 2U);
  EXPECT_EQ(run.samples[2].total(), 510U);
  // Counters of one name are one place.
  EXPECT_EQ(run.profile,
            (std::vector<PlaceCount>{{"place 2", 480}, {"place 3", 20}, {"place 0", 10}}));
}

TEST(Collector, RefusesAProfileWithAnotherSum) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment("exec/fork-exit", false)).ok());
  for (int i = 0; i < 3; ++i) {
    collector.on_event(sample(10, 90));
    collector.on_event(count(1, 99));
  }
  const Status ended = collector.on_message(experiment("exec/fork-exit", true, 3, 4));
  ASSERT_FALSE(ended.ok());
  EXPECT_NE(ended.error().message.find("99 instructions, the sample 100"), std::string::npos);
}

TEST(Collector, KeepsAnExperimentThatTheGuestCanNotRun) {
  Collector collector = counting();
  ASSERT_TRUE(collector.on_message(experiment("exec/fork-exit", false)).ok());
  Message end = experiment("exec/fork-exit", true);
  end.body.experiment.status = 95;
  ASSERT_TRUE(collector.on_message(end).ok());
  EXPECT_EQ(collector.boot().experiments[0].status, 95);
  EXPECT_TRUE(collector.boot().experiments[0].samples.empty());
}

struct Wrong {
  const char* name;
  std::function<Status(Collector&)> act;
  const char* says;
};

Status begun(Collector& collector) {
  return collector.on_message(experiment("exec/fork-exit", false));
}

const Wrong kWrong[] = {
    {"AnotherName", [](Collector& c) { return c.on_message(experiment("mmap/brk", false)); },
     "mmap/brk begins, expected exec/fork-exit"},
    {"OtherSamples",
     [](Collector& c) { return c.on_message(experiment("exec/fork-exit", false, 4)); },
     "4 samples of 1 operations, expected 3 of 1"},
    {"TwoAtOnce", [](Collector& c) { return begun(c).ok() ? begun(c) : Status(); },
     "exec/fork-exit has not ended"},
    {"EndsWithoutBegin", [](Collector& c) { return c.on_message(experiment("mmap/brk", true)); },
     "has not begun"},
    {"TooFewSamples",
     [](Collector& c) {
       return begun(c).ok() ? c.on_message(experiment("exec/fork-exit", true, 3, 4)) : Status();
     },
     "0 samples came, expected 3"},
    {"WorkNotDone",
     [](Collector& c) {
       if (!begun(c).ok()) return Status();
       for (int i = 0; i < 3; ++i) c.on_event(sample(1, 1));
       return c.on_message(experiment("exec/fork-exit", true, 3, 3));
     },
     "3 operations were done as they should, expected 4"},
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
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Collector, NotesAMarkOutOfPlace) {
  Collector collector = counting();
  collector.on_event(sample(1, 1));
  ASSERT_TRUE(collector.broken().has_value());
}

TEST(Collector, NotesMoreSamplesThanWereAskedFor) {
  Collector collector = counting();
  ASSERT_TRUE(begun(collector).ok());
  for (int i = 0; i < 3; ++i) collector.on_event(sample(1, 1));
  EXPECT_FALSE(collector.broken().has_value());
  collector.on_event(sample(1, 1));
  EXPECT_TRUE(collector.broken().has_value());
}

TEST(Collector, TakesSamplesOfAClockInOrder) {
  Collector collector(Unit::Ticks, {{"mmap/brk", 3, 0, 1}}, [](std::uint64_t) { return "x"; });
  ASSERT_TRUE(collector.on_message(experiment("mmap/brk", false)).ok());
  Message message{};
  message.type = Type::Samples;
  auto& body = message.body.samples;
  body.frequency = 1'000'000;
  body.count = 2;
  body.ticks[0] = 5;
  body.ticks[1] = 7;
  ASSERT_TRUE(collector.on_message(message).ok());
  const Status again = collector.on_message(message);
  ASSERT_FALSE(again.ok());
  body.first = 2;
  EXPECT_FALSE(collector.on_message(message).ok()) << "more than were asked for";
  body.count = 1;
  ASSERT_TRUE(collector.on_message(message).ok());
  ASSERT_TRUE(collector.on_message(experiment("mmap/brk", true, 3, 3)).ok());
  EXPECT_EQ(collector.boot().experiments[0].samples.size(), 3U);
  EXPECT_EQ(collector.boot().ticks_per_second, 1e6);
}

TEST(MedianSample, IsTheLowerOfTwo) {
  EXPECT_EQ(bench::median_sample({{4, 0}, {1, 0}, {3, 0}, {2, 0}}), 3U);
  EXPECT_EQ(bench::median_sample({{9, 0}}), 0U);
}

}  // namespace
}  // namespace sealvisor::test
