// What the host's own work costs, piece by piece, each beside the least that such work can cost:
// bench/check-figures judges the ratios, which docs/specification.md promises.
//
//   build/bench/micro [--benchmark_filter=REGEX ...]     options are Google Benchmark's
//
// Whole guests are not here: boot to init, what watching costs and the VMM's memory are printed by
// build/bench/figures. Exit code 1: a piece did not do its work.
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include "arch/any_format.h"
#include "tests/unit/app/temporary.h"
#include "tests/unit/support/fake_guest.h"
#include "vmm/event/ring.h"
#include "vmm/evidence/trace_reader.h"
#include "vmm/evidence/trace_writer.h"
#include "vmm/seal/policy.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): a program of its own
using arch::Arch;
using arch::Frame;
using arch::Gpa;
using arch::Gva;
using test::FakeGuest;

/// After the timed loop: whether the work was done. No benchmark that fails counts. (Loops are over
/// KeepRunning(): the analyzer takes Google Benchmark's range loop for dead stores.)
void expect(benchmark::State& state, bool held, const char* what) {
  EXPECT_TRUE(held) << what;
  if (!held) state.SkipWithError(what);
}

void count_items(benchmark::State& state, std::size_t in_each) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(in_each));
}

std::uint64_t rounds(const benchmark::State& state) {
  return static_cast<std::uint64_t>(state.iterations());
}

/// The same tables without a search for each: what is measured is not the reader.
class Flat final : public arch::TableReader {
 public:
  explicit Flat(const test::FakeMemory& memory) : ram_(memory.ram), tables_(memory.ram.frames) {
    for (const auto& [frame, table] : memory.tables) tables_[index(frame)] = table;
  }
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    if (!ram_.contains(arch::frame_of(slot))) return false;
    value = at(arch::frame_of(slot))[arch::slot_index(slot)];
    return true;
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    if (!ram_.contains(frame)) return false;
    copy = at(frame);
    return true;
  }
  void set(Gpa slot, std::uint64_t value) {
    tables_[index(arch::frame_of(slot))][arch::slot_index(slot)] = value;
  }
  /// Precondition: `frame` is in RAM.
  [[nodiscard]] const arch::Table& at(Frame frame) const { return tables_[index(frame)]; }

 private:
  [[nodiscard]] std::size_t index(Frame frame) const { return frame.number - ram_.first.number; }
  model::RamRange ram_;
  std::vector<arch::Table> tables_;
};

/// 256 pages below eight tables of level 1, and where they must be found.
struct Mapped {
  static constexpr std::size_t kTables = 8;
  static constexpr std::size_t kPages = 32;
  explicit Mapped(Arch arch) : guest(arch), root(guest.new_table()) {
    for (std::uint64_t i = 0; i < kTables * kPages; ++i) {
      const Gva gva{0x7f0000000000 + (i / kPages << 21) + (i % kPages * 5 << 12)};
      const Frame frame{0x1000 + i};
      guest.map(root, gva, frame);
      places.push_back(gva);
      sum += frame.gpa().value;
    }
  }
  FakeGuest guest;
  Frame root;
  std::vector<Gva> places;
  std::uint64_t sum = 0;
};

void walk(benchmark::State& state, Arch arch) {
  const Mapped mapped(arch);
  const Flat memory(mapped.guest.memory);
  std::uint64_t sum = 0;
  while (state.KeepRunning()) {
    for (const Gva gva : mapped.places) {
      sum += arch::walk(mapped.guest.format, memory, mapped.root, gva).output.value;
    }
    benchmark::DoNotOptimize(sum);
  }
  expect(state, sum == rounds(state) * mapped.sum, "a walk ended elsewhere");
  count_items(state, mapped.places.size());
}

/// The least that a walk is: four loads, each of which says where the next one is.
void loads(benchmark::State& state, Arch arch) {
  const Mapped mapped(arch);
  const Flat memory(mapped.guest.memory);
  std::uint64_t sum = 0;
  while (state.KeepRunning()) {
    for (const Gva gva : mapped.places) {
      std::uint64_t next = mapped.root.gpa().value;
      for (unsigned level = 4; level >= 1; --level) {
        const auto slot = static_cast<std::size_t>(gva.value >> arch::level_shift(level)) & 511;
        next = memory.at(arch::frame_of(Gpa{next}))[slot] & arch::x86_64::kAddress;
      }
      sum += next;
    }
    benchmark::DoNotOptimize(sum);
  }
  expect(state, sum == rounds(state) * mapped.sum, "the loads ended elsewhere");
  count_items(state, mapped.places.size());
}

class Leaves final : public arch::Visitor {
 public:
  void leaf(const arch::LeafMapping& mapping) override { sum += mapping.gpa.value; }
  std::uint64_t sum = 0;
};

