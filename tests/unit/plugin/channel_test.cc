// The ring at its limits, with a producer in a process of its own: the plugin's Channel ends its
// whole process when the VMM is gone. No test waits by time; deadlines only end what hangs.
#include "vmm/engine/tcg/plugin/channel.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/engine/tcg/event_pump.h"

namespace sealvisor::engine::tcg {
namespace {

using event::Event;
using event::Kind;
using event::kRingCapacity;

constexpr std::chrono::seconds kLimit{30};

bool wait_readable(int fd, std::chrono::milliseconds limit = kLimit) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, static_cast<int>(limit.count())) == 1;
}

/// A forked process that runs `body` and exits with what it returns. Killed and reaped at the end.
class Process {
 public:
  explicit Process(const std::function<int()>& body) : pid_(::fork()) {
    if (pid_ == 0) ::_exit(body());
    pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0U)));
    EXPECT_TRUE(pidfd_.valid());
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    kill();
    if (!reaped_) ::waitpid(pid_, nullptr, 0);
  }
  void kill() const {
    if (!reaped_) ::kill(pid_, SIGKILL);
  }
  [[nodiscard]] bool running() const { return !wait_readable(pidfd_.get(), {}); }
  /// Its exit status; nullopt if it did not end in time, or not by itself.
  [[nodiscard]] std::optional<int> exit_status() {
    int status = 0;
    if (!wait_readable(pidfd_.get()) || ::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
    reaped_ = true;
    if (!WIFEXITED(status)) return std::nullopt;
    return WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
  Fd pidfd_;
  bool reaped_ = false;
};

/// The next byte of the other side; nullopt at its end, or if it says nothing in time.
std::optional<char> next_byte(const Fd& socket) {
  char byte = 0;
  if (!wait_readable(socket.get()) || ::recv(socket.get(), &byte, 1, 0) != 1) return std::nullopt;
  return byte;
}

bool answer(const Fd& socket, char byte) {
  return ::send(socket.get(), &byte, 1, MSG_NOSIGNAL) == 1;
}

Event numbered(Kind kind, std::uint64_t number) {
  Event event{};
  event.kind = kind;
  event.icount = number;
  return event;
}

class ChannelTest : public testing::Test {
 protected:
  ChannelTest()
      : file_(memory_file("ring", event::kRingBytes, false).value()),
        memory_(map()),
        ring_(memory_.bytes()) {
    ring_.initialise();
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    vmm_ = Fd(ends[0]);
    plugin_ = Fd(ends[1]);
  }
  [[nodiscard]] Mapping map() const {
    return Mapping::map(file_, event::kRingBytes, PROT_READ | PROT_WRITE, "ring").value();
  }
  /// Starts `produce` with the plugin's end, which then only that process has.
  void start(const std::function<void(Channel&)>& produce) {
    producer_.emplace([&] {
      vmm_.reset();
      Mapping memory = map();
      const event::Ring ring(memory.bytes());
      Channel channel(std::move(memory), ring, std::move(plugin_));
      produce(channel);
      return 0;
    });
    plugin_.reset();
  }
  /// Adds `count` records, numbered from 0.
  void start_counting(std::uint64_t count) {
    start([count](Channel& channel) {
      for (std::uint64_t i = 0; i < count; ++i) channel.emit(numbered(Kind::SlotWrite, i));
    });
  }
  /// Takes up to `most` records; false if one is not the next number.
  bool take(std::uint64_t most) {
    while (most > 0) {
      auto ready = ring_.ready();
      if (ready.empty()) return true;
      ready = ready.first(std::min<std::uint64_t>(ready.size(), most));
      for (const Event& event : ready) {
        if (event.icount != taken_++) return false;
      }
      ring_.consume(ready.size());
      most -= ready.size();
    }
    return true;
  }
  [[nodiscard]] std::uint64_t written() { return ring_.header().head.load(); }

  Fd file_;
  Mapping memory_;
  event::Ring ring_;
  Fd vmm_;
  Fd plugin_;
  std::optional<Process> producer_;
  std::uint64_t taken_ = 0;
};

TEST_F(ChannelTest, AProducerWithoutRoomWaitsAndLosesNothing) {
  constexpr std::uint64_t kEvents = 3 * kRingCapacity + 5;
  constexpr std::uint64_t kAtATime =
      1000;  // a slow consumer: that many, and not before it is asked
  start_counting(kEvents);
  std::uint64_t waits = 0;
  while (const auto byte = next_byte(vmm_)) {
    if (*byte == event::kDrain) continue;
    ASSERT_EQ(*byte, event::kStop);
    ++waits;
    EXPECT_TRUE(ring_.full());
    ASSERT_EQ(written(), taken_ + kRingCapacity) << "it wrote on where there was no room";
    EXPECT_TRUE(producer_->running());
    ASSERT_TRUE(take(kAtATime)) << "record " << taken_ << " is not the next one";
    ASSERT_TRUE(answer(vmm_, event::kGo));
  }
  EXPECT_EQ(producer_->exit_status(), 0);
  ASSERT_TRUE(take(kRingCapacity)) << "record " << taken_ << " is not the next one";
  EXPECT_EQ(taken_, kEvents);
  EXPECT_EQ(waits, (kEvents - kRingCapacity + kAtATime - 1) / kAtATime);
}

/// Checks what comes as it comes.
class Counter final : public Observer {
 public:
  void on_events(std::span<const Event> batch) override {
    for (const Event& event : batch) in_order = in_order && event.icount == count++;
  }
  void on_table_copy(const Event& event, const arch::Table& table) override {
    in_order = in_order && event.icount == count && table[511] == count;
    ++count;
    ++copies;
  }
  StopReply on_stopped(const Event& stopped) override {
    // The record behind which the vCPU waits is the last one that was handled.
    in_order = in_order && stopped.kind == Kind::Doorbell && stopped.icount + 1 == count;
    ++stops;
    return {};
  }
  void on_console(std::span<const char>) override {}

  std::uint64_t count = 0;
  std::uint64_t copies = 0;
  std::uint64_t stops = 0;
  bool in_order = true;
};

TEST_F(ChannelTest, ThePumpGetsAllOfItInOrderHoweverLate) {
  // Records, copies of tables (of which far fewer fit) and stops, mixed.
  constexpr std::uint64_t kEvents = 4 * kRingCapacity;
  start([](Channel& channel) {
    arch::Table table{};
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      table[511] = i;
      if (i % 5000 == 4999) {
        channel.emit_and_wait(numbered(Kind::Doorbell, i));
      } else if (i % 10 == 3) {
        channel.emit_copy(numbered(Kind::TableCopy, i), table);
      } else {
        channel.emit(numbered(Kind::SlotWrite, i));
      }
    }
  });
  Counter counter;
  EventPump pump(ring_, counter);
  std::uint64_t waits = 0;
  while (const auto byte = next_byte(vmm_)) {
    if (*byte == event::kDrain) continue;  // always too late
    PumpResult result = pump.on_byte(*byte);
    while (result.more) result = pump.go_on();
    ASSERT_FALSE(result.broken);
    ASSERT_FALSE(result.give_up.has_value());
    ASSERT_TRUE(result.answer);
    ++waits;
    ASSERT_TRUE(answer(vmm_, event::kGo));
  }
  EXPECT_EQ(producer_->exit_status(), 0);
  PumpResult rest = pump.take_rest();
  while (rest.more) rest = pump.take_rest();
  EXPECT_FALSE(rest.broken);
  EXPECT_TRUE(counter.in_order);
  EXPECT_EQ(counter.count, kEvents);
  EXPECT_EQ(counter.copies, (kEvents + 6) / 10);
  EXPECT_EQ(counter.stops, kEvents / 5000);
  EXPECT_GT(waits, counter.stops) << "it waited for room too";
}

