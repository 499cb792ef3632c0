#include "vmm/run/run.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/plan_text.h"
#include "guest/scenario/programs.h"
#include "vmm/base/cpu_time.h"
#include "vmm/base/resident.h"
#include "vmm/engine/engine.h"
#include "vmm/image/initramfs.h"
#include "vmm/image/kernel_image.h"
#include "vmm/image/symbols.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/run/outcome.h"
#include "vmm/run/real.h"
#include "vmm/run/recorder.h"
#include "vmm/run/session.h"
#include "vmm/run/writer_code.h"

namespace sealvisor::run {

namespace {

/// Connects the engine with the session, and with the evidence if it is kept.
class Bridge final : public engine::Observer {
 public:
  /// `recorder` may be nullptr.
  Bridge(Session& session, Recorder* recorder, const RunRequest& request)
      : session_(session), recorder_(recorder), request_(request) {}

  void on_events(std::span<const event::Event> events) override {
    const Entered entered(*this);
    if (!request_.mutate) {
      pass_on(events);
      return;
    }
    for (event::Event event : events) {
      request_.mutate(event);
      pass_on(std::span(&event, 1));
    }
  }
  void on_table_copy(const event::Event& event, const arch::Table& table) override {
    const Entered entered(*this);
    if (recorder_ != nullptr) recorder_->on_table_copy(event, table);
    session_.on_table_copy(event, table);
  }
  void on_stack_copy(const event::Event& event, const arch::Table& stack) override {
    session_.on_stack_copy(event, stack);  // No evidence is kept of such a run.
  }
  engine::StopReply on_stopped(const event::Event& event) override {
    const Entered entered(*this);
    if (event.kind == event::Kind::Doorbell && !first_doorbell_) first_doorbell_ = event.icount;
    if (recorder_ != nullptr) recorder_->on_stopped();
    Commands commands = session_.on_stopped(event);
    if (recorder_ != nullptr) recorder_->on_answered();
    return {std::move(commands.watch_content), std::move(commands.give_up)};
  }
  void on_console(std::span<const char> bytes) override {
    if (request_.real) real_.add(bytes);
    if (recorder_ != nullptr) recorder_->on_console(bytes);
    console_.add({bytes.data(), bytes.size()});
  }
  [[nodiscard]] const ConsoleTail& console() const { return console_; }
  /// What a real program printed.
  [[nodiscard]] const RealLines& real() const { return real_; }
  /// Whether anything of a guest was observed.
  [[nodiscard]] bool begun() const { return begun_; }
  /// Whether the session or the recorder threw: neither is whole then.
  [[nodiscard]] bool threw() const { return threw_; }
  /// When the guest first rang, in instructions where the engine counts them.
  [[nodiscard]] std::optional<std::uint64_t> first_doorbell() const { return first_doorbell_; }

 private:
  /// Takes note of whether the call in which it is ends by an exception, which is the engine's.
  class Entered {
   public:
    explicit Entered(Bridge& bridge) : bridge_(bridge) { bridge_.begun_ = true; }
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;
    ~Entered() {
      if (std::uncaught_exceptions() > before_) bridge_.threw_ = true;
    }

   private:
    Bridge& bridge_;
    int before_ = std::uncaught_exceptions();
  };

  void pass_on(std::span<const event::Event> events) {
    if (recorder_ == nullptr) {
      for (const event::Event& event : events) session_.on_event(event);
      return;
    }
    // One at a time: what the session reads of memory belongs behind the event.
    for (const event::Event& event : events) {
      recorder_->on_events(std::span(&event, 1));
      session_.on_event(event);
    }
  }

