// What becomes of a run when the engine's process misbehaves: every end is named, comes within its
// deadline and leaves no child.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <csignal>
#include <cstddef>
#include <functional>
#include <sstream>
#include <thread>

#include "tests/unit/engine/stand_in.h"
#include "vmm/base/pipe.h"
#include "vmm/engine/tcg/loop.h"
#include "vmm/engine/tcg/tcg_engine.h"

namespace sealvisor::engine::tcg {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// How much longer than its deadline a run may take on a loaded machine.
constexpr auto kSlack = 10s;

constexpr std::uint64_t kMemory = 64U << 20;

/// Shell text: answers the negotiation, so that the guest counts as started.
constexpr const char* kNegotiate =
    "read -r line <&$qmp; echo '{\"return\": {}, \"id\": 1}' >&$qmp\n";
/// Shell text: reads commands until `quit`, then ends.
constexpr const char* kServe =
    "while read -r line <&$qmp; do case \"$line\" in *quit*) exit 0;; esac; done\n";
/// Shell text: writes one Doorbell record (kind 9) and sets the ring's head to 1.
static_assert(offsetof(event::RingHeader, head) == 64);
static_assert(offsetof(event::RingHeader, content_count) == 320);
constexpr const char* kWriteDoorbell =
    "printf '\\x09' | dd of=/proc/self/fd/$ring bs=1 seek=4096 conv=notrunc status=none\n"
    "printf '\\x01' | dd of=/proc/self/fd/$ring bs=1 seek=64 conv=notrunc status=none\n";
/// Shell text: tells us that the vCPU waits behind the last record.
constexpr const char* kStopHere = "printf S >&$channel\n";

class Collector final : public Observer {
 public:
  void on_events(std::span<const event::Event> batch) override {
    events.insert(events.end(), batch.begin(), batch.end());
    std::this_thread::sleep_for(pause);
  }
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {}
  StopReply on_stopped(const event::Event& event) override {
    stops.push_back(event);
    return reply;
  }
  void on_console(std::span<const char> bytes) override {
    console.append(bytes.data(), bytes.size());
    if (console_hook) console_hook();
  }
  std::vector<event::Event> events;
  std::vector<event::Event> stops;
  std::string console;
  StopReply reply;
  std::function<void()> console_hook;
  std::chrono::milliseconds pause{0};  ///< What a batch takes.
};

class Lifecycle : public ::testing::Test {
 protected:
  Lifecycle() {
    config_.kernel = "/nonexistent/kernel";
    config_.initramfs = "/nonexistent/initramfs";
    config_.plugin = "/bin/sh";  // Any file that is there: the stand-ins don't load it.
    config_.deadline = 60s;
  }
  void TearDown() override {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child was left behind";
    EXPECT_EQ(errno, ECHILD);
  }
  Result<Outcome> run() {
    auto engine = make_tcg_engine(config_, kMemory);
    if (!engine) return engine.error();
    const auto before = steady_clock::now();
    auto outcome = engine.value()->run(observer_);
    elapsed_ = steady_clock::now() - before;
    return outcome;
  }
  Outcome run_to_end() {
    auto outcome = run();
    EXPECT_TRUE(outcome.ok()) << outcome.error().message;
    return outcome ? outcome.value() : Outcome{};
  }

  EngineConfig config_;
  Collector observer_;
  steady_clock::duration elapsed_{};
};

TEST_F(Lifecycle, RefusesAnOldVersionBeforeAnythingElse) {
  const StandIn qemu("exit 0", "9.2.4");
  const auto engine = make_tcg_engine(config_, kMemory);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ExitCode::HostLacks);
  EXPECT_THAT(engine.error().message, AllOf(HasSubstr("9.2.4"), HasSubstr("install")));
}

TEST_F(Lifecycle, NamesAMissingPlugin) {
  const StandIn qemu("exit 0");
  config_.plugin = "/nonexistent/plugin.so";
  const auto engine = make_tcg_engine(config_, kMemory);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(engine.error().message, HasSubstr("/nonexistent/plugin.so"));
  config_.plugin_loaded = false;
  EXPECT_TRUE(make_tcg_engine(config_, kMemory).ok());
}

