#include "bench/boot.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "bench/collector.h"
#include "vmm/event/count_table.h"
#include "vmm/image/initramfs.h"
#include "vmm/image/kernel_image.h"
#include "vmm/image/symbols.h"
#include "vmm/image/vdso.h"
#include "vmm/model/paging.h"
#include "vmm/report/layout.h"
#include "vmm/run/protocol_reader.h"
#include "vmm/run/run.h"

namespace sealvisor::bench {

namespace {

using event::Event;
using event::Kind;

constexpr std::uint64_t kMostVdsoBytes = event::kMostVdsoPages * arch::kPageSize;
/// Room in the table of places for those of the vdso.
constexpr std::size_t kVdsoPlaces = 256;
constexpr std::size_t kConsoleTail = 4096;
/// What a kernel that is placed at random is moved by (arch/x86/Kconfig, PHYSICAL_ALIGN;
/// arch/arm64/include/asm/boot.h, MIN_KIMG_ALIGN).
constexpr std::uint64_t kSlideAlignment = std::uint64_t{2} << 20;

/// Where a kernel's functions are, and how they are called.
class Places {
 public:
  static Result<Places> load(const std::filesystem::path& vmlinux) {
    auto symbols = image::SymbolTable::load(vmlinux);
    if (!symbols) return symbols.error();
    Places places(std::move(symbols).value());
    const auto text = places.symbols_.address_of("_text");
    if (!text) {
      return Error{ExitCode::Usage, fmt::format("symbols {}: no _text", vmlinux.string())};
    }
    places.text_ = *text;
    for (const image::SymbolTable::Extent& one : places.symbols_.extents()) {
      places.kernel_.push_back({one.start, one.bytes});
    }
    if (places.kernel_.size() > event::kMostPlaces - kVdsoPlaces) {
      return Error{ExitCode::Usage,
                   fmt::format("symbols {}: {} functions, expected at most {}", vmlinux.string(),
                               places.kernel_.size(), event::kMostPlaces - kVdsoPlaces)};
    }
    return places;
  }

  [[nodiscard]] std::uint64_t text() const { return text_; }
  [[nodiscard]] std::span<const event::Place> kernel() const { return kernel_; }
  void set_vdso(std::vector<image::ExportedFunction> functions) {
    functions.resize(std::min(functions.size(), kVdsoPlaces));
    vdso_ = std::move(functions);
  }
  [[nodiscard]] std::vector<event::Place> vdso() const {
    std::vector<event::Place> places;
    for (const auto& function : vdso_) places.push_back({function.offset, function.bytes});
    return places;
  }
  /// A name is read from the file; an experiment asks for hundreds, and the next for the same.
  [[nodiscard]] const std::pair<Space, std::string>& name_of(std::uint64_t counter) {
    const auto found = names_.find(counter);
    if (found != names_.end()) return found->second;
    return names_.emplace(counter, find_name(counter)).first->second;
  }

 private:
  explicit Places(image::SymbolTable symbols) : symbols_(std::move(symbols)) {}

  [[nodiscard]] std::pair<Space, std::string> find_name(std::uint64_t counter) const {
    if (counter == event::kOtherUser) return {Space::User, kNoSymbol};
    if (counter == event::kOtherKernel) return {Space::Kernel, kNoSymbol};
    std::uint64_t place = counter - event::kFirstPlace;
    if (place < kernel_.size()) {
      return {Space::Kernel, symbols_.function(kernel_[place].start).value_or(kNoSymbol)};
    }
    place -= kernel_.size();
    return place < vdso_.size() ? std::pair(Space::Vdso, vdso_[place].name)
                                : std::pair(Space::User, std::string(kNoSymbol));
  }

  image::SymbolTable symbols_;
  std::uint64_t text_ = 0;
  std::vector<event::Place> kernel_;
  std::vector<image::ExportedFunction> vdso_;
  std::unordered_map<std::uint64_t, std::pair<Space, std::string>> names_;
};

/// The memory that the counting plugin shares.
struct SharedTable {
  Fd fd;
  Mapping mapping;

