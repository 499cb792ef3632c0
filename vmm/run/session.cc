#include "vmm/run/session.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/run/blind_spots.h"
#include "vmm/run/piece.h"
#include "vmm/run/protocol_reader.h"

namespace sealvisor::run {

using arch::Frame;
using arch::Gpa;
using arch::Gva;
using arch::Half;
using event::Event;
using event::Kind;
using protocol::Type;

namespace {
constexpr const char* kStores = "control/stores";
constexpr const char* kStoresCode = "control/stores-code";
constexpr const char* kCampaign = "control/campaign";
/// Violations of one look of which it is found out who made them: a hostile guest can make very
/// many at once, and each takes a search.
constexpr std::size_t kMostCauses = 256;
/// Behind what rests on symbols that the guest lists itself.
constexpr const char* kListed = " by kallsyms";
}  // namespace

Session::Session(const RunRequest& request, const memory::Memory& memory,
                 const image::Symbols* symbols, std::optional<image::SymbolListing> listing)
    : request_(request),
      memory_(memory),
      symbols_(symbols),
      listing_(std::move(listing)),
      copies_([&memory](Frame frame) { return memory.is_ram(frame); }),
      spaces_(mirror_, identities_),
      transients_(mirror_),
      announcements_(request.arch, memory, identities_),
      narrator_(request.arch, memory, symbols),
      programs_(request, identities_, memory, narrator_),
      course_(request, identities_),
      stores_(mirror_),
      code_stores_("code of a system mapping", [this](Frame frame) { return code_bytes(frame); }),
      sequences_(request, identities_) {
  for (const char* name :
       {"control/tamper-entry", "control/tamper-compat", "control/tamper-code", kStoresCode}) {
    if (asks_for(name)) tampering_.emplace();
  }
  const bool controls =
      std::any_of(request_.plan.begin(), request_.plan.end(), [](const scenario::PlanItem& item) {
        return item.scenario->kind == scenario::Kind::Control;
      });
  if (controls) announcements_.expect_special();
  const auto compare = [this](Frame one, Frame other) { return differing_bytes(one, other); };
  course_.set_compare(compare);
  programs_.set_compare(compare);
  use_symbols();
  if (request.timelines) timelines_.emplace(identities_);
  for (const scenario::PlanItem& item : request_.plan) {
    if (item.scenario->name != kCampaign) continue;
    campaign_.emplace(
        request.arch, identities_,
        [this](std::uint64_t pc) {
          const std::string text = narrator_.function_at(pc, false);
          return text.substr(0, text.find('+'));
        },
        compare, CampaignOrder{item.seed, item.count, item.emulated});
  }
  if (request.lifetime) {
    call_paths_.emplace(request.arch, kernel_code());
    lifetimes_.emplace(identities_, *call_paths_);
  }
}

void Session::use_symbols() {
  if (symbols_ == nullptr) return;
  course_.set_kernel_has(
      [this](std::string_view name) { return symbols_->address_of(name).has_value(); });
}

std::optional<std::uint32_t> Session::differing_bytes(Frame one, Frame other) const {
  std::array<std::byte, arch::kPageSize> first{};
  std::array<std::byte, arch::kPageSize> second{};
  if (!memory_.read(one.gpa(), first) || !memory_.read(other.gpa(), second)) return std::nullopt;
  std::uint32_t differing = 0;
  for (std::size_t i = 0; i < first.size(); ++i) differing += first[i] != second[i] ? 1 : 0;
  return differing;
}

KernelCode Session::kernel_code() {
  KernelCode code;
  code.read = [this](std::uint64_t address, std::span<std::uint8_t> room) -> std::size_t {
    std::size_t done = 0;
    while (done < room.size()) {
      const std::uint64_t at = address + done;
      const std::uint64_t page = at & ~(arch::kPageSize - 1);
      const auto [place, fresh] = text_pages_.try_emplace(page);
      if (fresh && spaces_.format()) {
        const arch::Walk walk = arch::walk(*spaces_.format(), memory_, text_root_, Gva{page});
        if (walk.end == arch::WalkEnd::Leaf) place->second = walk.output;
      }
      const std::size_t part =
          std::min<std::size_t>(room.size() - done, page + arch::kPageSize - at);
      if (!place->second || !memory_.read(Gpa{place->second->value + (at - page)},
                                          std::as_writable_bytes(room.subspan(done, part)))) {
        break;
      }
      done += part;
    }
    return done;
  };
  code.function = [this](std::uint64_t address) -> std::optional<std::string> {
    auto name = symbols_ == nullptr ? std::nullopt : symbols_->describe(address);
    if (name) name->resize(std::min(name->find('+'), name->size()));
    return name;
  };
  return code;
}

void Session::on_stack_copy(const Event& event, const arch::Table& stack) {
  ++counts_.events;
  if (!lifetimes_) return;
  text_root_ = code_root(event);
  lifetimes_->on_stack(event, stack);
}

std::optional<StoreControl::Bytes> Session::code_bytes(Frame frame) const {
  const auto page = identities_.find(frame);
  if (!page || !identities_.all()[page->mapping].code) return std::nullopt;
  StoreControl::Bytes bytes;
  if (!memory_.read(frame.gpa(), std::as_writable_bytes(std::span(bytes)))) return std::nullopt;
  return bytes;
}

bool Session::asks_for(std::string_view scenario) const {
  return std::any_of(
      request_.plan.begin(), request_.plan.end(),
      [&](const scenario::PlanItem& item) { return item.scenario->name == scenario; });
}

void Session::judged(seal::Violation violation, Frame root, std::optional<std::uint64_t> late) {
  if (timelines_) timelines_->broken(violation, now_);
  if (tampering_ && tampering_->takes(violation)) return;
  if (campaign_ && campaign_->takes({.what = violation.invariant,
                                     .space = violation.space,
                                     .root = root,
                                     .page = violation.page,
                                     .gva = violation.gva,
                                     .frame = violation.frame,
                                     .cause = violation.cause,
                                     .late = late})) {
    return;
  }
  if (sequences_.takes(violation) || programs_.takes(violation)) return;
  if (lifetimes_ && Lifetimes::takes(violation)) return;
  if (violation.cause && violation.cause->pc != 0) {
    violation.text += "; by " + narrator_.function_at(violation.cause->pc, (violation.cause->flags &
                                                                            event::kUserMode) != 0);
  }
  course_.violation(violation);
}

std::optional<Event> Session::cause_of(const model::AddressSpace& space, Gva gva) const {
  const arch::Walk walk = spaces_.walk(space, gva);
  std::array<Gpa, arch::kMaxLevels> slots;
  for (unsigned i = 0; i < walk.count; ++i) slots[i] = walk.steps[i].slot;
  return recent_.cause(std::span(slots).first(walk.count), space.root, space.last_look);
}

std::optional<std::uint64_t> Session::lateness(const std::optional<Event>& cause, Frame root,
                                               const Event& moment) const {
  if (!cause || request_.engine != engine::Kind::Tcg) return std::nullopt;
  const Frame then = cause->kind == Kind::RootLoad ? arch::frame_of(Gpa{cause->gpa})
                                                   : model::root_of(request_.arch, cause->root);
  return recent_.begun_since(*cause, then, root, moment);
}

Frame Session::code_root(const Event& event) const {
  // The kernel's text is in the upper half: on arm64 that has a root of its own.
  const bool user = (event.flags & event::kUserMode) != 0;
  if (request_.arch == arch::Arch::Arm64 && !user && spaces_.upper_root()) {
    return *spaces_.upper_root();
  }
  return model::root_of(request_.arch, event.root);
}

void Session::on_event(const Event& event) {
  ++counts_.events;
  now_ = event.icount;
  vcpu_ = event.vcpu;
  switch (event.kind) {
    case Kind::Registers: {
      auto format = model::format_of(request_.arch, {event.old_value, event.new_value, event.aux});
      if (format) {
        // Of another format no table is followed until its root is told again.
        if (spaces_.format() != format.value()) current_roots_.fill(std::nullopt);
        spaces_.set_format(request_.arch, format.value());
        course_.set_protection_keys(arch::has_protection_keys(format.value()));
      } else {
        paging_refused_ = format.error().message;
      }
      break;
    }
    case Kind::SlotWrite:
      if (event.part == 0) ++counts_.table_writes;
      writers_are_told_ = writers_are_told_ || event.pc != 0;
      stores_.on_write(event);
      if (tampering_) tampering_->on_write(event);
      if (campaign_) campaign_->on_write(event);
      break;
    case Kind::ContentWrite:
      if (event.part == 0) ++counts_.content_writes;
      code_stores_.on_write(event);
      code_.on_write(event);
      if (tampering_) tampering_->on_write(event);
      if (campaign_) campaign_->on_write(event);
      break;
    case Kind::Limit:
      limits_.insert(static_cast<event::Limit>(event.aux));
      break;
    case Kind::RootLoad:
      on_root_load(event);
      break;
    case Kind::Sync:
      rewalk_copies(arch::frame_of(Gpa{event.gpa}));
      break;
    case Kind::RunEnd:
      run_end_ = event;
      break;
    default:
      break;
  }
  recent_.on_event(event, counts_.events);
  if (const auto violation = seal::judge_content(identities_, event)) {
    if (lifetimes_) lifetimes_->on_content(event, *violation);
    // It is judged while the store is told.
    judged(*violation, {}, lateness(event, model::root_of(request_.arch, event.root), event));
  }
  const std::vector<model::MappingChange> changes = spaces_.on_event(event);
  if (lifetimes_ && spaces_.format()) {
    if (event.kind == Kind::SlotWrite) lifetimes_->on_write(*spaces_.format(), event, changes);
    if (event.kind == Kind::TableRemoved) {
      lifetimes_->on_table_removed(arch::frame_of(Gpa{event.gpa}));
    }
  }
  for (const model::MappingChange& change : changes) {
    if (!spaces_.format()) continue;
    transients_.note(*spaces_.format(), change);
    if (event.kind != Kind::SlotWrite) continue;
    if (timelines_) timelines_->written(*spaces_.format(), change);
    if (programs_.active()) programs_.changed(change, code_root(event));
    if (course_.wants_change(change.space)) {
      course_.change(narrator_.tell(*spaces_.format(), identities_, change, code_root(event)));
    }
    if (sequences_.wants_change(change.space)) {
      sequences_.change(narrator_.tell(*spaces_.format(), identities_, change, code_root(event)));
    }
  }
  mirror_.apply(event);
  take_ended();
  if (event.kind == Kind::UserEntry) on_user_entry(event);
  if (listener_) listener_(event, changes);
}

void Session::take_ended() {
  for (const model::SpaceEnd& end : spaces_.take_ended()) {
    totals_.teardowns += end.pages_present;
    totals_.pages_kept += end.pages_present;
    totals_.refaults += end.refaults;
    totals_.unobserved += end.pages_zapped + end.pages_never;
    if (timelines_) timelines_->ended(end, now_);
    fork_children_.erase(end.space);
    if (lifetimes_) lifetimes_->on_end(end.space, end.placements);
    identities_.end_of(end.space);
    programs_.ended(end.space);
    transients_.forget(end.space);
  }
}

void Session::note_transients(const model::AddressSpace& space, const model::Look& seen,
                              const Event& moment) {
  for (const model::MappingPage page : transients_.settle(space.id, seen)) {
    ++counts_.transient;
    if (!campaign_) continue;
    static_cast<void>(campaign_->takes(
        {.what = "transient", .space = space.id, .root = space.root, .page = page}));
  }
  if (!campaign_) return;
  for (const model::PageTransition& transition : seen.transitions) {
    if (transition.before.end != arch::WalkEnd::Leaf ||
        transition.after.end != arch::WalkEnd::Absent) {
      continue;
    }
    const auto cause = cause_of(space, transition.gva);
    static_cast<void>(campaign_->takes({.what = "removal",
                                        .space = space.id,
                                        .root = space.root,
                                        .page = transition.page,
                                        .gva = transition.gva,
                                        .frame = transition.before.frame,
                                        .cause = cause,
                                        .late = lateness(cause, space.root, moment)}));
  }
}

void Session::judge(const model::AddressSpace& space, const model::Look& seen,
                    const Event& moment) {
  std::size_t told = 0;
  const auto tell = [&](seal::Violation violation) {
    if (told++ < kMostCauses) violation.cause = cause_of(space, violation.gva);
    const auto late = lateness(violation.cause, space.root, moment);
    judged(std::move(violation), space.root, late);
  };
  for (const model::PageTransition& transition : seen.transitions) {
    for (const seal::Violation& violation :
         seal::judge_transition(request_.arch, identities_, space, transition)) {
      tell(violation);
    }
    if (transition.after.end != arch::WalkEnd::Leaf) continue;
    // What may be done with it tells a copy of the page from other memory that resembles it.
    if (transition.after.permissions != identities_.all()[transition.page.mapping].permissions) {
      continue;
    }
    const auto copied =
        seal::copied_bytes(identities_, transition.page, transition.after.frame,
                           [this](Frame one, Frame other) { return differing_bytes(one, other); });
    if (copied && *copied != 0) {
      tell(seal::judge_copy(identities_, space, transition, *copied));
    }
  }
  for (const model::Elsewhere& elsewhere : seen.new_elsewhere) {
    tell(seal::judge_elsewhere(identities_, space, elsewhere));
    const arch::Walk walk = spaces_.walk(space, elsewhere.gva);
    if (walk.count == 0) continue;
    course_.found_at(walk.last().slot, elsewhere.gva);
    if (timelines_) timelines_->elsewhere(space.id, elsewhere, walk.last().slot, now_);
    if (lifetimes_) lifetimes_->on_elsewhere(space, walk.last().slot);
  }
}

model::AddressSpace* Session::look(Frame root, const Event& moment) {
  model::Look seen;
  model::AddressSpace* space = spaces_.look(root, seen);
  if (space == nullptr || !spaces_.format()) return space;
  note_transients(*space, seen, moment);
  if (timelines_) timelines_->looked(*spaces_.format(), *space, seen, now_);
  if (lifetimes_) lifetimes_->on_look(*space, seen, moment.kind == Kind::UserEntry);
  programs_.looked(*space, seen, *spaces_.format(), mirror_);
  judge(*space, seen, moment);
  space->last_look = counts_.events;
  return space;
}

void Session::on_user_entry(const Event& event) {
  ++counts_.user_entries;
  ++entries_by_vcpu_[vcpu_];
  if (identities_.empty()) return;
  if (model::AddressSpace* space = look(model::root_of(request_.arch, event.root), event)) {
    // Roots that user mode never runs on, as the kernel's own, are no address space of anyone's.
    if (space->user_entries++ == 0) ++totals_.spaces;
    space->vcpus |= 1U << vcpu_;
  }
}

void Session::on_table_copy(const Event& event, const arch::Table& table) {
  ++counts_.events;
  copies_.add(arch::frame_of(Gpa{event.gpa}), table);
}

void Session::rewalk_copies(Frame root) {
  rewalk(copies_, root, arch::Scope::UserHalf);
  if (const auto missing = copies_.missing()) {
    ++counts_.mismatches;
    if (first_mismatch_.empty()) {
      first_mismatch_ = fmt::format("the table at {:#x} was not copied at the load of root {:#x}",
                                    missing->gpa().value, root.gpa().value);
    }
  }
  copies_.clear();
}

void Session::on_root_load(const Event& event) {
  const Frame root = arch::frame_of(Gpa{event.gpa});
  const bool upper = (event.flags & event::kUpperHalf) != 0;
  if (!upper) current_roots_[vcpu_] = root;
  if (upper != (request_.arch == arch::Arch::Arm64) || isolated_) return;
  std::erase(recent_roots_, root);
  recent_roots_.insert(recent_roots_.begin(), root);
  if (recent_roots_.size() > kRecentRoots) recent_roots_.pop_back();
}

std::optional<Frame> Session::kernel_root() const {
  if (!isolated_ || request_.arch == arch::Arch::Arm64) return isolated_;
  // Each process has a root for each mode, side by side. 6.12: arch/x86/include/asm/pgtable.h,
  // PTI_PGTABLE_SWITCH_BIT.
  return Frame{current_root().number & ~std::uint64_t{1}};
}

bool Session::exhausted() const {
  return spaces_.exhausted() || announcements_.exhausted() || rewalk_exhausted_;
}

void Session::rewalk(const arch::TableReader& memory, Frame root, arch::Scope scope) {
  if (!spaces_.format() || exhausted()) return;
  model::Rewalk result =
      model::rewalk(*spaces_.format(), memory, mirror_, root, Half::Lower, scope);
  const auto add = [&](Frame other, Half half) {
    const model::Rewalk more =
        model::rewalk(*spaces_.format(), memory, mirror_, other, half, scope);
    result.tables += more.tables;
    result.mismatches += more.mismatches;
    result.exhausted = result.exhausted || more.exhausted;
    if (result.first.empty()) result.first = more.first;
  };
  if (scope == arch::Scope::All) {
    const auto upper = spaces_.upper_root();
    if (upper) add(*upper, Half::Upper);
    const auto kernel = kernel_root();
    if (kernel && kernel != upper && *kernel != root) {
      add(*kernel, upper ? Half::Upper : Half::Lower);
    }
  }
  ++counts_.rewalks;
  counts_.rewalked_tables += result.tables;
  counts_.mismatches += result.mismatches;
  rewalk_exhausted_ = result.exhausted;
  if (first_mismatch_.empty()) first_mismatch_ = result.first;
}

void Session::rewalk_loaded() {
  rewalk(memory_, current_root(), arch::Scope::All);
  // The kernel's half is the same under all roots, but for their own entries.
  for (const std::optional<Frame>& other : current_roots_) {
    if (other && *other != current_root()) rewalk(memory_, *other, arch::Scope::UserHalf);
  }
}

Totals Session::totals() const {
  Totals totals = totals_;
  totals.user_entries = counts_.user_entries;
  totals.violations = course_.violations();
  return totals;
}

Commands Session::on_stopped(const Event& event) {
  Commands commands;
  switch (event.kind) {
    case Kind::Doorbell:
      rewalk_loaded();
      on_doorbell(event, commands);
      break;
    case Kind::RunEnd:
      rewalk_loaded();
      break;
    default:
      break;
  }
  if (exhausted() && !commands.give_up) {
    commands.give_up =
        "its tables link each other in more ways than can be searched: nothing could be said of "
        "what it does next";
  }
  commands.watch_content = identities_.code_frames();
  code_.on_stopped(memory_, commands.watch_content);
  return commands;
}

void Session::on_doorbell(const Event& event, Commands& commands) {
  if (++counts_.doorbells > request_.doorbell_limit) {
    commands.give_up =
        fmt::format("doorbell flood: more than {} messages", request_.doorbell_limit);
    return;
  }
  const bool compat = event.gpa == protocol::kRegister32;
  if ((event.gpa != protocol::kRegister64 || event.size != 8) && (!compat || event.size != 4)) {
    course_.finding(
        "monitor", course_.where() + "/doorbell",
        fmt::format("store of {} bytes to doorbell offset {:#x}, expected 8 bytes to "
                    "{:#x} or 4 to {:#x}",
                    event.size, event.gpa, protocol::kRegister64, protocol::kRegister32));
    return;
  }
  if (!spaces_.format()) return;
  auto message = read_message(*spaces_.format(), memory_, current_root(), Gva{event.new_value});
  if (!message) {
    course_.finding("monitor", course_.where() + "/doorbell", message.error().message);
    return;
  }
  if (auto reason = lacks_cpus(message.value())) {
    commands.give_up = std::move(reason);
    return;
  }
  if (model::AddressSpace* space = look(current_root(), event)) {
    dispatch(message.value(), event, *space);
  }
}

void Session::dispatch(const protocol::Message& message, const Event& event,
                       model::AddressSpace& space) {
  switch (message.type) {
    case Type::Hello:
      on_hello(message);
      programs_.agents(space.id);
      break;
    case Type::Mapping:
      announcements_.add(space, message.body.mapping);
      break;
    case Type::MappingsEnd:
      on_mappings_end(message, event, space);
      break;
    case Type::ScenarioBegin:
      if (request_.progress) request_.progress(text_of(message.body.scenario.name));
      course_.scenario_begin(message.body.scenario, totals());
      if (timelines_) timelines_->scenario(course_.where());
      if (lifetimes_) lifetimes_->set_scenario(course_.where());
      break;
    case Type::ScenarioEnd:
      course_.scenario_end(message.body.scenario, totals());
      if (timelines_) timelines_->scenario(course_.where());
      // A scenario of cells is as many items as it has cells.
      if (const auto* known = scenario::find(text_of(message.body.scenario.name));
          known == nullptr || known->kind != scenario::Kind::Cells) {
        item_done();
      }
      break;
    case Type::CellBegin: {
      std::string mapping = text_of(message.body.cell.mapping);
      if (mapping.ends_with(scenario::kCompatSuffix)) {
        mapping.resize(mapping.size() - scenario::kCompatSuffix.size());
      }
      course_.cell_begin(message, space, announcements_.claim(mapping));
      if (const auto cell = course_.cell(); timelines_ && cell) {
        timelines_->victim(space.id, *cell);
      }
      break;
    }
    case Type::Touched:
      if (message.body.touched.moment != protocol::Moment::BeforeOperation &&
          (course_.concerns(space.id) || message.token == 0)) {
        for (const model::Placement& placement : space.placements) {
          for (const auto& violation : seal::judge_gone(identities_, space, placement)) {
            judged(violation);
          }
        }
      }
      if (message.body.touched.moment == protocol::Moment::InChild) check_inheritance(space);
      check_touches(message.body.touched, space);
      course_.touched(message, space);
      break;
    case Type::Before:
      course_.before(message, space);
      break;
    case Type::After:
      course_.after(message);
      check_race(space);
      break;
    case Type::CellEnd:
      course_.cell_end(message);
      item_done();
      break;
    case Type::ForkParent:
      // Bounded: an agent has few forks under way. A liar that announces many evicts the lowest
      // token, whosesoever it is. Its child then announces a fork that no parent did, a finding; of
      // one that has announced itself already, inheritance is not compared.
      if (fork_parents_.size() >= 64) fork_parents_.erase(fork_parents_.begin());
      fork_parents_.insert_or_assign(message.token, space);
      break;
    case Type::ForkChild:
      on_fork_child(message, space);
      programs_.agents(space.id);
      break;
    case Type::Bystander:
      on_bystander(message, space);
      break;
    case Type::StoreBlock:
      on_store_block(message.body.store_block);
      break;
    case Type::Tamper:
      on_tamper(message.body.tamper, space);
      break;
    case Type::Campaign:
      on_campaign(message.body.campaign, space);
      break;
    case Type::Tampering:
      on_tampering(message.body.tampering, space);
      break;
    case Type::Entries:
      for (const std::string& text :
           entries_.on_block(message.body.entries, counts_.user_entries)) {
        course_.finding("monitor", "control/entries", text);
      }
      break;
    case Type::SequenceBegin:
    case Type::SequenceCall:
    case Type::SequenceEnd:
      on_sequence(message, space);
      break;
    case Type::Bye:
      bye_ = true;
      break;
    case Type::Piece:
      on_piece(message.body.piece, space);
      break;
    case Type::ProgramBegin:
    case Type::ProgramEnd:
    case Type::ProcessMapping:
    case Type::Process:
      on_program(message, event, space);
      break;
    case Type::Layout:
    case Type::Experiment:
    case Type::Samples:
    case Type::Counter:
      course_.finding("monitor", "benchmark",
                      "a message of a benchmark, and this run is none: its agent is not ours");
      break;
  }
}

void Session::on_sequence(const protocol::Message& message, const model::AddressSpace& space) {
  const auto wrong = message.type == Type::SequenceBegin  ? sequences_.begin(message, space)
                     : message.type == Type::SequenceCall ? sequences_.call(message, space)
                                                          : sequences_.end(message, space);
  for (const std::string& text : wrong) {
    course_.finding("monitor", course_.where() + "/sequence", text);
  }
}

void Session::on_piece(const protocol::Piece& piece, const model::AddressSpace& space) {
  auto bytes = read_piece(*spaces_.format(), memory_, space.root, piece);
  if (!bytes) {
    course_.finding("monitor", course_.where() + "/piece", bytes.error().message);
    return;
  }
  if (piece.content == protocol::Content::Symbols) {
    on_symbols(piece, bytes.value());
  } else {
    programs_.piece(piece.content, std::move(bytes).value());
  }
}

void Session::on_symbols(const protocol::Piece& piece, const std::string& text) {
  // Once, and before anything hostile runs: later ones teach nothing.
  if (!listing_ || !identities_.empty()) return;
  auto added = listing_->add(text);
  if (added && piece.last == 0) return;
  if (added && piece.status == 0) {
    auto table = listing_->finish(request_.arch);
    if (table) {
      listed_.emplace(std::move(table).value());
      symbols_ = &*listed_;
      narrator_.set_symbols(symbols_);
      use_symbols();
      announcements_.set_symbols_source(kListed);
      find_kernel_range();
    } else {
      no_symbols_ = table.error().message;
    }
  } else {
    no_symbols_ =
        added ? fmt::format("the guest has no /proc/kallsyms: {}", std::strerror(piece.status))
              : added.error().message;
  }
  listing_.reset();
}

void Session::on_program(const protocol::Message& message, const Event& event,
                         const model::AddressSpace& space) {
  std::string wrong;
  switch (message.type) {
    case Type::ProgramBegin:
      programs_.agents(space.id);
      wrong = programs_.begin(message.body.program_begin);
      if (wrong.empty() && request_.progress) {
        request_.progress(request_.programs[message.body.program_begin.index].name);
      }
      if (wrong.empty() && timelines_) {
        timelines_->scenario("program " + request_.programs[message.body.program_begin.index].name);
      }
      break;
    case Type::ProgramEnd:
      wrong = programs_.end(message.body.program_end);
      if (timelines_) timelines_->scenario(course_.where());
      item_done();
      break;
    case Type::ProcessMapping:
      programs_.process_mapping(message.token, message.body.mapping);
      break;
    default:
      on_process(message.body.process, event);
      break;
  }
  if (!wrong.empty()) course_.finding("monitor", "program", wrong);
}

void Session::on_process(const protocol::Process& process, const Event& event) {
  const auto root = programs_.process(process, spaces_, isolated_.has_value());
  if (!root) return;
  if (const model::AddressSpace* space = look(*root, event)) programs_.touched(*space);
}

void Session::on_store_block(const protocol::StoreBlock& block) {
  const bool code = tampering_ && tampering_->takes_stores();
  StoreControl& control = code ? code_stores_ : stores_;
  const std::uint64_t changes = control.changes();
  for (const std::string& text : control.on_block(block)) {
    course_.finding("monitor", code ? kStoresCode : kStores, text);
  }
  if (code) tampering_->on_known_stores(control.changes() - changes);
}

void Session::on_tamper(const protocol::Tamper& tamper, const model::AddressSpace& space) {
  if (!tampering_) {
    course_.finding("monitor", course_.where() + "/tamper",
                    "the agent announces changes that nobody asked for");
    return;
  }
  // Code is compared whole; of an entry, what user mode's accesses set by themselves is left out.
  const bool entry = tamper.target == protocol::Target::Entry;
  const std::uint64_t bits = entry ? arch::hardware_bits(*spaces_.format(), 1) : std::uint64_t{0};
  for (const std::string& text : tampering_->on_block(tamper, space.id, bits)) {
    course_.finding("monitor", course_.where() + "/tamper", text);
  }
}

void Session::item_done() {
  items_done_ = std::min(items_done_ + 1, request_.plan.size() + request_.programs.size());
  if (request_.advanced) request_.advanced(items_done_);
}

void Session::on_campaign(const protocol::Campaign& message, const model::AddressSpace& space) {
  if (!campaign_) {
    course_.finding("monitor", course_.where() + "/campaign",
                    "the agent announces tamperings that nobody asked for");
    return;
  }
  for (const std::string& text :
       campaign_->on_campaign(message, space, course_.protection_keys())) {
    course_.finding("monitor", kCampaign, text);
  }
}

void Session::on_tampering(const protocol::Tampering& message, const model::AddressSpace& space) {
  if (!campaign_) {
    course_.finding("monitor", course_.where() + "/campaign",
                    "the agent announces tamperings that nobody asked for");
    return;
  }
  const bool tcg = request_.engine == engine::Kind::Tcg;
  const bool exact = tcg || writers_are_told_;
  const LaneTells tells{.writers = exact,
                        .transients = exact,
                        .instructions = tcg,
                        .exact_pcs = tcg,
                        .root_loads = tcg};
  const auto other = campaign_->other_space();
  const std::uint64_t bits = arch::hardware_bits(*spaces_.format(), std::max(1U, message.level));
  for (const auto& [edit, text] : campaign_->on_tampering(
           message, space, other ? spaces_.by_id(*other) : nullptr, bits, tells)) {
    course_.finding("monitor", std::string(kCampaign) + "/" + edit, text);
  }
}

void Session::on_hello(const protocol::Message& message) {
  // The agent says it once, before anything hostile runs. Later ones teach nothing.
  if (first_message_) return;
  first_message_ = std::chrono::steady_clock::now();
  if (request_.advanced) request_.advanced(0);
  release_ = text_of(message.body.hello.release);
  find_kernel_range();
}

std::optional<std::string> Session::lacks_cpus(const protocol::Message& message) const {
  if (request_.vcpus == 1 || message.type != Type::Hello) return std::nullopt;
  if (message.body.hello.cpus == request_.vcpus) return std::nullopt;
  return fmt::format("its kernel runs on {} CPU(s), and the machine has {}",
                     message.body.hello.cpus, request_.vcpus);
}

void Session::check_vcpus(report::Run& run) const {
  // That a kernel has several CPUs is its word. That user mode ran on them is seen.
  if (!run.ending.good || request_.vcpus == 1) return;
  const auto idle =
      std::count(entries_by_vcpu_.begin(),
                 entries_by_vcpu_.begin() + static_cast<std::ptrdiff_t>(request_.vcpus), 0U);
  if (idle == 0) return;
  run.findings.push_back(
      {fmt::format("{}/{}/vcpus/monitor", arch::name_of(request_.arch), request_.recipe), "monitor",
       fmt::format("user mode ran on {} of {} vCPUs", request_.vcpus - idle, request_.vcpus), false,
       ""});
}

void Session::check_race(const model::AddressSpace& space) {
  const scenario::Operation* const operation = course_.operation();
  if (request_.vcpus == 1 || operation == nullptr) return;
  if (operation->call != scenario::Call::Race) return;
  const auto seen = static_cast<unsigned>(std::popcount(space.vcpus));
  if (course_.victim() != space.id || seen == request_.vcpus) return;
  course_.finding("monitor", course_.where() + "/vcpus",
                  fmt::format("threads that race ran on {} of {} vCPUs", seen, request_.vcpus));
}

namespace {

/// Where the kernel itself keeps a mapping's first page.
struct Anchor {
  const char* mapping;
  const char* symbol;
  bool pointer;  ///< The symbol is a pointer to it.
};

// 6.12: arch/x86/include/asm/vvar.h, arch/x86/include/asm/vdso.h (struct vdso_image, whose first
// member is the image), arch/arm64/kernel/vdso.c and vdso/vdso.S. Since 6.15 the data pages are
// allocated: lib/vdso/datastore.c.
constexpr auto kAnchors = std::to_array<Anchor>({
    {"[vvar]", "_vdso_data", false},
    {"[vvar]", "vdso_data_store", false},
    {"[vvar]", "vdso_k_time_data", true},
    {"[vdso]", "vdso_start", false},
    {"[vdso]", "vdso_image_64", true},
    {"[vdso] (32-bit)", "vdso32_start", false},
    {"[vdso] (32-bit)", "vdso_image_32", true},
});

/// What the kernel has at linux_banner (6.12: init/version-timestamp.c).
constexpr std::string_view kBanner = "Linux version ";

// Sections of the image that are never freed. 6.12: include/asm-generic/vmlinux.lds.h;
// arch/x86/kernel/vmlinux.lds.S, which has the data pages of the vdso between __vvar_page and its
// init memory; arch/x86/mm/init.c, free_kernel_image_pages, and arch/x86/mm/init_64.c,
// mark_rodata_ro, which free what lies between them.
constexpr auto kKeptSections = std::to_array<std::pair<const char*, const char*>>({
    {"_text", "_etext"},
    {"__start_rodata", "__end_rodata"},
    {"_sdata", "_edata"},
    {"__vvar_page", "__init_begin"},
    {"__bss_start", "__bss_stop"},
});

// What is freed of the last one. 6.12: arch/x86/kernel/vmlinux.lds.S, BSS_DECRYPTED;
// arch/x86/mm/mem_encrypt_amd.c, mem_encrypt_free_decrypted_mem.
constexpr std::pair<const char*, const char*> kFreed = {"__start_bss_decrypted_unused",
                                                        "__end_bss_decrypted"};

using Addresses = std::pair<std::uint64_t, std::uint64_t>;  // of the first byte, behind the last

std::vector<Addresses> without(const Addresses& section, const std::optional<Addresses>& hole) {
  const auto& [first, last] = section;
  if (!hole || hole->first < first || hole->second > last || hole->first >= hole->second) {
    return {section};
  }
  std::vector<Addresses> pieces;
  if (hole->first > first) pieces.emplace_back(first, hole->first);
  if (hole->second < last) pieces.emplace_back(hole->second, last);
  return pieces;
}

}  // namespace

bool Session::shows(Frame root, std::optional<std::uint64_t> address, std::string_view text) const {
  if (!address) return true;
  const auto there = arch::walk(*spaces_.format(), memory_, root, Gva{*address});
  std::array<char, kBanner.size()> bytes{};
  return there.end == arch::WalkEnd::Leaf &&
         memory_.read(there.output, std::as_writable_bytes(std::span(bytes))) &&
         std::string_view(bytes.data(), bytes.size()).starts_with(text);
}

bool Session::choose_kernel_root(Frame& root, std::optional<std::uint64_t> banner,
                                 std::optional<std::uint64_t> data) {
  // With page-table isolation user mode has tables that show less: on x86-64 no data of the kernel,
  // and its text and constants only without PCID (6.12: arch/x86/mm/pti.c, pti_clone_kernel_text);
  // on arm64 a trampoline. The kernel's own were loaded just before.
  const auto is_kernels = [&](Frame candidate) {
    return shows(candidate, banner, kBanner) && shows(candidate, data, "");
  };
  if (is_kernels(root)) return true;
  const auto other = std::find_if(recent_roots_.begin(), recent_roots_.end(), is_kernels);
  if (other == recent_roots_.end()) return shows(root, banner, kBanner);
  root = *other;
  isolated_ = root;
  return true;
}

void Session::find_kernel_range() {
  if (symbols_ == nullptr || !spaces_.format()) return;
  Frame root = spaces_.upper_root().value_or(current_root());
  // All at once: each pass over the table is of a megabyte.
  std::vector<std::string_view> names = {"linux_banner", "_sdata", kFreed.first, kFreed.second};
  for (const auto& [first, last] : kKeptSections) names.insert(names.end(), {first, last});
  for (const Anchor& anchor : kAnchors) names.emplace_back(anchor.symbol);
  const auto addresses = symbols_->addresses_of(names);
  auto next = addresses.begin();
  const auto banner = *next++;
  const auto data = *next++;
  const auto freed_from = *next++;
  const auto freed_to = *next++;
  // Symbols of another kernel would name the wrong functions and places.
  if (!choose_kernel_root(root, banner, data)) {
    course_.finding("identity", "symbols",
                    fmt::format("the symbols are not of this kernel, or it is not to be seen: no "
                                "'{}' at linux_banner, {:#x}",
                                kBanner, banner.value_or(0)));
    return;
  }
  std::optional<Addresses> freed;
  if (freed_from && freed_to) freed.emplace(*freed_from, *freed_to);
  KernelRange range;
  for (std::size_t i = 0; i < kKeptSections.size(); ++i) {
    const auto first = *next++;
    const auto last = *next++;
    if (!first || !last || *last <= *first) continue;
    for (const auto& [from, to] : without({*first, *last}, freed)) {
      // Each section is one contiguous piece of memory on both architectures.
      const auto begin = arch::walk(*spaces_.format(), memory_, root, Gva{from});
      if (begin.end != arch::WalkEnd::Leaf) continue;
      const std::uint64_t offset = begin.output.value % arch::kPageSize;
      range.parts.push_back({arch::frame_of(begin.output),
                             (offset + to - from + arch::kPageSize - 1) / arch::kPageSize});
    }
  }
  if (range.parts.empty()) return;
  announcements_.set_kernel_range(range);
  for (const Anchor& anchor : kAnchors) {
    auto address = *next++;
    if (!address) continue;
    if (anchor.pointer) {
      const auto pointer = arch::walk(*spaces_.format(), memory_, root, Gva{*address});
      address =
          pointer.end == arch::WalkEnd::Leaf ? memory_.read_u64(pointer.output) : std::nullopt;
    }
    if (!address) continue;
    const auto page = arch::walk(*spaces_.format(), memory_, root, Gva{*address});
    if (page.end != arch::WalkEnd::Leaf) continue;
    announcements_.set_anchor(anchor.mapping, anchor.symbol, arch::frame_of(page.output));
  }
}

void Session::check_touches(const protocol::Touched& touched, const model::AddressSpace& space) {
  for (std::uint32_t i = 0; i < touched.pages; ++i) {
    const Gva gva{touched.start + i * arch::kPageSize};
    const arch::Walk walk = arch::walk(*spaces_.format(), memory_, space.root, gva);
    const bool readable = walk.end == arch::WalkEnd::Leaf && walk.permissions.read;
    const bool says_so = touched.outcome[i] == protocol::Touch::Read ||
                         touched.outcome[i] == protocol::Touch::Written;
    // Of a page with a protection key, a register of user mode decides (SDM vol. 3A, 4.6.2).
    if (readable && walk.permissions.key != 0) continue;
    // A page that could not be stored to may well be readable.
    if (says_so == readable || (readable && touched.moment == protocol::Moment::AfterStores)) {
      continue;
    }
    course_.finding("monitor", course_.where() + "/touch",
                    fmt::format("the agent says that it {} {:#x}, the tables say otherwise",
                                says_so ? "read" : "could not read", gva.value));
  }
}

void Session::on_mappings_end(const protocol::Message& message, const Event& event,
                              model::AddressSpace& space) {
  if (!spaces_.format()) return;
  bool learned = false;
  const bool compat = event.gpa == protocol::kRegister32;
  if (message.body.mappings_end.count != announcements_.pending(space)) {
    course_.finding("monitor", course_.where() + "/announcement",
                    fmt::format("{} mappings were announced and {} came",
                                message.body.mappings_end.count, announcements_.pending(space)));
  }
  for (const IdentityDoubt& doubt : announcements_.end(*spaces_.format(), space, compat, learned)) {
    course_.finding("identity", course_.where() + "/" + doubt.mapping,
                    doubt.mapping + " " + doubt.text);
  }
  const auto unannounced = exhausted() ? std::vector<IdentityDoubt>()
                                       : announcements_.unannounced(*spaces_.format(), space);
  for (const IdentityDoubt& doubt : unannounced) {
    course_.finding("identity", course_.where() + "/" + doubt.mapping,
                    doubt.mapping + " " + doubt.text);
  }
  if (request_.expectations) check_seals(compat);
  if (learned) {
    spaces_.identities_changed();
    look(space.root, event);
  }
  if (const auto vdso = identities_.named(compat ? "[vdso] (32-bit)" : "[vdso]")) {
    const auto violation =
        seal::judge_vdso_address(identities_, space, *vdso, Gva{message.body.mappings_end.vdso});
    if (violation) judged(*violation);
  }
  check_inheritance(space);
}

void Session::check_seals(bool compat) {
  for (const model::SystemMapping& mapping : identities_.all()) {
    if (mapping.ended) continue;
    const bool of_compat = mapping.name.ends_with(scenario::kCompatSuffix);
    const auto claim = announcements_.claim(mapping.name.substr(0, mapping.name.find(' ')));
    if (of_compat != compat || !claim || (claim->sealed != 0) == request_.sealed) continue;
    course_.finding("claim", mapping.name,
                    fmt::format("smaps shows {} {}, expected {}", mapping.name,
                                claim->sealed != 0 ? "with sl" : "without sl",
                                request_.sealed ? "a seal" : "none"));
  }
}

void Session::on_bystander(const protocol::Message& message, const model::AddressSpace& space) {
  if (!course_.expects_bystander(message, space)) return;
  const protocol::Bystander& body = message.body.bystander;
  std::vector<std::uint64_t> entries;
  for (std::uint32_t page = 0; page < body.pages; ++page) {
    const arch::Walk walk = arch::walk(*spaces_.format(), memory_, space.root,
                                       Gva{body.start + page * arch::kPageSize});
    const std::uint64_t value = walk.count == 0 ? 0 : walk.last().value;
    entries.push_back(value & ~arch::hardware_bits(*spaces_.format(), walk.level));
  }
  course_.bystander(message, std::move(entries));
}

void Session::on_fork_child(const protocol::Message& message, model::AddressSpace& space) {
  const auto parent = fork_parents_.find(message.token);
  if (parent == fork_parents_.end()) {
    course_.finding("monitor", course_.where() + "/fork",
                    fmt::format("a child announces fork {}, which no parent did", message.token));
    return;
  }
  if (parent->second.id == space.id) return;  // vfork: the same address space
  fork_children_.insert_or_assign(space.id, message.token);
  model::Spaces::inherit(space, parent->second);
  course_.forked(parent->second.id, space.id);
  if (const auto cell = course_.cell(); timelines_ && cell && course_.concerns(space.id)) {
    timelines_->victim(space.id, *cell);
  }
}

void Session::check_inheritance(const model::AddressSpace& space) {
  const auto child = fork_children_.find(space.id);
  if (child == fork_children_.end()) return;
  const auto parent = fork_parents_.find(child->second);
  if (parent != fork_parents_.end()) {
    totals_.inherited += parent->second.placements.size();
    for (const auto& violation : seal::judge_inheritance(identities_, parent->second, space)) {
      judged(violation);
    }
  }
  fork_children_.erase(child);
}

void Session::check_identities(report::Run& run) const {
  // Of a kernel that we built we know where these are; else it is said beside the mapping only.
  if (!run.ending.good || !request_.expectations || !request_.ours || symbols_ == nullptr) return;
  for (const char* name : {"[vdso]", "[vvar]"}) {
    const auto index = identities_.named(name);
    const bool backed = index && identities_.all()[*index].identified_by.size() > 1;
    if (backed) continue;
    run.findings.push_back(
        {fmt::format("{}/{}/{}/identity", arch::name_of(request_.arch), request_.recipe, name),
         "identity",
         index ? fmt::format("{} rests on the guest's announcement alone", name)
               : fmt::format("{} was never identified", name),
         false, ""});
  }
}

void Session::finish_controls(const report::Run& run) {
  const auto end = [&](const char* name, const std::vector<std::string>& unfinished,
                       std::uint64_t done) {
    for (const std::string& text : unfinished) course_.finding("monitor", name, text);
    if (done == 0 && run.ending.good) course_.finding("monitor", name, "nothing was compared");
  };
  if (asks_for(kStores)) {
    counts_.known_stores = stores_.stores();
    counts_.known_store_classes = stores_.classes();
    end(kStores, stores_.unfinished(), stores_.stores());
  }
  if (asks_for(kStoresCode)) {
    counts_.known_code_stores = code_stores_.stores();
    counts_.known_code_store_classes = code_stores_.classes();
    end(kStoresCode, code_stores_.unfinished(), code_stores_.stores());
  }
  if (tampering_) {
    counts_.known_changes = tampering_->made();
    counts_.known_changes_judged = tampering_->judged();
    end("control/tamper", tampering_->unfinished(), tampering_->made());
  }
  if (campaign_) end(kCampaign, campaign_->unfinished(), campaign_->result().made);
  if (asks_for("control/entries")) {
    counts_.known_entries = entries_.known();
    counts_.known_entries_counted = entries_.counted();
    end("control/entries", entries_.unfinished(), entries_.known());
  }
}

void Session::finish_timelines(report::Run& run) {
  narrator_.guest_ended();
  if (timelines_ && spaces_.format()) {
    // Any root shows the kernel's code that shows the kernel.
    const Frame code = spaces_.upper_root().value_or(kernel_root().value_or(current_root()));
    timelines_->finish(run, [&](const model::MappingChange& change) {
      return narrator_.tell(*spaces_.format(), identities_, change, code);
    });
    for (report::Process& process : run.processes) {
      const model::AddressSpace* space = spaces_.by_id(process.id);
      if (space != nullptr) process.user_entries = space->user_entries;
    }
  }
  run.writers = narrator_.take_writers();
}

void Session::finish_lifetime(report::Run& run) {
  if (!lifetimes_) return;
  for (const auto& [root, space] : spaces_.all()) lifetimes_->on_end(space.id, space.placements);
  run.lifetime = lifetimes_->finish();
  if (lifetimes_->incomplete()) {
    course_.finding("monitor", "lifetime", "more writes, or ways to make them, than are kept");
  }
}

void Session::finish(report::Run& run) {
  finish_lifetime(run);
  finish_controls(run);
  auto [sequences, wrong] = sequences_.finish();
  run.sequences = std::move(sequences);
  for (const Sequences::Finding& one : wrong) {
    course_.finding(one.invariant, one.scenario, one.text);
  }
  course_.finish(run);
  finish_timelines(run);
  programs_.finish(run);
  // Of symbols from a file, who opened it says where they are from.
  if (listed_) {
    run.symbols =
        fmt::format("{} functions that the guest lists in /proc/kallsyms", listed_->size());
  } else if (symbols_ == nullptr) {
    run.symbols = no_symbols_;
  }
  const auto add = [&](std::string invariant, const std::string& what, std::string text) {
    run.findings.push_back(
        {fmt::format("{}/{}/{}/{}", arch::name_of(request_.arch), request_.recipe, what, invariant),
         invariant, std::move(text), false, ""});
  };
  counts_.mismatches += mirror_.broken_links();
  if (counts_.mismatches != 0) {
    add("monitor", "rewalk",
        fmt::format("{} difference(s) between guest memory and the event stream; the first: {}",
                    counts_.mismatches,
                    first_mismatch_.empty() ? mirror_.first_broken() : first_mismatch_));
  }
  code_.on_end(memory_);
  if (run.ending.good) {
    if (std::string text = code_.difference(); !text.empty()) {
      add("monitor", "code", "of the code of system mappings " + text);
    }
  }
  std::vector<std::string_view> reached;
  for (const event::Limit limit : limits_) reached.emplace_back(event::text_of(limit));
  if (!spaces_.incomplete().empty()) reached.emplace_back(spaces_.incomplete());
  if (!reached.empty()) {
    add("monitor", "limit", fmt::format("the watch is incomplete: {}", fmt::join(reached, "; ")));
  }
  if (!paging_refused_.empty() && !spaces_.format()) add("monitor", "paging", paging_refused_);
  run.protection_keys = course_.protection_keys();
  for (const model::SystemMapping& mapping : identities_.all()) {
    // Of those that each process has for itself, the first stands for all.
    const bool told = std::any_of(run.mappings.begin(), run.mappings.end(),
                                  [&](const auto& other) { return other.name == mapping.name; });
    if (told) continue;
    report::MappingInfo info;
    info.name = mapping.name;
    info.pages = static_cast<std::uint32_t>(mapping.frames.size());
    for (const auto& frame : mapping.frames) {
      info.frames.push_back(frame ? frame->gpa().value : 0);
      if (frame) ++info.populated;
    }
    info.claims_sealed = mapping.claims_sealed;
    info.identified_by = mapping.identified_by;
    run.mappings.push_back(std::move(info));
  }
  for (const auto& [name, sealed] : announcements_.unreachable()) {
    if (identities_.named(name)) continue;
    run.mappings.push_back({name, 0, 0, sealed, {}, {}});
  }
  if (run_end_ && (run_end_->flags & event::kWitness) != 0) {
    counts_.witness_stores = run_end_->gpa;
    counts_.witness_differences = run_end_->root;
    if (run_end_->root != 0) {
      add("monitor", "witness",
          fmt::format("the second witness found {} difference(s)", run_end_->root));
    }
  }
  if (request_.witness && run_end_ && !counts_.witness_stores) {
    add("monitor", "witness", "the second witness was asked for and did not run");
  }
  check_identities(run);
  check_vcpus(run);
  counts_.roots = totals_.spaces;
  counts_.frames = mirror_.most();
  counts_.teardowns = totals_.teardowns;
  counts_.violations = course_.violations();
  run.counts = counts_;
  if (campaign_) run.campaign = campaign_->result();
  run.kernel = release_;
  run.blind_spots = blind_spots(request_, run);
}

}  // namespace sealvisor::run