void visit(benchmark::State& state, Arch arch) {
  const Mapped mapped(arch);
  const Flat memory(mapped.guest.memory);
  Leaves leaves;
  std::uint64_t tables = 0;
  while (state.KeepRunning()) {
    tables +=
        arch::visit(mapped.guest.format, memory, mapped.root, arch::Half::Lower, leaves).tables;
    benchmark::DoNotOptimize(leaves.sum);
  }
  expect(state, leaves.sum == rounds(state) * mapped.sum, "a visit found other leaves");
  expect(state, tables == rounds(state) * mapped.guest.memory.tables.size(), "other tables");
  count_items(state, mapped.guest.memory.tables.size());
}

/// The least that a visit is: a copy of each table, and a look at each entry.
void copies(benchmark::State& state, Arch arch) {
  const Mapped mapped(arch);
  const Flat memory(mapped.guest.memory);
  std::uint64_t found = 0;
  arch::Table copy{};
  while (state.KeepRunning()) {
    for (const auto& [frame, table] : mapped.guest.memory.tables) {
      (void)memory.read_table(frame, copy);
      for (const std::uint64_t entry : copy) found += entry != 0 ? 1 : 0;
      benchmark::DoNotOptimize(found);
    }
  }
  // The links of the tables below the root are entries too.
  const std::size_t entries = mapped.places.size() + mapped.guest.memory.tables.size() - 1;
  expect(state, found == rounds(state) * entries, "other entries");
  count_items(state, mapped.guest.memory.tables.size());
}

/// Processes, and what is recorded of stores that undo each other: it can be replayed for ever.
struct Recorded {
  static constexpr std::size_t kPages = 256;
  static constexpr std::size_t kVdsoEvery = 16;
  Recorded(Arch arch, int processes) : guest(arch) {
    guest.learn_vdso();
    for (int i = 0; i < processes; ++i) {
      roots.push_back(guest.new_process());
      guest.enter_user(roots.back());
    }
    stores();  // makes the tables
    guest.events.clear();
    guest.changes.clear();
    stores();
  }
  void stores() {
    for (std::size_t i = 0; i < kPages; ++i) {
      const Frame root = roots[i % roots.size()];
      const Gva page{0x10000000 + i * arch::kPageSize};
      guest.map(root, page, FakeGuest::kOther, {.write = true});
      guest.unmap(root, page);
      if (i % kVdsoEvery != 0) continue;
      guest.unmap(root, FakeGuest::kVdsoPlace);
      guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
    }
  }
  FakeGuest guest;
  std::vector<Frame> roots;
};

void update_model(benchmark::State& state, Arch arch, int processes) {
  Recorded recorded(arch, processes);
  const std::vector<event::Event> events = recorded.guest.events;
  std::size_t changes = 0;
  while (state.KeepRunning()) {
    for (const event::Event& event : events) {
      changes += recorded.guest.spaces.on_event(event).size();
      recorded.guest.mirror.apply(event);
    }
    benchmark::DoNotOptimize(changes);
  }
  constexpr std::size_t kWrites = 2 * (Recorded::kPages + Recorded::kPages / Recorded::kVdsoEvery);
  expect(state, events.size() == kWrites, "other stores than those that were made");
  expect(state, recorded.guest.mirror.broken_links() == 0, "the mirror lost the thread");
  expect(state, !recorded.guest.changes.empty(), "no store was to a system mapping");
  expect(state, changes == rounds(state) * recorded.guest.changes.size(), "other changes");
  expect(state, recorded.guest.rewalk(recorded.roots[0]).mismatches == 0, "not what is in memory");
  count_items(state, events.size());
}

struct CountingSink final : model::EventSink {
  void emit(const event::Event& event) override {
    if (event.kind == event::Kind::SlotWrite) ++writes;
  }
  std::uint64_t writes = 0;
};

void track_stores(benchmark::State& state, Arch arch) {
  const Recorded recorded(arch, 8);
  Flat memory(recorded.guest.memory);
  CountingSink sink;
  model::TableTracker tracker(memory, recorded.guest.memory.ram, sink);
  tracker.set_format(recorded.guest.format);
  for (const Frame root : recorded.roots) tracker.load_root(root, arch::Half::Lower, {});
  while (state.KeepRunning()) {
    for (const event::Event& event : recorded.guest.events) {
      memory.set(Gpa{event.gpa}, event.new_value);
      if (!tracker.is_watched(arch::frame_of(Gpa{event.gpa}))) continue;
      tracker.stored({Gpa{event.gpa}, 8, 8, 0, 1}, {});
    }
  }
  expect(state, sink.writes == rounds(state) * recorded.guest.events.size(), "a store was missed");
  count_items(state, recorded.guest.events.size());
}

