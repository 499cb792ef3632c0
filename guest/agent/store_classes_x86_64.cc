// Store instructions of x86-64 (Intel SDM vol. 2), one function each. Operand widths follow from
// the registers.
#include <cpuid.h>

#include <array>

#include "guest/agent/store_class.h"

namespace sealvisor::agent {
namespace {

using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

template <typename T>
void mov(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("mov %1, (%0)" : : "r"(p), "q"(pattern<T>(i)) : "memory");
  });
}

template <typename T>
void movnti(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("movnti %1, (%0)" : : "r"(p), "r"(pattern<T>(i)) : "memory");
  });
}

void push(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t saved;
    // No call, no signal and no spill can come between: the stack is back before the statement
    // ends.
    asm volatile(
        "mov %%rsp, %0\n\t"
        "lea 8(%1), %%rsp\n\t"
        "push %2\n\t"
        "mov %0, %%rsp"
        : "=&r"(saved)
        : "r"(p), "r"(pattern<uint64_t>(i))
        : "memory");
  });
}

template <typename T>
void xchg(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    T value = pattern<T>(i);
    asm volatile("xchg %0, (%1)" : "+q"(value) : "r"(p) : "memory");
  });
}

template <typename T>
void lock_xadd(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    T value = static_cast<T>(pattern<T>(i) - now_at<T>(p));
    asm volatile("lock xadd %0, (%1)" : "+q"(value) : "r"(p) : "memory", "cc");
  });
}

template <typename T>
void lock_add(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const T value = static_cast<T>(pattern<T>(i) - now_at<T>(p));
    asm volatile("lock add %0, (%1)" : : "q"(value), "r"(p) : "memory", "cc");
  });
}

void plain_or(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("or %0, (%1)" : : "r"(pattern<uint64_t>(i)), "r"(p) : "memory", "cc");
  });
}

void lock_or(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("lock or %0, (%1)" : : "r"(pattern<uint64_t>(i)), "r"(p) : "memory", "cc");
  });
}

template <typename T>
void lock_cmpxchg(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    T expected = now_at<T>(p);
    asm volatile("lock cmpxchg %1, (%2)"
                 : "+a"(expected)
                 : "q"(pattern<T>(i)), "r"(p)
                 : "memory", "cc");
  });
}

void plain_cmpxchg(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t expected = now_at<uint64_t>(p);
    asm volatile("cmpxchg %1, (%2)"
                 : "+a"(expected)
                 : "r"(pattern<uint64_t>(i)), "r"(p)
                 : "memory", "cc");
  });
}

void lock_cmpxchg_failed(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t expected = ~now_at<uint64_t>(p);
    asm volatile("lock cmpxchg %1, (%2)"
                 : "+a"(expected)
                 : "r"(pattern<uint64_t>(i + 1)), "r"(p)
                 : "memory", "cc");
  });
}

void lock_cmpxchg8b(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const auto old = now_at<uint64_t>(p);
    const auto value = pattern<uint64_t>(i);
    auto low = static_cast<uint32_t>(old);
    auto high = static_cast<uint32_t>(old >> 32);
    asm volatile("lock cmpxchg8b (%2)"
                 : "+a"(low), "+d"(high)
                 : "r"(p), "b"(static_cast<uint32_t>(value)),
                   "c"(static_cast<uint32_t>(value >> 32))
                 : "memory", "cc");
  });
}

void lock_cmpxchg16b(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    uint64_t value[2];
    std::memcpy(value, bytes.bytes, sizeof value);
    uint64_t low = now_at<uint64_t>(p);
    uint64_t high = now_at<uint64_t>(static_cast<uint8_t*>(p) + 8);
    asm volatile("lock cmpxchg16b (%2)"
                 : "+a"(low), "+d"(high)
                 : "r"(p), "b"(value[0]), "c"(value[1])
                 : "memory", "cc");
  });
}

void rep_stosb(const StoreRun& run) {
  void* to = run.place(0);
  uint64_t left = run.count;
  asm volatile("rep stosb" : "+D"(to), "+c"(left) : "a"(pattern<uint8_t>(0)) : "memory");
}

