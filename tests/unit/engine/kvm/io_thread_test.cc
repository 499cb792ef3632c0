#include "vmm/engine/kvm/io_thread.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "vmm/base/fd.h"

namespace sealvisor::engine::kvm {
namespace {

/// What the vCPU's thread would wait for.
class Kicks {
 public:
  void operator()() {
    const std::lock_guard lock(mutex_);
    kicked_ = true;
    ++count_;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait() {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return kicked_; });
    kicked_ = false;
    return came;
  }
  /// Until there were so many in all.
  [[nodiscard]] bool wait_for(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool kicked_ = false;
  int count_ = 0;
};

/// All that is typed comes once, however slowly and in however small parts it is taken.
class IoThreads : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Parts, IoThreads, testing::Values(1000, 4096, 1 << 20));

TEST_P(IoThreads, PassOnAllThatIsTyped) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  Fd into(ends[1]);
  const auto terminal = Terminal::open(from.get(), STDERR_FILENO);
  ASSERT_TRUE(terminal.ok());
  Kicks kicks;
  IoThread io(std::chrono::minutes(1), &terminal.value(), [&kicks] { kicks(); });
  ASSERT_TRUE(io.start().ok());
  io.begin_input(std::string(1, kEndOfInput));

  std::string typed;
  for (int i = 0; typed.size() < std::size_t{256} << 10; ++i) typed += std::to_string(i) + "\n";
  std::thread typist([&] {
    std::string_view rest = typed;
    while (!rest.empty()) {
      const ssize_t count = ::write(into.get(), rest.data(), rest.size());
      if (count <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
    into.reset();
  });
  std::string got;
  while (got.size() <= typed.size() && kicks.wait()) {
    for (std::string some = io.take_input(GetParam()); !some.empty();
         some = io.take_input(GetParam())) {
      EXPECT_LE(some.size(), GetParam());
      EXPECT_LT(some.size(), 4096U + 1024U) << "no more is read before that is taken";
      got += some;
    }
  }
  typist.join();
  EXPECT_TRUE(got == typed + kEndOfInput) << got.size() << " bytes of " << typed.size() + 1;
}

/// Of a pipe that is full, with nobody who takes what is typed.
TEST(IoThread, LeavesWhatNobodyTakesInThePipe) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  const Fd into(ends[1]);
  const auto terminal = Terminal::open(from.get(), STDERR_FILENO);
  ASSERT_TRUE(terminal.ok());
  const int capacity = ::fcntl(into.get(), F_GETPIPE_SZ);
  ASSERT_GT(capacity, 16 << 10);
  const std::string typed(static_cast<std::size_t>(capacity), 'x');
  ASSERT_EQ(::write(into.get(), typed.data(), typed.size()), capacity);
  Kicks kicks;
  IoThread io(std::chrono::minutes(1), &terminal.value(), [&kicks] { kicks(); });
  ASSERT_TRUE(io.start().ok());
  io.begin_input("");
  const auto left = [&] {
    int bytes = 0;
    EXPECT_EQ(::ioctl(from.get(), FIONREAD, &bytes), 0);
    return bytes;
  };
  // Each part of 1,024 bytes that is read kicks; after the fourth no more is read.
  ASSERT_TRUE(kicks.wait_for(4));
  EXPECT_EQ(left(), capacity - 4096);
  EXPECT_EQ(io.take_input(1).size(), 1U);
  ASSERT_TRUE(kicks.wait_for(5)) << "it goes on";
  EXPECT_EQ(left(), capacity - 4096 - 1024);
  EXPECT_EQ(io.take_input(1 << 20).size(), 4096U + 1024U - 1U);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
