#include "vmm/engine/kvm/runner.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/unit/engine/kvm/watched_guest.h"
#include "vmm/base/fd.h"

namespace sealvisor::engine::kvm {
namespace {

using event::Kind;
using testing::HasSubstr;

/// Stops as it is told to, and then fails.
class ScriptedMachine final : public Machine {
 public:
  explicit ScriptedMachine(VcpuState now) : now_(now) {}

  Result<MachineExit> run() override {
    if (script.empty()) return Error{ExitCode::HostLacks, "KVM_RUN: Bad address", EFAULT};
    MachineExit exit = std::move(script.front());
    script.pop_front();
    if (exit.kind == ExitKind::Kicked) await_kick();
    room = std::min(kRoom, room + 2);  // the guest reads
    user_mode_ = exit.kind == ExitKind::UserReturn || (exit.kind == ExitKind::Stepped && in_user);
    return exit;
  }
  Result<VcpuState> state() override { return now_; }
  Result<VcpuState> user_state() override { return now_; }
  Result<Planted> plant(const VcpuState& /*state*/) override { return Planted{3, 1 << 20, {}}; }
  Status protect(const std::vector<arch::Frame>& /*frames*/) override { return {}; }
  Status can_guard(const VcpuState& /*state*/) const override {
    if (can_be_exact) return {};
    return Error{ExitCode::HostLacks, "walks count as writes"};
  }
  const char* guarded_stores() const override { return "each done by this machine"; }
  Status guard(std::span<const arch::Frame> /*on*/, std::span<const arch::Frame> /*off*/) override {
    return {};
  }
  Status can_step() const override {
    if (!steps) return Error{ExitCode::HostLacks, "no step here"};
    return {};
  }
  Result<bool> begin_steps() override {
    asked.push_back(good_moment);
    return std::exchange(good_moment, true);
  }
  Status end_steps() override { return {}; }
  Result<bool> in_user_mode() override { return user_mode_; }
  std::size_t input_room() const override { return room; }
  Status type(std::string_view bytes) override {
    EXPECT_LE(bytes.size(), room);
    room -= bytes.size();
    typed += bytes;
    return {};
  }
  std::string take_console() override { return {}; }
  std::vector<ExitCount> exits() const override { return counted; }
  std::vector<std::string> limits() const override { return {}; }
  void kick() override {
    const std::lock_guard lock(mutex_);
    kicked_ = true;
    changed_.notify_all();
  }

  static constexpr std::size_t kRoom = 5;
  std::deque<MachineExit> script;
  std::size_t room = kRoom;  ///< For what is typed.
  std::string typed;
  std::vector<ExitCount> counted;
  bool can_be_exact = false;
  bool steps = true;
  bool good_moment = true;  ///< For the first sample.
  bool in_user = false;     ///< Where a step ends.
  std::vector<bool> asked;

 private:
  void await_kick() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [this] { return kicked_; }));
    kicked_ = false;
  }

  VcpuState now_;
  bool user_mode_ = true;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool kicked_ = false;
};

MachineExit exit_of(ExitKind kind) {
  MachineExit exit;
  exit.kind = kind;
  exit.size = 8;
  return exit;
}

class Runs : public WatchedGuest {
 protected:
  Runs() { config.arch = GetParam(); }

  Result<Outcome> run(const Terminal* terminal = nullptr) {
    Runner runner(config, machine, ram, memory, recorder, terminal);
    if (auto begun = runner.begin(); !begun) return begun.error();
    return runner.run();
  }

  EngineConfig config;
  ScriptedMachine machine{state(tables(10))};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Runs, testing::ValuesIn(arch::kAllArchs), test::ArchName{});

TEST_P(Runs, ToTheGuestsReset) {
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::UserReturn),
                    exit_of(ExitKind::Reset)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().end, End::GuestReset);
  EXPECT_EQ(outcome.value().lane, "audited");
  EXPECT_FALSE(outcome.value().stepped);
  EXPECT_EQ(recorder.seen.back().kind, Kind::RunEnd);
}

TEST_P(Runs, SaysWhatExitsCost) {
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::UserReturn),
                    exit_of(ExitKind::Reset)};
  machine.counted = {{Counted::UserReturn, 1, 75.0}, {Counted::Doorbell, 2, 30.0}};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  std::vector<std::string> costs;
  for (const Cost& cost : outcome.value().costs) {
    costs.push_back(fmt::format("{}: {} of {}", cost.name, cost.count, cost.microseconds));
  }
  EXPECT_THAT(
      costs, testing::ElementsAre("exits: returns to user mode: 1 of 75",
                                  "exits: doorbells: 2 of 30", "judgements of user mode: 1 of 75"));
}

TEST_P(Runs, TellsSlotsOfOneStoreToCodeApartFromThoseOfTheNext) {
  machine.script = {exit_of(ExitKind::Doorbell)};
  for (const bool goes_on : {false, true, false}) {
    MachineExit store = exit_of(ExitKind::ReadOnly);
    store.gpa = frame(7).slot(machine.script.size());
    store.value = 5;
    store.goes_on = goes_on;
    machine.script.push_back(store);
  }
  machine.script.push_back(exit_of(ExitKind::Reset));
  ASSERT_TRUE(run().ok());
  std::vector<std::uint64_t> moments;
  for (const auto& event : recorder.seen) {
    if (event.kind == Kind::ContentWrite) moments.push_back(event.icount);
  }
  ASSERT_EQ(moments.size(), 3U);
  EXPECT_EQ(moments[0], moments[1]);
  EXPECT_NE(moments[1], moments[2]);
}

