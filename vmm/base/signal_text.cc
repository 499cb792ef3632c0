#include "vmm/base/signal_text.h"

#include <cstring>

#include <fmt/format.h>

namespace sealvisor {

std::string signal_text(int number) {
  const char* name = ::sigdescr_np(number);
  return fmt::format("signal {} ({})", number, name == nullptr ? "unknown" : name);
}

}  // namespace sealvisor