TEST_F(ChannelTest, AProducerThatWaitsEndsWhenItsConsumerIsKilled) {
  start_counting(kRingCapacity + 1);
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd told(ends[0]);
  Fd tell(ends[1]);
  const Process consumer([&] {
    auto byte = next_byte(vmm_);
    while (byte == event::kDrain) byte = next_byte(vmm_);
    if (byte != event::kStop || ::write(tell.get(), "S", 1) != 1) return 1;
    for (;;) ::pause();  // it never answers
  });
  vmm_.reset();
  tell.reset();
  ASSERT_TRUE(wait_readable(told.get()));
  char byte = 0;
  ASSERT_EQ(::read(told.get(), &byte, 1), 1) << "the consumer was never asked for room";
  EXPECT_TRUE(producer_->running()) << "it waits";
  EXPECT_EQ(written(), kRingCapacity);
  consumer.kill();
  EXPECT_EQ(producer_->exit_status(), 1);
  EXPECT_EQ(written(), kRingCapacity) << "nothing was written past the room that there was";
}

TEST_F(ChannelTest, AProducerThatRunsEndsAtItsNextWakeUpOnceTheConsumerIsGone) {
  vmm_.reset();
  start_counting(100 * kRingCapacity);
  EXPECT_EQ(producer_->exit_status(), 1);
  EXPECT_EQ(written(), event::kDrainEvery);
}

TEST_F(ChannelTest, AnAnswerThatIsNoAnswerEndsTheProducer) {
  start_counting(kRingCapacity + 1);
  auto byte = next_byte(vmm_);
  while (byte == event::kDrain) byte = next_byte(vmm_);
  ASSERT_EQ(byte, event::kStop);
  ASSERT_TRUE(take(kRingCapacity));
  ASSERT_TRUE(answer(vmm_, '?'));
  EXPECT_EQ(producer_->exit_status(), 1);
}

}  // namespace
}  // namespace sealvisor::engine::tcg
