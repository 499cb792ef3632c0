#include "vmm/engine/kvm/arm64/guarded_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "arch/arm64/pstate.h"
#include "arch/arm64/stores.h"
#include "vmm/engine/kvm/arm64/registers.h"
#include "vmm/model/paging.h"

namespace sealvisor::engine::kvm::arm64 {

namespace {

using arch::Frame;
using arch::Gpa;
using arch::Gva;
namespace decode = arch::arm64;

/// Of a data abort's syndrome, WnR: Arm ARM DDI 0487, "ESR_EL2", ISS encoding for a Data Abort.
constexpr std::uint64_t kWriteNotRead = 1ULL << 6;

/// Guest memory by the addresses of the stopped vCPU. What goes to read-only frames is kept back.
class GuestBytes final : public decode::StoreMemory {
 public:
  GuestBytes(const StoppedGuest& guest, const StoppingFrames& frames, std::array<Frame, 2> roots)
      : guest_(guest), frames_(frames), roots_(roots) {}

  /// What `gva` translates to; nullopt: nothing.
  [[nodiscard]] std::optional<Gpa> translate(Gva gva) const {
    // Bit 55 chooses the root, and a tag above it translates to nothing else (Arm ARM, "Address
    // tagging").
    const auto plain = static_cast<std::int64_t>(gva.value << 8) >> 8;
    const Gva address{static_cast<std::uint64_t>(plain)};
    const Frame root = roots_.at(plain < 0 ? 1 : 0);
    const arch::Walk walk = arch::walk(guest_.format, guest_.memory, root, address);
    if (walk.end != arch::WalkEnd::Leaf) return std::nullopt;
    return walk.output;
  }

  [[nodiscard]] Status read(Gva gva, std::span<std::byte> bytes) override {
    places_.clear();
    bool stopped = false;
    guarded_ = false;
    while (!bytes.empty()) {
      const std::uint64_t in_page = arch::kPageSize - gva.value % arch::kPageSize;
      const std::size_t part = std::min<std::uint64_t>(in_page, bytes.size());
      const auto gpa = translate(gva);
      const auto from = gpa ? guest_.ram.at(*gpa, part) : std::span<std::byte>();
      if (from.empty()) {
        return Error{ExitCode::GuestFailed, fmt::format("no memory at {:#x}", gva.value)};
      }
      std::memcpy(bytes.data(), from.data(), part);
      places_.push_back({*gpa, static_cast<std::uint32_t>(part)});
      const Frame frame = arch::frame_of(*gpa);
      guarded_ = guarded_ || frames_.guard.holds(frame);
      stopped = stopped || guarded_ || frames_.is_read_only(frame);
      bytes = bytes.subspan(part);
      gva.value += part;
    }
    if (stopped) return {};
    // Something else stopped the guest, and the checks of stage 1 may be yet to come.
    return Error{ExitCode::GuestFailed,
                 fmt::format("nothing that stops a store at {:#x}", gva.value)};
  }

  [[nodiscard]] Status write(Gva /*gva*/, std::span<const std::byte> bytes) override {
    for (const Stored& place : places_) {
      const std::span<const std::byte> part = bytes.first(place.bytes);
      if (frames_.is_read_only(arch::frame_of(place.gpa))) {
        keep(place.gpa, part);
      } else {
        std::memcpy(guest_.ram.at(place.gpa, place.bytes).data(), part.data(), part.size());
        if (guarded_) stores_.push_back(place);
      }
      bytes = bytes.subspan(place.bytes);
    }
    return {};
  }

  /// What write() wrote, if part of it is guarded.
  [[nodiscard]] const std::vector<Stored>& stores() const { return stores_; }
  /// What it kept back.
  [[nodiscard]] const std::vector<MachineExit>& content() const { return content_; }

