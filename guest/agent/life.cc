#include "guest/agent/life.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/rare_life.h"
#include "guest/agent/signals.h"
#include "guest/agent/storms.h"

namespace sealvisor::agent {
namespace {

/// Most children and threads that live at the same time.
constexpr std::uint32_t kMaxAtOnce = 64;

/// One end of a pipe closes when every writer is gone: how children wait for their parent.
class Gate {
 public:
  Gate() : good_(::pipe(ends_) == 0) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() {
    if (!good_) return;
    open();
    ::close(ends_[0]);
  }
  [[nodiscard]] bool good() const { return good_; }
  /// Parent: lets every child go on.
  void open() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  /// Child: waits until the parent opens the gate (or is gone).
  void pass() {
    open();
    char byte = 0;
    while (::read(ends_[0], &byte, 1) < 0 && errno == EINTR) {
    }
  }

 private:
  int ends_[2] = {-1, -1};
  bool good_;
};

int fork_at_once(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  Gate gate;
  if (!gate.good()) return errno;
  std::array<pid_t, kMaxAtOnce> children{};
  const std::uint32_t wanted = std::min(count, kMaxAtOnce);
  std::uint32_t made = 0;
  int status = 0;
  for (; made < wanted; ++made) {
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent, token);
    if (child < 0) {
      status = EAGAIN;
      break;
    }
    if (child == 0) {
      MappingTable table;
      const int error = announce_and_use(agent, token, table);
      gate.pass();
      touch_mappings(table);
      ::_exit(error);
    }
    children[made] = child;
  }
  gate.open();
  for (std::uint32_t i = 0; i < made; ++i) {
    const int ended = wait_for(children[i]).status();
    if (ended == 0) ++done;
    if (status == 0) status = ended;
  }
  return status;
}

int run_fork(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  while (done < count) {
    const std::uint32_t before = done;
    const int status = fork_at_once(agent, count - done, done);
    if (status != 0) return status;
    if (done == before) return EPROTO;
  }
  return 0;
}

/// fork and exec of `path`, one after the other.
int fork_exec(Agent& agent, const char* path, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent, token);
    if (child < 0) return EAGAIN;
    if (child == 0) ::_exit(exec_image(path, agent.doorbell, token));
    if (const int status = wait_for(child).status(); status != 0) {
      say("%s: %s", path, std::strerror(status));
      return status;
    }
  }
  return 0;
}

int run_vfork(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    std::uint64_t token = 0;
    const pid_t child = announced_vfork_exec(agent, kStaticImage, token);
    if (child < 0) return EAGAIN;
    if (const int status = wait_for(child).status(); status != 0) return status;
  }
  return 0;
}

int run_exec(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  return fork_exec(agent, kStaticImage, count, done);
}
int run_exec_dynamic(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  return fork_exec(agent, kDynamicImage, count, done);
}
int run_compat(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  return fork_exec(agent, kCompatImage, count, done);
}

/// Runs `work` in one forked child; `done` becomes `count` if it ends well.
template <typename Work>
int in_child(Agent& agent, std::uint32_t count, std::uint32_t& done, Work work) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child < 0) return EAGAIN;
  if (child == 0) {
    MappingTable table;
    const int error = announce_and_use(agent, token, table);
    ::_exit(error != 0 ? error : work(table));
  }
  const int status = wait_for(child).status();
  if (status == 0) done = count;
  return status;
}

struct ThreadWork {
  const MappingTable* table;
  pthread_barrier_t* together;
};

void* thread_main(void* argument) {
  const ThreadWork& work = *static_cast<const ThreadWork*>(argument);
  touch_mappings(*work.table);
  use_vdso();
  ::pthread_barrier_wait(work.together);  // From here on they end at the same time.
  return nullptr;
}

int threads_at_once(const MappingTable& table, std::uint32_t count) {
  pthread_barrier_t together;
  if (const int error = ::pthread_barrier_init(&together, nullptr, count); error != 0) return error;
  ThreadWork work{&table, &together};
  std::array<pthread_t, kMaxAtOnce> threads{};
  for (std::uint32_t i = 0; i < count; ++i) {
    // The ones that were made wait for the rest for ever; the process that they belong to ends.
    if (const int error = ::pthread_create(&threads[i], nullptr, thread_main, &work); error != 0) {
      return error;
    }
  }
  for (std::uint32_t i = 0; i < count; ++i) ::pthread_join(threads[i], nullptr);
  return ::pthread_barrier_destroy(&together);
}

