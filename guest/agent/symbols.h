// The kernel's own symbols, for a VMM that has none of it.
#pragma once

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// Passes /proc/kallsyms on. What is not there is said in the last piece, and on the console.
void pass_symbols(Doorbell& doorbell);

}  // namespace sealvisor::agent