 private:
  void keep(Gpa gpa, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      MachineExit part;
      part.kind = ExitKind::ReadOnly;
      part.gpa = gpa;
      part.goes_on = !content_.empty();
      part.size =
          static_cast<std::uint8_t>(std::min<std::uint64_t>(8 - gpa.value % 8, bytes.size()));
      std::memcpy(&part.value, bytes.data(), part.size);
      content_.push_back(part);
      bytes = bytes.subspan(part.size);
      gpa.value += part.size;
    }
  }

  const StoppedGuest& guest_;
  const StoppingFrames& frames_;
  std::array<Frame, 2> roots_;
  std::vector<Stored> places_;  ///< Where the last read() was.
  bool guarded_ = false;        ///< One of them is.
  std::vector<Stored> stores_;
  std::vector<MachineExit> content_;
};

/// One word of an instruction and those before it in its page.
struct Fetched {
  std::uint32_t word = 0;
  std::vector<std::uint32_t> before;
};

std::optional<Fetched> fetch(const GuestBytes& guest, const GuestRam& ram, std::uint64_t pc) {
  const auto gpa = guest.translate(Gva{pc});
  if (!gpa || gpa->value % 4 != 0) return std::nullopt;
  const std::uint64_t back =
      std::min<std::uint64_t>(gpa->value % arch::kPageSize / 4, decode::kMostBefore);
  const std::span<std::byte> bytes = ram.at(Gpa{gpa->value - back * 4}, back * 4 + 4);
  if (bytes.empty()) return std::nullopt;
  Fetched fetched;
  fetched.before.resize(back);
  // The first of a page has none before it, and memcpy takes no null pointer.
  if (back != 0) std::memcpy(fetched.before.data(), bytes.data(), back * 4);
  std::memcpy(&fetched.word, bytes.data() + back * 4, 4);
  return fetched;
}

/// Numbers of the general registers that an instruction may name: its four fields, and what follows
/// each, for pairs. 31 stands for the stack pointer.
std::set<unsigned> registers_named(std::uint32_t word) {
  std::set<unsigned> numbers;
  for (const unsigned shift : {0U, 5U, 10U, 16U}) {
    const unsigned number = word >> shift & 31;
    numbers.insert(number);
    numbers.insert((number + 1) & 31);
  }
  return numbers;
}

std::uint64_t stack_pointer(std::uint64_t pstate) {
  return (pstate & decode::kModeMask) == decode::kModeEl1h ? kSpEl1 : kSpEl0;
}

/// The registers that a store may need, read from the vCPU and written back where they changed.
class Operands {
 public:
  Operands(Registers& registers, std::uint32_t word)
      : registers_(registers), named_(registers_named(word)) {}

  [[nodiscard]] Status load(std::uint64_t pc, std::uint64_t pstate, bool vectors) {
    now.pc = pc;
    now.pstate = pstate;
    for (const unsigned number : named_) {
      auto value = registers_.get(number == 31 ? stack_pointer(pstate) : x(number));
      if (!value) return Status(value.error());
      (number == 31 ? now.sp : now.x.at(number)) = value.value();
    }
    for (unsigned i = 0; vectors && i < now.v.size(); ++i) {
      auto value = registers_.get_vector(v(i));
      if (!value) return Status(value.error());
      now.v.at(i) = value.value();
    }
    loaded_ = now;
    return {};
  }

  /// All that changed but the program counter.
  [[nodiscard]] Status store() {
    std::vector<RegisterValue> changed;
    for (const unsigned number : named_) {
      if (number != 31 && now.x.at(number) != loaded_.x.at(number)) {
        changed.push_back({x(number), now.x.at(number)});
      }
    }
    if (now.sp != loaded_.sp) changed.push_back({stack_pointer(now.pstate), now.sp});
    if (now.pstate != loaded_.pstate) changed.push_back({kPstate, now.pstate});
    return set_all(registers_, changed);
  }

  decode::StoreRegisters now;

 private:
  Registers& registers_;
  std::set<unsigned> named_;
  decode::StoreRegisters loaded_;
};

}  // namespace

