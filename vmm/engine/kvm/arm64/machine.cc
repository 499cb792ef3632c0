// The arm64 microVM.
//
// RAM from 1 GiB; in-kernel GICv3, or GICv2 where the host has no other; the generic timer; a PL011
// with SPI 1; PSCI in the kernel; the doorbell page. Nothing else answers.
#include "vmm/engine/kvm/machine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "arch/arm64/boot.h"
#include "arch/arm64/exception.h"
#include "arch/arm64/id_registers.h"
#include "arch/arm64/user_returns.h"
#include "vmm/base/mixed.h"
#include "vmm/engine/kvm/arm64/bus.h"
#include "vmm/engine/kvm/arm64/debug_exit.h"
#include "vmm/engine/kvm/arm64/guarded_store.h"
#include "vmm/engine/kvm/arm64/registers.h"
#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/exits.h"
#include "vmm/engine/kvm/kernel_text.h"
#include "vmm/engine/kvm/kick.h"

namespace sealvisor::engine::kvm {

namespace {

using arch::Gpa;
using arch::Gva;
// Decoding and register names: both are of this architecture, and no name is in both.
namespace decode = arch::arm64;

// Where QEMU's virt machine has them (hw/arm/virt.c, base_memmap): one map for both engines.
constexpr decode::DeviceRange kDistributor{Gpa{0x08000000}, 0x10000};
constexpr decode::DeviceRange kCpuInterface{Gpa{0x08010000}, 0x10000};
constexpr decode::DeviceRange kRedistributor{Gpa{0x080a0000}, 0x20000};
constexpr std::uint32_t kFirstSpi = 32;
/// api.rst, KVM_IRQ_LINE: type 31:24, interrupt id 15:0.
constexpr std::uint32_t kUartIrq =
    (std::uint32_t{KVM_ARM_IRQ_TYPE_SPI} << KVM_ARM_IRQ_TYPE_SHIFT) | (kFirstSpi + arm64::kUartSpi);
constexpr std::uint32_t kInterruptLines = 64;

// PSTATE.M[3:2] of AArch64, and M[4] of AArch32: Arm ARM, "SPSR_EL1".
constexpr std::uint64_t kModeEl = 0xc;
constexpr std::uint64_t kModeAArch32 = 0x10;
bool is_user(std::uint64_t pstate) {
  return (pstate & kModeAArch32) != 0 || (pstate & kModeEl) == 0;
}

/// With page tables isolated, TTBR1_EL1 in user mode holds a root that maps the trampoline only;
/// the kernel's own is two pages above it (arch/arm64/include/asm/pgtable.h and vmlinux.lds.S,
/// TRAMP_SWAPPER_OFFSET).
constexpr std::uint64_t kTrampolineToKernel = 2 * arch::kPageSize;
/// The trampoline's text is a few pages; a kernel's is megabytes.
constexpr std::uint64_t kLeastText = 256 << 10;

/// Guest debug as it is from plant() on.
constexpr std::uint32_t kDebug = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;

class Arm64Machine final : public Machine {
 public:
  Arm64Machine(Vm vm, GuestRam& ram, const arch::TableReader& memory)
      : vm_(std::move(vm)),
        ram_(ram),
        memory_(memory),
        guard_(ram),
        bus_(vm_, kUartIrq, ram, counters_, doorbell_of(arch::Arch::Arm64)) {}

  [[nodiscard]] Status set_up(const EngineConfig& config);

