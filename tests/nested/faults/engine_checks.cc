// The engine as a library: how each guest ends, how soon after a request, and what is left.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "tests/nested/faults/checks.h"
#include "tests/nested/faults/guests.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/host.h"

namespace sealvisor::test {

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;
using engine::End;

constexpr const char* kImage = "/tmp/guest";
constexpr const char* kInitramfs = "/tmp/initramfs";
constexpr std::uint64_t kMemory = 64ULL << 20;
constexpr std::uint64_t kConsole = 4096;
constexpr std::chrono::milliseconds kDeadline{1000};
/// From a request to the end of the vCPU.
constexpr Milliseconds kMost{100};
/// How long a guest has been at it when the request comes.
constexpr std::chrono::milliseconds kAtIt{200};
constexpr int kRequests = 5;

/// Tells another thread that the guest has written something.
class Listener final : public engine::Observer {
 public:
  void on_events(std::span<const event::Event> /*events*/) override {}
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const event::Event& /*event*/) override { return {}; }
  void on_console(std::span<const char> /*bytes*/) override { tell(); }
  void tell() {
    const std::lock_guard lock(mutex_);
    told_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, most, [this] { return told_; });
  }
  /// For a stretch of time, not for a condition: until the run is over.
  void let_run(std::chrono::milliseconds stretch) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stretch, [this] { return over_; });
  }
  void over() {
    const std::lock_guard lock(mutex_);
    over_ = true;
    told_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool told_ = false;
  bool over_ = false;
};

struct Ran {
  std::string why;  ///< Not empty: no guest ran, or it left something behind.
  engine::Outcome outcome;
  Milliseconds stopped{};  ///< From the request (or the deadline) to the vCPU's last stop.
  Milliseconds gone{};     ///< To the end of run(), when the machine is no more.
};

engine::EngineConfig config_for(std::chrono::milliseconds deadline) {
  engine::EngineConfig config;
  config.arch = engine::kvm::native_arch().value();
  config.kernel = kImage;
  config.initramfs = kInitramfs;
  config.deadline = deadline;
  config.console_limit = kConsole;
  return config;
}

/// Files and threads that are there now and were not before; empty: none.
std::string left_behind(const std::string& files, const std::string& tasks) {
  std::string left;
  if (open_files() != files) left = fmt::format("open: {}; before: {}", open_files(), files);
  if (threads() != tasks) left += fmt::format("threads: {}; before: {}", threads(), tasks);
  return left;
}

/// Runs `guest`. `signal`: sent once the guest has been at it for a while; 0: none.
Ran run(const Guest& guest, std::chrono::milliseconds deadline, int signal) {
  Ran ran;
  std::ofstream(kImage, std::ios::binary | std::ios::trunc) << image_of(guest.code);
  const std::string files = open_files();
  const std::string tasks = threads();
  {
    const engine::EngineConfig config = config_for(deadline);
    auto engine = engine::make_kvm_engine(config, kMemory);
    if (!engine) return {engine.error().message, {}, {}, {}};
    Listener listener;
    Clock::time_point asked;
    std::thread asker;
    if (signal != 0) {
      asker = std::thread([&] {
        if (!listener.wait(std::chrono::seconds(30))) return;
        listener.let_run(kAtIt);
        asked = Clock::now();
        ::kill(::getpid(), signal);
      });
    }
    const auto begun = Clock::now();
    auto outcome = engine.value()->run(listener);
    const auto ended = Clock::now();
    listener.over();
    if (asker.joinable()) asker.join();
    if (!outcome) return {outcome.error().message, {}, {}, {}};
    ran.outcome = std::move(outcome).value();
    if (signal == 0) asked = std::max(begun, ran.outcome.started) + deadline;
    const auto stopped =
        ran.outcome.started + std::chrono::duration<double>(ran.outcome.wall_seconds);
    ran.stopped = stopped - asked;
    ran.gone = ended - asked;
  }
  ran.why = left_behind(files, tasks);
  return ran;
}

std::string judge(const Ran& ran, End end, std::string_view words) {
  if (!ran.why.empty()) return ran.why;
  if (ran.outcome.end != end) return fmt::format("expected {}", engine::name_of(end));
  if (ran.outcome.text.find(words) == std::string::npos) return fmt::format("expected '{}'", words);
  return "";
}

std::string text_of(const Ran& ran) {
  return fmt::format("{}: {}", engine::name_of(ran.outcome.end), ran.outcome.text);
}

/// Ended by a request, several times: the slowest counts.
void try_requests(Checks& checks, const Guest& guest, const char* how, int signal, End end,
                  const char* words) {
  Milliseconds stopped{};
  Milliseconds gone{};
  std::string why;
  Ran ran;
  for (int i = 0; i < kRequests && why.empty(); ++i) {
    ran = run(guest, signal == 0 ? kDeadline : std::chrono::milliseconds(60'000), signal);
    stopped = std::max(stopped, ran.stopped);
    gone = std::max(gone, ran.gone);
    why = judge(ran, end, words);
    if (why.empty() && ran.stopped > kMost) why = "too late";
  }
  checks.result(fmt::format("engine {} {}", guest.name, how),
                fmt::format("{}; at most {:.1f} ms after the request, {:.1f} ms with the machine",
                            text_of(ran), stopped.count(), gone.count()),
                why);
}

/// What can't be loaded, as it is on disk now, is refused.
void try_refusal(Checks& checks, const char* name, std::string_view words) {
  const std::string files = open_files();
  const std::string tasks = threads();
  std::string why;
  std::string said;
  {
    auto engine = engine::make_kvm_engine(config_for(kDeadline), kMemory);
    Listener listener;
    const auto outcome =
        engine ? engine.value()->run(listener) : Result<engine::Outcome>(engine.error());
    if (outcome) {
      why = "it ran";
    } else {
      said = outcome.error().message;
      if (outcome.error().code != ExitCode::Usage) why = "another exit code";
      if (said.find(words) == std::string::npos) why = fmt::format("expected '{}'", words);
    }
  }
  if (why.empty()) why = left_behind(files, tasks);
  checks.result(fmt::format("engine {}", name), said, why);
}

}  // namespace

void try_engine(Checks& checks) {
  write_too_large(kImage, kInitramfs, TooLarge::Kernel);
  try_refusal(checks, "kernel larger than memory", kKernelTooLarge);
  write_too_large(kImage, kInitramfs, TooLarge::Initramfs);
  try_refusal(checks, "initramfs that does not fit", kInitramfsTooLarge);
  std::ofstream(kInitramfs, std::ios::trunc) << "none";
  for (const Guest& guest : guests()) {
    if (guest.end) {
      const Ran ran = run(guest, std::chrono::milliseconds(60'000), 0);
      checks.result(fmt::format("engine {}", guest.name), text_of(ran),
                    judge(ran, *guest.end, guest.words));
      continue;
    }
    try_requests(checks, guest, "deadline", 0, End::Deadline, "had not ended after 1 s (pc 0x");
    try_requests(checks, guest, "SIGINT", SIGINT, End::Interrupted, "(Interrupt)");
    try_requests(checks, guest, "SIGTERM", SIGTERM, End::Interrupted, "(Terminated)");
  }
}

}  // namespace sealvisor::test
