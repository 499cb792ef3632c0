#include "arch/x86_64/user_returns.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace sealvisor::arch::x86_64 {

namespace {

using Bytes = std::span<const std::byte>;

template <typename... Values>
constexpr std::array<std::byte, sizeof...(Values)> bytes(Values... values) {
  return {static_cast<std::byte>(values)...};
}

// nops.h, BYTES_NOP1 to BYTES_NOP8 of 64-bit kernels.
constexpr auto kNop1 = bytes(0x90);
constexpr auto kNop2 = bytes(0x66, 0x90);
constexpr auto kNop3 = bytes(0x0f, 0x1f, 0x00);
constexpr auto kNop4 = bytes(0x0f, 0x1f, 0x40, 0x00);
constexpr auto kNop5 = bytes(0x0f, 0x1f, 0x44, 0x00, 0x00);
constexpr auto kNop6 = bytes(0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00);
constexpr auto kNop7 = bytes(0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00);
constexpr auto kNop8 = bytes(0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00);

// SDM 2B: SYSRET, IRET; FRED specification: ERETU.
constexpr auto kSysretl = bytes(0x0f, 0x07);
constexpr auto kIretq = bytes(0x48, 0xcf);
constexpr auto kEretu = bytes(0xf3, 0x0f, 0x01, 0xca);
constexpr std::byte kRexW{0x48};

/// verw rel32(%rip): SDM 2B VERW, 0F 00 /5.
constexpr auto kVerw = bytes(0x0f, 0x00, 0x2d);
constexpr std::size_t kVerwBytes = 7;

// entry_64.S. The assertion: testb $3, 8(%rsp); jnz; ud2. The test for espfix: testb $4, 32(%rsp).
constexpr auto kTestUser = bytes(0xf6, 0x44, 0x24, 0x08, 0x03);
constexpr auto kTestLdt = bytes(0xf6, 0x44, 0x24, 0x20, 0x04);
constexpr auto kUd2 = bytes(0x0f, 0x0b);
// asm_exc_nmi. Out of a nested NMI: add $48, %rsp; pop %rdx. Out of the first: std;
// movq $0, 40(%rsp).
constexpr auto kNestedNmi = bytes(0x48, 0x83, 0xc4, 0x30, 0x5a);
constexpr auto kFirstNmi = bytes(0xfd, 0x48, 0xc7, 0x44, 0x24, 0x28, 0x00, 0x00, 0x00, 0x00);
/// sync_core.h: pushq $imm32 of the address behind the iretq.
constexpr std::byte kPushImm32{0x68};
constexpr std::size_t kPushBytes = 5;

/// Whether `wanted` stands in `text` at `at`, wholly.
bool stands_at(Bytes text, std::size_t at, Bytes wanted) {
  return at <= text.size() && text.size() - at >= wanted.size() &&
         std::equal(wanted.begin(), wanted.end(), text.begin() + static_cast<std::ptrdiff_t>(at));
}

bool stands_before(Bytes text, std::size_t end, Bytes wanted) {
  return end >= wanted.size() && stands_at(text, end - wanted.size(), wanted);
}

std::int32_t signed_32(Bytes text, std::size_t at) {
  std::int32_t value = 0;
  std::memcpy(&value, text.data() + at, sizeof(value));
  return value;
}

/// Calls `found(offset)` for each place where `wanted` stands, until it is false.
template <typename Found>
void for_each_match(Bytes text, Bytes wanted, const Found& found) {
  // The last byte of every pattern here is rarer in code than the first.
  const std::size_t last = wanted.size() - 1;
  for (std::size_t at = last; at < text.size(); ++at) {
    const void* hit =
        std::memchr(text.data() + at, static_cast<int>(wanted[last]), text.size() - at);
    if (hit == nullptr) return;
    at = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - text.data());
    if (stands_at(text, at - last, wanted) && !found(at - last)) return;
  }
}

