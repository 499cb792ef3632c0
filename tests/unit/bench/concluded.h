// What is concluded of samples that are good.
#pragma once

#include <utility>

#include <gtest/gtest.h>

#include "bench/conclude.h"

namespace sealvisor::bench {

/// The report of them; a failed test, and an empty one, if they are refused.
inline Report concluded(Collected collected, const Rules& rules = {}) {
  auto report = conclude(std::move(collected), rules);
  EXPECT_TRUE(report.ok()) << (report ? "" : report.error().message);
  return report ? std::move(report.value()) : Report{};
}

}  // namespace sealvisor::bench
