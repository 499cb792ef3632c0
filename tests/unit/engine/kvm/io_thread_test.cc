#include "vmm/engine/kvm/io_thread.h"

#include <fcntl.h>
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
    changed_.notify_all();
  }
  [[nodiscard]] bool wait() {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return kicked_; });
    kicked_ = false;
    return came;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool kicked_ = false;
};

TEST(IoThreads, PassOnAllThatIsTypedOnceHoweverSlowlyItIsTaken) {
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
    const std::string some = io.take_input();
    EXPECT_LT(some.size(), 4096U + 1024U) << "no more is read before that is taken";
    got += some;
  }
  typist.join();
  EXPECT_TRUE(got == typed + kEndOfInput) << got.size() << " bytes of " << typed.size() + 1;
}

}  // namespace
}  // namespace sealvisor::engine::kvm