/// Two processes of which one is the other's child, and a page that went and came back.
struct Judged {
  explicit Judged(Arch which) : arch(which), recorded(which, 2) {
    for (const bool mapped : {false, true}) {
      show(mapped ? std::optional(FakeGuest::kVdso) : std::nullopt);
    }
    parent = recorded.guest.spaces.find(recorded.roots[0]);
    child = recorded.guest.spaces.find(recorded.roots[1]);
  }
  /// User mode runs with the first page of the vdso at `frame`.
  void show(std::optional<Frame> frame) {
    FakeGuest& guest = recorded.guest;
    if (frame) {
      guest.map(recorded.roots[0], FakeGuest::kVdsoPlace, *frame, {.exec = true});
    } else {
      guest.unmap(recorded.roots[0], FakeGuest::kVdsoPlace);
    }
    const auto look = guest.enter_user(recorded.roots[0]);
    transitions.insert(transitions.end(), look.transitions.begin(), look.transitions.end());
  }
  /// Violations of all that is known.
  [[nodiscard]] std::size_t judge() const {
    const model::Identities& identities = recorded.guest.identities;
    std::size_t found = 0;
    for (const auto& transition : transitions) {
      found += seal::judge_transition(arch, identities, *parent, transition).size();
    }
    for (const auto* space : {parent, child}) {
      for (const auto& placement : space->placements) {
        found += seal::judge_gone(identities, *space, placement).size();
      }
    }
    return found + seal::judge_inheritance(identities, *parent, *child).size();
  }
  Arch arch;
  Recorded recorded;
  std::vector<model::PageTransition> transitions;
  const model::AddressSpace* parent = nullptr;
  const model::AddressSpace* child = nullptr;
};

void judge(benchmark::State& state, Arch arch) {
  Judged judged(arch);
  std::size_t found = 0;
  while (state.KeepRunning()) {
    found += judged.judge();
    benchmark::DoNotOptimize(found);
  }
  expect(state, found == 0 && judged.transitions.size() == 2, "a violation where there is none");
  judged.show(FakeGuest::kOther);
  expect(state, judged.judge() != 0, "no violation where there is one");
  count_items(state, 1);
}

/// Walks of the pages that judge() is about, as each look at a space makes them.
void walk_judged(benchmark::State& state, Arch arch) {
  const Judged judged(arch);
  std::size_t leaves = 0;
  while (state.KeepRunning()) {
    for (const auto* space : {judged.parent, judged.child}) {
      for (const auto& placement : space->placements) {
        for (std::size_t page = 0; page < placement.pages.size(); ++page) {
          const arch::Walk walk =
              arch::walk(judged.recorded.guest.format, judged.recorded.guest.mirror, space->root,
                         placement.gva(page));
          leaves += walk.end == arch::WalkEnd::Leaf ? 1 : 0;
        }
      }
    }
    benchmark::DoNotOptimize(leaves);
  }
  // Two pages of the vdso and one of the vvar, whose other one was never there.
  expect(state, leaves == rounds(state) * 6, "other pages");
  count_items(state, 1);
}

/// `count` records that differ as those of a guest do.
std::vector<event::Event> records(std::size_t count) {
  const Recorded recorded(Arch::X86_64, 8);
  std::vector<event::Event> events;
  for (std::size_t i = 0; i < count; ++i) {
    events.push_back(recorded.guest.events[i % recorded.guest.events.size()]);
    events.back().icount = 1000 + 37 * i;
  }
  return events;
}

std::uint64_t sum_of(std::span<const event::Event> events) {
  std::uint64_t sum = 0;
  for (const event::Event& event : events) sum += event.icount;
  return sum;
}

struct alignas(4096) Page {
  std::byte bytes[4096];
};

void ring_push_drain(benchmark::State& state) {
  static_assert(event::kRingBytes % sizeof(Page) == 0);
  const auto memory = std::make_unique<Page[]>(event::kRingBytes / sizeof(Page));
  event::Ring ring({memory[0].bytes, event::kRingBytes});
  ring.initialise();
  const auto events = records(event::kDrainEvery);
  std::uint64_t sum = 0;
  while (state.KeepRunning()) {
    for (const event::Event& event : events) {
      if (!ring.full()) ring.push(event);
    }
    for (auto ready = ring.ready(); !ready.empty(); ready = ring.ready()) {
      sum += sum_of(ready);
      ring.consume(ready.size());
    }
    benchmark::DoNotOptimize(sum);
  }
  expect(state, sum == rounds(state) * sum_of(events) && !ring.broken(), "a record was lost");
  count_items(state, events.size());
}