class Disassembler {
 public:
  Disassembler() {
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle_) != CS_ERR_OK) return;
    is_open_ = true;
    instruction_ = cs_malloc(handle_);
  }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;
  ~Disassembler() {
    if (instruction_ != nullptr) cs_free(instruction_, 1);
    if (is_open_) cs_close(&handle_);
  }

  /// Whether an instruction starts at `at`, in the view of most disassemblies that begin a little
  /// before. x86 code that is read from a wrong place falls into step after a few instructions.
  [[nodiscard]] bool starts_instruction(Bytes text, std::size_t at) const {
    constexpr std::size_t kFarthest = 48;
    constexpr std::size_t kNearest = 24;
    if (instruction_ == nullptr || at < kFarthest) return true;
    unsigned hits = 0;
    unsigned misses = 0;
    for (std::size_t back = kNearest; back <= kFarthest; ++back) {
      const std::optional<bool> hit = arrives(text, at - back, at);
      if (hit.has_value()) ++(*hit ? hits : misses);
    }
    return hits >= misses;
  }

 private:
  /// Whether disassembly from `start` arrives at `target` exactly; nullopt if it meets what is no
  /// instruction.
  [[nodiscard]] std::optional<bool> arrives(Bytes text, std::size_t start,
                                            std::size_t target) const {
    const auto* code = reinterpret_cast<const std::uint8_t*>(text.data()) + start;
    std::size_t left = text.size() - start;
    std::uint64_t address = start;
    while (address < target) {
      if (!cs_disasm_iter(handle_, &code, &left, &address, instruction_)) return std::nullopt;
    }
    return address == target;
  }

  csh handle_ = 0;
  bool is_open_ = false;
  cs_insn* instruction_ = nullptr;
};

/// Finds the returns of one text.
class Search {
 public:
  Search(Bytes text, Gva first, std::size_t most) : text_(text), first_(first), most_(most) {}

  UserReturns run() {
    // First those that an assertion leads to: they are iretqs that need no pad of their own.
    for_each_match(text_, kTestUser, [this](std::size_t at) {
      add_asserted(at);
      return !result_.too_many;
    });
    for_each_match(text_, kIretq, [this](std::size_t at) {
      if (!is_claimed(at)) add(at, ReturnKind::Iretq, at);
      return !result_.too_many;
    });
    for_each_match(text_, kSysretl, [this](std::size_t at) {
      const bool wide = at > 0 && text_[at - 1] == kRexW;
      const std::size_t start = wide ? at - 1 : at;
      add(start, wide ? ReturnKind::Sysretq : ReturnKind::Sysretl, start);
      return !result_.too_many;
    });
    for_each_match(text_, kEretu, [this](std::size_t at) {
      add(at, ReturnKind::Eretu, at);
      return !result_.too_many;
    });
    const auto by_address = [](const auto& a, const auto& b) {
      return a.instruction < b.instruction;
    };
    std::stable_sort(result_.sites.begin(), result_.sites.end(), by_address);
    std::stable_sort(result_.bare.begin(), result_.bare.end(), by_address);
    return std::move(result_);
  }

 private:
  [[nodiscard]] Gva gva(std::size_t at) const { return Gva{first_.value + at}; }

  [[nodiscard]] bool is_claimed(std::size_t at) const {
    return std::find(claimed_.begin(), claimed_.end(), at) != claimed_.end();
  }

  /// Where the conditional jump (jnz rel8 or rel32, SDM 2A Jcc) at `at` leads to and ends.
  struct Jump {
    std::size_t target;
    std::size_t end;
  };
  [[nodiscard]] std::optional<Jump> jump_at(std::size_t at) const {
    std::size_t end = 0;
    std::int64_t distance = 0;
    if (stands_at(text_, at, bytes(0x75)) && text_.size() - at >= 2) {
      end = at + 2;
      const auto byte = std::to_integer<std::int64_t>(text_[at + 1]);
      distance = byte < 0x80 ? byte : byte - 0x100;
    } else if (stands_at(text_, at, bytes(0x0f, 0x85)) && text_.size() - at >= 6) {
      end = at + 6;
      distance = signed_32(text_, at + 2);
    } else {
      return std::nullopt;
    }
    const std::int64_t target = static_cast<std::int64_t>(end) + distance;
    if (target < 0 || target >= static_cast<std::int64_t>(text_.size())) return std::nullopt;
    return Jump{static_cast<std::size_t>(target), end};
  }

  /// The iretq at .Lnative_iret: at once, or after the test for espfix.
  [[nodiscard]] std::optional<std::size_t> iretq_at(std::size_t at) const {
    if (stands_at(text_, at, kTestLdt)) {
      const auto to_ldt = jump_at(at + kTestLdt.size());
      if (!to_ldt) return std::nullopt;
      at = to_ldt->end;
    }
    if (!stands_at(text_, at, kIretq)) return std::nullopt;
    return at;
  }

