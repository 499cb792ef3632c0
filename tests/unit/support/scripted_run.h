// One run of a guest of plain memory, recorded as run_one() records one: an agent tries munmap of
// the whole [vdso].
#pragma once

#include <sys/auxv.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "guest/protocol/doorbell.h"
#include "tests/unit/support/fake_guest.h"
#include "vmm/evidence/names.h"
#include "vmm/memory/memory.h"
#include "vmm/run/outcome.h"
#include "vmm/run/recorder.h"
#include "vmm/run/session.h"

namespace sealvisor::test {

/// The frames of a FakeMemory as bytes, in RAM without holes: what holds no table is zeroes, as a
/// guest that was just started has them.
class FakeRam final : public memory::Memory {
 public:
  FakeRam(const FakeMemory& memory, std::uint64_t bytes) : memory_(memory), bytes_(bytes) {}
  bool is_ram(Frame frame) const override { return frame.gpa().value < bytes_; }
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    if (slot.value % 8 != 0 || !is_ram(arch::frame_of(slot))) return false;
    if (!memory_.read_entry(slot, value)) value = 0;
    return true;
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    if (!is_ram(frame)) return false;
    if (!memory_.read_table(frame, copy)) copy = {};
    return true;
  }
  bool read(Gpa gpa, std::span<std::byte> out) const override {
    for (std::byte& byte : out) {
      arch::Table words;
      if (!read_table(arch::frame_of(gpa), words)) return false;
      byte = reinterpret_cast<const std::byte*>(words.data())[gpa.value % arch::kPageSize];
      ++gpa.value;
    }
    return true;
  }

 private:
  const FakeMemory& memory_;
  std::uint64_t bytes_;
};

class ScriptedRun {
 public:
  /// What the kernel does when it is asked.
  enum class Kernel : std::uint8_t {
    Refuses,  ///< EPERM, and everything stays.
    Obeys,    ///< The mapping goes.
    Lies,     ///< EPERM, and the mapping goes.
  };

  /// A request for it, with files in `folder`, where the evidence goes too.
  static run::RunRequest request(const std::filesystem::path& folder) {
    run::RunRequest request;
    request.arch = Arch::X86_64;
    request.recipe = "lts-sealed";
    request.sealed = true;
    request.memory_bytes = 64ULL << 20;
    scenario::PlanItem item;
    item.scenario = scenario::find("munmap/whole");
    item.cell = 1;
    item.mapping = scenario::mapping_named("[vdso]");
    request.plan = {item};
    for (const char* name : {"vmlinux", "init", "dynamic", "loader", "helper32", "plugin.so"}) {
      std::ofstream(folder / name) << name;
    }
    request.kernel_image = request.symbols = folder / "vmlinux";
    request.agent_dir = folder;
    request.plugin = folder / "plugin.so";
    request.evidence_dir = folder / "evidence";
    std::filesystem::create_directories(request.evidence_dir);
    return request;
  }

  ScriptedRun(const run::RunRequest& request, Kernel kernel)
      : request_(request), kernel_(kernel), ram_(guest_.memory, request.memory_bytes) {
    symbols_.code[guest_.source().pc] = "zap_pte_range+0x12";
    symbols_.places["linux_banner"] = std::nullopt;
  }

  /// Plays it. `run` gets the report.
  void play(report::Run& run) {
    auto made =
        run::Recorder::create(request_, ram_, request_.symbols.empty() ? nullptr : &symbols_);
    ASSERT_TRUE(made.ok()) << made.error().message;
    recorder_ = std::move(made).value();
    session_ = std::make_unique<run::Session>(request_, recorder_->memory(), recorder_->symbols());
    act();
    recorder_->on_console(words);
    run::ConsoleTail tail;
    tail.add(words);
    engine::Outcome outcome;
    outcome.end = ending;
    outcome.text = ending == engine::End::GuestReset ? "guest-reset" : "no more";
    if (describe) describe(outcome);
    outcome.version = "a guest of plain memory";
    run = run::report_of(request_, *session_, outcome, tail);
    run.start.instructions = first_bell_;
    auto kept = recorder_->close(outcome, session_->code());
    ASSERT_TRUE(kept.ok()) << kept.error().message;
    run.evidence = kept.value();
  }

