#include "guest/agent/victim.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "guest/agent/announce.h"
#include "guest/agent/operations.h"
#include "guest/agent/raw.h"
#include "guest/agent/touch.h"
#if UINTPTR_MAX > UINT32_MAX
#include "guest/agent/probes.h"
#endif

namespace sealvisor::agent {
namespace {

using protocol::Moment;
using protocol::Skip;
using protocol::Touch;

constexpr unsigned kChildSeconds = 60;
/// Fork pairs of victims have tokens of their own: the cell's, from here on.
constexpr std::uint64_t kVictimForks = protocol::kFirstForkToken * 2;

#if defined(__i386__)
asm(R"(
  .pushsection .text
sealvisor_int80:
  int $0x80
  ret
  .popsection
)");
extern "C" const unsigned char sealvisor_int80[];
#endif

/// The C library of 32-bit x86 makes its system calls through the vdso, by a word of each thread
/// (glibc: sysdeps/unix/sysv/linux/i386/sysdep.h, SYSINFO_OFFSET). A victim may lose its vdso.
void call_without_vdso() {
#if defined(__i386__)
  asm volatile("movl %0, %%gs:0x10" : : "r"(sealvisor_int80) : "memory");
#endif
}

[[noreturn]] void leave(int code) {
  for (;;) (void)raw_call(SYS_exit_group, code);
}

/// One cell as its victim sees it. After the operation nothing here needs the vdso: no clock, and
/// no return from a signal handler.
class Victim {
 public:
  Victim(Doorbell& doorbell, const scenario::PlanItem& item)
      : doorbell_(doorbell), item_(item), operation_(*item.scenario->operation) {}

  /// 0, or why it could not be tried.
  [[nodiscard]] int run() {
    call_without_vdso();
    const int probed = make_uprobes();
    if (probed == -ENOENT) {  // Without probes there is no such mapping.
      skip_cell(doorbell_, item_, Skip::NoMapping);
      return 0;
    }
    if (probed != 0 || !announce_mappings(doorbell_, item_.cell, table_)) return EIO;
    const SystemMapping* mapping = table_.find(item_.mapping->smaps_name);
    if (mapping == nullptr) {
      skip_cell(doorbell_, item_, Skip::NoMapping);
      return 0;
    }
    const Skip skip = prepare(*mapping, operation_, item_.scenario->form, target_);
    if (skip != Skip::No) {
      skip_cell(doorbell_, item_, skip);
      return 0;
    }
    start_ = target_.mapping_start;
    size_ = target_.mapping_end - target_.mapping_start;
    doorbell_.cell_begin(item_.cell, item_.mapping->name, operation_.name,
                         name_of(item_.scenario->form), target_.start, target_.end);
    attack();
    doorbell_.cell_end(item_.cell, 0, Skip::No);
    return 0;
  }

 private:
  void attack() {
    tell_touches(Moment::BeforeOperation, start_, size_);
    tell_bystander(false);
    doorbell_.before(item_.cell);
    const long result = perform(operation_, target_);
    const bool moved = target_.new_start != 0 && target_.new_start != target_.start;
    doorbell_.after(item_.cell, result, moved ? target_.new_start : 0);
    tell_touches(Moment::AfterOperation, start_, size_);
    if (target_.new_start != 0) {
      tell_touches(Moment::AtNewPlace, target_.new_start, target_.new_size);
    }
    if (asks_for_write(operation_)) tell_touches(Moment::AfterStores, start_, size_);
    if (looks_into_child(operation_.call)) look_into_child();
    tell_bystander(true);
    finish(operation_, target_);
  }

  void tell_touches(Moment moment, std::uintptr_t start, std::uintptr_t size) {
    std::array<Touch, protocol::kMaxPages> outcomes{};
    const std::size_t pages = std::min<std::size_t>(size / kPage, outcomes.size());
    const std::span<Touch> used = std::span(outcomes).first(pages);
    // The others too: what is gone of them shows only once they are touched.
    touch_mappings(table_);
    allow_keys(target_);
    if (moment == Moment::AfterStores) {
      store_pages(start, used);
    } else {
      touch_pages(start, used);
    }
    doorbell_.touched(item_.cell, moment, start, used);
  }

  void tell_bystander(bool end) {
    if (target_.bystanders == 0) return;
    doorbell_.bystander(item_.cell, target_.bystander, target_.bystanders, end);
  }

  void look_into_child() {
    const std::uint64_t token = kVictimForks + item_.cell;
    doorbell_.fork_parent(token, false);
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kChildSeconds);
      doorbell_.restart();
      doorbell_.fork_child(token, false);
      tell_touches(Moment::InChild, start_, size_);
      leave(0);
    }
    while (raw_call(SYS_wait4, child, 0, 0, 0) == -EINTR) {
    }
  }

  /// [uprobes] is there from the first probe on that was hit. -ENOENT: this kernel has no probes.
  [[nodiscard]] int make_uprobes() const {
#if UINTPTR_MAX > UINT32_MAX
    if (item_.mapping->smaps_name == "[uprobes]") {
      const int set = set_probes(1);
      return set != 0 ? set : static_cast<int>(hit_probes(1, 1));
    }
#endif
    return 0;
  }

  Doorbell& doorbell_;
  const scenario::PlanItem& item_;
  const scenario::Operation& operation_;
  MappingTable table_{};
  Target target_{};
  std::uintptr_t start_ = 0;
  std::uintptr_t size_ = 0;
};

}  // namespace

void run_victim(Doorbell& doorbell, const scenario::PlanItem& item) {
  leave(Victim(doorbell, item).run());
}

void skip_cell(Doorbell& doorbell, const scenario::PlanItem& item, Skip reason) {
  doorbell.cell_begin(item.cell, item.mapping->name, item.scenario->operation->name,
                      name_of(item.scenario->form), 0, 0);
  doorbell.cell_end(item.cell, 0, reason);
}

}  // namespace sealvisor::agent
