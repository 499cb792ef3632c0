// /init of a guest that measures: process 1 tells the host where things are, takes the experiments
// of /bench-plan one after the other, each in a child of its own, and resets the machine.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "bench/guest/counter.h"
#include "bench/guest/functions.h"
#include "bench/guest/memory.h"
#include "bench/guest/random.h"
#include "bench/guest/run.h"
#include "bench/guest/shared.h"
#include "bench/guest/vdso.h"
#include "bench/layout.h"
#include "bench/plan.h"
#include "guest/agent/boot_words.h"
#include "guest/agent/console.h"
#include "guest/agent/doorbell.h"
#include "guest/agent/kallsyms.h"
#include "guest/agent/lines.h"
#include "guest/agent/machine.h"
#include "guest/agent/start.h"

namespace sealvisor::bench {
namespace {

using agent::Doorbell;
using agent::say;

/// An experiment that takes longer is ended; none takes a fifth of it. In the guest's time, which
/// emulation may take ten times as long to pass.
constexpr unsigned kDeadlineSeconds = 20;

/// What process 1 keeps from experiment to experiment.
struct Bench {
  Doorbell doorbell;
  Shared* shared = nullptr;

  [[nodiscard]] std::byte* spare() const { return reinterpret_cast<std::byte*>(shared) + kPage; }
};

/// Gives the descriptor the number `number`, and leaves it open for every program.
bool keep_as(int fd, int number, const char* what) {
  if (fd >= 0 && ::dup2(fd, number) == number) return ::close(fd) == 0;
  say("%s: %s", what, std::strerror(errno));
  return false;
}

bool open_shared(Bench& bench) {
  const int memory = ::memfd_create("bench", 0);
  if (memory >= 0 && ::ftruncate(memory, kSharedBytes) != 0) {
    say("shared memory: %s", std::strerror(errno));
    return false;
  }
  if (!keep_as(memory, kSharedFd, "shared memory") ||
      !keep_as(::open("/dev/mem", O_RDWR | O_SYNC), kDoorbellFd, "/dev/mem")) {
    return false;
  }
  void* at = ::mmap(reinterpret_cast<void*>(Spot::Shared), kSharedBytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED_NOREPLACE, kSharedFd, 0);
  if (at == MAP_FAILED) {
    say("mapping shared memory: %s", std::strerror(errno));
    return false;
  }
  bench.shared = static_cast<Shared*>(at);
  return true;
}

/// The address of the kernel's _text, 0 if the kernel does not tell.
std::uint64_t kernel_text() {
  std::uint64_t text = 0;
  const bool read = agent::each_line("/proc/kallsyms", [&](std::string_view line) {
    const auto address = agent::kallsyms_address(line, "_text");
    if (address) text = *address;
    return !address.has_value();
  });
  if (read && text == 0) say("/proc/kallsyms does not tell where _text is");
  return text;
}

void tell_layout(Doorbell& doorbell) {
  const Vdso vdso = Vdso::own();
  if (!vdso.use()) {
    say("the vdso at 0x%llx: a function of it is missing or fails",
        static_cast<unsigned long long>(vdso.start()));
  }
  // The host reads the image: each page of it must be there, section headers at its end too.
  for (std::uint64_t at = 0; at < vdso.size(); at += kPage) {
    static_cast<void>(*reinterpret_cast<const volatile char*>(vdso.start() + at));
  }
  doorbell.layout({kernel_text(), vdso.start(), vdso.size()});
}

protocol::Experiment message_of(std::string_view name, const PlanItem& item) {
  protocol::Experiment message{};
  name.copy(message.name, sizeof message.name - 1);
  message.samples = item.samples;
  message.batch = item.batch;
  return message;
}

void ask_for(Bench& bench, const PlanItem& item) {
  Shared& shared = *bench.shared;
  shared = {};
  item.experiment->name.copy(shared.name, sizeof shared.name - 1);
  shared.doorbell = bench.doorbell.gpa();
  shared.samples = item.samples;
  shared.warm_up = item.warm_up;
  shared.batch = item.batch;
  shared.clock = item.timing == Timing::Clock ? 1 : 0;
}

/// In the process that measures.
[[noreturn]] void measure(Bench& bench, const Entry& entry) {
  ::alarm(kDeadlineSeconds);
  Run run(*bench.shared, bench.doorbell.page(), bench.spare());
  bench.shared->status = entry.function(run, entry.argument);
  bench.shared->finished = 1;
  ::_exit(0);
}

/// What the child that measured came to.
int status_of(const Shared& shared, int ending) {
  if (WIFSIGNALED(ending)) return WTERMSIG(ending) == SIGALRM ? ETIMEDOUT : EPROTO;
  return shared.finished != 0 ? shared.status : EPROTO;
}

/// Ends what an experiment may have left behind. Process 1 itself is spared: kill(2).
void clear_away() {
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
}

int take(Bench& bench, const Entry& entry) {
  if (entry.function == nullptr) return ENOSYS;
  const pid_t child = ::fork();
  if (child == 0) measure(bench, entry);
  if (child < 0) return errno;
  int ending = 0;
  while (::waitpid(child, &ending, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  clear_away();
  return status_of(*bench.shared, ending);
}

void send_samples(Bench& bench, std::uint32_t count) {
  protocol::Samples message{};
  for (std::uint32_t first = 0; first < count; first += protocol::kMaxSamples) {
    message.first = first;
    message.count = std::min(protocol::kMaxSamples, count - first);
    std::copy_n(bench.shared->ticks + first, message.count, message.ticks);
    bench.doorbell.samples(message);
  }
}

void run_item(Bench& bench, const PlanItem& item) {
  protocol::Experiment message = message_of(item.experiment->name, item);
  bench.doorbell.experiment(message);
  ask_for(bench, item);
  message.status = take(bench, find_function(item.experiment->name));
  if (message.status == 0 && item.timing == Timing::Clock) send_samples(bench, item.samples);
  message.checked = bench.shared->checked;
  message.end = 1;
  bench.doorbell.experiment(message);
}

/// A plan that can't be run shows to the host as an experiment of this name that fails.
void refuse_plan(Doorbell& doorbell, int status) {
  protocol::Experiment message = message_of("bench-plan", {});
  doorbell.experiment(message);
  message.status = status;
  message.end = 1;
  doorbell.experiment(message);
}

bool load_plan(Doorbell& doorbell, Plan& plan) {
  // One byte more than a plan may have, so that a longer one shows.
  static std::array<char, kMaxPlanSize + 1> text;
  const ssize_t size = agent::read_whole("/bench-plan", text);
  if (size < 0) {
    refuse_plan(doorbell, ENOENT);
    return false;
  }
  if (!parse_plan({text.data(), static_cast<std::size_t>(size)}, plan)) {
    const std::size_t shown = std::min<std::size_t>(plan.text.size(), 64);
    say("/bench-plan line %zu: %.*s: \"%.*s\"", plan.line, static_cast<int>(plan.error.size()),
        plan.error.data(), static_cast<int>(shown), plan.text.data());
    refuse_plan(doorbell, EINVAL);
    return false;
  }
  return true;
}

void run_plan(Bench& bench, const Plan& plan) {
  const std::span items(plan.items.data(), plan.size);
  if (std::any_of(items.begin(), items.end(),
                  [](const PlanItem& item) { return item.timing == Timing::Clock; })) {
    bench.doorbell.counter(describe_counter());
  }
  for (const PlanItem& item : items) run_item(bench, item);
}

/// Runs this program anew where the layout of `seed` puts it (bench/layout.h); everything that it
/// makes inherits that. Returns if it is there already, or with the reason on the console.
bool take_layout(std::uint64_t seed) {
  constexpr unsigned long kAsk = 0xFFFF'FFFF;
  const int now = ::personality(kAsk);
  if ((static_cast<unsigned>(now) & ADDR_NO_RANDOMIZE) != 0) return true;
  const Layout layout = layout_of(seed);
  const rlimit limit{layout.stack_limit, layout.stack_limit};
  static char padding[kMostPadding + 1];
  std::memset(padding, 'x', layout.padding);
  char program[] = "/init";
  char* const arguments[] = {program, nullptr};
  char* const environment[] = {padding, nullptr};
  if (::setrlimit(RLIMIT_STACK, &limit) == 0 &&
      ::personality(static_cast<unsigned>(now) | ADDR_NO_RANDOMIZE) >= 0) {
    ::execve(program, arguments, environment);
  }
  say("taking layout %llu: %s", static_cast<unsigned long long>(seed), std::strerror(errno));
  return false;
}

/// Everything between set-up and reset.
void work() {
  if (!agent::mount_at("proc", "/proc") || !agent::mount_at("devtmpfs", "/dev")) return;
  agent::take_console();
  std::array<char, 4096> command_line{};
  const ssize_t size = agent::read_whole("/proc/cmdline", command_line);
  if (size < 0) return;
  const agent::BootWords words =
      agent::parse_boot_words({command_line.data(), static_cast<std::size_t>(size)});
  if (words.doorbell == 0) {
    say("kernel command line: expected sealvisor.doorbell=0x<gpa>");
    return;
  }
  if (words.layout != 0 && !take_layout(words.layout)) return;
  if (!agent::mount_at("tmpfs", "/tmp")) return;
  static Bench bench;
  if (!bench.doorbell.open(words.doorbell, words.verbose)) return;
  bench.doorbell.hello();
  static Plan plan;
  if (const int error = make_generator_ready(); error != 0) {
    say("making the random number generator ready: %s", std::strerror(error));
  }
  tell_layout(bench.doorbell);
  if (open_shared(bench) && load_plan(bench.doorbell, plan)) run_plan(bench, plan);
  bench.doorbell.bye();
}

}  // namespace
}  // namespace sealvisor::bench

int main() {
  sealvisor::bench::work();
  // A kernel that loses process 1 panics, and would hide why.
  sealvisor::agent::reset_machine();
}