  /// An event that the agent's kernel makes while user mode does not run.
  FakeGuest& guest() { return guest_; }
  /// Its vdso is this host's own; false: zeroes, which are none.
  bool real_vdso = true;
  /// What its console shows, and how it ends.
  std::string words = "console words\n";
  engine::End ending = engine::End::GuestReset;
  /// What the engine says of itself may be changed here.
  std::function<void(engine::Outcome&)> describe;
  /// As the agent says.
  std::uint32_t cpus = 1;
  /// Something to do just before the agent says goodbye.
  std::function<void(ScriptedRun&)> at_the_end;

  /// Why the session wanted the guest ended, which goes on all the same.
  std::string gave_up;
  /// User mode is about to run on `root`, on the vCPU that the guest is at.
  void enter_user(Frame root) {
    event::Event entry{};
    entry.kind = event::Kind::UserEntry;
    entry.vcpu = guest_.vcpu;
    entry.icount = ++guest_.icount;
    entry.root = root.gpa().value;
    guest_.emit(entry);
    pump();
  }

  /// Gives the session all events that came since the last time.
  void pump() {
    for (; fed_ < guest_.events.size(); ++fed_) {
      recorder_->on_events(std::span(&guest_.events[fed_], 1));
      session_->on_event(guest_.events[fed_]);
    }
  }

 private:
  static constexpr Frame kPaper{0x430};  ///< Where messages are written.
  static constexpr Gva kPaperPlace{0x10000};

  void act() {
    for (std::uint64_t page = 0; real_vdso && page < 2; ++page) {
      const auto* from = reinterpret_cast<const char*>(::getauxval(AT_SYSINFO_EHDR));
      ASSERT_NE(from, nullptr);
      std::memcpy(guest_.memory.tables[Frame{FakeGuest::kVdso.number + page}].data(),
                  from + page * arch::kPageSize, arch::kPageSize);
    }
    event::Event registers{};
    registers.kind = event::Kind::Registers;
    registers.old_value = 1ULL << 31;
    registers.new_value = 1ULL << 5;
    registers.aux = 0xC00;
    guest_.emit(registers);
    root_ = guest_.new_process();
    guest_.map(root_, kPaperPlace, kPaper, {.write = true});
    copy_tables();
    enter_user();
    protocol::Message hello = message(protocol::Type::Hello);
    std::strcpy(hello.body.hello.release, "6.12.0-plain");
    hello.body.hello.cpus = cpus;
    ring(hello, sizeof hello.body.hello);
    announce();
    protocol::Message scenario = message(protocol::Type::ScenarioBegin);
    std::strcpy(scenario.body.scenario.name, "munmap/whole");
    ring(scenario, sizeof scenario.body.scenario);
    cell();
    scenario.type = protocol::Type::ScenarioEnd;
    scenario.body.scenario.count = 1;
    ring(scenario, sizeof scenario.body.scenario);
    if (at_the_end) at_the_end(*this);
    pump();
    ring(message(protocol::Type::Bye), 0);
    event::Event end{};
    end.kind = event::Kind::RunEnd;
    guest_.emit(end);
    stop();
  }

  void announce() {
    protocol::Message mapping = message(protocol::Type::Mapping);
    protocol::MappingClaim& claim = mapping.body.mapping;
    claim.start = FakeGuest::kVdsoPlace.value;
    claim.end = claim.start + 2 * arch::kPageSize;
    claim.readable = claim.executable = claim.sealed = 1;
    std::strcpy(claim.name, "[vdso]");
    ring(mapping, sizeof claim);
    protocol::Message end = message(protocol::Type::MappingsEnd);
    end.body.mappings_end.count = 1;
    end.body.mappings_end.vdso = claim.start;
    ring(end, sizeof end.body.mappings_end);
  }

