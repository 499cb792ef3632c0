#include "vmm/app/fail.h"

#include <fmt/format.h>

namespace sealvisor::app {

int fail(const Error& error) {
  fmt::print(stderr, "sealvisor: {}\n", error.message);
  return static_cast<int>(error.code);
}

}  // namespace sealvisor::app
