// The x86-64 microVM.
//
// RAM from 0; in-kernel PIC, I/O APIC, local APIC and PIT; a 16550A at COM1 with interrupt 4; the
// keyboard controller's reset line; the doorbell page. Nothing else answers.
#include "vmm/engine/kvm/machine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "arch/x86_64/bits.h"
#include "arch/x86_64/boot.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/user_returns.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/exits.h"
#include "vmm/engine/kvm/kernel_text.h"
#include "vmm/engine/kvm/kick.h"
#include "vmm/engine/kvm/walker.h"
#include "vmm/engine/kvm/x86_64/bus.h"

namespace sealvisor::engine::kvm {

namespace {

using arch::Gpa;

// Three pages that KVM on Intel needs below 4 GiB, and one more for the identity map (api.rst,
// KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR); above all RAM that a guest can have.
constexpr unsigned long kTssAddress = 0xfffbd000;
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000;
constexpr std::uint32_t kMsrMiscEnable = 0x1a0;     // SDM vol. 4
constexpr std::uint64_t kMiscEnableFastString = 1;  // bit 0

/// With page tables isolated, the user copy of a root is the page above the kernel's
/// (arch/x86/include/asm/pgtable.h, PTI_PGTABLE_SWITCH_BIT), and maps a few pages of text.
constexpr std::uint64_t kUserRootBit = arch::kPageSize;
constexpr std::uint64_t kLeastText = 1 << 20;
constexpr unsigned kMostInternalErrors = 16;
constexpr unsigned kUserPrivilege = 3;  // SDM vol. 3A, 6.5, "Privilege Levels"

constexpr std::size_t kMostCpuid = 256;

/// kvm_cpuid2 and kvm_msrs with room for N entries. The header's own end in a flexible array behind
/// an empty struct, which has a size in C++ (linux/stddef.h, __DECLARE_FLEX_ARRAY): layout and
/// request numbers made from them would be wrong.
template <typename Entry, std::size_t N>
struct EntryList {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
  std::array<Entry, N> entries{};
};
constexpr std::size_t kHeadBytes = 8;
using CpuidTable = EntryList<kvm_cpuid_entry2, kMostCpuid>;
using OneMsr = EntryList<kvm_msr_entry, 1>;
static_assert(offsetof(CpuidTable, entries) == kHeadBytes);
static_assert(offsetof(OneMsr, entries) == kHeadBytes);
// Numbers of linux/kvm.h, with the size that the head has in C.
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kHeadBytes);
constexpr unsigned long kSetCpuid = _IOC(_IOC_WRITE, KVMIO, 0x90, kHeadBytes);
constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kHeadBytes);
constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kHeadBytes);

/// Reads (kGetMsrs) or writes (kSetMsrs) one MSR of the system or a vCPU; false: it has
/// none of this number.
Result<bool> transfer_msr(const Fd& fd, unsigned long request, std::uint32_t index,
                          std::uint64_t& value) {
  OneMsr one;
  one.count = 1;
  one.entries.front().index = index;
  one.entries.front().data = value;
  auto done = call(fd, request, &one, "KVM_GET_MSRS or KVM_SET_MSRS");
  if (!done) return done.error();
  value = one.entries.front().data;
  return done.value() == 1;
}

class X86Machine final : public Machine {
 public:
  X86Machine(Vm vm, Vcpu vcpu, GuestRam& ram, const arch::TableReader& memory)
      : vm_(std::move(vm)),
        vcpu_(std::move(vcpu)),
        ram_(ram),
        memory_(memory),
        kick_(vcpu_),
        guard_(ram),
        bus_(vm_, ram, guard_, counters_, doorbell_of(arch::Arch::X86_64)) {}

  [[nodiscard]] Status set_up(const System& system, const EngineConfig& config);

