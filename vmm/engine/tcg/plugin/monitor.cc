#include "vmm/engine/tcg/plugin/monitor.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <span>
#include <utility>

#include "vmm/engine/tcg/plugin/entry.h"
#include "vmm/engine/tcg/plugin/which_vcpu.h"
#include "vmm/engine/tcg/plugin/zero_block.h"

namespace sealvisor::engine::tcg {

using arch::Frame;
using arch::Gpa;
using arch::Half;
using arch::InstructionFacts;
using event::Event;
using event::Kind;

namespace {
constexpr std::uint64_t kPageMask = arch::kPageSize - 1;
// The longest instruction of either architecture (Intel SDM vol. 2, 2.3.11).
constexpr std::size_t kMostBytes = 15;
// No store is wider.
constexpr std::uint64_t kWidestStore = 64;
// Code of 32-bit modes lies below; what never_stores() knows of encodings does not hold there.
constexpr std::uint64_t kFirstOnly64Bit = std::uint64_t{1} << 32;

/// What the register holds once `raw` was loaded: CR3 does not keep bit 63 (Intel SDM vol. 3,
/// 4.10.4.1).
std::uint64_t as_read(arch::Arch arch, std::uint64_t raw) {
  return arch == arch::Arch::X86_64 ? raw & ~(std::uint64_t{1} << 63) : raw;
}

}  // namespace

bool RamView::read_entry(Gpa slot, std::uint64_t& value) const {
  const std::uint64_t offset = slot.value - base_.value;
  if (offset >= mapping_.size() || mapping_.size() - offset < 8 || (offset & 7) != 0) return false;
  auto* word = reinterpret_cast<std::uint64_t*>(mapping_.data() + offset);
  value = std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
  return true;
}

bool RamView::read(Gpa gpa, std::span<std::byte> bytes) const {
  const std::uint64_t offset = gpa.value - base_.value;
  if (offset >= mapping_.size() || mapping_.size() - offset < bytes.size()) return false;
  std::memcpy(bytes.data(), mapping_.data() + offset, bytes.size());
  return true;
}

bool RamView::read_table(Frame frame, arch::Table& copy) const {
  if (!range().contains(frame)) return false;
  const std::byte* start = mapping_.data() + (frame.gpa().value - base_.value);
  // The vCPUs are the only writers and this is their thread: nothing can tear.
  std::memcpy(copy.data(), start, sizeof(copy));
  return true;
}

void Monitor::Sink::emit(const Event& event) {
  if (witness != nullptr) {
    const Frame frame = arch::frame_of(Gpa{event.gpa});
    if (event.kind == Kind::TableAdded) witness->close(frame);
    if (event.kind == Kind::SlotWrite || event.kind == Kind::ContentWrite) {
      witness->reported(frame);
    }
  }
  const bool store = event.kind == Kind::SlotWrite || event.kind == Kind::ContentWrite;
  constexpr unsigned kNotTheKernels = event::kUpperHalf | event::kUserMode;
  if (stacks != nullptr && store && event.part == 0 && (event.flags & kNotTheKernels) == 0) {
    stacks->copy_stack(event);
  }
  channel.emit(event);
}

Monitor::Monitor(const PluginOptions& options, RamView ram, Channel channel)
    : options_(options),
      ram_(std::move(ram)),
      channel_(std::move(channel)),
      sink_(channel_),
      tracker_(ram_, ram_.range(), sink_),
      icount_{qemu_plugin_scoreboard_new(sizeof(std::uint64_t)), 0},
      user_icount_{qemu_plugin_scoreboard_new(sizeof(std::uint64_t)), 0},
      armed_{qemu_plugin_scoreboard_new(sizeof(std::uint64_t)), 0} {
  assert(only_ == nullptr);
  only_ = this;
}

void Monitor::on_vcpu_init(unsigned vcpu) {
  assert(vcpu < options_.vcpus);
  if (!registers_) {
    auto registers = Registers::find(options_.arch);
    if (!registers) {
      qemu_plugin_outs(("sealvisor: " + registers.error().message + "\n").c_str());
      return;
    }
    registers_.emplace(std::move(registers).value());
  }
  if (options_.stacks) sink_.stacks = this;
  qemu_plugin_u64_set(icount_, vcpu, 0);
  qemu_plugin_u64_set(user_icount_, vcpu, 0);
  qemu_plugin_u64_set(armed_, vcpu, 0);
  if (!options_.witness) return;
  if (sink_.witness == nullptr) {
    witness_ = std::make_unique<Witness>(ram_.fd().get(), ram_.mapping(), ram_.range().first.gpa());
    if (auto started = witness_->start(); !started) {
      qemu_plugin_outs(("sealvisor: " + started.error().message + "\n").c_str());
      witness_.reset();
      return;
    }
    sink_.witness = witness_.get();
  }
  // The word of arm() itself: what QEMU would run is not for a signal handler. QEMU moves a
  // scoreboard only to make room for more vCPUs.
  witness_->wants(vcpu, several() ? &armed_words_[vcpu]
                                  : static_cast<std::uint64_t*>(
                                        qemu_plugin_scoreboard_find(armed_.score, vcpu)));
}

void Monitor::identify() {
  if (!several() || !registers_) return;
  const std::uint64_t own = registers_->own_word();
  std::array<VcpuMarks, event::kMostVcpus> marks;
  for (unsigned one = 0; one < options_.vcpus; ++one) {
    marks[one] = {as_read(options_.arch, vcpus_[one].lower.raw), vcpus_[one].own,
                  armed_words_[one] != 0};
  }
  now_ = which_vcpu(std::span(marks).first(options_.vcpus), registers_->lower_root(), own);
  if (own != 0) vcpu().own = own;
}

std::uint64_t Monitor::instructions() const {
  return several() ? all_icount_ : qemu_plugin_u64_get(icount_, 0);
}

std::uint64_t Monitor::icount(const Site& site) const { return instructions() - site.behind; }

void Monitor::arm() {
  if (several()) {
    armed_words_.fill(1);
  } else {
    qemu_plugin_u64_set(armed_, 0, 1);
  }
}

void Monitor::disarm() {
  if (several()) {
    armed_words_[now_] = 0;
  } else {
    qemu_plugin_u64_set(armed_, 0, 0);
  }
}

std::uint64_t Monitor::armed() const {
  return several() ? armed_words_[now_] : qemu_plugin_u64_get(armed_, 0);
}

void Monitor::remember(std::uint64_t vaddr) {
  if (!several() || !is_user_address(options_.arch, vaddr)) cache_.insert(vaddr);
}

std::uint64_t Monitor::user_instructions(const Site& site) const {
  const std::uint64_t begun = several() ? all_user_icount_ : qemu_plugin_u64_get(user_icount_, 0);
  return is_user_address(options_.arch, site.pc) ? begun - site.behind : begun;
}

model::StoreSource Monitor::source(const Site& site) const {
  model::StoreSource source;
  source.pc = site.pc;
  source.icount = icount(site);
  source.root = vcpu().lower.raw;
  source.user_instructions = user_instructions(site);
  source.vcpu = static_cast<std::uint8_t>(now_);
  source.user_mode = is_user_address(options_.arch, site.pc);
  return source;
}

Event Monitor::stamp(Kind kind, const Site& site) const {
  Event event{};
  event.kind = kind;
  event.vcpu = static_cast<std::uint8_t>(now_);
  event.icount = icount(site);
  event.pc = site.pc;
  event.root = vcpu().lower.raw;
  return event;
}

void Monitor::on_translate(qemu_plugin_tb* tb) {
  const std::size_t count = qemu_plugin_tb_n_insns(tb);
  const std::uint64_t start = qemu_plugin_tb_vaddr(tb);
  const bool user = is_user_address(options_.arch, start);
  const bool judged = options_.watch && (user || witness_ != nullptr);
  if (several() || judged) sites_.push_back({start, static_cast<std::uint32_t>(count), {}});
  if (several()) {
    qemu_plugin_register_vcpu_tb_exec_cb(
        tb, judged ? &Monitor::judged_block_callback : &Monitor::block_callback,
        judged ? QEMU_PLUGIN_CB_R_REGS : QEMU_PLUGIN_CB_NO_REGS, &sites_.back());
  } else {
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, icount_,
                                                      count);
    if (options_.watch && user) {
      qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64,
                                                        user_icount_, count);
    }
    if (judged) {
      qemu_plugin_register_vcpu_tb_exec_cond_cb(tb, &Monitor::user_entry_callback,
                                                QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_COND_NE, armed_,
                                                0, &sites_.back());
    }
  }
  const qemu_plugin_cb_flags store_registers =
      options_.stacks || several() ? QEMU_PLUGIN_CB_R_REGS : QEMU_PLUGIN_CB_NO_REGS;
  bool after_zero_block = false;
  for (std::size_t i = 0; i < count; ++i) {
    qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    if (std::exchange(after_zero_block, false)) {
      // Before any callback of its own: then what memory holds is still the work of the `dc zva`.
      qemu_plugin_register_vcpu_insn_exec_cb(insn, &Monitor::after_zero_callback,
                                             QEMU_PLUGIN_CB_NO_REGS, nullptr);
    }
    std::array<std::uint8_t, kMostBytes> bytes{};
    const std::size_t size = qemu_plugin_insn_data(insn, bytes.data(), bytes.size());
    const std::span<const std::uint8_t> code(bytes.data(), std::min(size, bytes.size()));
    const InstructionFacts facts = arch::classify(options_.arch, code);
    after_zero_block = options_.watch && facts.kind == InstructionFacts::Kind::ZeroBlock;
    const bool may_store = start < kFirstOnly64Bit || !arch::never_stores(options_.arch, code);
    if (!may_store && facts.kind == InstructionFacts::Kind::None) continue;
    sites_.push_back(
        {qemu_plugin_insn_vaddr(insn), static_cast<std::uint32_t>(count - 1 - i), facts});
    Site* site = &sites_.back();
    if (may_store) {
      qemu_plugin_register_vcpu_mem_cb(insn, &Monitor::store_callback, store_registers,
                                       QEMU_PLUGIN_MEM_W, site);
    }
    if (options_.watch && facts.kind != InstructionFacts::Kind::None) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, &Monitor::special_callback,
                                             QEMU_PLUGIN_CB_R_REGS, site);
    }
  }
}