void rep_stosq(const StoreRun& run) {
  void* to = run.place(0);
  uint64_t left = run.count;
  asm volatile("rep stosq" : "+D"(to), "+c"(left) : "a"(pattern<uint64_t>(0)) : "memory");
}

void rep_stosq_down(const StoreRun& run) {
  void* to = run.place(0);
  uint64_t left = run.count;
  asm volatile("std\n\trep stosq\n\tcld"
               : "+D"(to), "+c"(left)
               : "a"(pattern<uint64_t>(0))
               : "memory", "cc");
}

/// Store i's bytes one behind the other: the source of a string move.
template <typename T>
struct Source {
  T values[2048 / sizeof(T)];
  explicit Source(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) values[i] = pattern<T>(i);
  }
};

void rep_movsb(const StoreRun& run) {
  const Source<uint8_t> source(run.count);
  const void* from = source.values;
  void* to = run.place(0);
  uint64_t left = run.count;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
}

void rep_movsq(const StoreRun& run) {
  const Source<uint64_t> source(run.count);
  const void* from = source.values;
  void* to = run.place(0);
  uint64_t left = run.count;
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
}

void movd(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("movd %1, %%xmm0\n\tmovd %%xmm0, (%0)"
                 :
                 : "r"(p), "r"(pattern<uint32_t>(i))
                 : "memory", "xmm0");
  });
}

void movq(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("movq %1, %%xmm0\n\tmovq %%xmm0, (%0)"
                 :
                 : "r"(p), "r"(pattern<uint64_t>(i))
                 : "memory", "xmm0");
  });
}

void movdqa(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("movdqa (%1), %%xmm0\n\tmovdqa %%xmm0, (%0)"
                 :
                 : "r"(p), "r"(bytes.bytes)
                 : "memory", "xmm0");
  });
}

void movdqu(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("movdqa (%1), %%xmm0\n\tmovdqu %%xmm0, (%0)"
                 :
                 : "r"(p), "r"(bytes.bytes)
                 : "memory", "xmm0");
  });
}

void movntdq(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("movdqa (%1), %%xmm0\n\tmovntdq %%xmm0, (%0)"
                 :
                 : "r"(p), "r"(bytes.bytes)
                 : "memory", "xmm0");
  });
}

void fstp80(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("fldt (%1)\n\tfstpt (%0)" : : "r"(p), "r"(bytes.bytes) : "memory", "st");
  });
}

void vmovdqa(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("vmovdqa (%1), %%ymm0\n\tvmovdqa %%ymm0, (%0)\n\tvzeroupper"
                 :
                 : "r"(p), "r"(bytes.bytes)
                 : "memory", "xmm0");
  });
}

void vmovdqu(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile("vmovdqa (%1), %%ymm0\n\tvmovdqu %%ymm0, (%0)\n\tvzeroupper"
                 :
                 : "r"(p), "r"(bytes.bytes)
                 : "memory", "xmm0");
  });
}

bool has_avx() { return __builtin_cpu_supports("avx") != 0; }

/// CPUID.01H:ECX.CMPXCHG16B[bit 13].
bool has_cmpxchg16b() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_CMPXCHG16B) != 0;
}

/// KVM emulates each store to a read-only slot, and has no code for these (arch/x86/kvm/emulate.c,
/// twobyte_table and em_cmpxchg8b): user mode gets an undefined-instruction exception in their
/// place (arch/x86/kvm/x86.c, handle_emulation_failure). movdqu it does in two pieces, which share
/// a slot here, and tells each as a store of its own.
constexpr bool kNotToCode = false;