TEST_P(Runs, GivesTheGuestWhatIsTypedAsItHasRoomForIt) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  const Fd into(ends[1]);
  const auto terminal = Terminal::open(from.get(), STDERR_FILENO);
  ASSERT_TRUE(terminal.ok()) << terminal.error().message;
  const std::string text = "a line of text";
  ASSERT_EQ(::write(into.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  machine.script = {exit_of(ExitKind::Kicked)};
  for (int i = 0; i < 5; ++i) machine.script.push_back(exit_of(ExitKind::Handled));
  machine.script.push_back(exit_of(ExitKind::Reset));
  ASSERT_TRUE(run(&terminal.value()).ok());
  EXPECT_EQ(machine.typed, text);
}

TEST_P(Runs, AHostThatFailsBeforeAnythingIsWatchedIsAnError) {
  machine.script = {exit_of(ExitKind::Handled)};
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ExitCode::HostLacks);
  EXPECT_THAT(outcome.error().message, HasSubstr("KVM_RUN"));
}

TEST_P(Runs, AHostThatFailsLaterLosesNothing) {
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::UserReturn)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().end, End::EngineDied);
  EXPECT_THAT(outcome.value().text, HasSubstr("KVM_RUN: Bad address"));
  EXPECT_THAT(recorder.kinds(), testing::Contains(Kind::UserEntry));
  EXPECT_EQ(recorder.seen.back().kind, Kind::RunEnd) << "what was gathered is whole";
}

TEST_P(Runs, WithoutAWatchMessagesAreToldOnlyWhereTheyAreAskedFor) {
  config.watch = false;
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::Reset)};
  auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(recorder.seen, testing::IsEmpty());
  EXPECT_THAT(recorder.stops, testing::IsEmpty());

  config.messages = true;
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::Doorbell),
                    exit_of(ExitKind::Reset)};
  outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().end, End::GuestReset);
  // The registers before the first, and of the tables nothing.
  EXPECT_THAT(recorder.kinds(),
              testing::ElementsAre(Kind::Registers, Kind::Doorbell, Kind::Doorbell, Kind::RunEnd));
  EXPECT_EQ(recorder.stops.size(), 2U);
  EXPECT_EQ(outcome.value().mechanism, "");
}

TEST_P(Runs, SaysWhyItCannotBeExact) {
  config.mechanism = Mechanism::Exact;
  machine.script = {exit_of(ExitKind::Doorbell)};
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().message, "no exact mechanism here: walks count as writes");
}

/// The machines differ in it: on x86-64 a store is stepped over.
TEST_P(Runs, SaysHowStoresToTablesAreDone) {
  machine.can_be_exact = true;
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::Reset)};
  auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().lane, "exact");
  EXPECT_THAT(outcome.value().mechanism,
              testing::StartsWith("tables guarded against stores, each done by this machine; "));
  config.mechanism = Mechanism::Audited;
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::Reset)};
  outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().lane, "audited");
  EXPECT_THAT(outcome.value().mechanism, testing::StartsWith("traps at 3 return(s)"));
}

TEST_P(Runs, CountsEntriesByStepWhereAskedTo) {
  config.step_check = true;
  machine.script = {exit_of(ExitKind::Doorbell)};
  for (int i = 0; i < 10; ++i) machine.script.push_back(exit_of(ExitKind::Stepped));
  machine.script.push_back(exit_of(ExitKind::UserReturn));
  machine.script.push_back(exit_of(ExitKind::Reset));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  ASSERT_TRUE(outcome.value().stepped);
  EXPECT_EQ(outcome.value().stepped->instructions, 12U);
  EXPECT_EQ(outcome.value().stepped->entries, 1U);
  EXPECT_EQ(outcome.value().stepped->untrapped, 0U);
  EXPECT_EQ(machine.asked, std::vector<bool>{true});
  EXPECT_THAT(recorder.kinds(), testing::Not(testing::Contains(Kind::Limit)));
}

TEST_P(Runs, AnEntryWithoutATrapMakesTheWatchIncomplete) {
  config.step_check = true;
  machine.in_user = true;
  machine.script = {exit_of(ExitKind::Doorbell)};
  machine.script.push_back(exit_of(ExitKind::Handled));  // in the kernel
  machine.script.push_back(exit_of(ExitKind::Stepped));  // in user mode
  machine.script.push_back(exit_of(ExitKind::Reset));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  ASSERT_TRUE(outcome.value().stepped);
  EXPECT_EQ(outcome.value().stepped->entries, 1U);
  EXPECT_EQ(outcome.value().stepped->untrapped, 1U);
  const auto limit = std::find_if(recorder.seen.begin(), recorder.seen.end(),
                                  [](const auto& event) { return event.kind == Kind::Limit; });
  ASSERT_NE(limit, recorder.seen.end());
  EXPECT_EQ(limit->aux, static_cast<std::uint64_t>(event::Limit::UntrappedReturn));
}

TEST_P(Runs, WaitsForAGoodMomentToStep) {
  config.step_check = true;
  machine.good_moment = false;
  machine.script = {exit_of(ExitKind::Doorbell), exit_of(ExitKind::UserReturn),
                    exit_of(ExitKind::Stepped), exit_of(ExitKind::Reset)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(machine.asked, (std::vector<bool>{false, true}));
  EXPECT_EQ(outcome.value().stepped->instructions, 2U);
}

TEST_P(Runs, NeedsAHostThatCanStepForThat) {
  config.step_check = true;
  machine.steps = false;
  machine.script = {exit_of(ExitKind::Doorbell)};
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().message, "no step here");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