void Monitor::store_callback(unsigned /*vcpu*/, qemu_plugin_meminfo_t info, std::uint64_t vaddr,
                             void* site) {
  // Runs for each store of the guest. Only one near the end of its page needs its size, and the
  // site, which is seldom in a cache of the host's, is left alone until it is needed.
  const bool near_end = (vaddr & kPageMask) > arch::kPageSize - kWidestStore;
  if (!near_end && only_->cache_.contains(vaddr)) return;
  only_->on_store(*static_cast<const Site*>(site), info, vaddr);
}

void Monitor::on_flush() { sites_.clear(); }

void Monitor::special_callback(unsigned /*vcpu*/, void* site) {
  only_->identify();
  only_->on_special(*static_cast<const Site*>(site));
}

void Monitor::after_zero_callback(unsigned /*vcpu*/, void* /*site*/) { only_->settle_zero(); }

void Monitor::user_entry_callback(unsigned /*vcpu*/, void* site) {
  only_->on_user_entry(*static_cast<const Site*>(site));
}

void Monitor::count_block(const Site& block) {
  all_icount_ += block.behind;
  if (options_.watch && is_user_address(options_.arch, block.pc)) all_user_icount_ += block.behind;
}

void Monitor::block_callback(unsigned /*vcpu*/, void* site) {
  only_->count_block(*static_cast<const Site*>(site));
}