  void cell() {
    protocol::Message begin = message(protocol::Type::CellBegin);
    begin.token = 1;
    std::strcpy(begin.body.cell.mapping, "[vdso]");
    std::strcpy(begin.body.cell.operation, "munmap");
    std::strcpy(begin.body.cell.form, "whole");
    begin.body.cell.start = FakeGuest::kVdsoPlace.value;
    begin.body.cell.end = begin.body.cell.start + 2 * arch::kPageSize;
    ring(begin, sizeof begin.body.cell);
    touch(protocol::Moment::BeforeOperation, protocol::Touch::Read);
    protocol::Message before = message(protocol::Type::Before);
    before.token = 1;
    ring(before, 0);
    if (kernel_ != Kernel::Refuses) {
      guest_.unmap(root_, FakeGuest::kVdsoPlace);
      guest_.unmap(root_, Gva{FakeGuest::kVdsoPlace.value + arch::kPageSize});
    }
    enter_user();
    protocol::Message after = message(protocol::Type::After);
    after.token = 1;
    after.body.after.result = kernel_ == Kernel::Obeys ? 0 : -EPERM;
    ring(after, sizeof after.body.after);
    touch(protocol::Moment::AfterOperation,
          kernel_ == Kernel::Refuses ? protocol::Touch::Read : protocol::Touch::Segv);
    protocol::Message end = message(protocol::Type::CellEnd);
    end.token = 1;
    ring(end, sizeof end.body.cell_end);
  }

  void touch(protocol::Moment moment, protocol::Touch outcome) {
    protocol::Message touched = message(protocol::Type::Touched);
    touched.token = 1;
    touched.body.touched.start = FakeGuest::kVdsoPlace.value;
    touched.body.touched.pages = 2;
    touched.body.touched.moment = moment;
    touched.body.touched.outcome[0] = touched.body.touched.outcome[1] = outcome;
    ring(touched, sizeof touched.body.touched);
  }

  static protocol::Message message(protocol::Type type) {
    protocol::Message message{};
    message.magic = protocol::kMagic;
    message.version = protocol::kVersion;
    message.type = type;
    return message;
  }

  void ring(protocol::Message message, std::size_t length) {
    message.length = static_cast<std::uint32_t>(length);
    std::memcpy(guest_.memory.tables[kPaper].data(), &message, sizeof message);
    event::Event bell{};
    bell.kind = event::Kind::Doorbell;
    bell.icount = ++guest_.icount;
    bell.gpa = protocol::kRegister64;
    bell.size = 8;
    bell.new_value = kPaperPlace.value;
    guest_.emit(bell);
    stop();
  }

  void stop() {
    pump();
    const event::Event& last = guest_.events.back();
    if (last.kind == event::Kind::Doorbell && !first_bell_) first_bell_ = last.icount;
    recorder_->on_stopped();
    const run::Commands commands = session_->on_stopped(guest_.events.back());
    if (commands.give_up) gave_up = *commands.give_up;
    recorder_->on_answered();
  }

  void enter_user() { enter_user(root_); }

  /// As the engine does at the load of a root.
  void copy_tables() {
    pump();
    for (const Frame frame : guest_.mirror.frames()) {
      event::Event copy{};
      copy.kind = event::Kind::TableCopy;
      copy.icount = guest_.icount;
      copy.gpa = frame.gpa().value;
      copy.aux = copies_++;
      arch::Table table{};
      ASSERT_TRUE(guest_.memory.read_table(frame, table));
      recorder_->on_table_copy(copy, table);
      session_->on_table_copy(copy, table);
    }
    event::Event sync{};
    sync.kind = event::Kind::Sync;
    sync.gpa = root_.gpa().value;
    guest_.emit(sync);
    pump();
  }

  const run::RunRequest& request_;
  Kernel kernel_;
  FakeGuest guest_{Arch::X86_64};
  FakeRam ram_;
  evidence::RecordedSymbols symbols_;
  std::unique_ptr<run::Recorder> recorder_;
  std::unique_ptr<run::Session> session_;
  std::size_t fed_ = 0;
  std::uint64_t copies_ = 0;
  std::optional<std::uint64_t> first_bell_;
  Frame root_{};
};

}  // namespace sealvisor::test