  static Result<SharedTable> create(const Places& places, bool profiling) {
    const std::size_t bytes = event::count_table_bytes(places.kernel().size() + kVdsoPlaces);
    auto fd = memory_file("sealvisor-places", bytes, false);
    if (!fd) return fd.error();
    auto mapping = Mapping::map(fd.value(), bytes, PROT_READ | PROT_WRITE, "the table of places");
    if (!mapping) return mapping.error();
    SharedTable table{std::move(fd).value(), std::move(mapping).value()};
    table.view().initialise(places.kernel(), profiling);
    return table;
  }
  [[nodiscard]] event::CountTable view() const { return event::CountTable(mapping.bytes()); }
};

Lane lane_of(const BootRequest& request) {
  return request.engine == engine::Kind::Tcg ? Lane::Instructions : Lane::Time;
}

class Bridge final : public engine::Observer {
 public:
  /// `table`: where instructions are counted; nullptr: nowhere.
  Bridge(const BootRequest& request, const memory::GuestMemory& memory, Places& places,
         const SharedTable* table)
      : request_(request),
        memory_(memory),
        places_(places),
        table_(table),
        collector_(lane_of(request), request.plan,
                   [&places](std::uint64_t counter) { return places.name_of(counter); }) {}

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      if (event.kind == Kind::Registers) {
        auto format =
            model::format_of(request_.arch, {event.old_value, event.new_value, event.aux});
        if (format) format_ = format.value();
      }
      collector_.on_event(event);
    }
  }
  void on_table_copy(const Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const Event& event) override {
    engine::StopReply reply;
    if (event.kind != Kind::Doorbell) return reply;
    if (auto taken = on_doorbell(event); !taken) reply.give_up = taken.error().message;
    return reply;
  }
  void on_console(std::span<const char> bytes) override {
    collector_.on_console();
    console_.append(bytes.data(), bytes.size());
    if (console_.size() > 2 * kConsoleTail) console_.erase(0, console_.size() - kConsoleTail);
  }

  [[nodiscard]] Collector& collector() { return collector_; }
  [[nodiscard]] const std::string& console() const { return console_; }
  /// Lines of the guest's own programs, of what the console last had.
  [[nodiscard]] std::vector<std::string> said() const {
    constexpr std::string_view kAgent = "sealvisor-agent: ";
    std::vector<std::string> lines;
    for (std::size_t at = console_.find(kAgent); at != std::string::npos;
         at = console_.find(kAgent, at)) {
      at += kAgent.size();
      lines.push_back(
          report::printable(console_.substr(at, console_.find_first_of("\r\n", at) - at)));
    }
    return lines;
  }

 private:
  Status on_doorbell(const Event& event) {
    if (++messages_ > protocol::kMaxMessages) {
      return Error{ExitCode::GuestFailed, "more messages than a benchmark sends"};
    }
    if (request_.engine == engine::Kind::Kvm && event.gpa == protocol::kMarkRegister) {
      return Error{ExitCode::GuestFailed, "a mark, and its samples are timed by a clock"};
    }
    if (!format_) return Error{ExitCode::GuestFailed, "a message while paging is off"};
    const arch::Frame root = model::root_of(request_.arch, event.root);
    auto message = run::read_message(*format_, memory_, root, arch::Gva{event.new_value});
    if (!message) return message.error();
    if (auto taken = collector_.on_message(message.value()); !taken) return taken;
    if (message.value().type == protocol::Type::Layout) {
      if (auto taken = on_layout(message.value().body.layout, root); !taken) return taken;
    }
    if (message.value().type == protocol::Type::Experiment && request_.progress) {
      request_.progress(collector_.ended());
    }
    return {};
  }

  Status on_layout(const protocol::Layout& layout, arch::Frame root) {
    const auto slide = slide_of(layout.text, places_.text());
    if (!slide) return slide.error();
    if (table_ == nullptr) return {};
    std::vector<std::byte> image;
    const std::uint64_t bytes = std::min(layout.vdso_size, kMostVdsoBytes);
    for (std::uint64_t at = 0; at + arch::kPageSize <= bytes; at += arch::kPageSize) {
      const arch::Walk walk = arch::walk(*format_, memory_, root, arch::Gva{layout.vdso + at});
      image.resize(at + arch::kPageSize);
      if (walk.end != arch::WalkEnd::Leaf) continue;
      // A page that is not there is zero.
      static_cast<void>(memory_.read(walk.output, std::span(image).subspan(at)));
    }
    places_.set_vdso(image::exported_functions(image));
    table_->view().begin(slide.value(), image, places_.vdso());
    return {};
  }

  const BootRequest& request_;
  const memory::GuestMemory& memory_;
  Places& places_;
  const SharedTable* table_;
  Collector collector_;
  std::optional<arch::AnyFormat> format_;
  std::string console_;
  std::uint64_t messages_ = 0;
};

std::string plan_text(const BootRequest& request) {
  std::string text = std::string(kPlanHeader) + "\n";
  for (const PlanItem& item : request.plan) text += plan_line(item);
  return text;
}