  Session& session_;
  Recorder* recorder_;
  const RunRequest& request_;
  ConsoleTail console_;
  RealLines real_;
  std::optional<std::uint64_t> first_doorbell_;
  bool begun_ = false;
  bool threw_ = false;
};

/// How a run ended whose guest ran, and could not be served any more.
engine::Outcome broken_off(const RunRequest& request, const Error& error) {
  engine::Outcome outcome;
  outcome.end = engine::End::EngineDied;
  outcome.text = error.message;
  outcome.lane = request.engine == engine::Kind::Tcg ? "exact" : "audited";
  outcome.started = std::chrono::steady_clock::now();
  return outcome;
}

/// The caller's words for the kernel, and those that scenarios of the plan need.
std::string arguments_for(const RunRequest& request) {
  std::string arguments = request.kernel_arguments;
  if (request.symbols.empty()) {
    arguments += std::string(arguments.empty() ? "" : " ") + "sealvisor.symbols";
  }
  if (request.arch != arch::Arch::X86_64) return arguments;
  for (const scenario::PlanItem& item : request.plan) {
    const std::string_view words = item.scenario->x86_boot_words;
    if (words.empty() || arguments.find(words) != std::string::npos) continue;
    arguments.append(" ").append(words);
  }
  return arguments;
}

}  // namespace

std::string programs_text(std::span<const ProgramRequest> programs) {
  std::string text = std::string(scenario::kProgramsHeader) + "\n";
  for (const ProgramRequest& program : programs) {
    text += fmt::format("program\nroot {}\nrun {}\n", program.root, program.run);
    for (const std::string& argument : program.arguments) text += "arg " + argument + "\n";
    for (const std::string& variable : program.environment) text += "env " + variable + "\n";
    text += fmt::format("limit {}\noutput {}\n", program.limit_seconds, program.output_bytes);
    if (!program.traced) text += "untraced\n";
  }
  return text;
}

Result<image::Initramfs> initramfs_for(const RunRequest& request) {
  std::string plan = std::string(scenario::kPlanHeader) + "\n";
  for (const scenario::PlanItem& item : request.plan) plan += scenario::plan_line(item);
  std::vector<image::InitramfsItem> items;
  items.push_back(image::InitramfsItem::directory("dev"));
  items.push_back(image::InitramfsItem::character_device("dev/console", 5, 1));
  for (const char* folder : {"proc", "sys", "tmp", "helpers"}) {
    items.push_back(image::InitramfsItem::directory(folder));
  }
  items.push_back(image::InitramfsItem::file_from("init", request.agent_dir / "init", 0755));
  for (const std::string name : {"dynamic", "loader", "helper32"}) {
    const std::string path = "helpers/" + name;
    items.push_back(image::InitramfsItem::file_from(path, request.agent_dir / name, 0755));
  }
  const bool sequences =
      std::any_of(request.plan.begin(), request.plan.end(), [](const scenario::PlanItem& item) {
        return item.scenario->kind == scenario::Kind::Sequence;
      });
  if (sequences) {
    items.push_back(
        image::InitramfsItem::file_from("helpers/compat", request.agent_dir / "compat", 0755));
    if (request.arch == arch::Arch::X86_64) {
      items.push_back(image::InitramfsItem::file_from("helpers/compat-low",
                                                      request.agent_dir / "compat-low", 0755));
    }
  }
  std::optional<image::Initramfs> inner;
  if (request.real) {
    auto added = add_real(request, items, inner);
    if (!added) return added.error();
  }
  items.push_back(image::InitramfsItem::text("plan", std::move(plan), 0644));
  if (!request.programs.empty()) {
    items.push_back(image::InitramfsItem::text("programs", programs_text(request.programs), 0644));
  }
  items.insert(items.end(), request.payload.begin(), request.payload.end());
  return image::Initramfs::build(items);
}

Result<report::Run> run_one(const RunRequest& request) {
  const double cpu_first = thread_cpu_seconds();
  std::shared_ptr<const image::KernelFile> kernel = request.kernel_file;
  if (kernel == nullptr) {
    auto opened = image::open_kernel(request.kernel_image, request.arch);
    if (!opened) return opened.error();
    kernel = std::make_shared<const image::KernelFile>(std::move(opened).value());
  }
  std::optional<image::SymbolTable> symbols;
  if (!request.symbols.empty()) {
    auto loaded = image::SymbolTable::load(request.symbols);
    if (!loaded) return loaded.error();
    if (loaded.value().arch() != request.arch) {
      return Error{ExitCode::Usage,
                   fmt::format("symbols {}: of {}, expected {}", request.symbols.string(),
                               loaded.value().arch() ? arch::name_of(*loaded.value().arch())
                                                     : "another architecture",
                               arch::name_of(request.arch))};
    }
    symbols.emplace(std::move(loaded).value());
  }
  auto built = initramfs_for(request);
  if (!built) return built.error();
  std::optional<image::Initramfs> initramfs(std::move(built).value());

  engine::EngineConfig config;
  config.arch = request.arch;
  config.kernel = kernel->path();
  config.initramfs = initramfs->path();
  config.kernel_arguments = arguments_for(request);
  config.cpu_model = request.cpu_model;
  config.vcpus = request.vcpus;
  config.plugin = request.plugin;
  config.deadline = request.deadline;
  config.plugin_loaded = request.plugin_loaded;
  config.mechanism = request.mechanism;
  config.witness = request.witness;
  config.stacks = request.lifetime;
  config.drop_store = request.drop_store;
  config.step_check = request.step_check;
  config.leave_return = request.leave_return;
  config.loaded = [&initramfs] { initramfs.reset(); };
  auto engine = request.engine == engine::Kind::Kvm
                    ? engine::make_kvm_engine(config, request.memory_bytes)
                    : engine::make_tcg_engine(config, request.memory_bytes);
  if (!engine) return engine.error();

  std::optional<image::SymbolListing> listing;
  if (request.symbols.empty()) {
    auto made = image::SymbolListing::create();
    if (!made) return made.error();
    listing.emplace(std::move(made).value());
  }
  std::unique_ptr<Recorder> recorder;
  std::optional<Error> not_kept;
  if (!request.evidence_dir.empty()) {
    auto made = Recorder::create(request, engine.value()->memory(), symbols ? &*symbols : nullptr);
    // A disk that is full from the start is no reason for no guest either.
    if (made) {
      recorder = std::move(made).value();
    } else {
      not_kept = made.error();
    }
  }
  Session session(request, recorder ? recorder->memory() : engine.value()->memory(),
                  recorder  ? recorder->symbols()
                  : symbols ? &*symbols
                            : nullptr,
                  std::move(listing));
  Bridge bridge(session, recorder.get(), request);
  const double cpu_before = thread_cpu_seconds();
  auto outcome = engine.value()->run(bridge);
  // Of the VMM: the report of a run, which is made next, is as large as what happened.
  const auto resident = resident_bytes(memory::kRamFile);
  // What there is of a guest that ran is kept, whatever became of who served it.
  if (!outcome && !bridge.begun()) return outcome.error();

  const engine::Outcome how =
      outcome ? std::move(outcome).value() : broken_off(request, outcome.error());
  report::Run run = report_of(request, session, how, bridge.console());
  complete_from_file(run, request.symbols);
  run.kernel_packing = kernel->packing();
  if (symbols) {
    run.symbols = kernel->path() == request.symbols ? std::string("of the image itself")
                                                    : request.symbols.string();
  }
  if (request.real) finish_real(request, bridge.real(), run);
  for (const engine::Cost& cost : how.costs) {
    run.costs.push_back({cost.name, cost.count, cost.microseconds});
  }
  run.seconds = how.wall_seconds;
  run.cpu_seconds = how.engine_cpu_seconds + thread_cpu_seconds() - cpu_before;
  if (const auto first = session.first_message()) {
    run.start_to_init = std::chrono::duration<double>(*first - how.started).count();
  }
  run.start.cpu_ms =
      1e3 * (request.shared_cpu_seconds + cpu_before - cpu_first + how.start.cpu_seconds);
  if (how.start.exits) {
    run.start.exits.emplace();
    for (const engine::Cost& cost : *how.start.exits) {
      run.start.exits->push_back({cost.name, cost.count, cost.microseconds});
    }
  }
  run.start.instructions =
      request.engine == engine::Kind::Tcg ? bridge.first_doorbell() : how.start.instructions;
  run.resident_bytes = resident;
  if (recorder) {
    if (auto kept = recorder->close(how, session.code()); !kept) {
      not_kept = kept.error();
    } else if (bridge.threw()) {
      not_kept =
          Error{ExitCode::HostLacks, "evidence: it ends where the guest could not be served"};
    } else {
      run.evidence = std::move(kept).value();
    }
  }
  if (not_kept) {
    run.findings.push_back(
        {fmt::format("{}/{}/trace/evidence", arch::name_of(request.arch), request.recipe),
         "evidence", not_kept->message, false, ""});
  }
  return run;
}

}  // namespace sealvisor::run