  [[nodiscard]] Result<MachineExit> run() override;
  [[nodiscard]] Result<VcpuState> state() override;
  [[nodiscard]] Result<VcpuState> user_state() override { return state(); }
  [[nodiscard]] Result<Planted> plant(const VcpuState& state) override;
  [[nodiscard]] Status protect(const std::vector<arch::Frame>& frames) override;
  [[nodiscard]] Status can_guard(const VcpuState& state) const override;
  [[nodiscard]] Status guard(std::span<const arch::Frame> on,
                             std::span<const arch::Frame> off) override {
    return guard_.change(on, off);
  }
  [[nodiscard]] const char* guarded_stores() const override {
    return "each stepped over with all of them open, and told by what differs";
  }
  [[nodiscard]] Status can_step() const override;
  [[nodiscard]] Result<bool> begin_steps() override { return can_step().error(); }
  [[nodiscard]] Status end_steps() override { return can_step(); }
  [[nodiscard]] Result<bool> in_user_mode() override {
    return vcpu_.run().s.regs.sregs.cs.dpl == kUserPrivilege;
  }
  [[nodiscard]] std::size_t input_room() const override { return bus_.input_room(); }
  [[nodiscard]] Status type(std::string_view bytes) override { return bus_.type(bytes); }
  [[nodiscard]] std::string take_console() override { return bus_.take_console(); }
  [[nodiscard]] std::vector<ExitCount> exits() const override { return counters_.list(); }
  [[nodiscard]] std::vector<std::string> limits() const override { return {}; }
  void kick() override { kick_(); }

 private:
  [[nodiscard]] Status set_cpuid(const System& system);
  [[nodiscard]] Status set_registers(const arch::x86_64::FirstRegisters& registers);
  [[nodiscard]] Result<MachineExit> on_io();
  [[nodiscard]] Result<MachineExit> on_guarded();
  [[nodiscard]] std::uint64_t rip() const { return vcpu_.run().s.regs.regs.rip; }

  Vm vm_;
  Vcpu vcpu_;
  GuestRam& ram_;
  const arch::TableReader& memory_;
  Kick kick_;
  Guard guard_;
  WalkerWrites walker_;
  std::optional<int> pending_;      ///< What enter() returned when a step ended otherwise.
  std::uint32_t leave_return_ = 0;  ///< EngineConfig::leave_return.
  unsigned internal_errors_ = 0;    ///< Since the last exit of another kind.
  std::string internal_error_;      ///< The last one.
  Counters counters_{};
  x86_64::Bus bus_;
};

Status X86Machine::set_cpuid(const System& system) {
  CpuidTable table;
  table.count = kMostCpuid;
  auto got = call(system.fd(), kGetSupportedCpuid, &table, "KVM_GET_SUPPORTED_CPUID");
  if (!got) return Status(got.error());
  std::vector<arch::x86_64::CpuidLeaf> leaves;
  const std::size_t count = std::min<std::size_t>(table.count, kMostCpuid);
  for (const kvm_cpuid_entry2& entry : std::span(table.entries).first(count)) {
    leaves.push_back({entry.function, entry.index,
                      (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, entry.eax, entry.ebx,
                      entry.ecx, entry.edx});
  }
  leaves = arch::x86_64::guest_cpuid(leaves, {});
  if (leaves.size() > kMostCpuid) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} CPUID leaves, expected at most {}", leaves.size(), kMostCpuid)};
  }
  table = {};
  table.count = static_cast<std::uint32_t>(leaves.size());
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const arch::x86_64::CpuidLeaf& leaf = leaves[i];
    kvm_cpuid_entry2& entry = table.entries[i];
    entry.function = leaf.function;
    entry.index = leaf.index;
    entry.flags = leaf.index_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0U;
    entry.eax = leaf.eax;
    entry.ebx = leaf.ebx;
    entry.ecx = leaf.ecx;
    entry.edx = leaf.edx;
  }
  if (auto set = vcpu_.operate(kSetCpuid, &table, "KVM_SET_CPUID2"); !set) return set;
  // Hosts without this MSR have nothing to hide in it.
  std::uint64_t value = 0;
  const auto has = transfer_msr(system.fd(), kGetMsrs, arch::x86_64::kArchCapabilitiesMsr, value);
  if (!has || !has.value()) return {};
  value = arch::x86_64::arch_capabilities(value);
  const auto set = transfer_msr(vcpu_.fd(), kSetMsrs, arch::x86_64::kArchCapabilitiesMsr, value);
  return set ? Status() : Status(set.error());
}

