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

namespace sealvisor::engine::kvm {

namespace {

using arch::Frame;
using arch::Gpa;
using arch::Gva;
namespace decode = arch::arm64;

/// Guest memory by the addresses of the stopped vCPU.
class GuestBytes final : public decode::StoreMemory {
 public:
  GuestBytes(const GuestRam& ram, const Guard& guard, const arch::TableReader& memory,
             const arch::AnyFormat& format, std::array<Frame, 2> roots)
      : ram_(ram), guard_(guard), memory_(memory), format_(format), roots_(roots) {}

  /// What `gva` translates to; nullopt: nothing.
  [[nodiscard]] std::optional<Gpa> translate(Gva gva) const {
    // Bit 55 chooses the root, and a tag above it translates to nothing else (Arm ARM, "Address
    // tagging").
    const auto plain = static_cast<std::int64_t>(gva.value << 8) >> 8;
    const Gva address{static_cast<std::uint64_t>(plain)};
    const Frame root = roots_.at(plain < 0 ? 1 : 0);
    const arch::Walk walk = arch::walk(format_, memory_, root, address);
    if (walk.end != arch::WalkEnd::Leaf) return std::nullopt;
    return walk.output;
  }

  [[nodiscard]] Status read(Gva gva, std::span<std::byte> bytes) override {
    places_.clear();
    bool guarded = false;
    while (!bytes.empty()) {
      const std::uint64_t in_page = arch::kPageSize - gva.value % arch::kPageSize;
      const std::size_t part = std::min<std::uint64_t>(in_page, bytes.size());
      const auto gpa = translate(gva);
      const auto from = gpa ? ram_.at(*gpa, part) : std::span<std::byte>();
      if (from.empty()) {
        return Error{ExitCode::GuestFailed, fmt::format("no memory at {:#x}", gva.value)};
      }
      std::memcpy(bytes.data(), from.data(), part);
      places_.push_back({*gpa, static_cast<std::uint32_t>(part)});
      guarded = guarded || guard_.holds(arch::frame_of(*gpa));
      bytes = bytes.subspan(part);
      gva.value += part;
    }
    if (guarded) return {};
    // Something else stopped the guest, and the checks of stage 1 may be yet to come.
    return Error{ExitCode::GuestFailed, fmt::format("nothing guarded at {:#x}", gva.value)};
  }

  [[nodiscard]] Status write(Gva /*gva*/, std::span<const std::byte> bytes) override {
    for (const Stored& place : places_) {
      std::memcpy(ram_.at(place.gpa, place.bytes).data(), bytes.data(), place.bytes);
      bytes = bytes.subspan(place.bytes);
    }
    return {};
  }

  /// Where the last read() was.
  [[nodiscard]] const std::vector<Stored>& places() const { return places_; }

 private:
  const GuestRam& ram_;
  const Guard& guard_;
  const arch::TableReader& memory_;
  const arch::AnyFormat& format_;
  std::array<Frame, 2> roots_;
  std::vector<Stored> places_;
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
  std::memcpy(fetched.before.data(), bytes.data(), back * 4);
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
  return (pstate & decode::kModeMask) == decode::kModeEl1h ? arm64::kSpEl1 : arm64::kSpEl0;
}

/// The registers that a store may need, read from the vCPU and written back where they changed.
class Registers {
 public:
  Registers(const Vcpu& vcpu, std::uint32_t word) : vcpu_(vcpu), named_(registers_named(word)) {}

  [[nodiscard]] Status load(std::uint64_t pc, std::uint64_t pstate, bool vectors) {
    now.pc = pc;
    now.pstate = pstate;
    for (const unsigned number : named_) {
      auto value = vcpu_.get(number == 31 ? stack_pointer(pstate) : arm64::x(number));
      if (!value) return Status(value.error());
      (number == 31 ? now.sp : now.x.at(number)) = value.value();
    }
    for (unsigned i = 0; vectors && i < now.v.size(); ++i) {
      kvm_one_reg one{arm64::v(i), reinterpret_cast<std::uintptr_t>(now.v.at(i).data())};
      if (auto got = vcpu_.operate(KVM_GET_ONE_REG, &one, "KVM_GET_ONE_REG"); !got) return got;
    }
    loaded_ = now;
    return {};
  }

