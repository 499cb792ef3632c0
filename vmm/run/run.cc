#include "vmm/run/run.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/plan_text.h"
#include "guest/scenario/programs.h"
#include "vmm/base/cpu_time.h"
#include "vmm/base/resident.h"
#include "vmm/engine/engine.h"
#include "vmm/evidence/trace_writer.h"
#include "vmm/image/initramfs.h"
#include "vmm/image/kernel_image.h"
#include "vmm/image/symbols.h"
#include "vmm/run/session.h"

namespace sealvisor::run {

namespace {

using engine::End;

constexpr std::size_t kConsoleTail = 8192;

/// Connects the engine with the session; keeps the console's end and the trace.
class Bridge final : public engine::Observer {
 public:
  Bridge(Session& session, std::optional<evidence::TraceWriter>& trace)
      : session_(session), trace_(trace) {}

  void on_events(std::span<const event::Event> events) override {
    if (trace_) trace_->append(events);
    for (const event::Event& event : events) session_.on_event(event);
  }
  void on_table_copy(const event::Event& event, const arch::Table& table) override {
    if (trace_) trace_->append(std::span(&event, 1));
    session_.on_table_copy(event, table);
  }
  engine::StopReply on_stopped(const event::Event& event) override {
    if (event.kind == event::Kind::Doorbell && !first_doorbell_) first_doorbell_ = event.icount;
    Commands commands = session_.on_stopped(event);
    return {std::move(commands.watch_content), std::move(commands.give_up)};
  }
  void on_console(std::span<const char> bytes) override {
    console_.append(bytes.data(), bytes.size());
    if (console_.size() > 2 * kConsoleTail) console_.erase(0, console_.size() - kConsoleTail);
  }
  [[nodiscard]] const std::string& console() const { return console_; }
  /// When the guest first rang, in instructions where the engine counts them.
  [[nodiscard]] std::optional<std::uint64_t> first_doorbell() const { return first_doorbell_; }

 private:
  Session& session_;
  std::optional<evidence::TraceWriter>& trace_;
  std::string console_;
  std::optional<std::uint64_t> first_doorbell_;
};

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

std::string ending_text(const engine::Outcome& outcome, bool finished, const std::string& console) {
  if (outcome.end == End::GuestReset && finished) return "agent finished";
  if (console.find(kPanicText) != std::string::npos) return "kernel panic";
  if (outcome.end == End::GuestReset) {
    // Its last words say why, if it had any.
    constexpr std::string_view kAgent = "sealvisor-agent: ";
    const std::size_t said = console.rfind(kAgent);
    if (said == std::string::npos) return "the machine reset before the agent was done";
    const std::size_t end = console.find_first_of("\r\n", said);
    return "the agent gave up: " + console.substr(said + kAgent.size(), end - said - kAgent.size());
  }
  std::string text = engine::name_of(outcome.end);
  if (!outcome.text.empty()) text += ": " + outcome.text;
  return text;
}

std::string last_lines(const std::string& text, std::size_t lines) {
  std::size_t start = text.size();
  while (start > 0 && lines > 0) {
    const std::size_t newline = text.rfind('\n', start - 1);
    if (newline == std::string::npos) return text;
    start = newline;
    --lines;
  }
  return text.substr(std::min(start + 1, text.size()));
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
  config.plugin = request.plugin;
  config.deadline = request.deadline;
  config.plugin_loaded = request.plugin_loaded;
  config.mechanism = request.mechanism;
  config.witness = request.witness;
  config.drop_store = request.drop_store;
  config.step_check = request.step_check;
  config.leave_return = request.leave_return;
  config.loaded = [&initramfs] { initramfs.reset(); };
  auto engine = request.engine == engine::Kind::Kvm
                    ? engine::make_kvm_engine(config, request.memory_bytes)
                    : engine::make_tcg_engine(config, request.memory_bytes);
  if (!engine) return engine.error();

  report::Run run;
  run.arch = request.arch;
  run.recipe = request.recipe;
  run.variant = request.variant;
  run.engine = engine::name_of(request.engine);
  run.sealed = request.sealed;
  run.expectations = request.expectations;
  run.control = request.control;
  run.ours = request.ours;
  run.kernel_path = request.kernel_image.string();
  run.kernel_packing = kernel->packing();

  std::optional<image::SymbolListing> listing;
  if (request.symbols.empty()) {
    auto made = image::SymbolListing::create();
    if (!made) return made.error();
    listing.emplace(std::move(made).value());
  }
  Session session(request, engine.value()->memory(), symbols ? &*symbols : nullptr,
                  std::move(listing));
  std::optional<evidence::TraceWriter> trace;
  if (!request.trace_dir.empty()) {
    auto opened = evidence::TraceWriter::create(
        request.trace_dir / fmt::format("{}-{}.events.gz", arch::name_of(request.arch),
                                        std::filesystem::path(request.recipe).filename().string()));
    if (!opened) return opened.error();
    trace.emplace(std::move(opened).value());
  }
  Bridge bridge(session, trace);
  const double cpu_before = thread_cpu_seconds();
  auto outcome = engine.value()->run(bridge);
  if (!outcome) return outcome.error();

  const engine::Outcome& how = outcome.value();
  run.ending.good = how.end == End::GuestReset && session.finished();
  run.lane = how.lane;  // what can't be seen depends on it
  session.finish(run);
  run.engine_version = how.version;
  run.mechanism = how.mechanism;
  for (const std::string& limit : how.limits) run.blind_spots.push_back(limit);
  for (const engine::Cost& cost : how.costs) {
    run.costs.push_back({cost.name, cost.count, cost.microseconds});
  }
  if (how.stepped) {
    run.counts.stepped_instructions = how.stepped->instructions;
    run.counts.stepped_entries = how.stepped->entries;
    run.counts.stepped_untrapped = how.stepped->untrapped;
  }
  run.cpu_model = how.cpu_model;
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
  run.resident_bytes = resident_bytes(memory::kRamFile);
  run.ending.text = ending_text(how, session.finished(), bridge.console());
  run.ending.interrupted = !run.ending.good && how.end == End::Interrupted;
  if (!run.ending.good) run.ending.console_tail = last_lines(bridge.console(), 20);
  if (trace) {
    if (auto closed = trace->close(); !closed) {
      run.findings.push_back(
          {fmt::format("{}/{}/trace/evidence", arch::name_of(request.arch), request.recipe),
           "evidence", closed.error().message, false, ""});
    }
  }
  return run;
}

}  // namespace sealvisor::run