kvm_segment segment_of(const arch::x86_64::Segment& from) {
  kvm_segment to{};
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  to.type = from.type;
  to.present = from.present ? 1 : 0;
  to.dpl = from.privilege;
  to.db = from.default_32_bit ? 1 : 0;
  to.s = from.code_or_data ? 1 : 0;
  to.l = from.long_mode ? 1 : 0;
  to.g = from.page_granular ? 1 : 0;
  return to;
}

Status X86Machine::set_registers(const arch::x86_64::FirstRegisters& from) {
  kvm_sregs sregs{};
  if (auto got = vcpu_.operate(KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !got) return got;
  sregs.cr0 = from.cr0;
  sregs.cr3 = from.cr3;
  sregs.cr4 = from.cr4;
  sregs.efer = from.efer;
  sregs.cs = segment_of(from.code);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment_of(from.data);
  sregs.tr = segment_of(from.task);
  sregs.gdt.base = from.gdt_base;
  sregs.gdt.limit = from.gdt_limit;
  sregs.idt.base = 0;
  sregs.idt.limit = 0;
  if (auto set = vcpu_.operate(KVM_SET_SREGS, &sregs, "KVM_SET_SREGS"); !set) return set;
  kvm_regs regs{};
  regs.rip = from.rip;
  regs.rsi = from.rsi;
  regs.rbx = from.rbx;
  regs.rflags = from.rflags;
  if (auto set = vcpu_.operate(KVM_SET_REGS, &regs, "KVM_SET_REGS"); !set) return set;
  std::uint64_t fast = kMiscEnableFastString;
  const auto done = transfer_msr(vcpu_.fd(), kSetMsrs, kMsrMiscEnable, fast);
  return done ? Status() : Status(done.error());
}

Result<MachineExit> X86Machine::run() {
  const bool again = pending_.has_value();
  const int error = next_exit(vcpu_, pending_, counters_);
  const kvm_run& run = vcpu_.run();
  // A second time after a step with all frames open it is no guarded store.
  if (error == EFAULT && !again && !guard_.empty()) return on_guarded();
  if (auto common = common_exit(error, run, kick_, counters_)) return std::move(*common);
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      internal_errors_ = 0;
      return on_io();
    case KVM_EXIT_MMIO:
      internal_errors_ = 0;
      return bus_.on_mmio(vcpu_.run(), rip());
    case KVM_EXIT_INTERNAL_ERROR:
      // A store from user mode to the doorbell sometimes ends so and goes on when run again.
      internal_error_ = final_exit(run).text;
      if (++internal_errors_ < kMostInternalErrors) {
        counters_.count(Counted::Other);
        return MachineExit{};
      }
      return final_exit(run);
    case KVM_EXIT_SHUTDOWN:
      // KVM has made an invalid opcode of what it could not emulate, which a guest without a
      // handler dies of.
      if (internal_errors_ != 0) return broken(internal_error_ + ", then a triple fault");
      return final_exit(run);
    default:
      return final_exit(run);
  }
}

Result<MachineExit> X86Machine::on_io() {
  const auto access = x86_64::port_access(vcpu_.run(), vcpu_.shared());
  if (!access) return broken("a port access of which KVM gives no data");
  return bus_.on_port(*access, rip());
}