void Monitor::judged_block_callback(unsigned /*vcpu*/, void* site) {
  const Site& block = *static_cast<const Site*>(site);
  only_->count_block(block);
  const auto& words = only_->armed_words_;
  if (std::all_of(words.begin(), words.end(), [](std::uint64_t word) { return word == 0; })) return;
  only_->identify();
  if (only_->armed() != 0) only_->on_user_entry(block);
}

void Monitor::on_store(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t vaddr) {
  const std::uint64_t bytes = std::uint64_t{1} << qemu_plugin_mem_size_shift(info);
  const bool straddles = (vaddr & kPageMask) + bytes > arch::kPageSize;
  if (!straddles && cache_.contains(vaddr)) return;
  ++slow_stores_;
  qemu_plugin_hwaddr* hwaddr = qemu_plugin_get_hwaddr(info, vaddr);
  if (hwaddr == nullptr) {
    note_once(event::Limit::UntranslatedStore, site);
    return;
  }
  const std::uint64_t phys = qemu_plugin_hwaddr_phys_addr(hwaddr);
  // Whose `dc zva` is pending may not be whose store this is: only its own stack is copied for it.
  if (pending_zero_) identify();
  settle_zero(Gpa{phys}, bytes);
  const bool is_io = qemu_plugin_hwaddr_is_io(hwaddr);
  if (is_io && (phys & ~kPageMask) == options_.doorbell) {
    on_doorbell(site, info, phys);
    return;
  }
  const std::uint64_t room = arch::kPageSize - (vaddr & kPageMask);
  const auto whole = static_cast<std::uint32_t>(bytes);
  if (bytes <= room) {
    if (is_io || !tracker_.is_watched(arch::frame_of(Gpa{phys}))) {
      remember(vaddr);
      return;
    }
    const std::uint64_t slots = ((phys & 7) + bytes + 7) / 8;
    store_part(site, phys, whole, whole, 0, static_cast<std::uint32_t>(slots));
    judge_own_store(site);
    return;
  }
  // The store straddles two pages, each with a frame of its own: never cached, judged apart.
  const auto first_bytes = static_cast<std::uint32_t>(room);
  const std::uint64_t first_slots = ((phys & 7) + room + 7) / 8;
  const std::uint64_t second_slots = (bytes - room + 7) / 8;
  const auto slots = static_cast<std::uint32_t>(first_slots + second_slots);
  const bool first_told = !is_io && tracker_.is_watched(arch::frame_of(Gpa{phys}));
  if (first_told) store_part(site, phys, first_bytes, whole, 0, slots);
  qemu_plugin_hwaddr* second = qemu_plugin_get_hwaddr(info, vaddr + room);
  if (second == nullptr) note_once(event::Limit::UntranslatedStore, site);
  bool second_told = second != nullptr && !qemu_plugin_hwaddr_is_io(second);
  if (second_told) {
    const std::uint64_t second_phys = qemu_plugin_hwaddr_phys_addr(second) & ~kPageMask;
    second_told = tracker_.is_watched(arch::frame_of(Gpa{second_phys}));
    if (second_told) {
      store_part(site, second_phys, whole - first_bytes, whole,
                 static_cast<std::uint32_t>(first_slots), slots);
    }
  }
  if (first_told || second_told) judge_own_store(site);
}