bool StoppingFrames::is_read_only(Frame frame) const {
  return std::binary_search(read_only.begin(), read_only.end(), frame);
}

Result<GuardedStore> do_guarded_store(const StoppedGuest& guest, const StoppingFrames& frames) {
  std::uint64_t pstate = 0;
  std::uint64_t lower = 0;
  std::uint64_t upper = 0;
  decode::StoreEnvironment environment;
  environment.dczid_el0 = guest.dczid_el0;
  GuardedStore result;
  if (auto got = get_all(guest.registers, {{kPc, &result.pc},
                                           {kPstate, &pstate},
                                           {kTtbr0El1, &lower},
                                           {kTtbr1El1, &upper},
                                           {kSctlrEl1, &environment.sctlr_el1}});
      !got) {
    return got.error();
  }
  GuestBytes bytes(
      guest, frames,
      {model::root_of(arch::Arch::Arm64, lower), model::root_of(arch::Arch::Arm64, upper)});
  const auto fetched = fetch(bytes, guest.ram, result.pc);
  if (!fetched) return result;
  Operands operands(guest.registers, fetched->word);
  if (auto loaded = operands.load(result.pc, pstate, decode::uses_vectors(fetched->word));
      !loaded) {
    return loaded.error();
  }
  const auto exclusive = decode::decode_exclusive_store(fetched->word);
  const auto value =
      exclusive ? decode::loaded_value_registers(fetched->before, *exclusive) : std::nullopt;
  if (exclusive && !value) {
    const unsigned base = exclusive->base_register;
    const auto gpa = bytes.translate(Gva{base == 31 ? operands.now.sp : operands.now.x.at(base)});
    if (!gpa || !frames.guard.holds(arch::frame_of(*gpa))) return result;
    result.how = GuardedStore::How::Unfollowed;
    result.frame = arch::frame_of(*gpa);
    return result;
  }
  if (exclusive) {
    // The loaded value is in registers that the store itself need not name.
    for (const unsigned number : {value->first, value->second}) {
      if (number == decode::kNoRegister) continue;
      auto held = guest.registers.get(x(number));
      if (!held) return held.error();
      operands.now.x.at(number) = held.value();
    }
  }
  const auto outcome =
      exclusive
          ? decode::emulate_exclusive_store(*exclusive, *value, operands.now, bytes, environment)
          : decode::emulate_store(fetched->word, operands.now, bytes, environment);
  if (!outcome || !std::holds_alternative<decode::Store>(outcome.value())) return result;
  if (auto stored = operands.store(); !stored) return stored.error();
  result.how = GuardedStore::How::Done;
  result.next_pc = operands.now.pc;
  result.stores = bytes.stores();
  result.content = bytes.content();
  if (!result.content.empty()) return result;
  if (auto set = guest.registers.set(kPc, result.next_pc); !set) return set.error();
  return result;
}

bool is_undecoded_store(const kvm_run& run, const StoppingFrames& frames) {
  return run.exit_reason == KVM_EXIT_ARM_NISV && (run.arm_nisv.esr_iss & kWriteNotRead) != 0 &&
         frames.is_read_only(arch::frame_of(Gpa{run.arm_nisv.fault_ipa}));
}

void ContentQueue::begin(const GuardedStore& store) {
  if (store.content.empty()) return;
  left_.assign(store.content.rbegin(), store.content.rend());
  next_pc_ = store.next_pc;
}

Result<std::optional<MachineExit>> ContentQueue::next(Registers& registers) {
  if (!left_.empty()) {
    std::optional<MachineExit> part(std::move(left_.back()));
    left_.pop_back();
    return part;
  }
  if (next_pc_) {
    if (auto set = registers.set(kPc, *std::exchange(next_pc_, std::nullopt)); !set) {
      return set.error();
    }
  }
  return std::optional<MachineExit>();
}

}  // namespace sealvisor::engine::kvm::arm64
