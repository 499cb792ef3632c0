// The store emulator against the CPU: `store-oracle [--seed N] [--break N]`.
//
// For every case one instruction (of exclusives a load and a store) runs on this CPU and in
// arch/arm64/stores.h, on equal registers and memory; x0 to x30, SP, v0 to v31 and a page must then
// be equal. Prints a line for each class and ends with 1 if anything differed.
//
// --break N: changes one bit of the emulator's result in every Nth case; each must be found.
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "arch/arm64/pstate.h"
#include "arch/arm64/stores.h"

#ifndef __aarch64__
#error "This runs arm64 instructions."
#endif

// The code that runs an instruction. It is copied to a page that is followed by one with a Context,
// whose offsets it has, so that no register has to point there when all are loaded. Then TPIDR_EL0
// holds x30 for a moment: the C library has its thread there and gets it back, the kernel only
// saves it.
asm(R"(
  .pushsection .rodata.store_oracle, "a"
  .balign 4
store_oracle_begin:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  adr x30, store_oracle_begin + 4096
  mov x0, sp
  mrs x1, tpidr_el0
  stp x0, x1, [x30, #256]
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  ldr q\n, [x30, #272 + 16 * \n]
  .endr
  ldr x0, [x30, #248]
  mov sp, x0
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
  ldr x\n, [x30, #8 * \n]
  .endr
  ldr x30, [x30, #240]
store_oracle_slot:
  nop
  nop
  nop
  nop
  msr tpidr_el0, x30
  adr x30, store_oracle_begin + 4096
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
  str x\n, [x30, #8 * \n]
  .endr
  mrs x0, tpidr_el0
  mov x1, sp
  stp x0, x1, [x30, #240]
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  str q\n, [x30, #272 + 16 * \n]
  .endr
  ldp x0, x1, [x30, #256]
  mov sp, x0
  msr tpidr_el0, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
store_oracle_end:
  .popsection
)");
extern "C" const std::byte store_oracle_begin[];
extern "C" const std::byte store_oracle_slot[];
extern "C" const std::byte store_oracle_end[];

namespace {

// NOLINTNEXTLINE(google-build-using-namespace)
using namespace sealvisor;
// NOLINTNEXTLINE(google-build-using-namespace)
using namespace sealvisor::arch::arm64;

using sealvisor::arch::Gva;
using Random = std::mt19937_64;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kPage = 4096;
constexpr unsigned kCasesOfClass = 500;
constexpr unsigned kLeastCases = 100;
constexpr std::size_t kMostWords = 4;
constexpr std::uint32_t kNop = 0xD503201F;
constexpr unsigned kSpOrZero = 31;

/// What the code above loads and stores.
struct Context {
  std::array<std::uint64_t, 31> x;
  std::uint64_t sp;
  std::array<std::uint64_t, 2> own;  ///< SP and TPIDR_EL0 of this program.
  std::array<Vector128, 32> v;
};
static_assert(offsetof(Context, sp) == 248 && offsetof(Context, own) == 256 &&
              offsetof(Context, v) == 272);

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(2);
}

std::byte* map_pages(std::size_t count, int protection) {
  void* pages = ::mmap(nullptr, count * kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) give_up("mmap");
  return static_cast<std::byte*>(pages);
}

/// This CPU: runs words on registers and the page of memory that they address.
class Native {
 public:
  Native()
      : code_(map_pages(2, PROT_READ | PROT_WRITE | PROT_EXEC)),
        memory_(map_pages(3, PROT_NONE) + kPage) {
    if (::mprotect(memory_, kPage, PROT_READ | PROT_WRITE) != 0) give_up("mprotect");
    std::copy(store_oracle_begin, store_oracle_end, code_);
  }
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;
  ~Native() {
    ::munmap(code_, 2 * kPage);
    ::munmap(memory_ - kPage, 3 * kPage);
  }

  [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(memory_); }

  void run(std::span<const std::uint32_t> words, StoreRegisters& registers, Bytes& page) {
    std::array<std::uint32_t, kMostWords> slot{};
    slot.fill(kNop);
    std::copy(words.begin(), words.end(), slot.begin());
    std::byte* const at = code_ + (store_oracle_slot - store_oracle_begin);
    std::memcpy(at, slot.data(), sizeof slot);
    __builtin___clear_cache(reinterpret_cast<char*>(at), reinterpret_cast<char*>(at + sizeof slot));
    auto* const context = reinterpret_cast<Context*>(code_ + kPage);
    *context = Context{registers.x, registers.sp, {}, registers.v};
    std::copy(page.begin(), page.end(), memory_);
    reinterpret_cast<void (*)()>(code_)();
    std::copy_n(memory_, kPage, page.begin());
    registers.x = context->x;
    registers.sp = context->sp;
    registers.v = context->v;
  }

 private:
  std::byte* code_;    ///< The code and the Context.
  std::byte* memory_;  ///< Between two pages that can't be accessed.
};

/// Says which instruction failed; the program counter is in its slot.
void on_fault(int signal, siginfo_t* /*info*/, void* state) {
  const std::uint64_t pc = static_cast<ucontext_t*>(state)->uc_mcontext.pc;
  std::array<char, 80> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "store-oracle: signal %d at 0x%08x\n", signal,
                    signal == SIGSEGV || signal == SIGILL || signal == SIGBUS
                        ? *reinterpret_cast<const std::uint32_t*>(pc)
                        : 0U);
  [[maybe_unused]] const auto sent = ::write(1, text.data(), static_cast<std::size_t>(size));
  ::_exit(3);
}

/// SP is anything when an instruction fails, so the handler has its own stack.
void catch_faults(std::span<std::byte> stack) {
  const stack_t other{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (::sigaltstack(&other, nullptr) != 0) give_up("sigaltstack");
  for (const int signal : {SIGSEGV, SIGILL, SIGBUS}) ::sigaction(signal, &action, nullptr);
}

/// The emulator's copy of the page, at the same address.
class PageCopy : public StoreMemory {
 public:
  PageCopy(std::uint64_t address, Bytes& bytes) : address_(address), bytes_(bytes) {}

  Status read(Gva gva, std::span<std::byte> bytes) override {
    if (!holds(gva, bytes.size())) return Error{ExitCode::Failed, "a read outside of the page"};
    std::copy_n(bytes_.begin() + offset(gva), bytes.size(), bytes.begin());
    return {};
  }
  Status write(Gva gva, std::span<const std::byte> bytes) override {
    if (!holds(gva, bytes.size())) return Error{ExitCode::Failed, "a write outside of the page"};
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + offset(gva));
    return {};
  }

 private:
  [[nodiscard]] bool holds(Gva gva, std::size_t size) const {
    return size <= kPage && gva.value - address_ <= kPage - size;
  }
  [[nodiscard]] std::ptrdiff_t offset(Gva gva) const {
    return static_cast<std::ptrdiff_t>(gva.value - address_);
  }
  std::uint64_t address_;
  Bytes& bytes_;
};

std::uint64_t read_dczid() {
  std::uint64_t value = 0;
  asm("mrs %0, dczid_el0" : "=r"(value));
  return value;
}

// ---- Cases --------------------------------------------------------------------------------------

struct Case {
  std::vector<std::uint32_t> words;
  StoreRegisters registers;
  Bytes page;
};

/// Makes cases. Encodings: Arm ARM DDI 0487, "Loads and Stores"; written here a second time, the
/// CPU says whether they are right.
class Maker {
 public:
  Maker(std::uint64_t seed, std::uint64_t page) : random_(seed), page_(page) {}

  /// Below `limit`.
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
  bool chance(std::uint32_t of) { return below(of) == 0; }
  /// A register number; more often 31 and the same ones than by chance alone.
  std::uint32_t reg() { return chance(8) ? kSpOrZero : chance(4) ? below(4) : below(32); }
  std::uint32_t reg_other_than(std::initializer_list<std::uint32_t> others) {
    for (;;) {
      const std::uint32_t number = reg();
      if (std::find(others.begin(), others.end(), number) == others.end()) return number;
    }
  }

  void begin() {
    now_ = {};
    now_.registers.pstate = kModeEl0;
    now_.page.resize(kPage);
    for (std::size_t i = 0; i < kPage; i += 8) {
      const std::uint64_t value = random_();
      std::memcpy(now_.page.data() + i, &value, sizeof value);
    }
    for (std::uint64_t& value : now_.registers.x) value = random_();
    for (Vector128& vector : now_.registers.v) {
      for (std::byte& byte : vector) byte = static_cast<std::byte>(below(256));
    }
    now_.registers.sp = random_() & ~std::uint64_t{15};
  }
  void add(std::uint32_t word) { now_.words.push_back(word); }
  Case end() { return std::move(now_); }

  [[nodiscard]] std::uint64_t value(std::uint32_t number) const {
    return number < kSpOrZero ? now_.registers.x[number] : 0;
  }
  void set(std::uint32_t number, std::uint64_t to) {
    if (number < kSpOrZero) now_.registers.x[number] = to;
  }

  /// Sets base register `number` so that base + offset is in the page with `size` bytes behind it.
  /// SP has to be a multiple of 16 (SCTLR_EL1.SA0). Returns the address.
  std::uint64_t place(std::uint32_t number, std::uint64_t offset, std::uint32_t size,
                      bool aligned = false) {
    constexpr std::uint32_t kSlack = 15;
    std::uint64_t address =
        page_ + kSlack + below(static_cast<std::uint32_t>(kPage) - kSlack - size + 1);
    if (aligned) address &= ~std::uint64_t{size - 1};
    std::uint64_t base = address - offset;
    if (number == kSpOrZero) {
      base &= ~std::uint64_t{15};
      now_.registers.sp = base;
    } else {
      set(number, base);
    }
    return base + offset;
  }

  /// What the page holds, 1 to 8 bytes.
  [[nodiscard]] std::uint64_t held(std::uint64_t address, std::uint32_t size) const {
    std::uint64_t held = 0;
    std::memcpy(&held, now_.page.data() + (address - page_), size);
    return held;
  }
  /// Sets the register to what the page holds; bits beyond `size` bytes stay.
  void set_low(std::uint32_t number, std::uint64_t to, std::uint32_t size) {
    const std::uint64_t kept = size == 8 ? 0 : value(number) >> (8 * size) << (8 * size);
    set(number, kept | to);
  }

 private:
  Random random_;
  std::uint64_t page_;
  Case now_{};
};

std::uint64_t extended(std::uint32_t value, unsigned bits) {
  const std::uint32_t sign = 1U << (bits - 1);
  return static_cast<std::uint64_t>(std::int64_t{value ^ sign} - std::int64_t{sign});
}

/// Size and opc of one register, and their place in the word.
struct Width {
  std::uint32_t shift = 0;  ///< log2 of the bytes.
  std::uint32_t bits = 0;
};
Width width(Maker& make, bool vectors) {
  const std::uint32_t shift = make.below(vectors ? 5 : 4);
  const std::uint32_t bits = shift == 4 ? 2U << 22 : shift << 30;
  return {shift, bits | (vectors ? 1U << 26 : 0)};
}

/// With writeback, what is stored must not be the base.
std::uint32_t stored_register(Maker& make, std::uint32_t base, bool vectors, bool writeback) {
  if (vectors || !writeback || base == kSpOrZero) return make.reg();
  return make.reg_other_than({base});
}

enum class Form : std::uint32_t { Unscaled = 0, Post = 1, Unprivileged = 2, Pre = 3 };

void one_unsigned(Maker& make, bool vectors) {
  const Width of = width(make, vectors);
  const std::uint32_t base = make.reg();
  const std::uint32_t offset = make.below(4096);
  make.place(base, std::uint64_t{offset} << of.shift, 1U << of.shift);
  make.add(0x39000000U | of.bits | offset << 10 | base << 5 | make.reg());
}

void one_indexed(Maker& make, bool vectors, Form form) {
  const Width of = width(make, vectors);
  const std::uint32_t base = make.reg();
  const std::uint32_t offset = make.below(512);
  const bool writeback = form == Form::Post || form == Form::Pre;
  make.place(base, form == Form::Post ? 0 : extended(offset, 9), 1U << of.shift);
  make.add(0x38000000U | of.bits | offset << 12 | static_cast<std::uint32_t>(form) << 10 |
           base << 5 | stored_register(make, base, vectors, writeback));
}

void one_by_register(Maker& make, bool vectors) {
  const Width of = width(make, vectors);
  const std::uint32_t base = make.reg();
  // A base that is also the index could not be placed.
  const std::uint32_t index = base == kSpOrZero ? make.reg() : make.reg_other_than({base});
  constexpr std::uint32_t kOptions[] = {0b010, 0b011, 0b110, 0b111};
  const std::uint32_t option = kOptions[make.below(4)];
  const std::uint32_t scaled = make.below(2);
  std::uint64_t offset = make.value(index);
  if (option == 0b010) offset = static_cast<std::uint32_t>(offset);
  if (option == 0b110) offset = extended(static_cast<std::uint32_t>(offset), 32);
  make.place(base, offset << (scaled != 0 ? of.shift : 0), 1U << of.shift);
  make.add(0x38200800U | of.bits | index << 16 | option << 13 | scaled << 12 | base << 5 |
           make.reg());
}

enum class PairForm : std::uint32_t { NoAllocate = 0, Post = 1, Offset = 2, Pre = 3 };

void pair(Maker& make, bool vectors, PairForm form) {
  const std::uint32_t opc = vectors ? make.below(3) : make.below(2) * 2;
  const std::uint32_t bytes = vectors ? 4U << opc : 4U << (opc / 2);
  const std::uint32_t base = make.reg();
  const std::uint32_t offset = make.below(128);
  const bool writeback = form == PairForm::Post || form == PairForm::Pre;
  make.place(base, form == PairForm::Post ? 0 : extended(offset, 7) * bytes, 2 * bytes);
  const std::uint32_t first = stored_register(make, base, vectors, writeback);
  const std::uint32_t second = stored_register(make, base, vectors, writeback);
  make.add(opc << 30 | 0x28000000U | (vectors ? 1U << 26 : 0) |
           static_cast<std::uint32_t>(form) << 23 | offset << 15 | second << 10 | base << 5 |
           first);
}

/// STLR, or STLLR if `o0` is 0.
void ordered(Maker& make, std::uint32_t o0) {
  const std::uint32_t size = make.below(4);
  const std::uint32_t base = make.reg();
  make.place(base, 0, 1U << size, true);
  make.add(size << 30 | 0x089F7C00U | o0 << 15 | base << 5 | make.reg());
}

/// `code`: o3 and opc. Ordering is random, and Rt is XZR at times, which is ST<op>.
void atomic(Maker& make, std::uint32_t code) {
  const std::uint32_t size = make.below(4);
  const std::uint32_t base = make.reg();
  const std::uint32_t operand = make.reg();
  const std::uint64_t address = make.place(base, 0, 1U << size, true);
  if (operand != base && make.chance(8)) {
    make.set_low(operand, make.held(address, 1U << size), 1U << size);
  }
  make.add(size << 30 | 0x38200000U | make.below(4) << 22 | operand << 16 | code << 12 | base << 5 |
           make.reg());
}

void compare_and_swap(Maker& make) {
  const std::uint32_t size = make.below(4);
  const std::uint32_t base = make.reg();
  const std::uint32_t compared = make.reg();
  const std::uint64_t address = make.place(base, 0, 1U << size, true);
  if (compared != base && make.chance(2)) {
    make.set_low(compared, make.held(address, 1U << size), 1U << size);
  }
  make.add(size << 30 | 0x08A07C00U | make.below(2) << 22 | compared << 16 | make.below(2) << 15 |
           base << 5 | make.reg());
}

void compare_and_swap_pair(Maker& make) {
  const std::uint32_t wide = make.below(2);
  const std::uint32_t bytes = wide != 0 ? 8 : 4;
  const std::uint32_t base = make.reg();
  const std::uint32_t compared = make.reg() & ~1U;
  const std::uint64_t address = make.place(base, 0, 2 * bytes, true);
  // Both as in memory, one of them, or none.
  for (std::uint32_t i = 0; i < 2; ++i) {
    if (compared + i != base && !make.chance(4)) {
      make.set_low(compared + i, make.held(address + std::uint64_t{i} * bytes, bytes), bytes);
    }
  }
  make.add(wide << 30 | 0x08207C00U | make.below(2) << 22 | compared << 16 | make.below(2) << 15 |
           base << 5 | (make.reg() & ~1U));
}

void structures(Maker& make, bool post) {
  constexpr std::uint32_t kOpcodes[] = {0b0111, 0b1010, 0b0110, 0b0010};
  const std::uint32_t count = make.below(4);
  const std::uint32_t quad = make.below(2);
  const std::uint32_t base = make.reg();
  make.place(base, 0, (count + 1) * (quad != 0 ? 16 : 8));
  make.add(quad << 30 | 0x0C000000U | (post ? 1U << 23 | make.reg() << 16 : 0) |
           kOpcodes[count] << 12 | make.below(4) << 10 | base << 5 | make.below(32));
}

void zero_block(Maker& make) {
  const std::uint32_t address = make.reg_other_than({kSpOrZero});
  make.place(address, 0, 1);
  make.add(0xD50B7420U | address);
}

/// LDXP or LDAXP; STXP or STLXP.
void exclusive_pair(Maker& make) {
  const std::uint32_t size = 2 + make.below(2);
  const std::uint32_t base = make.reg();
  const std::uint32_t first = make.reg_other_than({base, kSpOrZero});
  const std::uint32_t second = make.reg_other_than({base, kSpOrZero, first});
  const std::uint32_t data = make.reg_other_than({first, second});
  const std::uint32_t more = make.reg_other_than({first, second});
  const std::uint32_t status = make.reg_other_than({data, more, base});
  make.place(base, 0, 2U << size, true);
  const std::uint32_t rest = size << 30 | base << 5;
  make.add(0x087F0000U | rest | make.below(2) << 15 | second << 10 | first);
  make.add(0x08200000U | rest | status << 16 | make.below(2) << 15 | more << 10 | data);
}

/// LDXR or LDAXR; with `changed` a store that makes memory another; STXR or STLXR.
///
/// Of such a store of the same CPU it is implementation defined whether it clears the monitor (Arm
/// ARM, "Synchronization and semaphores"). QEMU, in which the hosts of these tests run, compares
/// values; on another CPU the class may differ without an error.
void exclusive(Maker& make, bool changed) {
  const std::uint32_t size = make.below(4);
  const std::uint32_t base = make.reg();
  const std::uint32_t loaded = make.reg_other_than({base, kSpOrZero});
  const std::uint32_t data = make.reg_other_than({loaded});
  const std::uint32_t status = make.reg_other_than({data, base});
  make.place(base, 0, 1U << size, true);
  const std::uint32_t rest = size << 30 | make.below(2) << 15 | base << 5;
  make.add(0x085F7C00U | rest | loaded);
  if (changed) {
    make.add(0x39000000U | size << 30 | base << 5 | make.reg());
  } else if (make.chance(2)) {
    // mov, an alias of orr.
    const std::uint32_t written = make.reg_other_than({loaded, base});
    make.add(0xAA0003E0U | make.reg() << 16 | written);
  }
  make.add(0x08007C00U | rest | status << 16 | data);
}

struct Class {
  const char* name = "";
  std::function<void(Maker&)> make;
  bool armv81 = false;             ///< Needs the instructions that came with FEAT_LSE and FEAT_LOR.
  bool conditional = false;        ///< May write or not: both must happen.
  bool may_fail_natively = false;  ///< An interrupt can make it fail: tried again.
};

std::vector<Class> all_classes() {
  std::vector<Class> classes;
  for (const bool v : {false, true}) {
    const auto name = [v](const char* general, const char* vectors) {
      return v ? vectors : general;
    };
    classes.insert(
        classes.end(),
        {{name("str unsigned", "str-v unsigned"), [v](Maker& m) { one_unsigned(m, v); }},
         {name("stur", "stur-v"), [v](Maker& m) { one_indexed(m, v, Form::Unscaled); }},
         {name("str post", "str-v post"), [v](Maker& m) { one_indexed(m, v, Form::Post); }},
         {name("str pre", "str-v pre"), [v](Maker& m) { one_indexed(m, v, Form::Pre); }},
         {name("str register", "str-v register"), [v](Maker& m) { one_by_register(m, v); }},
         {name("stp", "stp-v"), [v](Maker& m) { pair(m, v, PairForm::Offset); }},
         {name("stp post", "stp-v post"), [v](Maker& m) { pair(m, v, PairForm::Post); }},
         {name("stp pre", "stp-v pre"), [v](Maker& m) { pair(m, v, PairForm::Pre); }},
         {name("stnp", "stnp-v"), [v](Maker& m) { pair(m, v, PairForm::NoAllocate); }}});
  }
  classes.insert(
      classes.end(),
      {{"sttr", [](Maker& m) { one_indexed(m, false, Form::Unprivileged); }},
       {"stlr", [](Maker& m) { ordered(m, 1); }},
       {"st1", [](Maker& m) { structures(m, false); }},
       {"st1 post", [](Maker& m) { structures(m, true); }},
       {"dc zva", zero_block},
       {"stxr", [](Maker& m) { exclusive(m, false); }, false, false, true},
       {"stxp", exclusive_pair, false, false, true},
       {"stxr, memory changed", [](Maker& m) { exclusive(m, true); }, false, false, true},
       {"stllr", [](Maker& m) { ordered(m, 0); }, true}});
  constexpr const char* kAtomics[] = {"ldadd",  "ldclr",  "ldeor",  "ldset", "ldsmax",
                                      "ldsmin", "ldumax", "ldumin", "swp"};
  for (std::uint32_t code = 0; code < std::size(kAtomics); ++code) {
    classes.push_back({kAtomics[code], [code](Maker& m) { atomic(m, code); }, true});
  }
  classes.push_back({"cas", compare_and_swap, true, true});
  classes.push_back({"casp", compare_and_swap_pair, true, true});
  return classes;
}

// ---- Comparing ----------------------------------------------------------------------------------

struct Emulated {
  StoreRegisters registers;
  Bytes page;
  bool written = false;
  const char* failure = nullptr;  ///< Why there is nothing to compare.
};

/// The two instructions beside stores that cases have: load exclusive and mov.
bool do_other(std::uint32_t word, StoreRegisters& registers, PageCopy& memory) {
  const std::uint32_t to = word & 31;
  if ((word & 0xFFE0FFE0U) == 0xAA0003E0U) {
    const std::uint32_t from = word >> 16 & 31;
    if (to != kSpOrZero) registers.x[to] = from == kSpOrZero ? 0 : registers.x[from];
    return true;
  }
  const std::uint32_t base = word >> 5 & 31;
  if ((word & 0xBFFF0000U) == 0x887F0000U) {
    const Gva gva{base == kSpOrZero ? registers.sp : registers.x[base]};
    const std::size_t size = std::size_t{1} << (word >> 30);
    std::array<std::byte, 16> bytes{};
    if (!memory.read(gva, std::span(bytes).first(2 * size))) return false;
    for (const std::uint32_t into : {to, word >> 10 & 31}) {
      registers.x[into] = 0;
      std::memcpy(&registers.x[into], bytes.data() + (into == to ? 0 : size), size);
    }
    return true;
  }
  if ((word & 0x3FFF7C00U) != 0x085F7C00U) return false;
  std::array<std::byte, 8> bytes{};
  const Gva gva{base == kSpOrZero ? registers.sp : registers.x[base]};
  if (!memory.read(gva, std::span(bytes).first(1U << (word >> 30)))) return false;
  std::memcpy(&registers.x[to], bytes.data(), sizeof bytes);
  return true;
}

/// Does one word. Precondition: the first of `before` is a load exclusive if `word` is the store.
Result<StoreOutcome> do_store(std::uint32_t word, std::span<const std::uint32_t> before,
                              StoreRegisters& registers, PageCopy& memory) {
  const StoreEnvironment environment{.sctlr_el1 = 0, .dczid_el0 = read_dczid()};
  const auto store = decode_exclusive_store(word);
  if (!store) return emulate_store(word, registers, memory, environment);
  const unsigned loaded = before[0] & 31;
  const bool stored_between = before.size() == 2 && (before[1] & 0x3F000000U) == 0x39000000U;
  const auto found = loaded_value_registers(before, *store);
  const LoadedRegisters expected{
      loaded, store->second_register == kNoRegister ? kNoRegister : before[0] >> 10 & 31};
  if (found.has_value() == stored_between || found.value_or(expected) != expected) {
    return Error{ExitCode::Failed, "another loaded register than expected"};
  }
  return emulate_exclusive_store(*store, expected, registers, memory, environment);
}

Emulated emulate(const Case& tried, std::uint64_t address) {
  Emulated result{tried.registers, tried.page};
  PageCopy memory(address, result.page);
  const std::span<const std::uint32_t> words(tried.words);
  for (std::size_t i = 0; i < words.size(); ++i) {
    // What the engine does not load has to be without effect.
    if (!uses_vectors(words[i])) result.registers.v = {};
    if (do_other(words[i], result.registers, memory)) continue;
    const auto outcome = do_store(words[i], words.first(i), result.registers, memory);
    const Store* store = outcome ? std::get_if<Store>(&outcome.value()) : nullptr;
    if (store == nullptr) {
      result.failure = outcome ? "unknown to the emulator" : "refused by the emulator's memory";
      return result;
    }
    result.written = store->written;
  }
  result.registers.v = tried.registers.v;
  return result;
}

void break_one_bit(Emulated& result, std::uint64_t number) {
  const std::uint64_t bit = number * 0x9E3779B97F4A7C15ULL >> 40;
  switch (number % 3) {
    case 0:
      result.page[bit / 8 % kPage] ^= static_cast<std::byte>(1U << bit % 8);
      break;
    case 1:
      result.registers.x[bit / 64 % 31] ^= std::uint64_t{1} << bit % 64;
      break;
    default:
      result.registers.v[bit / 128 % 32][bit / 8 % 16] ^= static_cast<std::byte>(1U << bit % 8);
      break;
  }
}

/// What differs first; nullptr: nothing.
const char* difference(const Emulated& emulated, const StoreRegisters& registers,
                       const Bytes& page) {
  if (emulated.failure != nullptr) return emulated.failure;
  if (emulated.page != page) return "memory";
  if (emulated.registers.x != registers.x) return "x0 to x30";
  if (emulated.registers.sp != registers.sp) return "sp";
  if (emulated.registers.v != registers.v) return "v0 to v31";
  return nullptr;
}

struct Counts {
  unsigned compared = 0;
  unsigned differed = 0;
  unsigned wrote = 0;
};

struct Options {
  std::uint64_t seed = 20240611;
  unsigned break_each = 0;  ///< 0: never.
};

/// Compares a case; the number is of all cases, from 1.
void compare(const Class& kind, const Case& tried, Native& native, std::uint64_t number,
             const Options& options, Counts& counts) {
  constexpr unsigned kTries = 4;
  Emulated emulated = emulate(tried, native.address());
  const bool broken = options.break_each != 0 && number % options.break_each == 0;
  if (broken) break_one_bit(emulated, number);
  const char* what = nullptr;
  for (unsigned i = 0; i < (kind.may_fail_natively ? kTries : 1); ++i) {
    StoreRegisters registers = tried.registers;
    Bytes page = tried.page;
    native.run(tried.words, registers, page);
    what = difference(emulated, registers, page);
    if (what == nullptr) break;
  }
  ++counts.compared;
  counts.wrote += emulated.written ? 1 : 0;
  if (what == nullptr) return;
  ++counts.differed;
  constexpr unsigned kMostPrinted = 3;
  if (counts.differed > kMostPrinted) return;
  std::printf("%s%s: %s differs after", broken ? "broken on purpose: " : "", kind.name, what);
  for (const std::uint32_t word : tried.words) std::printf(" 0x%08x", word);
  std::printf("\n");
}

/// Whether the class is as it should be.
bool run_class(const Class& kind, Maker& maker, Native& native, std::uint64_t& number,
               const Options& options, Counts& total) {
  Counts counts;
  for (unsigned i = 0; i < kCasesOfClass; ++i) {
    maker.begin();
    kind.make(maker);
    compare(kind, maker.end(), native, ++number, options, counts);
  }
  std::printf("class %s: %u compared, %u differed, %u wrote\n", kind.name, counts.compared,
              counts.differed, counts.wrote);
  total.compared += counts.compared;
  total.differed += counts.differed;
  const bool both = counts.wrote != 0 && counts.wrote != counts.compared;
  const bool enough = counts.compared >= kLeastCases && (both || !kind.conditional);
  if (!enough) std::printf("class %s: too few cases, or all of one outcome\n", kind.name);
  return enough && counts.differed == 0;
}

int run_all(const Options& options) {
  Bytes stack(65536);
  catch_faults(stack);
  Native native;
  Maker maker(options.seed, native.address());
  // HWCAP_ATOMICS: Documentation/arch/arm64/elf_hwcaps.rst. FEAT_LOR has no bit there; both are
  // mandatory in Armv8.1.
  const bool armv81 = (::getauxval(AT_HWCAP) & HWCAP_ATOMICS) != 0;
  bool good = true;
  Counts total;
  std::uint64_t number = 0;
  unsigned skipped = 0;
  for (const Class& kind : all_classes()) {
    if (kind.armv81 && !armv81) {
      std::printf("class %s: skipped, this CPU has no LSE atomics\n", kind.name);
      ++skipped;
      continue;
    }
    good = run_class(kind, maker, native, number, options, total) && good;
  }
  std::printf("seed %llu: %u cases compared, %u differed, %u classes skipped%s\n",
              static_cast<unsigned long long>(options.seed), total.compared, total.differed,
              skipped, skipped != 0 ? " for want of LSE atomics" : "");
  return good ? 0 : 1;
}

std::optional<Options> parse(std::span<char*> arguments) {
  Options options;
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    const std::string_view name = arguments[i];
    if (i + 1 == arguments.size()) return std::nullopt;
    const std::uint64_t value = std::strtoull(arguments[i + 1], nullptr, 0);
    if (name == "--seed") {
      options.seed = value;
    } else if (name == "--break" && value != 0) {
      options.break_each = static_cast<unsigned>(value);
    } else {
      return std::nullopt;
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto options = parse(std::span(argv, static_cast<std::size_t>(argc)));
  if (!options) {
    std::printf("usage: store-oracle [--seed N] [--break N]\n");
    return 2;
  }
  return run_all(*options);
}