TEST_F(Lifecycle, PassesOnWhatAStartThatFailedSaid) {
  const StandIn qemu("echo 'could not load kernel' >&2; exit 1");
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ExitCode::HostLacks);
  EXPECT_THAT(outcome.error().message,
              AllOf(HasSubstr("status 1"), HasSubstr("could not load kernel")));
}

TEST_F(Lifecycle, CallsAnEndByTheGuestAReset) {
  const StandIn qemu(std::string(kNegotiate) +
                     "echo hello >&$console\n"
                     "echo '{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
                     "\"guest-reset\"}}' >&$qmp\nexit 0");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::GuestReset) << outcome.text;
  EXPECT_EQ(observer_.console, "hello\n");
  EXPECT_EQ(outcome.version, "QEMU 10.0.2");
  EXPECT_EQ(outcome.cpu_model, "max,rdrand=off,rdseed=off,la57=off,erms=off,fsrm=off");
  EXPECT_GT(outcome.wall_seconds, 0);
  EXPECT_GT(outcome.engine_cpu_seconds, 0);
}

TEST_F(Lifecycle, DoesNotCallAnotherEndAReset) {
  const StandIn qemu(std::string(kNegotiate) +
                     "echo '{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": "
                     "\"host-signal\"}}' >&$qmp\nexit 0");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::EngineDied);
  EXPECT_THAT(outcome.text, HasSubstr("host-signal"));
}

TEST_F(Lifecycle, DoesNotCallASilentEndAReset) {
  const StandIn qemu("exit 0");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::EngineDied);
  EXPECT_THAT(outcome.text, HasSubstr("no reason"));
}

TEST_F(Lifecycle, NamesTheStatusOfAnEngineThatFailedLater) {
  const StandIn qemu(std::string(kNegotiate) + "echo 'assertion failed' >&2; exit 3");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::EngineDied);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("status 3"), HasSubstr("assertion failed")));
}

TEST_F(Lifecycle, NamesTheSignalThatKilledTheEngine) {
  const StandIn qemu("kill -KILL $$");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::EngineDied);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("signal 9"), HasSubstr("Killed")));
}

TEST_F(Lifecycle, AsksPolitelyAtTheDeadline) {
  const StandIn qemu(std::string(kNegotiate) + kServe);
  config_.deadline = 1500ms;
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::Deadline);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("1.5 s"), Not(HasSubstr("killed"))));
  EXPECT_GE(elapsed_, 1500ms);
}

TEST_F(Lifecycle, KillsAnEngineThatIgnoresItsDeadline) {
  const StandIn qemu("trap '' TERM INT; exec sleep 1000");
  config_.deadline = 200ms;
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::Deadline);
  EXPECT_THAT(outcome.text, HasSubstr("killed"));
  EXPECT_LT(elapsed_, 200ms + kGrace + kSlack);
}

TEST_F(Lifecycle, KillsWhatTheEngineStartedToo) {
  // The subshell holds the console and standard error open.
  const StandIn qemu("sleep 1000 & echo $! >&$console; wait");
  config_.deadline = 1500ms;
  EXPECT_EQ(run_to_end().end, End::Deadline);
  EXPECT_LT(elapsed_, 1500ms + kGrace + kSlack);
  const Fd left(static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(observer_.console), 0U)));
  EXPECT_TRUE(!left.valid() || wait_readable(left.get(), steady_clock::now() + kSlack));
}

TEST_F(Lifecycle, StopsAConsoleFlood) {
  const StandIn qemu("exec yes >&$console");
  config_.console_limit = 65536;
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::ConsoleFlood);
  EXPECT_THAT(outcome.text, HasSubstr("65536"));
  EXPECT_EQ(observer_.console.size(), 65536U);
  EXPECT_LT(elapsed_, kGrace + kSlack);
}