Result<MachineExit> X86Machine::on_guarded() {
  counters_.count(Counted::GuardedStore);
  counters_.count(Counted::Step);
  const std::uint64_t pc = rip();
  // KVM does not say where the store went: KVM_EXIT_MEMORY_FAULT does not come with memory that is
  // read-only for the VMM (Linux 6.12, arch/x86/kvm/mmu/mmu.c, kvm_handle_error_pfn).
  if (auto opened = guard_.open_all(); !opened) return opened.error();
  auto stepped = step_with_open(vcpu_, guard_, {});
  if (!stepped) return stepped.error();
  pending_ = stepped.value().other;
  MachineExit exit;
  exit.kind = ExitKind::Stored;
  exit.pc = pc;
  exit.stores = std::move(stepped.value().stores);
  exit.stepped = true;
  return exit;
}

Status X86Machine::can_guard(const VcpuState& /*state*/) const { return check_walker(walker_); }

Status X86Machine::can_step() const {
  // KVM steps by RFLAGS.TF, which sysret and iret load anew (SDM vol. 2B, SYSRET).
  return Error{ExitCode::HostLacks,
               "no --step-check on x86-64: single step ends at each return to user mode"};
}

Result<VcpuState> X86Machine::state() {
  // KVM left them in the shared page (KVM_CAP_SYNC_REGS).
  const kvm_sync_regs& now = vcpu_.run().s.regs;
  VcpuState state;
  state.root = now.sregs.cr3;
  state.pc = now.regs.rip;
  state.user_mode = now.sregs.cs.dpl == kUserPrivilege;
  state.paging = {now.sregs.cr0, now.sregs.cr4, now.sregs.efer};
  return state;
}

Result<Planted> X86Machine::plant(const VcpuState& state) {
  auto format = model::format_of(arch::Arch::X86_64, state.paging);
  if (!format) return too_early(format.error());
  std::uint64_t root = model::root_of(arch::Arch::X86_64, state.root).gpa().value;
  auto text = kernel_text(format.value(), memory_, arch::frame_of(Gpa{root}), ram_.layout());
  if (text && total_bytes(text.value()) < kLeastText && (root & kUserRootBit) != 0) {
    root &= ~kUserRootBit;
    text = kernel_text(format.value(), memory_, arch::frame_of(Gpa{root}), ram_.layout());
  }
  if (!text) return text.error();
  Planted planted;
  planted.text_bytes = total_bytes(text.value());
  std::uint32_t sites = 0;
  std::vector<std::uint64_t> pads;
  std::size_t room = kMostReturns;
  for (const TextRange& range : text.value()) {
    const std::span<std::byte> bytes = ram_.at(range.gpa, range.bytes);
    if (bytes.size() != range.bytes) continue;
    const arch::x86_64::UserReturns found = arch::x86_64::find_user_returns(bytes, range.gva, room);
    if (found.too_many) return too_many_returns();
    room -= found.sites.size() + found.bare.size();
    for (const arch::x86_64::ReturnSite& site : found.sites) {
      if (++sites == leave_return_) continue;
      const std::vector<std::byte> trap =
          arch::x86_64::trap_bytes(site.pad_bytes, x86_64::kTrapPort);
      const std::uint64_t offset = site.pad.value - range.gva.value;
      std::copy(trap.begin(), trap.end(), bytes.subspan(offset).begin());
      pads.push_back(site.pad.value);
      ++planted.sites;
    }
    for (const arch::x86_64::BareReturn& bare : found.bare) {
      using arch::x86_64::NoTrap;
      if (bare.why == NoTrap::ReturnsToKernel || bare.why == NoTrap::InsideAnother) continue;
      planted.unplanted.push_back(fmt::format("{} at {:#x} ({})", name_of(bare.kind),
                                              bare.instruction.value, name_of(bare.why)));
    }
  }
  if (leave_return_ > sites) return no_such_return(leave_return_, sites);
  bus_.set_planted(std::move(pads));
  return planted;
}

Status X86Machine::protect(const std::vector<arch::Frame>& frames) {
  return ram_.install(vm_, frames);
}

