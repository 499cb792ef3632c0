// Signals, for people.
#pragma once

#include <string>

namespace sealvisor {

/// "signal 15 (Terminated)".
[[nodiscard]] std::string signal_text(int number);

}  // namespace sealvisor