  [[nodiscard]] Result<MachineExit> run() override;
  [[nodiscard]] Result<VcpuState> state() override;
  [[nodiscard]] Result<VcpuState> user_state() override;
  [[nodiscard]] Result<Planted> plant(const VcpuState& state) override;
  [[nodiscard]] Status protect(const std::vector<arch::Frame>& frames) override;
  [[nodiscard]] Status can_guard(const VcpuState& state) const override;
  [[nodiscard]] Status guard(std::span<const arch::Frame> on,
                             std::span<const arch::Frame> off) override {
    return guard_.change(on, off);
  }
  [[nodiscard]] const char* guarded_stores() const override {
    return "each done in the guest's stead";
  }
  [[nodiscard]] Status can_step() const override;
  [[nodiscard]] Result<bool> begin_steps() override;
  [[nodiscard]] Status end_steps() override;
  [[nodiscard]] Result<bool> in_user_mode() override;
  [[nodiscard]] std::size_t input_room() const override { return bus_.input_room(); }
  [[nodiscard]] Status type(std::string_view bytes) override { return bus_.type(bytes); }
  [[nodiscard]] std::string take_console() override { return bus_.take_console(); }
  [[nodiscard]] std::vector<ExitCount> exits() const override { return counters_.list(); }
  [[nodiscard]] std::vector<std::string> limits() const override { return limits_; }
  void kick() override { (*kick_)(); }

 private:
  [[nodiscard]] Status create_gic();
  [[nodiscard]] Status place_gic();
  [[nodiscard]] Status create_vcpu();
  [[nodiscard]] Status hide_features();
  [[nodiscard]] Result<MachineExit> on_guarded();
  [[nodiscard]] Result<MachineExit> step_guarded(MachineExit exit);
  [[nodiscard]] Result<MachineExit> on_undecoded(const kvm_run& run);
  [[nodiscard]] Result<MachineExit> on_debug(const kvm_run& run);
  [[nodiscard]] Result<arm64::GuardedStore> do_store();
  [[nodiscard]] Status set_debug(std::uint32_t control);
  [[nodiscard]] Result<std::uint64_t> get(std::uint64_t id) const { return vcpu_->get(id); }