void Monitor::note_once(event::Limit limit, const Site& site) {
  if (!noted_.insert(limit).second) return;
  identify();
  Event event = stamp(Kind::Limit, site);
  event.aux = static_cast<std::uint64_t>(limit);
  sink_.emit(event);
}

void Monitor::store_part(const Site& site, std::uint64_t phys, std::uint32_t bytes,
                         std::uint32_t whole, std::uint32_t part, std::uint32_t parts) {
  identify();
  ++watched_stores_;
  if (options_.drop != 0 && misses(site, arch::frame_of(Gpa{phys}))) return;
  const model::StoreSource from = source(site);
  tracker_.stored({Gpa{phys}, bytes, whole, part, parts}, from);
  sync_cache();
  arm();
}

bool Monitor::misses(const Site& site, Frame frame) {
  arch::Table now{};
  if (icount(site) < options_.drop || !ram_.read_table(frame, now) ||
      tracker_.differing_slots(frame, now) == 0) {
    return false;
  }
  options_.drop = 0;
  return true;
}

void Monitor::sync_cache() {
  if (tracker_.upper_changes() != seen_upper_changes_) {
    cache_.invalidate_all();
  } else if (tracker_.changes() != seen_changes_) {
    cache_.invalidate_lower();
  }
  seen_changes_ = tracker_.changes();
  seen_upper_changes_ = tracker_.upper_changes();
}