TEST_F(Lifecycle, ToleratesExactlyTheConsoleLimit) {
  const StandIn qemu("head -c 65536 /dev/zero >&$console; exit 0");
  config_.console_limit = 65536;
  EXPECT_EQ(run_to_end().end, End::EngineDied);
  EXPECT_EQ(observer_.console.size(), 65536U);
}

TEST_F(Lifecycle, KeepsAllThatWasWrittenBeforeTheEnd) {
  const StandIn qemu("head -c 200000 /dev/zero | tr '\\0' x >&$console; kill -KILL $$");
  EXPECT_EQ(run_to_end().end, End::EngineDied);
  EXPECT_EQ(observer_.console, std::string(200000, 'x'));
}

TEST_F(Lifecycle, KeepsTheEndOfWhatTheEngineSaid) {
  const StandIn qemu("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo last words >&2; exit 1");
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("last words"));
  EXPECT_LT(outcome.error().message.size(), 1000U);
}

TEST_F(Lifecycle, IsNotConfusedByAProtocolOfGarbage) {
  const StandIn qemu("printf 'garbage\\n\\xff\\xfe{\\n[]\\n{\"event\": 5}\\n' >&$qmp\n" +
                     std::string(kNegotiate) + kServe);
  config_.deadline = 1500ms;
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::Deadline);
  EXPECT_THAT(outcome.text, Not(HasSubstr("killed")));
}

TEST_F(Lifecycle, SurvivesClosedChannels) {
  const StandIn qemu("eval \"exec $channel>&- $console>&- $qmp>&-\"; exec 2>&-; exec sleep 1000");
  config_.deadline = 1500ms;
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::Deadline);
  EXPECT_LT(elapsed_, 1500ms + kGrace + kSlack);
  EXPECT_LT(outcome.engine_cpu_seconds, 1.0) << "waiting must not be spinning";
}

TEST_F(Lifecycle, AnswersTheVcpuAfterTheObserver) {
  const StandIn qemu(std::string(kNegotiate) + kWriteDoorbell + kStopHere +
                     "read -r -N1 answer <&$channel; echo \"answer $answer\" >&$console\n"
                     "od -An -v -tu8 -w24 -j320 -N24 /proc/self/fd/$ring | tr -s ' ' >&$console\n"
                     "exit 0");
  observer_.reply.watch_content = {arch::Frame{77}, arch::Frame{88}};
  EXPECT_EQ(run_to_end().end, End::EngineDied);
  ASSERT_EQ(observer_.stops.size(), 1U);
  EXPECT_EQ(observer_.stops[0].kind, event::Kind::Doorbell);
  EXPECT_EQ(observer_.events.size(), 1U);
  // content_count and the first two of content_frames, as the plugin finds them after the answer.
  EXPECT_EQ(observer_.console, "answer G\n 2 77 88\n");
}

TEST_F(Lifecycle, EndsTheGuestWhenTheObserverGivesUp) {
  const StandIn qemu(std::string(kNegotiate) + kWriteDoorbell + kStopHere + kServe);
  observer_.reply.give_up = "the guest broke the protocol";
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::GaveUp);
  EXPECT_EQ(outcome.text, "the guest broke the protocol");
}

TEST_F(Lifecycle, KillsAnEngineWhoseRingIsBroken) {
  const StandIn qemu(
      "printf '\\xff\\xff\\xff' | dd of=/proc/self/fd/$ring bs=1 seek=64 conv=notrunc "
      "status=none\nprintf D >&$channel\nexec sleep 1000");
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::RingBroken);
  EXPECT_TRUE(observer_.events.empty());
  EXPECT_LT(elapsed_, kSlack);
}

TEST_F(Lifecycle, TakesRecordsThatADeadEngineLeft) {
  const StandIn qemu(std::string(kWriteDoorbell) + "kill -KILL $$");
  EXPECT_EQ(run_to_end().end, End::EngineDied);
  EXPECT_EQ(observer_.events.size(), 1U);
}