  Vm vm_;
  GuestRam& ram_;
  const arch::TableReader& memory_;
  Guard guard_;
  std::optional<arch::AnyFormat> format_;  ///< As plant() found it.
  std::optional<int> pending_;             ///< What enter() returned when a step ended otherwise.
  std::optional<Device> gic_;
  std::optional<Vcpu> vcpu_;
  std::optional<Kick> kick_;
  decode::GicVersion gic_version_ = decode::GicVersion::V3;
  std::vector<Gva> sites_;          // in address order
  std::uint32_t leave_return_ = 0;  ///< EngineConfig::leave_return.
  std::uint32_t debug_ = kDebug;    ///< Guest debug as it is when nothing is stepped over.
  /// While each instruction is stepped: the guest's time, one tick for each. By the real clock it
  /// would do nothing but take timer interrupts.
  std::optional<std::uint64_t> stepping_at_;
  std::uint64_t upper_root_ = 0;  ///< TTBR1_EL1 when it was read last.
  bool has_user32_ = false;
  bool has_mte2_ = false;
  bool has_nmi_ = false;
  std::vector<std::string> limits_;
  std::vector<arch::Frame> read_only_;  ///< In read-only slots, in order.
  arm64::ContentQueue content_;         ///< Of a store to some of them.
  Counters counters_{};
  arm64::Bus bus_;
};

Status Arm64Machine::create_gic() {
  // GICv3 first; a host whose own controller is a GICv2 can only do that (api.rst, arm-vgic*.rst).
  if (auto made = vm_.create_device(KVM_DEV_TYPE_ARM_VGIC_V3, "KVM_CREATE_DEVICE GICv3")) {
    gic_.emplace(std::move(made).value());
    gic_version_ = decode::GicVersion::V3;
  } else {
    auto older = vm_.create_device(KVM_DEV_TYPE_ARM_VGIC_V2, "KVM_CREATE_DEVICE GICv2");
    if (!older) {
      return Error{ExitCode::HostLacks,
                   fmt::format("the host's KVM has neither GICv3 ({}) nor GICv2 ({})",
                               made.error().message, older.error().message)};
    }
    gic_.emplace(std::move(older).value());
    gic_version_ = decode::GicVersion::V2;
  }
  return {};
}

Status Arm64Machine::place_gic() {
  const bool v3 = gic_version_ == decode::GicVersion::V3;
  const std::uint64_t distributor = kDistributor.gpa.value;
  const std::uint64_t second = v3 ? kRedistributor.gpa.value : kCpuInterface.gpa.value;
  const std::uint32_t lines = kInterruptLines;
  const Status done[] = {
      gic_->set(KVM_DEV_ARM_VGIC_GRP_ADDR,
                v3 ? KVM_VGIC_V3_ADDR_TYPE_DIST : KVM_VGIC_V2_ADDR_TYPE_DIST, &distributor,
                "the interrupt distributor's address"),
      gic_->set(KVM_DEV_ARM_VGIC_GRP_ADDR,
                v3 ? KVM_VGIC_V3_ADDR_TYPE_REDIST : KVM_VGIC_V2_ADDR_TYPE_CPU, &second,
                "the interrupt controller's CPU part's address"),
      gic_->set(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &lines, "the number of interrupt lines"),
      gic_->set(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, nullptr,
                "the interrupt controller's start"),
  };
  for (const Status& one : done) {
    if (!one) return one;
  }
  return {};
}

Status Arm64Machine::create_vcpu() {
  auto made = vm_.create_vcpu(0);
  if (!made) return made.error();
  vcpu_.emplace(std::move(made).value());
  kick_.emplace(*vcpu_);
  kvm_vcpu_init init{};
  if (auto target = vm_.operate(KVM_ARM_PREFERRED_TARGET, &init, "KVM_ARM_PREFERRED_TARGET");
      !target) {
    return target;
  }
  init.features[0] |= 1U << KVM_ARM_VCPU_PSCI_0_2;
  if (auto ready = vcpu_->operate(KVM_ARM_VCPU_INIT, &init, "KVM_ARM_VCPU_INIT"); !ready) {
    return ready;
  }
  return hide_features();
}

Status Arm64Machine::hide_features() {
  for (const decode::IdField& field : decode::hidden_fields()) {
    const std::uint64_t id = arm64::system(3, 0, 0, field.reg.crm, field.reg.op2);
    auto value = get(id);
    if (!value) return value.error();
    if (!decode::offers(field, value.value())) continue;
    // A host that does not let go of it is lived with, and named.
    if (!vcpu_->set(id, decode::without(field, value.value()))) {
      limits_.push_back(fmt::format("the host's KVM does not hide {}: {}", field.name, field.what));
    }
  }
  return {};
}

std::string command_line(const EngineConfig& config) {
  std::string words = fmt::format(
      "console=ttyAMA0{} panic=-1 printk.devkmsg=on quiet sealvisor.doorbell={:#x}",
      config.random_layout ? "" : " nokaslr norandmaps", doorbell_of(config.arch).value);
  if (!config.kernel_arguments.empty()) words += " " + config.kernel_arguments;
  return words;
}

Status Arm64Machine::set_up(const EngineConfig& config) {
  leave_return_ = config.leave_return;
  if (auto set = ram_.install(vm_, {}); !set) return set;
  if (auto made = create_gic(); !made) return made;
  if (auto made = create_vcpu(); !made) return made;
  if (auto placed = place_gic(); !placed) return placed;
  const std::string words = command_line(config);
  std::array<std::byte, decode::kImageHeaderBytes> header{};
  std::ifstream file(config.kernel, std::ios::binary);
  file.read(reinterpret_cast<char*>(header.data()), header.size());
  decode::BootInput input;
  input.header = std::span(header).first(static_cast<std::size_t>(file.gcount()));
  std::error_code error;
  input.kernel_bytes = std::filesystem::file_size(config.kernel, error);
  if (!error) input.initramfs_bytes = std::filesystem::file_size(config.initramfs, error);
  if (error) return Error{ExitCode::Usage, "size of kernel or initramfs: " + error.message()};
  input.command_line = words;
  input.ram = ram_.layout();
  input.machine = {gic_version_,  kDistributor, kRedistributor,
                   kCpuInterface, arm64::kUart, arm64::kUartSpi};
  if (config.random_layout) input.seeds.kaslr = mixed(config.seed);
  auto boot = decode::plan_boot(input);
  if (!boot) return boot.error();
  if (auto loaded = ram_.load(boot.value().plan, config.kernel, config.initramfs); !loaded) {
    return loaded;
  }
  const decode::FirstRegisters& first = boot.value().registers;
  const Status set[] = {vcpu_->set(arm64::x(0), first.x0), vcpu_->set(arm64::kPc, first.pc),
                        vcpu_->set(arm64::kPstate, first.pstate)};
  for (const Status& one : set) {
    if (!one) return one;
  }
  // A store to a read-only slot that the hardware does not decode then ends KVM_RUN in a way that
  // can be told; without it the run ends with an error.
  static_cast<void>(vm_.enable(KVM_CAP_ARM_NISV_TO_USER, 0, "KVM_CAP_ARM_NISV_TO_USER"));
  return {};
}

Result<MachineExit> Arm64Machine::run() {
  auto part = content_.next(*vcpu_);
  if (!part) return part.error();
  if (part.value()) return *std::move(part.value());
  if (stepping_at_) {
    if (auto set = vcpu_->set(arm64::kTimerCount, ++*stepping_at_); !set) return set.error();
  }
  const int error = next_exit(*vcpu_, pending_, counters_);
  kvm_run& run = vcpu_->run();
  if (error == EFAULT && !guard_.empty()) return on_guarded();
  if (auto common = common_exit(error, run, *kick_, counters_)) return std::move(*common);
  switch (run.exit_reason) {
    case KVM_EXIT_MMIO:
      return bus_.on_mmio(run);
    case KVM_EXIT_DEBUG:
      return on_debug(run);
    case KVM_EXIT_ARM_NISV:
      return on_undecoded(run);
    default:
      return final_exit(run);
  }
}

Result<MachineExit> Arm64Machine::on_debug(const kvm_run& run) {
  arm64::DebugContext context;
  context.sites = sites_;
  context.stepping = stepping_at_.has_value();
  context.has_user32 = has_user32_;
  context.has_mte = has_mte2_;
  context.has_nmi = has_nmi_;
  return arm64::on_debug({run.debug.arch.hsr, run.debug.arch.far}, context, *vcpu_, counters_);
}

Result<Planted> Arm64Machine::plant(const VcpuState& state) {
  auto format = model::format_of(arch::Arch::Arm64, state.paging);
  if (!format) return too_early(format.error());
  format_ = format.value();
  std::vector<TextRange> text;
  const std::uint64_t root = model::root_of(arch::Arch::Arm64, state.upper_root).gpa().value;
  for (const std::uint64_t gpa : {root, root + kTrampolineToKernel}) {
    const auto more = kernel_text(format.value(), memory_, arch::frame_of(Gpa{gpa}), ram_.layout());
    if (!more) return more.error();
    text.insert(text.end(), more.value().begin(), more.value().end());
    if (total_bytes(text) >= kLeastText) break;
  }
  Planted planted;
  planted.text_bytes = total_bytes(text);
  // The trampoline is mapped twice: all is searched before anything is planted.
  std::vector<Gpa> places;
  std::size_t room = kMostReturns;
  for (const TextRange& range : text) {
    const std::span<std::byte> bytes = ram_.at(range.gpa, range.bytes);
    if (bytes.size() != range.bytes) continue;
    const decode::UserReturns found = decode::find_user_returns(bytes, range.gva, room);
    if (found.too_many) return too_many_returns();
    room -= found.sites.size() + found.authenticated.size();
    for (const Gva site : found.sites) {
      sites_.push_back(site);
      places.push_back(Gpa{range.gpa.value + (site.value - range.gva.value)});
    }
    for (const Gva other : found.authenticated) {
      planted.unplanted.push_back(fmt::format("authenticated eret at {:#x}", other.value));
    }
  }
  if (leave_return_ > sites_.size()) return no_such_return(leave_return_, sites_.size());
  if (leave_return_ != 0) {
    sites_.erase(sites_.begin() + (leave_return_ - 1));
    places.erase(places.begin() + (leave_return_ - 1));
  }
  for (const Gpa place : places) {
    const std::span<std::byte> word = ram_.at(place, decode::kTrapBytes);
    std::memcpy(word.data(), &decode::kTrapWord, decode::kTrapBytes);
    // The instruction cache may hold the word that was there.
    auto* first = reinterpret_cast<char*>(word.data());
    __builtin___clear_cache(first, first + decode::kTrapBytes);
  }
  std::sort(sites_.begin(), sites_.end());
  sites_.erase(std::unique(sites_.begin(), sites_.end()), sites_.end());
  planted.sites = sites_.size();
  auto features = get(arm64::kIdAa64Pfr0El1);
  if (!features) return features.error();
  has_user32_ = decode::has_user32(features.value());
  auto more = get(arm64::kIdAa64Pfr1El1);
  if (!more) return more.error();
  has_mte2_ = decode::has_mte2(more.value());
  has_nmi_ = decode::has_nmi(more.value());
  if (auto on = set_debug(kDebug); !on) return on.error();
  return planted;
}

/// TCR_EL1.HA: the hardware sets access flags. Arm ARM DDI 0487, "TCR_EL1".
constexpr std::uint64_t kTcrHa = 1ULL << 39;

Status Arm64Machine::can_guard(const VcpuState& state) const {
  if ((state.paging.first & kTcrHa) == 0) return {};
  return Error{ExitCode::HostLacks,
               "the guest lets the hardware set access flags, and KVM can't hide that it does so"};
}

/// ID_AA64ISAR0_EL1.Atomic, bits 23:20: not 0 with LSE atomics. Arm ARM, "ID_AA64ISAR0_EL1".
constexpr std::uint64_t kAtomicField = 0xFULL << 20;

Status Arm64Machine::can_step() const {
  auto features = get(arm64::kIdAa64Isar0El1);
  if (!features) return features.error();
  if ((features.value() & kAtomicField) != 0) return {};
  // Each step's exception clears the exclusive monitor (Arm ARM, B2.17, "Synchronization and
  // semaphores"), so that a loop of ldxr and stxr never ends.
  return Error{ExitCode::HostLacks,
               "no --step-check on a CPU without LSE atomics: its exclusive stores fail when they "
               "are stepped"};
}

Status Arm64Machine::set_debug(std::uint32_t control) {
  debug_ = control;
  kvm_guest_debug debug{};
  debug.control = control;
  return vcpu_->operate(KVM_SET_GUEST_DEBUG, &debug, "KVM_SET_GUEST_DEBUG");
}

/// How far off the next timer interrupt must be, in ticks of the guest's clock (1 GHz at most):
/// what passes while one instruction is stepped, and a sample besides.
constexpr std::uint64_t kQuietTicks = 50'000;

Result<bool> Arm64Machine::begin_steps() {
  auto now = get(arm64::kTimerCount);
  if (!now) return now.error();
  auto next = get(arm64::kTimerCompare);
  if (!next) return next.error();
  // Stepped into an interrupt, the guest would do little else: one comes with each instruction.
  if (next.value() - now.value() < kQuietTicks || next.value() < now.value()) return false;
  stepping_at_ = now.value();
  if (auto on = set_debug(kDebug | KVM_GUESTDBG_SINGLESTEP); !on) return on.error();
  return true;
}

Status Arm64Machine::end_steps() {
  stepping_at_.reset();
  return set_debug(kDebug);
}

Result<bool> Arm64Machine::in_user_mode() {
  auto pstate = get(arm64::kPstate);
  if (!pstate) return pstate.error();
  return is_user(pstate.value());
}

/// DCZID_EL0, the same for all levels and the whole machine: user mode may read it, and KVM does
/// not trap it.
std::uint64_t zva_block() {
  std::uint64_t value = 0;
  asm("mrs %0, dczid_el0" : "=r"(value));
  return value;
}

Result<arm64::GuardedStore> Arm64Machine::do_store() {
  auto store =
      arm64::do_guarded_store({*vcpu_, ram_, memory_, *format_, zva_block()}, {guard_, read_only_});
  if (store) content_.begin(store.value());
  return store;
}

Result<MachineExit> Arm64Machine::on_undecoded(const kvm_run& run) {
  if (!format_ || !arm64::is_undecoded_store(run, {guard_, read_only_})) return final_exit(run);
  auto store = do_store();
  if (!store) return store.error();
  // Stepping could not do it either: the slot stays read-only.
  if (store.value().how != arm64::GuardedStore::How::Done) return final_exit(run);
  counters_.count(Counted::ReadOnly);
  MachineExit exit;
  if (store.value().stores.empty()) return exit;
  exit.kind = ExitKind::Stored;
  exit.pc = store.value().pc;
  exit.stores = std::move(store.value().stores);
  return exit;
}

Result<MachineExit> Arm64Machine::on_guarded() {
  using How = arm64::GuardedStore::How;
  counters_.count(Counted::GuardedStore);
  auto store = do_store();
  if (!store) return store.error();
  MachineExit exit;
  exit.kind = ExitKind::Stored;
  exit.pc = store.value().pc;
  switch (store.value().how) {
    case How::Done:
      exit.stores = std::move(store.value().stores);
      return exit;
    case How::Step:
      return step_guarded(std::move(exit));
    case How::Unfollowed:
      break;
  }
  const arch::Frame frame = store.value().frame;
  exit.kind = ExitKind::Unfollowed;
  exit.gpa = frame.gpa();
  if (auto open = guard_.change({}, {&frame, 1}); !open) return open.error();
  return exit;
}

Result<MachineExit> Arm64Machine::step_guarded(MachineExit exit) {
  counters_.count(Counted::Step);
  if (auto opened = guard_.open_all(); !opened) return opened.error();
  kvm_guest_debug debug{};
  debug.control = debug_;
  auto stepped = step_with_open(*vcpu_, guard_, debug);
  if (!stepped) return stepped.error();
  if (stepped.value().other == EFAULT) {
    errno = EFAULT;
    return errno_error(ExitCode::HostLacks, "KVM_RUN");
  }
  pending_ = stepped.value().other;
  exit.stores = std::move(stepped.value().stores);
  exit.stepped = true;
  return exit;
}

Result<VcpuState> Arm64Machine::state() {
  VcpuState state;
  std::uint64_t pstate = 0;
  const std::pair<std::uint64_t, std::uint64_t*> wanted[] = {
      {arm64::kTtbr0El1, &state.root},
      {arm64::kTtbr1El1, &state.upper_root},
      {arm64::kPc, &state.pc},
      {arm64::kPstate, &pstate},
      {arm64::kTcrEl1, &state.paging.first},
      {arm64::kSctlrEl1, &state.paging.second},
  };
  for (const auto& [id, to] : wanted) {
    auto value = get(id);
    if (!value) return value.error();
    *to = value.value();
  }
  state.user_mode = is_user(pstate);
  upper_root_ = state.upper_root;
  return state;
}

Result<VcpuState> Arm64Machine::user_state() {
  VcpuState state;
  state.upper_root = upper_root_;
  state.user_mode = true;
  const std::pair<std::uint64_t, std::uint64_t*> wanted[] = {
      {arm64::kTtbr0El1, &state.root},
      {arm64::kTcrEl1, &state.paging.first},
      {arm64::kSctlrEl1, &state.paging.second},
  };
  for (const auto& [id, to] : wanted) {
    auto value = get(id);
    if (!value) return value.error();
    *to = value.value();
  }
  return state;
}

Status Arm64Machine::protect(const std::vector<arch::Frame>& frames) {
  read_only_ = frames;
  std::sort(read_only_.begin(), read_only_.end());
  return ram_.install(vm_, frames);
}

}  // namespace

Result<std::unique_ptr<Machine>> make_machine(const EngineConfig& config, const System& system,
                                              GuestRam& ram, const arch::TableReader& memory) {
  auto vm = system.create_vm(0);
  if (!vm) return vm.error();
  auto machine = std::make_unique<Arm64Machine>(std::move(vm).value(), ram, memory);
  if (auto ready = machine->set_up(config); !ready) return ready.error();
  return std::unique_ptr<Machine>(std::move(machine));
}

}  // namespace sealvisor::engine::kvm