void Monitor::on_doorbell(const Site& site, qemu_plugin_meminfo_t info, std::uint64_t phys) {
  identify();
  Event event = stamp(Kind::Doorbell, site);
  event.gpa = phys & kPageMask;
  event.size = static_cast<std::uint8_t>(1U << qemu_plugin_mem_size_shift(info));
  event.new_value = stored_word(info);
  event.old_value = user_instructions(site);
  event.flags = is_user_address(options_.arch, site.pc) ? event::kUserMode : std::uint8_t{0};
  channel_.emit_and_wait(event);
  obey();
}

void Monitor::obey() {
  const event::RingHeader& commands = channel_.commands();
  const std::uint32_t count = std::min(commands.content_count, event::kMaxContentFrames);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Frame frame{commands.content_frames[i]};
    if (!tracker_.watch_content(frame)) {
      Event event{};
      event.kind = Kind::Limit;
      event.gpa = frame.gpa().value;
      event.aux = static_cast<std::uint64_t>(event::Limit::ContentFrames);
      sink_.emit(event);
    } else if (witness_ != nullptr) {
      witness_->close(frame);
    }
  }
  sync_cache();
}

void Monitor::read_paging(const Site& site) {
  vcpu().paging_stale = false;
  const model::PagingRegisters now = registers_->paging();
  if (vcpu().paging == now) return;
  vcpu().paging = now;
  if (now_ == 0) {
    decode_as_now(site);
    return;
  }
  const auto format = model::format_of(options_.arch, now);
  vcpu().in_format = format && tracker_.format() == format.value();
}

void Monitor::decode_as_now(const Site& site) {
  const model::PagingRegisters& now = *vcpu().paging;
  Event event = stamp(Kind::Registers, site);
  event.old_value = now.first;
  event.new_value = now.second;
  event.aux = now.third;
  sink_.emit(event);
  auto format = model::format_of(options_.arch, now);
  // Paging is off, or of a kind that the VMM names when it sees the registers.
  if (!format) return;
  vcpu().in_format = true;
  if (tracker_.format() == format.value()) return;
  tracker_.set_format(format.value(), source(site));
  forget_roots();
}

void Monitor::forget_roots() {
  for (unsigned one = 0; one < options_.vcpus; ++one) {
    vcpus_[one].lower.told = false;
    vcpus_[one].upper.told = false;
    if (one == now_) continue;
    vcpus_[one].in_format = false;
    vcpus_[one].paging.reset();
    vcpus_[one].paging_stale = true;
  }
}

void Monitor::load_root(const Site& site, std::uint64_t raw, Half half) {
  read_paging(site);
  LoadedRoot& loaded = half == Half::Upper ? vcpu().upper : vcpu().lower;
  const Frame frame = model::root_of(options_.arch, raw);
  const bool same = loaded.told && model::root_of(options_.arch, loaded.raw) == frame;
  loaded = {raw, in_format()};
  cache_.invalidate_all();
  if (same || !loaded.told) return;
  Event event = stamp(Kind::RootLoad, site);
  event.root = raw;
  event.gpa = frame.gpa().value;
  event.level = static_cast<std::uint8_t>(arch::top_level(*tracker_.format(), half));
  event.flags = half == Half::Upper ? event::kUpperHalf : std::uint8_t{0};
  event.aux = user_instructions(site);
  sink_.emit(event);
  const bool used = tracker_.load_root(frame, half, source(site));
  sync_cache();
  arm();
  if (used && half == Half::Lower) copy_tables(event);
}

namespace {

/// Copies the tables that it is shown.
class Copier final : public arch::Visitor {
 public:
  Copier(Channel& channel, const Event& stamp) : channel_(channel), event_(stamp) {
    event_.kind = Kind::TableCopy;
  }
  void table(Frame frame, unsigned level, arch::Gva /*first*/, const arch::Table& table) override {
    event_.gpa = frame.gpa().value;
    event_.level = static_cast<std::uint8_t>(level);
    channel_.emit_copy(event_, table);
  }

 private:
  Channel& channel_;
  Event event_;
};

}  // namespace

void Monitor::copy_tables(const Event& root_load) {
  // From memory, and not from what the tracker believes: the comparison is to find its mistakes.
  Copier copier(channel_, root_load);
  arch::visit(*tracker_.format(), ram_, arch::frame_of(Gpa{root_load.gpa}), Half::Lower, copier,
              {.scope = arch::Scope::UserHalf,
               .table_budget = model::TableTracker::kMaxTables,
               .tables_only = true});
  Event event = root_load;
  event.kind = Kind::Sync;
  sink_.emit(event);
}