  void add_asserted(std::size_t at) {
    const auto jump = jump_at(at + kTestUser.size());
    if (!jump || !stands_at(text_, jump->end, kUd2)) return;
    const auto iretq = iretq_at(jump->target);
    if (!iretq) return;
    claimed_.push_back(*iretq);
    add(*iretq, ReturnKind::Iretq, at);
  }

  /// The size of the NOP that ends at `end`; 0 if there is none.
  [[nodiscard]] std::size_t pad_before(std::size_t end) const {
    for (std::size_t size = kMostPadBytes; size >= kLeastPadBytes; --size) {
      if (!stands_before(text_, end, nop_of(size))) continue;
      // The prefix of the 6-byte NOP may be the last byte of another instruction.
      if (size == 6 && !disassembler_.starts_instruction(text_, end - size)) continue;
      return size;
    }
    return 0;
  }

  /// Records the return at `at`, whose pad must end at `pad_end`.
  void add(std::size_t at, ReturnKind kind, std::size_t pad_end) {
    if (result_.sites.size() + result_.bare.size() >= most_) {
      result_.too_many = true;
      return;
    }
    if (const std::size_t size = pad_before(pad_end); size != 0) {
      result_.sites.push_back(ReturnSite{gva(at), kind, gva(pad_end - size), size});
      return;
    }
    result_.bare.push_back(BareReturn{gva(at), kind, reason(at, kind, pad_end)});
  }

  [[nodiscard]] NoTrap reason(std::size_t at, ReturnKind kind, std::size_t pad_end) const {
    if (pad_end >= kVerwBytes && stands_at(text_, pad_end - kVerwBytes, kVerw)) {
      return NoTrap::PadFilled;
    }
    if (stands_before(text_, pad_end, bytes(0x90, 0x90, 0x90))) return NoTrap::NotPatched;
    if (kind == ReturnKind::Iretq && returns_to_kernel(at)) return NoTrap::ReturnsToKernel;
    if (pad_end == at && !disassembler_.starts_instruction(text_, at)) return NoTrap::InsideAnother;
    return NoTrap::NoPad;
  }

  [[nodiscard]] bool returns_to_kernel(std::size_t iretq) const {
    if (stands_before(text_, iretq, kNestedNmi) || stands_before(text_, iretq, kFirstNmi)) {
      return true;
    }
    if (iretq < kPushBytes || text_[iretq - kPushBytes] != kPushImm32) return false;
    const auto pushed =
        static_cast<std::uint64_t>(std::int64_t{signed_32(text_, iretq - kPushBytes + 1)});
    return pushed == gva(iretq + kIretq.size()).value;
  }

  Bytes text_;
  Gva first_;
  std::size_t most_;
  Disassembler disassembler_;
  std::vector<std::size_t> claimed_;
  UserReturns result_;
};

}  // namespace

const char* name_of(ReturnKind kind) {
  switch (kind) {
    case ReturnKind::Sysretq:
      return "sysretq";
    case ReturnKind::Sysretl:
      return "sysretl";
    case ReturnKind::Iretq:
      return "iretq";
    case ReturnKind::Eretu:
      return "eretu";
  }
  return "?";
}

const char* name_of(NoTrap why) {
  switch (why) {
    case NoTrap::NoPad:
      return "no padding before it";
    case NoTrap::PadFilled:
      return "padding filled with verw";
    case NoTrap::NotPatched:
      return "padding not patched yet";
    case NoTrap::ReturnsToKernel:
      return "returns to the kernel";
    case NoTrap::InsideAnother:
      return "part of another instruction";
  }
  return "?";
}

std::span<const std::byte> nop_of(std::size_t bytes) {
  switch (bytes) {
    case 1:
      return kNop1;
    case 2:
      return kNop2;
    case 3:
      return kNop3;
    case 4:
      return kNop4;
    case 5:
      return kNop5;
    case 6:
      return kNop6;
    case 7:
      return kNop7;
    case 8:
      return kNop8;
    default:
      return {};
  }
}

UserReturns find_user_returns(std::span<const std::byte> text, Gva first, std::size_t most) {
  return Search(text, first, most).run();
}

std::vector<std::byte> trap_bytes(std::size_t pad_bytes, std::uint8_t port) {
  if (pad_bytes < kLeastPadBytes || pad_bytes > kMostPadBytes) return {};
  constexpr std::byte kOutImm8{0xe6};
  std::vector<std::byte> trap{kOutImm8, std::byte{port}};
  const auto nop = nop_of(pad_bytes - trap.size());
  trap.insert(trap.end(), nop.begin(), nop.end());
  return trap;
}

}  // namespace sealvisor::arch::x86_64
