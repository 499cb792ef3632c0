// Experiments exec/execve* and exec/fork-exit. In 64-bit processes and in 32-bit ones.
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "bench/guest/end_mark.h"
#include "bench/guest/functions.h"
#include "bench/guest/memory.h"
#include "bench/guest/processes.h"

namespace sealvisor::bench {
namespace {

/// What a program is told that is to make the last mark.
class EndWord {
 public:
  EndWord(const Run& run, const Place& place, const Shared& shared) {
    if (place.ticks != nullptr) {
      std::snprintf(word_, sizeof word_, "c");
    } else if (run.counts(place)) {
      std::snprintf(word_, sizeof word_, "d%llx",
                    static_cast<unsigned long long>(shared.doorbell / kPage));
    } else {
      std::snprintf(word_, sizeof word_, "s1");
    }
  }
  EndWord(const EndWord&) = delete;
  EndWord& operator=(const EndWord&) = delete;

  [[nodiscard]] const char* text() const { return word_; }
  [[nodiscard]] Image image() const { return {kBareTarget, arguments_}; }

 private:
  char word_[24]{};
  char* const arguments_[2] = {word_, nullptr};
};

/// Samples that end in another program. `start(place, image)`: makes a child that begins the sample
/// and execs; its pid.
template <typename Start>
int execve_samples(Run& run, const Start& start) {
  Shared& shared = run.shared();
  return run.samples([&](const Place& place) -> std::int64_t {
    const EndWord word(run, place, shared);
    shared.good = 0;
    shared.exec_error = 0;
    if (!ended_with(start(place, word.image()), kTargetExit)) {
      return shared.exec_error != 0 ? -shared.exec_error : -EPROTO;
    }
    return shared.good;
  });
}

[[noreturn]] void sleep_for_ever() {
  for (;;) (void)agent::raw_call(SYS_ppoll, 0, 0, 0, 0);
}

/// What the thread needs that execs.
struct Exec {
  const Place& place;
  const Image& image;
  Shared& shared;
};

void* exec_of_thread(void* argument) {
  const Exec& exec = *static_cast<const Exec*>(argument);
  // Until the other threads sleep; for marks begin_only does it.
  if (exec.place.ticks != nullptr) settle();
  begin_only(exec.place, exec.shared);
  exec_or_leave(exec.image, exec.shared);
}

/// In a new process: `threads` in all, one of which execs. Does not return.
[[noreturn]] void exec_among(std::uint64_t threads, Exec exec) {
  // The C library would give each a stack of the limit's size, which is the layout's (layout.h).
  constexpr std::size_t kStack = 262'144;
  pthread_t thread{};
  pthread_attr_t small{};
  int error = ::pthread_attr_init(&small);
  if (error == 0) error = ::pthread_attr_setstacksize(&small, kStack);
  for (std::uint64_t i = 2; i < threads && error == 0; ++i) {
    error = ::pthread_create(
        &thread, &small, [](void*) -> void* { sleep_for_ever(); }, nullptr);
  }
  if (error == 0) error = ::pthread_create(&thread, &small, exec_of_thread, &exec);
  if (error == 0) sleep_for_ever();
  exec.shared.exec_error = error;
  leave(kExecFailed);
}

}  // namespace

int fork_exit(Run& run, std::uint64_t /*unused*/) {
  return run.each([](std::uint32_t) {
    const long child = fork_raw();
    if (child == 0) leave(kTargetExit);
    return ended_with(child, kTargetExit);
  });
}

int execve_alone(Run& run, std::uint64_t /*unused*/) {
  return execve_samples(run, [&](const Place& place, const Image& image) {
    const long child = fork_raw();
    if (child == 0) {
      begin_only(place, run.shared());
      exec_or_leave(image, run.shared());
    }
    return child;
  });
}

int execve_vmas(Run& run, std::uint64_t mappings) {
  // The child that execs has them too.
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), true);
  return error != 0 ? error : execve_alone(run, 0);
}

int execve_by_thread(Run& run, std::uint64_t threads) {
  return execve_samples(run, [&](const Place& place, const Image& image) -> long {
    // The C library's own, for its threads are made in the child.
    const pid_t child = ::fork();
    if (child == 0) exec_among(threads, {place, image, run.shared()});
    return child;
  });
}

int execve_end_mark(Run& run, std::uint64_t /*unused*/) {
  return run.samples([&](const Place& place) -> std::int64_t {
    const EndWord word(run, place, run.shared());
    // By clock nothing is mapped behind an execve; this is what it would be.
    const char* const where = place.ticks != nullptr ? "s1" : word.text();
    long page = 0;
    const std::uint32_t good = timed(place, 1, [&](std::uint32_t) {
      page = map_mark_page(where);
      return !agent::is_error(page);
    });
    return ::munmap(reinterpret_cast<void*>(page), kPage) == 0 ? good : 0;
  });
}

}  // namespace sealvisor::bench
