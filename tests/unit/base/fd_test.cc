#include "vmm/base/fd.h"

#include <fcntl.h>

#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

namespace sealvisor {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(FdDeathTest, WhatWasInheritedIsClosed) {
  const auto close_and_look = [] {
    constexpr int kLow = 9;
    constexpr int kHigh = 500;
    const bool opened =
        ::dup2(STDERR_FILENO, kLow) == kLow && ::dup2(STDERR_FILENO, kHigh) == kHigh;
    const bool closed = close_inherited().ok() && !is_open(kLow) && !is_open(kHigh);
    const bool kept = is_open(STDIN_FILENO) && is_open(STDOUT_FILENO) && is_open(STDERR_FILENO);
    std::fprintf(stderr, "opened %d closed %d kept %d\n", opened, closed, kept);
    ::_exit(0);
  };
  EXPECT_EXIT(close_and_look(), testing::ExitedWithCode(0), "opened 1 closed 1 kept 1");
}

}  // namespace
}  // namespace sealvisor
