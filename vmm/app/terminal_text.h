// How text for people is to look on the stream that it goes to.
#pragma once

#include "vmm/report/text.h"

namespace sealvisor::app {

/// Colours where takes_escapes(), unless NO_COLOR is set and not empty (no-color.org); the width of
/// a terminal, within 80 and 120; 120 for anything else.
[[nodiscard]] report::TextOptions text_options_for(int fd);

/// Whether `fd` is a terminal, and not one that knows no escape sequences (TERM=dumb).
[[nodiscard]] bool takes_escapes(int fd);

}  // namespace sealvisor::app