Result<image::Initramfs> initramfs_for(const BootRequest& request) {
  using image::InitramfsItem;
  std::vector<InitramfsItem> items;
  items.push_back(InitramfsItem::directory("dev"));
  items.push_back(InitramfsItem::character_device("dev/console", 5, 1));
  for (const char* folder : {"proc", "sys", "tmp", "helpers"}) {
    items.push_back(InitramfsItem::directory(folder));
  }
  for (const std::string name : kGuestPrograms) {
    const std::string path = name == kGuestPrograms[0] ? "init" : "helpers/" + name;
    items.push_back(InitramfsItem::file_from(path, request.guest_dir / name, 0755));
  }
  if (!request.tools.empty()) {
    if (auto added = image::add_tree(items, request.tools); !added) return added.error();
    // What perf bench execs.
    items.push_back(InitramfsItem::directory("bin"));
    items.push_back(InitramfsItem::file_from("bin/true", request.guest_dir / "bench-static", 0755));
  }
  items.push_back(InitramfsItem::text("bench-plan", plan_text(request), 0644));
  return image::Initramfs::build(items);
}

std::string ending_of(const engine::Outcome& outcome, const Bridge& bridge, bool finished) {
  if (bridge.console().find(run::kPanicText) != std::string::npos) return "kernel panic";
  if (outcome.end != engine::End::GuestReset) {
    return fmt::format("{}: {}", engine::name_of(outcome.end), outcome.text);
  }
  if (!finished) return "the machine reset before all experiments were done";
  return "all experiments done";
}

}  // namespace

Result<std::uint64_t> slide_of(std::uint64_t text, std::uint64_t linked) {
  const std::uint64_t slide = text - linked;
  if (text != 0 && slide % kSlideAlignment == 0) return slide;
  return Error{ExitCode::GuestFailed,
               fmt::format("the kernel's _text is at {:#x}, expected it at {:#x} or a multiple of "
                           "{:#x} from there",
                           text, linked, kSlideAlignment)};
}

Result<BootResult> run_boot(const BootRequest& request) {
  auto kernel = image::probe_kernel(request.kernel_image, request.arch);
  if (!kernel) return kernel.error();
  auto places = Places::load(request.symbols);
  if (!places) return places.error();
  const bool counted = request.engine == engine::Kind::Tcg;
  std::optional<SharedTable> table;
  if (counted) {
    auto made = SharedTable::create(places.value(), request.profiling);
    if (!made) return made.error();
    table.emplace(std::move(made).value());
  }
  auto built = initramfs_for(request);
  if (!built) return built.error();
  std::optional<image::Initramfs> initramfs(std::move(built).value());

  engine::EngineConfig config;
  config.arch = request.arch;
  config.kernel = request.kernel_image;
  config.initramfs = initramfs->path();
  config.plugin = request.plugin;
  config.deadline = request.deadline;
  config.watch = request.watched;
  config.messages = true;
  config.pin_cpu = request.pin_cpu;
  config.kernel_arguments = fmt::format("sealvisor.layout={:#x}", request.seed);
  config.seed = request.seed;
  config.random_layout = true;
  if (table) {
    config.count_fd = table->fd.get();
    config.count_bytes = table->mapping.size();
  }
  config.loaded = [&initramfs] { initramfs.reset(); };
  auto engine = counted ? engine::make_tcg_engine(config, request.memory_bytes)
                        : engine::make_kvm_engine(config, request.memory_bytes);
  if (!engine) return engine.error();
  Bridge bridge(request, engine.value()->memory(), places.value(), table ? &*table : nullptr);
  auto outcome = engine.value()->run(bridge);
  if (!outcome) return outcome.error();

  const engine::Outcome& how = outcome.value();
  Collector& collector = bridge.collector();
  BootResult result;
  result.good = how.end == engine::End::GuestReset && collector.finished();
  result.interrupted = !result.good && how.end == engine::End::Interrupted;
  result.ending = ending_of(how, bridge, collector.finished());
  result.release = collector.release();
  result.engine_version = how.version;
  result.cpu_model = how.cpu_model;
  result.seconds = how.wall_seconds;
  result.said = bridge.said();
  if (request.watched) {
    result.how = fmt::format("{}: {}", how.lane, how.mechanism.empty() ? "no trap" : how.mechanism);
  }
  result.boot.arch = request.arch;
  result.boot.seed = request.seed;
  if (collector.layout()) {
    result.boot.kernel_text = collector.layout()->text;
    result.boot.vdso = collector.layout()->vdso;
  }
  result.boot.counter = collector.counter();
  if (how.pinned) result.boot.preempted = how.pinned->preempted;
  result.boot.experiments = collector.take();
  return result;
}

}  // namespace sealvisor::bench
