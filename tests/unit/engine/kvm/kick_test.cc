#include "vmm/engine/kvm/kick.h"

#include <csignal>
#include <thread>

#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

TEST(Kick, ReachesAThreadThatBeganWithTheSignalBlocked) {
  bool was_blocked = false;
  bool is_blocked = true;
  std::thread([&] {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    was_blocked = ::sigismember(&mask, Kick::number()) == 1;
    ASSERT_TRUE(Kick::install_handler().ok());
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    is_blocked = ::sigismember(&mask, Kick::number()) == 1;
    // Its handler does nothing; without one this would end the process.
    ::pthread_kill(::pthread_self(), Kick::number());
  }).join();
  EXPECT_TRUE(was_blocked);
  EXPECT_FALSE(is_blocked);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