/// The least that a ring is: the same bytes go round a buffer of its size, and are read there.
void ring_memcpy(benchmark::State& state) {
  std::vector<event::Event> buffer(event::kRingCapacity);
  const auto events = records(event::kDrainEvery);
  std::uint64_t sum = 0;
  std::size_t at = 0;
  while (state.KeepRunning()) {
    std::memcpy(&buffer[at], events.data(), events.size() * sizeof(event::Event));
    benchmark::ClobberMemory();
    sum += sum_of({&buffer[at], events.size()});
    at = (at + events.size()) % buffer.size();
    benchmark::DoNotOptimize(sum);
  }
  expect(state, sum == rounds(state) * sum_of(events), "other bytes");
  count_items(state, events.size());
}

constexpr std::size_t kTraceRecords = 1U << 15;

const evidence::Digest kTraceSeed{};

bool write_trace(const std::filesystem::path& path, const std::vector<event::Event>& events) {
  auto writer = evidence::TraceWriter::create(path, kTraceSeed);
  if (!writer) return false;
  for (std::size_t at = 0; at < events.size(); at += event::kDrainEvery) {
    writer.value().append(std::span(events).subspan(at, event::kDrainEvery));
  }
  return writer.value().close("{}").ok();
}

/// Whether the trace has just these events.
bool holds(const std::filesystem::path& path, const std::vector<event::Event>& events) {
  auto source = evidence::FileSource::open(path, kTraceSeed);
  if (!source) return false;
  evidence::TraceReader reader(source.value());
  for (std::size_t at = 0;; ++at) {
    const auto step = reader.next();
    if (!step) return false;
    if (step.value().kind == evidence::Step::Kind::Ended) return at == events.size();
    if (at == events.size() ||
        std::memcmp(&step.value().event, &events[at], sizeof(event::Event)) != 0) {
      return false;
    }
  }
}

void trace_write(benchmark::State& state) {
  const app::Temporary folder;
  const auto path = folder.path() / "trace";
  const auto events = records(kTraceRecords);
  bool good = true;
  while (state.KeepRunning()) good = write_trace(path, events) && good;
  expect(state, good && holds(path, events), "the file does not hold the records");
  count_items(state, events.size());
}

/// The same back, checked.
void trace_read(benchmark::State& state) {
  const app::Temporary folder;
  const auto path = folder.path() / "trace";
  const auto events = records(kTraceRecords);
  bool good = write_trace(path, events);
  while (state.KeepRunning()) good = holds(path, events) && good;
  expect(state, good, "the file does not hold the records");
  count_items(state, events.size());
}

/// The least that a trace is: the same records through zstd at the same level, and no file.
void trace_zstd(benchmark::State& state) {
  auto events = records(kTraceRecords);
  const std::size_t bytes = events.size() * sizeof(event::Event);
  std::vector<std::byte> out(ZSTD_compressBound(bytes));
  std::size_t written = 0;
  while (state.KeepRunning()) {
    written = ZSTD_compress(out.data(), out.size(), events.data(), bytes, 3);
    benchmark::ClobberMemory();
  }
  auto back = events;
  const bool good = ZSTD_isError(written) == 0 &&
                    ZSTD_decompress(back.data(), bytes, out.data(), written) == bytes;
  expect(state, good && std::memcmp(back.data(), events.data(), bytes) == 0, "other records");
  count_items(state, events.size());
}

void add_all() {
  struct OfArch {
    const char* name;
    std::function<void(benchmark::State&, Arch)> run;
  };
  const OfArch each[] = {
      {"walk", walk},
      {"walk_loads", loads},
      {"visit", visit},
      {"visit_copies", copies},
      {"track", track_stores},
      {"model_1", [](auto& state, Arch arch) { update_model(state, arch, 1); }},
      {"model_64", [](auto& state, Arch arch) { update_model(state, arch, 64); }},
      {"policy", judge},
      {"policy_walks", walk_judged}};
  for (const OfArch& one : each) {
    for (const Arch arch : arch::kAllArchs) {
      const std::string name = std::string(one.name) + "/" + arch::name_of(arch);
      benchmark::RegisterBenchmark(
          name.c_str(), [run = one.run, arch](benchmark::State& state) { run(state, arch); });
    }
  }
  benchmark::RegisterBenchmark("ring", ring_push_drain);
  benchmark::RegisterBenchmark("ring_memcpy", ring_memcpy);
  benchmark::RegisterBenchmark("trace", trace_write);
  benchmark::RegisterBenchmark("trace_read", trace_read);
  benchmark::RegisterBenchmark("trace_zstd", trace_zstd);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return static_cast<int>(ExitCode::Usage);
  add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  // The unit tests' guest checks itself with the same means as what is here.
  const bool failed = testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed();
  return static_cast<int>(failed ? ExitCode::Failed : ExitCode::AsExpected);
}
