// Process life that is rarer, or rougher, than that of life.cc: part of the full matrix.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// Announces this process under `token` and uses its vdso. 0, or an errno.
[[nodiscard]] int announce_and_use(Agent& agent, std::uint64_t token, MappingTable& table);

// Each makes `count` processes, one after the other, and counts in `done` those that came out
// right. 0, or the errno that stopped it.
[[nodiscard]] int run_clone_vm(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_exec_thread(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_exec_failed(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_exec_failed_late(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_core_dump(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_personality(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_knobs(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_uprobes(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_mrelease(Agent& agent, std::uint32_t count, std::uint32_t& done);
[[nodiscard]] int run_oom(Agent& agent, std::uint32_t count, std::uint32_t& done);

}  // namespace sealvisor::agent