  [[nodiscard]] Status store() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> changed;
    for (const unsigned number : named_) {
      if (number != 31 && now.x.at(number) != loaded_.x.at(number)) {
        changed.emplace_back(arm64::x(number), now.x.at(number));
      }
    }
    if (now.sp != loaded_.sp) changed.emplace_back(stack_pointer(now.pstate), now.sp);
    if (now.pstate != loaded_.pstate) changed.emplace_back(arm64::kPstate, now.pstate);
    changed.emplace_back(arm64::kPc, now.pc);
    for (const auto& [id, value] : changed) {
      if (auto set = vcpu_.set(id, value); !set) return set;
    }
    return {};
  }

  decode::StoreRegisters now;

 private:
  const Vcpu& vcpu_;
  std::set<unsigned> named_;
  decode::StoreRegisters loaded_;
};

/// The same for all levels and the whole machine: user mode may read it, and KVM does not trap it.
std::uint64_t zva_block() {
  std::uint64_t value = 0;
  asm("mrs %0, dczid_el0" : "=r"(value));
  return value;
}

}  // namespace

Result<GuardedStore> do_guarded_store(const Vcpu& vcpu, const GuestRam& ram, const Guard& guard,
                                      const arch::TableReader& memory,
                                      const arch::AnyFormat& format) {
  std::uint64_t pstate = 0;
  std::uint64_t lower = 0;
  std::uint64_t upper = 0;
  decode::StoreEnvironment environment;
  environment.dczid_el0 = zva_block();
  GuardedStore result;
  const std::pair<std::uint64_t, std::uint64_t*> wanted[] = {
      {arm64::kPc, &result.pc},
      {arm64::kPstate, &pstate},
      {arm64::kTtbr0El1, &lower},
      {arm64::kTtbr1El1, &upper},
      {arm64::kSctlrEl1, &environment.sctlr_el1}};
  for (const auto& [id, to] : wanted) {
    auto value = vcpu.get(id);
    if (!value) return value.error();
    *to = value.value();
  }
  GuestBytes guest(
      ram, guard, memory, format,
      {model::root_of(arch::Arch::Arm64, lower), model::root_of(arch::Arch::Arm64, upper)});
  const auto fetched = fetch(guest, ram, result.pc);
  if (!fetched) return result;
  Registers registers(vcpu, fetched->word);
  if (auto loaded = registers.load(result.pc, pstate, decode::uses_vectors(fetched->word));
      !loaded) {
    return loaded.error();
  }
  const auto exclusive = decode::decode_exclusive_store(fetched->word);
  const auto value =
      exclusive ? decode::loaded_value_registers(fetched->before, *exclusive) : std::nullopt;
  if (exclusive && !value) {
    const unsigned base = exclusive->base_register;
    const auto gpa = guest.translate(Gva{base == 31 ? registers.now.sp : registers.now.x.at(base)});
    if (!gpa || !guard.holds(arch::frame_of(*gpa))) return result;
    result.how = GuardedStore::How::Unfollowed;
    result.frame = arch::frame_of(*gpa);
    return result;
  }
  if (exclusive) {
    // The loaded value is in registers that the store itself need not name.
    for (const unsigned number : {value->first, value->second}) {
      if (number == decode::kNoRegister) continue;
      auto held = vcpu.get(arm64::x(number));
      if (!held) return held.error();
      registers.now.x.at(number) = held.value();
    }
  }
  const auto outcome =
      exclusive
          ? decode::emulate_exclusive_store(*exclusive, *value, registers.now, guest, environment)
          : decode::emulate_store(fetched->word, registers.now, guest, environment);
  if (!outcome) return result;
  const auto* store = std::get_if<decode::Store>(&outcome.value());
  if (store == nullptr) return result;
  if (auto stored = registers.store(); !stored) return stored.error();
  result.how = GuardedStore::How::Done;
  if (store->written) result.stores = guest.places();
  return result;
}

}  // namespace sealvisor::engine::kvm
