// How a command ends that could not do what it was asked.
#pragma once

#include "vmm/base/result.h"

namespace sealvisor::app {

/// Says what went wrong on standard error; the exit code that stands for it.
[[nodiscard]] int fail(const Error& error);

}  // namespace sealvisor::app
