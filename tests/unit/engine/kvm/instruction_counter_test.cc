#include "vmm/engine/kvm/instruction_counter.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <utility>

#include <gmock/gmock.h>

namespace sealvisor::engine::kvm {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

/// A counter whose next reading is `values`: count, time enabled, time running.
template <std::size_t N>
std::optional<std::uint64_t> reading(const std::array<std::uint64_t, N>& values) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Fd from(ends[0]);
  const Fd into(ends[1]);
  EXPECT_EQ(::write(into.get(), values.data(), sizeof values), static_cast<ssize_t>(sizeof values));
  return InstructionCounter(std::move(from)).read();
}

TEST(InstructionCounters, AreReadIfTheyCountedAllTheTime) {
  EXPECT_EQ(reading(std::array<std::uint64_t, 3>{27'364'133, 500, 500}), 27'364'133U);
  EXPECT_EQ(reading(std::array<std::uint64_t, 3>{27'364'133, 500, 499}), std::nullopt);
  EXPECT_EQ(reading(std::array<std::uint64_t, 2>{27'364'133, 500}), std::nullopt) << "cut short";
}

/// The kernel's own answer has that form: shown with an event that needs no hardware.
TEST(InstructionCounters, AreReadAsTheKernelGivesThem) {
  perf_event_attr wanted{};
  wanted.type = PERF_TYPE_SOFTWARE;
  wanted.size = sizeof wanted;
  wanted.config = PERF_COUNT_SW_TASK_CLOCK;
  wanted.exclude_kernel = 1;
  wanted.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  Fd fd(static_cast<int>(::syscall(SYS_perf_event_open, &wanted, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!fd.valid()) {
    EXPECT_THAT(errno, AnyOf(EACCES, EPERM, ENOSYS)) << "a host without perf events";
    return;
  }
  const InstructionCounter counter(std::move(fd));
  const auto before = counter.read();
  const std::clock_t start = std::clock();
  while (std::clock() == start) {
  }
  const auto after = counter.read();
  ASSERT_TRUE(before && after);
  EXPECT_GT(*after, *before);
}

TEST(InstructionCounters, CountNoInstructionOfTheHostOrSayWhyThereIsNone) {
  const auto counter = InstructionCounter::open();
  if (counter) {
    // This thread ran no guest.
    EXPECT_THAT(counter.value().read(), AnyOf(std::optional<std::uint64_t>(0), std::nullopt));
    return;
  }
  EXPECT_EQ(counter.error().code, ExitCode::HostLacks);
  EXPECT_THAT(counter.error().sys_errno, AnyOf(ENOENT, ENODEV, EOPNOTSUPP, EACCES, EPERM, ENOSYS))
      << counter.error().message;
}

TEST(InstructionCounters, AreMissedForANamedReason) {
  struct Case {
    int error;
    const char* why;
  };
  constexpr Case kCases[] = {
      {ENOENT, "this CPU has no counter"},
      {ENODEV, "this CPU has no counter"},
      {EOPNOTSUPP, "this CPU has no counter"},
      {EACCES, "perf_event_paranoid"},
      {EPERM, "perf_event_paranoid"},
      {ENOSYS, "CONFIG_PERF_EVENTS"},
      {EMFILE, "not counted"},
  };
  for (const Case& one : kCases) {
    const Error error = no_counter(one.error);
    EXPECT_EQ(error.code, ExitCode::HostLacks);
    EXPECT_EQ(error.sys_errno, one.error);
    EXPECT_THAT(error.message, HasSubstr(one.why));
  }
}

}  // namespace
}  // namespace sealvisor::engine::kvm