/// Records that take a second each batch, as those of a guest that makes us search: the deadline
/// counts all the same.
TEST_F(Lifecycle, HoldsTheDeadlineBetweenRecords) {
  const std::string records =
      "printf '\\xc8' | dd of=/proc/self/fd/$ring bs=1 seek=64 conv=notrunc status=none\n";
  // While the engine runs, and left behind by one that has ended.
  for (const std::string& then :
       {std::string("printf D >&$channel\n") + kServe, std::string("exit 0")}) {
    const StandIn qemu(kNegotiate + records + then);
    config_.deadline = 1500ms;
    observer_.events.clear();
    observer_.pause = 1s;
    const Outcome outcome = run_to_end();
    EXPECT_EQ(outcome.end, End::Deadline) << outcome.text;
    EXPECT_LT(elapsed_, 1500ms + kGrace + kSlack) << "all of them take most of a minute";
    EXPECT_FALSE(observer_.events.empty());
    EXPECT_LT(observer_.events.size(), 100U);
  }
}

TEST_F(Lifecycle, InheritsNothingButItsChannels) {
  const Fd stray(::fcntl(STDERR_FILENO, F_DUPFD, 100));  // Not close-on-exec on purpose.
  ASSERT_TRUE(stray.valid());
  const StandIn qemu(
      "echo fds >&$console; ls /proc/$$/fd >&$console; echo end >&$console\n"
      "readlink /proc/$$/fd/0 >&$console; exit 0");
  run_to_end();
  // 0, 1, 2, the script itself (255), console, QMP, channel, ring, and RAM twice.
  std::istringstream text(observer_.console);
  std::string word;
  text >> word;
  ASSERT_EQ(word, "fds");
  std::vector<std::string> fds;
  while (text >> word && word != "end") fds.push_back(word);
  EXPECT_EQ(fds.size(), 10U) << observer_.console;
  EXPECT_THAT(fds, Not(::testing::Contains(std::to_string(stray.get()))));
  EXPECT_THAT(observer_.console, HasSubstr("/dev/null"));
}

TEST_F(Lifecycle, EndsOnASignal) {
  const StandIn qemu(std::string(kNegotiate) + "echo up >&$console\n" + kServe);
  for (const int number : {SIGINT, SIGTERM}) {
    observer_.console_hook = [number] { ::kill(::getpid(), number); };
    const Outcome outcome = run_to_end();
    EXPECT_EQ(outcome.end, End::Interrupted);
    EXPECT_THAT(outcome.text, HasSubstr("signal " + std::to_string(number)));
  }
}

TEST_F(Lifecycle, DoesNotWaitAfterASecondSignal) {
  const StandIn qemu(std::string(kNegotiate) +
                     "echo up >&$console\n"
                     "while read -r line <&$qmp; do case \"$line\" in *quit*) echo no >&$console;; "
                     "esac; done; exec sleep 1000");
  observer_.console_hook = [] { ::kill(::getpid(), SIGINT); };
  const Outcome outcome = run_to_end();
  EXPECT_EQ(outcome.end, End::Interrupted);
  EXPECT_THAT(outcome.text, HasSubstr("second signal"));
}

TEST_F(Lifecycle, OneSignalEndsBothOfTwoRuns) {
  const StandIn qemu(std::string(kNegotiate) + "echo up >&$console\n" + kServe);
  std::barrier both_up(2);
  std::array<End, 2> ends{};
  const auto run_one = [&](std::size_t index) {
    auto engine = make_tcg_engine(config_, kMemory);
    ASSERT_TRUE(engine.ok());
    Collector observer;
    observer.console_hook = [&both_up, index] {
      both_up.arrive_and_wait();
      if (index == 0) ::kill(::getpid(), SIGTERM);
    };
    const auto outcome = engine.value()->run(observer);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    ends.at(index) = outcome.value().end;
  };
  std::thread other(run_one, 1);
  run_one(0);
  other.join();
  EXPECT_EQ(ends[0], End::Interrupted);
  EXPECT_EQ(ends[1], End::Interrupted);
}

