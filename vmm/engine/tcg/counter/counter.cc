#include "vmm/engine/tcg/counter/counter.h"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "arch/address.h"
#include "guest/protocol/doorbell.h"
#include "vmm/engine/tcg/plugin/entry.h"

namespace sealvisor::engine::tcg {

using event::Event;
using event::Kind;

namespace {
constexpr std::uint64_t kPageMask = arch::kPageSize - 1;
}  // namespace

Counter::Counter(qemu_plugin_id_t id, const PluginOptions& options, Mapping memory, Channel channel)
    : id_(id),
      options_(options),
      memory_(std::move(memory)),
      table_(memory_.bytes()),
      channel_(std::move(channel)) {
  assert(only_ == nullptr);
  only_ = this;
  register_callbacks();
}

void Counter::register_callbacks() {
  qemu_plugin_register_vcpu_tb_trans_cb(
      id_, [](qemu_plugin_id_t, qemu_plugin_tb* tb) { only_->on_translate(tb); });
  qemu_plugin_register_atexit_cb(
      id_, [](qemu_plugin_id_t, void*) { only_->end(); }, nullptr);
}

void Counter::on_vcpu_init(unsigned /*vcpu*/) {
  auto registers = Registers::find(options_.arch);
  if (!registers) {
    qemu_plugin_outs(("sealvisor: " + registers.error().message + "\n").c_str());
    return;
  }
  registers_.emplace(std::move(registers).value());
}

void Counter::on_translate(qemu_plugin_tb* tb) {
  const std::size_t count = qemu_plugin_tb_n_insns(tb);
  for (std::size_t i = 0; i < count; ++i) {
    qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const std::uint64_t pc = qemu_plugin_insn_vaddr(insn);
    if (counting_) {
      const std::size_t offset = counter_of(insn) * sizeof(std::uint64_t);
      qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                          {counters_, offset}, 1);
    }
    // The doorbell is rung by user mode.
    if (!is_user_address(options_.arch, pc)) continue;
    // A number, handed back as it is.
    auto* const data = reinterpret_cast<void*>(pc);  // NOLINT(performance-no-int-to-ptr)
    qemu_plugin_register_vcpu_mem_cb(insn, &Counter::store_callback, QEMU_PLUGIN_CB_R_REGS,
                                     QEMU_PLUGIN_MEM_W, data);
  }
}

std::uint32_t Counter::counter_of(const qemu_plugin_insn* insn) {
  const std::uint64_t pc = qemu_plugin_insn_vaddr(insn);
  if (is_user_address(options_.arch, pc)) {
    const auto place = vdso_place(insn);
    return place ? event::kFirstPlace + table_.header().kernel_places + *place : event::kOtherUser;
  }
  const auto place = event::place_of(table_.kernel(), pc - table_.header().slide);
  return place ? event::kFirstPlace + *place : event::kOtherKernel;
}

std::optional<std::uint32_t> Counter::vdso_place(const qemu_plugin_insn* insn) {
  const auto held = reinterpret_cast<std::uint64_t>(qemu_plugin_insn_haddr(insn));
  if (held == 0) return std::nullopt;
  const auto [found, fresh] = vdso_pages_.try_emplace(held & ~kPageMask, kNotVdso);
  if (fresh) {
    const event::CountHeader& header = table_.header();
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the page around an address that QEMU gave.
    const auto* page = reinterpret_cast<const std::byte*>(held & ~kPageMask);
    const std::uint64_t mark =
        event::page_mark(std::span<const std::byte, arch::kPageSize>(page, arch::kPageSize));
    const auto* const end = header.vdso_pages + header.vdso_page_count;
    const auto* const known = std::find(header.vdso_pages, end, mark);
    if (known != end) {
      found->second = static_cast<std::uint64_t>(known - header.vdso_pages) * arch::kPageSize;
    }
  }
  if (found->second == kNotVdso) return std::nullopt;
  return event::place_of(table_.vdso(), found->second + (held & kPageMask));
}

void Counter::store_callback(unsigned /*vcpu*/, qemu_plugin_meminfo_t info, std::uint64_t vaddr,
                             void* pc) {
  only_->on_store(reinterpret_cast<std::uint64_t>(pc), info, vaddr);
}

