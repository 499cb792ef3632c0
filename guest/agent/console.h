// What the agent says to people: one line at a time on the guest's console.
//
// `sealvisor-agent: ...` is a failure, and the VMM shows it. With `sealvisor.verbose` on the kernel
// command line each doorbell message is also written as `sealvisor-trace: ...`, so that a run can
// be followed where nobody listens to the doorbell.
#pragma once

namespace sealvisor::agent {

/// Writes "sealvisor-agent: <text>\n" in one write. Longer than 200 characters is cut.
[[gnu::format(printf, 1, 2)]] void say(const char* format, ...);

/// The same with "sealvisor-trace: ".
[[gnu::format(printf, 1, 2)]] void trace(const char* format, ...);

}  // namespace sealvisor::agent
