// Doorbell messages as text, for people who follow a run on the console.
#pragma once

#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {

/// Writes one `sealvisor-trace:` line about `message`.
void trace_message(const protocol::Message& message);

}  // namespace sealvisor::agent