int run_threads(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  return in_child(agent, count, done, [count](const MappingTable& table) {
    for (std::uint32_t left = count; left > 0;) {
      const std::uint32_t now = std::min(left, kMaxAtOnce);
      if (const int error = threads_at_once(table, now); error != 0) return error;
      left -= now;
    }
    return 0;
  });
}

int run_signals(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  return in_child(agent, count, done,
                  [count](const MappingTable&) { return deliver_signals(count); });
}

/// The three ways in which run_exit's children end, in turn.
enum class Way : std::uint8_t { Exit, Kill, Fault };

[[noreturn]] void end_by(Way way) {
  // The parent kills it once it has stopped, so that it has lived before.
  if (way == Way::Kill) ::raise(SIGSTOP);
  if (way == Way::Fault) {
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGSEGV, &by_default, nullptr);
    ::raise(SIGSEGV);
  }
  ::_exit(0);
}

int run_exit(Agent& agent, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    const Way way = static_cast<Way>(done % 3);
    Gate gate;
    if (!gate.good()) return errno;
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent, token);
    if (child < 0) return EAGAIN;
    if (child == 0) {
      MappingTable table;
      if (const int error = announce_and_use(agent, token, table); error != 0) ::_exit(error);
      gate.pass();
      end_by(way);
    }
    gate.open();
    if (way == Way::Kill) {
      int stopped = 0;
      while (::waitpid(child, &stopped, WUNTRACED) < 0 && errno == EINTR) {
      }
      if (!WIFSTOPPED(stopped)) {
        say("a child that was to be killed ended by itself, status %#x",
            static_cast<unsigned>(stopped));
        return EPROTO;
      }
      ::kill(child, SIGKILL);
    }
    const Ending ending = wait_for(child);
    const int expected = way == Way::Kill ? SIGKILL : way == Way::Fault ? SIGSEGV : 0;
    if (ending.error != 0 || ending.signal != expected) {
      say("a child ended with error %d, signal %d; expected signal %d", ending.error, ending.signal,
          expected);
      return EPROTO;
    }
  }
  return 0;
}

struct Life {
  std::string_view name;
  int (*run)(Agent&, std::uint32_t, std::uint32_t&);
};

constexpr auto kLives = std::to_array<Life>({
    {"life/fork", run_fork},
    {"life/vfork", run_vfork},
    {"life/exec", run_exec},
    {"life/exec-dynamic", run_exec_dynamic},
    {"life/threads", run_threads},
    {"life/signals", run_signals},
    {"life/exit", run_exit},
    {"life/compat", run_compat},
    {"life/thousand", run_exec},
    {"life/clone-vm", run_clone_vm},
    {"life/exec-thread", run_exec_thread},
    {"life/exec-failed", run_exec_failed},
    {"life/exec-failed-late", run_exec_failed_late},
    {"life/core-dump", run_core_dump},
    {"life/personality", run_personality},
    {"life/knobs", run_knobs},
    {"life/uprobes", run_uprobes},
    {"life/mrelease", run_mrelease},
    {"life/oom", run_oom},
    {"storm/time-namespace", run_time_namespaces},
    {"storm/inspection", run_inspections},
    {"storm/shortage", run_shortage},
});

/// Every scenario of kind Life has its function, but for storms (storm.h): checked when this is
/// compiled.
static_assert(std::ranges::all_of(scenario::kScenarios, [](const scenario::Scenario& scenario) {
  return scenario.kind != scenario::Kind::Life || scenario.seeded ||
         std::ranges::any_of(kLives, [&](const Life& life) { return life.name == scenario.name; });
}));

}  // namespace

int run_life(Agent& agent, const scenario::Scenario& scenario, std::uint32_t count,
             std::uint32_t& done) {
  for (const Life& life : kLives) {
    if (life.name == scenario.name) return life.run(agent, count, done);
  }
  return EINVAL;
}

int run_fork_exec(std::uint32_t count, std::uint32_t& done) {
  char path[] = "/init";
  char word[] = "nothing";
  char* const arguments[] = {path, word, nullptr};
  char* const environment[] = {nullptr};
  for (; done < count; ++done) {
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
      ::execve(path, arguments, environment);
      ::_exit(errno);
    }
    if (const int status = wait_for(child).status(); status != 0) return status;
  }
  return 0;
}

}  // namespace sealvisor::agent