void Monitor::copy_stack(const Event& write) {
  // A `dc zva` that is told while the other vCPU runs: the stack is no longer to be had.
  if (write.vcpu != now_ || !registers_ || !tracker_.format().has_value()) return;
  const Registers& registers = *registers_;
  Event event = write;
  event.kind = Kind::StackCopy;
  event.old_value = registers.stack_pointer();
  event.new_value = registers.frame_pointer();
  event.gpa = registers.link_register();
  arch::Table stack{};
  const auto bytes = std::as_writable_bytes(std::span(stack));
  const std::uint64_t root =
      options_.arch == arch::Arch::X86_64 ? vcpu().lower.raw : vcpu().upper.raw;
  // The stack is contiguous for the kernel, its pages need not be.
  for (std::size_t done = 0; done < bytes.size();) {
    const std::uint64_t at = event.old_value + done;
    const arch::Walk walk =
        arch::walk(*tracker_.format(), ram_, model::root_of(options_.arch, root), arch::Gva{at});
    const std::size_t room =
        std::min(bytes.size() - done, static_cast<std::size_t>(arch::kPageSize - (at & kPageMask)));
    if (walk.end != arch::WalkEnd::Leaf || !ram_.read(walk.output, bytes.subspan(done, room))) {
      break;
    }
    done += room;
  }
  channel_.emit_copy(event, stack);
}

void Monitor::on_special(const Site& site) {
  settle_zero();
  if (!registers_) return;
  switch (site.facts.kind) {
    case InstructionFacts::Kind::RootLoad:
      on_root_load(site);
      break;
    case InstructionFacts::Kind::TlbInvalidate:
      cache_.invalidate_all();
      break;
    case InstructionFacts::Kind::ControlRegister:
      // The callback comes before the write; the new value is read at the next root load or entry.
      vcpu().paging_stale = true;
      cache_.invalidate_all();
      arm();
      break;
    case InstructionFacts::Kind::ZeroBlock:
      on_zero_block(site);
      break;
    case InstructionFacts::Kind::ExceptionReturn:
      if (std::exchange(vcpu().unjudged, false)) arm();
      break;
    case InstructionFacts::Kind::None:
      break;
  }
}

void Monitor::on_root_load(const Site& site) {
  const bool low = is_user_address(options_.arch, site.pc);
  switch (low ? registers_->mode() : Mode::Kernel) {
    case Mode::Kernel:
      load_root(site, registers_->general(site.facts.reg),
                site.facts.upper ? Half::Upper : Half::Lower);
      break;
    case Mode::User:
      break;  // It faults.
    case Mode::User32:
      // Another instruction, or a kernel that looks like AArch32: what the registers hold when user
      // mode is judged next tells.
      cache_.invalidate_all();
      arm();
      break;
  }
}

void Monitor::on_zero_block(const Site& site) {
  const std::uint64_t vaddr = registers_->general(site.facts.reg);
  if (cache_.contains(vaddr) || !tracker_.format().has_value()) return;
  ++slow_stores_;
  const std::uint64_t root =
      is_user_address(options_.arch, vaddr) ? vcpu().lower.raw : vcpu().upper.raw;
  const arch::Walk walk =
      arch::walk(*tracker_.format(), ram_, model::root_of(options_.arch, root), arch::Gva{vaddr});
  if (walk.end != arch::WalkEnd::Leaf) return;  // it will fault
  if (!tracker_.is_watched(arch::frame_of(walk.output))) {
    remember(vaddr);
    return;
  }
  // The callback comes before the instruction, which may still fault: the page may be read-only.
  pending_zero_ = PendingZero{walk.output, source(site)};
  arm();
}

