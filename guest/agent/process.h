// Making processes, and waiting for them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

inline constexpr const char* kStaticImage = "/init";
inline constexpr const char* kDynamicImage = "/helpers/dynamic";
inline constexpr const char* kCompatImage = "/helpers/helper32";

/// What init carries from scenario to scenario.
struct Agent {
  Doorbell doorbell;
  std::uint64_t next_fork = protocol::kFirstForkToken;
  bool skip_all = false;  ///< lie/skip: no cell is tried.
};

/// How a child ended.
struct Ending {
  int error = 0;   ///< Its exit code: 0, or the errno that it gives as its reason.
  int signal = 0;  ///< The signal that killed it, 0 if none.

  /// 0 if it ended well, else an errno (ETIMEDOUT past its deadline, EPROTO for another signal).
  [[nodiscard]] int status() const;
};

/// Forks and rings for both sides; `token` names the pair. In the child: 0, the doorbell starts
/// again from message 0, and an alarm ends the child after a minute. Failure: -1, said on the
/// console.
[[nodiscard]] pid_t announced_fork(Agent& agent, std::uint64_t& token);

/// Waits for `child` to end. Every child has a deadline of its own (announced_fork).
[[nodiscard]] Ending wait_for(pid_t child);

/// Replaces this process by `path` in image mode (image.h). Returns errno if that fails.
[[nodiscard]] int exec_image(const char* path, const Doorbell& doorbell, std::uint64_t token);

/// Replaces this process by the 32-bit program, to do `what` with `words` (main_helper.cc). Returns
/// errno if that fails: ENOEXEC or ENOENT where the kernel runs no such programs.
[[nodiscard]] int exec_helper32(const Doorbell& doorbell, std::string_view what,
                                std::span<const std::string> words);

/// vfork and exec_image with rings on both sides. The child's pid; -1: said on the console.
/// An exec that fails ends the child with that errno.
[[nodiscard]] pid_t announced_vfork_exec(Agent& agent, const char* path, std::uint64_t& token);

}  // namespace sealvisor::agent