void Counter::on_store(std::uint64_t pc, qemu_plugin_meminfo_t info, std::uint64_t vaddr) {
  qemu_plugin_hwaddr* hwaddr = qemu_plugin_get_hwaddr(info, vaddr);
  if (hwaddr == nullptr || !qemu_plugin_hwaddr_is_io(hwaddr)) return;
  const std::uint64_t phys = qemu_plugin_hwaddr_phys_addr(hwaddr);
  if ((phys & ~kPageMask) != options_.doorbell) return;
  const std::uint64_t word = stored_word(info);
  if ((phys & kPageMask) == protocol::kMarkRegister) {
    on_mark(word);
  } else {
    on_message(pc, phys & kPageMask, 1U << qemu_plugin_mem_size_shift(info), word);
  }
}

void Counter::on_message(std::uint64_t pc, std::uint64_t offset, std::uint32_t bytes,
                         std::uint64_t value) {
  if (!registers_) return;
  const model::PagingRegisters paging = registers_->paging();
  Event event{};
  event.kind = Kind::Registers;
  event.old_value = paging.first;
  event.new_value = paging.second;
  event.aux = paging.third;
  channel_.emit(event);
  event = {};
  event.kind = Kind::Doorbell;
  event.pc = pc;
  event.root = registers_->lower_root();
  event.gpa = offset;
  event.size = static_cast<std::uint8_t>(bytes);
  event.new_value = value;
  event.flags = event::kUserMode;
  channel_.emit_and_wait(event);
  if (counting_ || table_.header().counting == 0) return;
  if (!table_.compatible()) {
    qemu_plugin_outs("sealvisor: the table of places makes no sense; nothing is counted\n");
    return;
  }
  counting_ = true;
  const std::size_t counters =
      event::kFirstPlace + std::size_t{table_.header().kernel_places} + table_.header().vdso_places;
  counters_ = qemu_plugin_scoreboard_new(counters * sizeof(std::uint64_t));
  at_begin_.resize(counters);
  // What was translated so far counts nothing. Callbacks go too.
  qemu_plugin_reset(id_, [](qemu_plugin_id_t) { only_->register_callbacks(); });
}

const std::uint64_t* Counter::counts() const {
  return static_cast<const std::uint64_t*>(qemu_plugin_scoreboard_find(counters_, 0));
}

void Counter::on_mark(std::uint64_t word) {
  const bool begins = word == static_cast<std::uint64_t>(protocol::Mark::Begin);
  const bool ends = word == static_cast<std::uint64_t>(protocol::Mark::End);
  if (!counting_ || (!begins && !ends) || begins == in_sample_) {
    Event event{};
    event.kind = Kind::Sample;
    event.aux = word == 0 ? ~std::uint64_t{0} : word;
    channel_.emit(event);
    return;
  }
  in_sample_ = begins;
  if (begins) {
    std::copy_n(counts(), at_begin_.size(), at_begin_.begin());
  } else {
    end_sample();
  }
}

void Counter::end_sample() {
  const std::uint64_t* now = counts();
  const auto counted = [&](std::size_t i) { return now[i] - at_begin_[i]; };
  const std::size_t first_vdso = event::kFirstPlace + std::size_t{table_.header().kernel_places};
  Event sample{};
  sample.kind = Kind::Sample;
  for (std::size_t i = 0; i < at_begin_.size(); ++i) {
    const bool user = i == event::kOtherUser || i >= first_vdso;
    (user ? sample.old_value : sample.new_value) += counted(i);
  }
  channel_.emit(sample);
  if (table_.header().profiling == 0) return;
  for (std::size_t i = 0; i < at_begin_.size(); ++i) {
    if (counted(i) == 0) continue;
    Event count{};
    count.kind = Kind::Count;
    count.aux = i;
    count.new_value = counted(i);
    channel_.emit(count);
  }
}

void Counter::end() {
  Event event{};
  event.kind = Kind::RunEnd;
  channel_.emit_and_wait(event);
}

}  // namespace sealvisor::engine::tcg