constexpr auto kClasses = std::to_array<StoreClass>({
    {"mov-1", 1, mov<uint8_t>},
    {"mov-2", 2, mov<uint16_t>},
    {"mov-4", 4, mov<uint32_t>},
    {"mov-8", 8, mov<uint64_t>},
    {"mov-2-unaligned", 2, mov<uint16_t>, Reach::Spread, 7},
    {"mov-4-unaligned", 4, mov<uint32_t>, Reach::Spread, 2},
    {"mov-8-unaligned", 8, mov<uint64_t>, Reach::Spread, 4},
    {"mov-2-straddling", 2, mov<uint16_t>, Reach::Straddling, 1},
    {"mov-4-straddling", 4, mov<uint32_t>, Reach::Straddling, 3},
    {"mov-8-straddling", 8, mov<uint64_t>, Reach::Straddling, 4},
    {"movnti-4", 4, movnti<uint32_t>},
    {"movnti-8", 8, movnti<uint64_t>},
    {"push-8", 8, push},
    {"push-8-straddling", 8, push, Reach::Straddling, 2},
    {"or-8", 8, plain_or, Reach::Run},
    {"cmpxchg-8", 8, plain_cmpxchg},
    {"xchg-1", 1, xchg<uint8_t>},
    {"xchg-4", 4, xchg<uint32_t>},
    {"xchg-8", 8, xchg<uint64_t>},
    {"xchg-8-straddling", 8, xchg<uint64_t>, Reach::Straddling, 4},
    {"lock-xadd-2", 2, lock_xadd<uint16_t>},
    {"lock-xadd-4", 4, lock_xadd<uint32_t>},
    {"lock-xadd-8", 8, lock_xadd<uint64_t>},
    {"lock-xadd-8-straddling", 8, lock_xadd<uint64_t>, Reach::Straddling, 5},
    {"lock-add-8", 8, lock_add<uint64_t>},
    {"lock-or-8", 8, lock_or, Reach::Run},
    {"lock-cmpxchg-1", 1, lock_cmpxchg<uint8_t>},
    {"lock-cmpxchg-4", 4, lock_cmpxchg<uint32_t>},
    {"lock-cmpxchg-8", 8, lock_cmpxchg<uint64_t>},
    {"lock-cmpxchg-8-straddling", 8, lock_cmpxchg<uint64_t>, Reach::Straddling, 4},
    {"lock-cmpxchg-8-failed", 8, lock_cmpxchg_failed, Reach::Run, 0, Setup::Kept},
    {"lock-cmpxchg8b", 8, lock_cmpxchg8b},
    {"lock-cmpxchg16b", 16, lock_cmpxchg16b, Reach::Spread, 0, Setup::Plain, has_cmpxchg16b,
     kNotToCode},
    {"rep-stosb", 1, rep_stosb, Reach::Run, 3, Setup::Same},
    {"rep-stosq", 8, rep_stosq, Reach::Run, 0, Setup::Same},
    {"rep-stosq-down", 8, rep_stosq_down, Reach::Down, 0, Setup::Same},
    {"rep-movsb", 1, rep_movsb, Reach::Run, 5},
    {"rep-movsq", 8, rep_movsq, Reach::Run},
    {"movd-4", 4, movd, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"movq-8", 8, movq, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"movdqa-16", 16, movdqa},
    {"movdqu-16-unaligned", 16, movdqu, Reach::Spread, 4, Setup::Plain, nullptr, kNotToCode},
    {"movdqu-16-straddling", 16, movdqu, Reach::Straddling, 12},
    {"movntdq-16", 16, movntdq},
    {"fstp-10", 10, fstp80, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"fstp-10-straddling", 10, fstp80, Reach::Straddling, 9},
    {"vmovdqa-32", 32, vmovdqa, Reach::Spread, 0, Setup::Plain, has_avx, kNotToCode},
    {"vmovdqu-32-unaligned", 32, vmovdqu, Reach::Spread, 4, Setup::Plain, has_avx, kNotToCode},
    {"vmovdqu-32-straddling", 32, vmovdqu, Reach::Straddling, 20, Setup::Plain, has_avx},
});

}  // namespace

std::span<const StoreClass> store_classes() { return kClasses; }

std::uint32_t zero_block_size() { return 0; }

}  // namespace sealvisor::agent