void Monitor::settle_zero(Gpa gpa, std::uint64_t bytes) {
  if (!pending_zero_) return;
  const PendingZero zero = *std::exchange(pending_zero_, std::nullopt);
  const Frame frame = arch::frame_of(zero.gpa);
  const arch::Table* before = tracker_.shadow(frame);
  arch::Table now{};
  if (before == nullptr || !ram_.read_table(frame, now)) return;
  // What was stored since is not evidence against the zeroes that it replaced. Seldom: the next
  // instruction of the block settles, so the `dc zva` was the last one of its own.
  const std::uint64_t start = frame.gpa().value;
  for (std::uint64_t at = gpa.value; at < gpa.value + bytes; ++at) {
    if (at - start < arch::kPageSize) now[(at - start) / 8] = 0;
  }
  const auto block = find_zero_block(*before, now, zero.gpa.value & kPageMask);
  if (!block) return;  // it faulted
  ++watched_stores_;
  const auto size = static_cast<std::uint32_t>(block->bytes);
  tracker_.stored({Gpa{start + block->offset}, size, size, 0, size / 8}, zero.source);
  sync_cache();
  arm();
  judge_own_store(zero.source);
}

void Monitor::judge_own_store(const Site& site) {
  if (is_user_address(options_.arch, site.pc)) judge_own_store(source(site));
}

void Monitor::judge_own_store(const model::StoreSource& source) {
  // A block of user mode that stored goes on without a callback of its own (on_translate).
  const Vcpu& stored = vcpus_[source.vcpu];
  if (!source.user_mode || !stored.user_ran) return;
  Event event{};
  event.kind = Kind::UserEntry;
  event.flags = event::kUserMode;
  event.vcpu = source.vcpu;
  event.icount = source.icount;
  event.pc = source.pc;
  // User mode can't load another.
  event.root = stored.lower.raw;
  event.old_value = source.user_instructions;
  event.aux = stored.upper.raw;
  sink_.emit(event);
}

void Monitor::on_user_entry(const Site& site) {
  settle_zero();
  if (witness_ != nullptr) {
    witness_->check(tracker_, ram_);
    if (armed() == Witness::kWanted) {
      // By the witness alone: nothing that user mode is judged for has happened.
      disarm();
      return;
    }
    if (!is_user_address(options_.arch, site.pc)) return;  // user mode has not run yet
  }
  if (!registers_) return;
  const Registers& registers = *registers_;
  if (registers.mode() == Mode::Kernel) {
    // A kernel that boots at low addresses, block after block. On arm64 its way to user mode has a
    // callback of its own; an x86-64 kernel is not there for long.
    vcpu().unjudged = options_.arch == arch::Arch::Arm64;
    if (vcpu().unjudged) disarm();
    return;
  }
  disarm();
  if (vcpu().paging_stale) read_paging(site);
  // The first one may be about to decode so too: it changed a register since it was last asked.
  if (!in_format() && vcpus_[0].paging_stale) decode_as_now(site);
  // The root that counts is what the vCPU has, not what we remember.
  const std::uint64_t root = registers.lower_root();
  if (root != vcpu().lower.raw || !vcpu().lower.told) load_root(site, root, Half::Lower);
  if (!tracker_.format().has_value()) return;
  if (!in_format()) {
    note_once(event::Limit::OtherPaging, site);
    return;
  }
  const std::uint64_t upper_root = registers.upper_root();
  if (options_.arch == arch::Arch::Arm64 &&
      (upper_root != vcpu().upper.raw || !vcpu().upper.told)) {
    load_root(site, upper_root, Half::Upper);
  }
  disarm();
  vcpu().user_ran = true;
  Event event = stamp(Kind::UserEntry, site);
  event.root = root;
  event.old_value = user_instructions(site);
  event.aux = upper_root;
  sink_.emit(event);
}

void Monitor::end() {
  settle_zero();
  // The last block may have stored; no other comes to ask.
  if (witness_ != nullptr) witness_->check(tracker_, ram_);
  Event event{};
  event.kind = Kind::RunEnd;
  event.icount = instructions();
  event.old_value = slow_stores_;
  event.new_value = watched_stores_;
  if (witness_ != nullptr) {
    event.gpa = witness_->stores();
    event.root = witness_->differences();
    event.flags = event::kWitness;
  }
  event.aux = tracker_.most_tables();
  channel_.emit_and_wait(event);
}

}  // namespace sealvisor::engine::tcg