/// What the kernel is told. Addresses are the same in each run, as in the tcg lane, unless they are
/// to be random. The clock's rate comes from KVM: there is nothing to measure it with but the PIT,
/// which takes long.
std::string command_line(const EngineConfig& config, std::uint64_t tsc_khz) {
  std::string words = fmt::format(
      "console=ttyS0{} nolapic_timer clocksource=tsc tsc=reliable panic=-1 printk.devkmsg=on quiet "
      "reboot=k",
      config.random_layout ? "" : " nokaslr norandmaps");
  if (tsc_khz != 0) words += fmt::format(" tsc_early_khz={}", tsc_khz);
  words += fmt::format(" sealvisor.doorbell={:#x}", doorbell_of(config.arch).value);
  if (!config.kernel_arguments.empty()) words += " " + config.kernel_arguments;
  return words;
}

Result<arch::x86_64::Boot> plan(const EngineConfig& config, const std::string& words,
                                arch::RamLayout ram) {
  const Fd kernel(::open(config.kernel.c_str(), O_RDONLY | O_CLOEXEC));
  if (!kernel.valid()) return errno_error(ExitCode::Usage, config.kernel.string());
  arch::x86_64::BootInput input;
  input.read = [&](std::uint64_t offset, std::span<std::byte> into) -> Status {
    const ssize_t got = ::pread(kernel.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0) return errno_error(ExitCode::Usage, "reading " + config.kernel.string());
    if (static_cast<std::size_t>(got) == into.size()) return {};
    return Error{ExitCode::Usage, fmt::format("{}: {} bytes at {:#x}, expected {}",
                                              config.kernel.string(), got, offset, into.size())};
  };
  std::error_code error;
  input.kernel_bytes = std::filesystem::file_size(config.kernel, error);
  if (!error) input.initramfs_bytes = std::filesystem::file_size(config.initramfs, error);
  if (error) return Error{ExitCode::Usage, "size of kernel or initramfs: " + error.message()};
  input.command_line = words;
  input.ram = ram;
  return arch::x86_64::plan_boot(input);
}

Status X86Machine::set_up(const System& system, const EngineConfig& config) {
  leave_return_ = config.leave_return;
  if (auto set = set_cpuid(system); !set) return set;
  const auto khz = call(vcpu_.fd(), KVM_GET_TSC_KHZ, 0UL, "KVM_GET_TSC_KHZ");
  const std::string words = command_line(config, khz ? static_cast<std::uint64_t>(khz.value()) : 0);
  auto boot = plan(config, words, ram_.layout());
  if (!boot) return boot.error();
  if (auto loaded = ram_.load(boot.value().plan, config.kernel, config.initramfs); !loaded) {
    return loaded;
  }
  if (auto set = set_registers(boot.value().registers); !set) return set;
  walker_ = walker_writes();
  vcpu_.run().kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  return {};
}

}  // namespace

Result<std::unique_ptr<Machine>> make_machine(const EngineConfig& config, const System& system,
                                              GuestRam& ram, const arch::TableReader& memory) {
  auto vm = system.create_vm(0);
  if (!vm) return vm.error();
  // Before the first vCPU: what KVM on Intel needs, and the interrupt controllers and the timer.
  std::uint64_t identity_map = kIdentityMapAddress;
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61, which Linux reads to calibrate
  const Status made[] = {
      ram.install(vm.value(), {}),
      vm.value().operate(KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "KVM_SET_IDENTITY_MAP_ADDR"),
      vm.value().request(KVM_SET_TSS_ADDR, kTssAddress, "KVM_SET_TSS_ADDR"),
      vm.value().request(KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP"),
      vm.value().operate(KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2"),
  };
  for (const Status& one : made) {
    if (!one) return one.error();
  }
  auto vcpu = vm.value().create_vcpu(0);
  if (!vcpu) return vcpu.error();
  auto machine =
      std::make_unique<X86Machine>(std::move(vm).value(), std::move(vcpu).value(), ram, memory);
  if (auto ready = machine->set_up(system, config); !ready) return ready.error();
  return std::unique_ptr<Machine>(std::move(machine));
}

}  // namespace sealvisor::engine::kvm
