// Experiments exec/* whose programs are started and waited for. bench/guest/execve.cc has the
// others.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "bench/guest/functions.h"
#include "bench/guest/memory.h"
#include "bench/guest/processes.h"
#include "bench/guest/vdso.h"

namespace sealvisor::bench {
namespace {

/// A program that ends at once.
Image image_of(Target target) {
  static char word[] = "x";
  static char* const arguments[] = {word, nullptr};
  switch (target) {
    case Target::Static:
      break;
    case Target::Dynamic:
      return {kDynamicTarget, arguments};
    case Target::Compat:
      return {kCompatTarget, arguments};
  }
  return {kStaticTarget, arguments};
}

bool fork_and_exec(const Image& image, Shared& shared) {
  const long child = fork_raw();
  if (child == 0) exec_or_leave(image, shared);
  return ended_with(child, kTargetExit);
}

/// 0 if `image` can be run here; ENOTSUP: this kernel runs no such programs.
int try_image(const Image& image, Shared& shared) {
  shared.exec_error = 0;
  if (fork_and_exec(image, shared)) return 0;
  if (shared.exec_error == ENOEXEC) return ENOTSUP;
  return shared.exec_error != 0 ? shared.exec_error : EPROTO;
}

/// Not inlined: vfork returns twice, and the child uses this frame.
[[gnu::noinline]] bool vfork_and_exec(const Image& image, Shared& shared) {
  // vfork itself is what is measured, and the child does nothing but exec.
  // NOLINTBEGIN
  const pid_t child = ::vfork();
  if (child == 0) exec_or_leave(image, shared);
  // NOLINTEND
  return ended_with(child, kTargetExit);
}

/// A child that has used what processes use, and is stopped. Its pid, or -errno.
long stopped_child(const Vdso& vdso, std::uint32_t mappings) {
  const long child = fork_raw();
  if (child == 0) {
    constexpr std::uint32_t kUsedPages = 64;
    Pages memory;
    Pages extra;
    if (memory.map(Spot::Target, kUsedPages) != 0) leave(1);
    if (mappings != 0 && add_mappings(extra, mappings, true) != 0) leave(1);
    memory.touch();
    if (!vdso.use()) leave(1);
    (void)agent::raw_call(SYS_kill, agent::raw_call(SYS_getpid), SIGSTOP);
    leave(1);
  }
  int status = 0;
  if (child < 0) return child;
  if (agent::raw_call(SYS_wait4, child, address_of(&status), WUNTRACED, 0) != child) return -ECHILD;
  return WIFSTOPPED(status) ? child : -EPROTO;
}

}  // namespace

int fork_exec(Run& run, std::uint64_t target) {
  Shared& shared = run.shared();
  const Image image = image_of(static_cast<Target>(target));
  const int error = try_image(image, shared);
  if (error != 0) return error;
  return run.each([&](std::uint32_t) { return fork_and_exec(image, shared); });
}

int fork_exec_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), true);
  if (error != 0) return error;
  return fork_exec(run, static_cast<std::uint64_t>(Target::Static));
}

int vfork_exec(Run& run, std::uint64_t /*unused*/) {
  Shared& shared = run.shared();
  const Image image = image_of(Target::Static);
  const int error = try_image(image, shared);
  if (error != 0) return error;
  return run.each([&](std::uint32_t) { return vfork_and_exec(image, shared); });
}

int spawn(Run& run, std::uint64_t /*unused*/) {
  const Image image = image_of(Target::Static);
  const int error = try_image(image, run.shared());
  if (error != 0) return error;
  char* const environment[] = {nullptr};
  return run.each([&](std::uint32_t) {
    pid_t child = -1;
    if (::posix_spawn(&child, image.path, nullptr, nullptr, image.arguments, environment) != 0) {
      return false;
    }
    return ended_with(child, kTargetExit);
  });
}

int teardown(Run& run, std::uint64_t mappings) {
  const Vdso vdso = Vdso::own();
  if (!vdso.use()) return ENOTSUP;
  return run.samples([&](const Place& place) -> std::int64_t {
    const long child = stopped_child(vdso, static_cast<std::uint32_t>(mappings));
    if (child < 0) return child;
    return timed(place, 1, [&](std::uint32_t) {
      const bool sent = agent::raw_call(SYS_kill, child, SIGKILL) == 0;
      return killed_by(child, SIGKILL) && sent;
    });
  });
}

}  // namespace sealvisor::bench