TEST_F(Lifecycle, RunsOnce) {
  const StandIn qemu("exit 0");
  auto engine = make_tcg_engine(config_, kMemory);
  ASSERT_TRUE(engine.ok());
  EXPECT_TRUE(engine.value()->run(observer_).ok());
  EXPECT_FALSE(engine.value()->run(observer_).ok());
}

TEST_F(Lifecycle, TheEngineDiesWithUs) {
  const StandIn qemu("echo $$ >&$console; exec sleep 1000");
  auto pipe = make_pipe("a test");
  ASSERT_TRUE(pipe.ok());
  const pid_t middle = ::fork();
  ASSERT_GE(middle, 0);
  if (middle == 0) {
    observer_.console_hook = [&] {
      [[maybe_unused]] const auto sent =
          ::write(pipe.value().writing.get(), observer_.console.data(), observer_.console.size());
    };
    [[maybe_unused]] const auto outcome = run();
    ::_exit(0);
  }
  const auto until = steady_clock::now() + 30s;
  std::string text(32, '\0');
  ASSERT_TRUE(wait_readable(pipe.value().reading.get(), until));
  ASSERT_GT(::read(pipe.value().reading.get(), text.data(), text.size()), 0);
  const Fd engine(static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(text), 0U)));
  ASSERT_TRUE(engine.valid());
  ::kill(middle, SIGKILL);
  EXPECT_TRUE(wait_readable(engine.get(), until));
  EXPECT_EQ(::waitpid(middle, nullptr, 0), middle);
}

TEST_F(Lifecycle, BridgesTheCallersTerminalUntilCtrlAX) {
  const StandIn qemu(std::string(kNegotiate) +
                     "echo ready >&$console; read -r -N2 typed <&$console; "
                     "echo \"got $typed\" >&$console\n" +
                     kServe);
  int ours = -1;
  const pid_t session = ::forkpty(&ours, nullptr, nullptr, nullptr);
  ASSERT_GE(session, 0);
  if (session == 0) {
    config_.interactive = true;
    const auto outcome = run();
    termios mode{};
    const bool restored = ::tcgetattr(0, &mode) == 0 && (mode.c_lflag & ICANON) != 0;
    ::_exit(outcome && outcome.value().end == End::Interrupted && restored &&
                    outcome.value().quit && observer_.console.find("ready") != std::string::npos
                ? 0
                : 1);
  }
  const Fd pty(ours);
  const auto until = steady_clock::now() + 30s;
  std::string shown;
  const auto wait_for = [&](const char* what) {
    while (shown.find(what) == std::string::npos && wait_readable(pty.get(), until)) {
      std::array<char, 256> block{};
      const ssize_t count = ::read(pty.get(), block.data(), block.size());
      if (count <= 0) break;
      shown.append(block.data(), static_cast<std::size_t>(count));
    }
    return shown.find(what) != std::string::npos;
  };
  EXPECT_TRUE(wait_for("ready")) << shown;
  ASSERT_EQ(::write(pty.get(), "\x03z", 2), 2);  // Ctrl-C belongs to the guest.
  EXPECT_TRUE(wait_for("got \x03z")) << shown;
  ASSERT_EQ(::write(pty.get(), "\x01x", 2), 2);
  int status = 0;
  ASSERT_EQ(::waitpid(session, &status, 0), session);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(LastWords, AreOneShortPrintableLine) {
  EXPECT_EQ(last_words("one\ntwo\r\n\n"), "one; two");
  EXPECT_EQ(last_words("a\x1b[31mb\xff"), "a?[31mb?");
  EXPECT_EQ(last_words(std::string(5000, 'x')).size(), 600U);
  EXPECT_EQ(last_words(""), "");
}

TEST(NameOfEnd, IsThereForEachAndDifferent) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(End::RingBroken); ++i) {
    names.emplace_back(name_of(static_cast<End>(i)));
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_THAT(names, Not(::testing::Contains("?")));
}

}  // namespace
}  // namespace sealvisor::engine::tcg
