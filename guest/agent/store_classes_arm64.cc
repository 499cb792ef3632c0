// Store instructions of AArch64 (Arm ARM C6.2, C7.2), one function each.
#include <sys/auxv.h>

#include <array>

#include "guest/agent/store_class.h"

namespace sealvisor::agent {
namespace {

using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

/// HWCAP_ATOMICS: Documentation/arch/arm64/elf_hwcaps.rst.
bool has_lse() { return (::getauxval(AT_HWCAP) & (1UL << 8)) != 0; }

/// A store of one general register: `w` picks the register's width in the template.
#define SEALVISOR_REGISTER_STORE(function, type, instruction)                 \
  void function(const StoreRun& run) {                                        \
    each(run, [](void* p, uint32_t i) {                                       \
      asm volatile(instruction : : "r"(p), "r"(pattern<type>(i)) : "memory"); \
    });                                                                       \
  }
SEALVISOR_REGISTER_STORE(strb, uint8_t, "strb %w1, [%0]")
SEALVISOR_REGISTER_STORE(strh, uint16_t, "strh %w1, [%0]")
SEALVISOR_REGISTER_STORE(str_w, uint32_t, "str %w1, [%0]")
SEALVISOR_REGISTER_STORE(str_x, uint64_t, "str %1, [%0]")
SEALVISOR_REGISTER_STORE(stur_w, uint32_t, "stur %w1, [%0]")
SEALVISOR_REGISTER_STORE(sttr_x, uint64_t, "sttr %1, [%0]")
SEALVISOR_REGISTER_STORE(stlrb, uint8_t, "stlrb %w1, [%0]")
SEALVISOR_REGISTER_STORE(stlrh, uint16_t, "stlrh %w1, [%0]")
SEALVISOR_REGISTER_STORE(stlr_w, uint32_t, "stlr %w1, [%0]")
SEALVISOR_REGISTER_STORE(stlr_x, uint64_t, "stlr %1, [%0]")
#undef SEALVISOR_REGISTER_STORE

void str_x_post(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    asm volatile("str %1, [%0], #8" : "+r"(p) : "r"(pattern<uint64_t>(i)) : "memory");
  });
}

void str_x_pre(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    void* in_front = static_cast<uint8_t*>(p) - 8;
    asm volatile("str %1, [%0, #8]!" : "+r"(in_front) : "r"(pattern<uint64_t>(i)) : "memory");
  });
}

/// A store of registers that are loaded from the pattern first, by the matching load.
#define SEALVISOR_LOADED_STORE(function, load, store, ...)                                  \
  void function(const StoreRun& run) {                                                      \
    each(run, [](void* p, uint32_t i) {                                                     \
      const PatternBytes bytes(i);                                                          \
      asm volatile(load "\n\t" store : : "r"(p), "r"(bytes.bytes) : "memory", __VA_ARGS__); \
    });                                                                                     \
  }
SEALVISOR_LOADED_STORE(stp_w, "ldp w9, w10, [%1]", "stp w9, w10, [%0]", "x9", "x10")
SEALVISOR_LOADED_STORE(stp_x, "ldp x9, x10, [%1]", "stp x9, x10, [%0]", "x9", "x10")
SEALVISOR_LOADED_STORE(stnp_x, "ldp x9, x10, [%1]", "stnp x9, x10, [%0]", "x9", "x10")
SEALVISOR_LOADED_STORE(stp_q, "ldp q0, q1, [%1]", "stp q0, q1, [%0]", "v0", "v1")
SEALVISOR_LOADED_STORE(str_b, "ldr b0, [%1]", "str b0, [%0]", "v0")
SEALVISOR_LOADED_STORE(str_s, "ldr s0, [%1]", "str s0, [%0]", "v0")
SEALVISOR_LOADED_STORE(str_d, "ldr d0, [%1]", "str d0, [%0]", "v0")
SEALVISOR_LOADED_STORE(str_q, "ldr q0, [%1]", "str q0, [%0]", "v0")
SEALVISOR_LOADED_STORE(st1_lane_b, "ld1 {v0.b}[3], [%1]", "st1 {v0.b}[3], [%0]", "v0")
SEALVISOR_LOADED_STORE(st1_lane_d, "ld1 {v0.d}[1], [%1]", "st1 {v0.d}[1], [%0]", "v0")
SEALVISOR_LOADED_STORE(st1_1, "ld1 {v0.16b}, [%1]", "st1 {v0.16b}, [%0]", "v0")
SEALVISOR_LOADED_STORE(st1_4, "ld1 {v0.16b-v3.16b}, [%1]", "st1 {v0.16b-v3.16b}, [%0]", "v0", "v1",
                       "v2", "v3")
SEALVISOR_LOADED_STORE(st2, "ld2 {v0.4s, v1.4s}, [%1]", "st2 {v0.4s, v1.4s}, [%0]", "v0", "v1")
SEALVISOR_LOADED_STORE(st4, "ld4 {v0.16b-v3.16b}, [%1]", "st4 {v0.16b-v3.16b}, [%0]", "v0", "v1",
                       "v2", "v3")
#undef SEALVISOR_LOADED_STORE

/// An exclusive pair, tried until it stores: one that fails stores nothing.
#define SEALVISOR_EXCLUSIVE_STORE(function, type, load, store) \
  void function(const StoreRun& run) {                         \
    each(run, [](void* p, uint32_t i) {                        \
      uint32_t failed;                                         \
      uint64_t old;                                            \
      asm volatile("1: " load "\n\t" store "\n\tcbnz %w0, 1b"  \
                   : "=&r"(failed), "=&r"(old)                 \
                   : "r"(p), "r"(pattern<type>(i))             \
                   : "memory");                                \
    });                                                        \
  }
SEALVISOR_EXCLUSIVE_STORE(stxrb, uint8_t, "ldxrb %w1, [%2]", "stxrb %w0, %w3, [%2]")
SEALVISOR_EXCLUSIVE_STORE(stxrh, uint16_t, "ldxrh %w1, [%2]", "stxrh %w0, %w3, [%2]")
SEALVISOR_EXCLUSIVE_STORE(stxr_w, uint32_t, "ldxr %w1, [%2]", "stxr %w0, %w3, [%2]")
SEALVISOR_EXCLUSIVE_STORE(stxr_x, uint64_t, "ldxr %1, [%2]", "stxr %w0, %3, [%2]")
SEALVISOR_EXCLUSIVE_STORE(stlxr_x, uint64_t, "ldaxr %1, [%2]", "stlxr %w0, %3, [%2]")
#undef SEALVISOR_EXCLUSIVE_STORE

void stxp_x(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile(
        "ldp x9, x10, [%1]\n\t"
        "1: ldxp x11, x12, [%0]\n\t"
        "stxp w13, x9, x10, [%0]\n\t"
        "cbnz w13, 1b"
        :
        : "r"(p), "r"(bytes.bytes)
        : "memory", "x9", "x10", "x11", "x12", "x13");
  });
}

/// An LSE compare-and-swap that succeeds.
#define SEALVISOR_CAS(function, type, instruction)       \
  void function(const StoreRun& run) {                   \
    each(run, [](void* p, uint32_t i) {                  \
      uint64_t expected = now_at<type>(p);               \
      asm volatile(".arch_extension lse\n\t" instruction \
                   : "+r"(expected)                      \
                   : "r"(pattern<type>(i)), "r"(p)       \
                   : "memory");                          \
    });                                                  \
  }
SEALVISOR_CAS(casalb, uint8_t, "casalb %w0, %w1, [%2]")
SEALVISOR_CAS(casal_w, uint32_t, "casal %w0, %w1, [%2]")
SEALVISOR_CAS(casal_x, uint64_t, "casal %0, %1, [%2]")
#undef SEALVISOR_CAS

void casal_failed(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t expected = ~now_at<uint64_t>(p);
    asm volatile(".arch_extension lse\n\tcasal %0, %1, [%2]"
                 : "+r"(expected)
                 : "r"(pattern<uint64_t>(i + 1)), "r"(p)
                 : "memory");
  });
}

void caspal_x(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const PatternBytes bytes(i);
    asm volatile(
        ".arch_extension lse\n\t"
        "ldp x8, x9, [%0]\n\t"
        "ldp x10, x11, [%1]\n\t"
        "caspal x8, x9, x10, x11, [%0]"
        :
        : "r"(p), "r"(bytes.bytes)
        : "memory", "x8", "x9", "x10", "x11");
  });
}

void swpal_x(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t old;
    asm volatile(".arch_extension lse\n\tswpal %1, %0, [%2]"
                 : "=&r"(old)
                 : "r"(pattern<uint64_t>(i)), "r"(p)
                 : "memory");
  });
}

void ldaddal_x(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t old;
    const uint64_t difference = pattern<uint64_t>(i) - now_at<uint64_t>(p);
    asm volatile(".arch_extension lse\n\tldaddal %1, %0, [%2]"
                 : "=&r"(old)
                 : "r"(difference), "r"(p)
                 : "memory");
  });
}

void stadd_w(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    const uint32_t difference = pattern<uint32_t>(i) - now_at<uint32_t>(p);
    asm volatile(".arch_extension lse\n\tstadd %w0, [%1]" : : "r"(difference), "r"(p) : "memory");
  });
}

void ldsetal_x(const StoreRun& run) {
  each(run, [](void* p, uint32_t i) {
    uint64_t old;
    asm volatile(".arch_extension lse\n\tldsetal %1, %0, [%2]"
                 : "=&r"(old)
                 : "r"(pattern<uint64_t>(i)), "r"(p)
                 : "memory");
  });
}

void dc_zva(const StoreRun& run) {
  each(run, [](void* p, uint32_t) { asm volatile("dc zva, %0" : : "r"(p) : "memory"); });
}

/// What arch/arm64/stores.h does not do: KVM leaves these to it, and stepping does not help, for a
/// read-only slot stays so. They end a guest of the kvm lanes.
constexpr bool kNotToCode = false;

constexpr auto kClasses = std::to_array<StoreClass>({
    {"strb", 1, strb},
    {"strh", 2, strh},
    {"str-w", 4, str_w},
    {"str-x", 8, str_x},
    {"str-x-post-index", 8, str_x_post},
    {"str-x-pre-index", 8, str_x_pre},
    {"sttr-x", 8, sttr_x},
    {"strh-unaligned", 2, strh, Reach::Spread, 7},
    {"stur-w-unaligned", 4, stur_w, Reach::Spread, 2},
    {"str-x-unaligned", 8, str_x, Reach::Spread, 4},
    {"strh-straddling", 2, strh, Reach::Straddling, 1},
    {"str-w-straddling", 4, str_w, Reach::Straddling, 3},
    {"str-x-straddling", 8, str_x, Reach::Straddling, 4},
    {"stp-w", 8, stp_w},
    {"stp-x", 16, stp_x},
    {"stnp-x", 16, stnp_x},
    {"stp-q", 32, stp_q},
    {"stp-x-unaligned", 16, stp_x, Reach::Spread, 4},
    {"stp-x-straddling", 16, stp_x, Reach::Straddling, 8},
    {"stp-x-unaligned-straddling", 16, stp_x, Reach::Straddling, 4},
    {"stp-q-straddling", 32, stp_q, Reach::Straddling, 12},
    {"str-b", 1, str_b},
    {"str-s", 4, str_s},
    {"str-d", 8, str_d},
    {"str-q", 16, str_q},
    {"str-q-unaligned", 16, str_q, Reach::Spread, 4},
    {"str-q-straddling", 16, str_q, Reach::Straddling, 12},
    {"st1-lane-b", 1, st1_lane_b, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"st1-lane-d", 8, st1_lane_d, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"st1-16", 16, st1_1},
    {"st1-64", 64, st1_4},
    {"st1-64-straddling", 64, st1_4, Reach::Straddling, 32},
    {"st2-32", 32, st2, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"st4-64", 64, st4, Reach::Spread, 0, Setup::Plain, nullptr, kNotToCode},
    {"stlrb", 1, stlrb},
    {"stlrh", 2, stlrh},
    {"stlr-w", 4, stlr_w},
    {"stlr-x", 8, stlr_x},
    {"stxrb", 1, stxrb},
    {"stxrh", 2, stxrh},
    {"stxr-w", 4, stxr_w},
    {"stxr-x", 8, stxr_x},
    {"stlxr-x", 8, stlxr_x},
    {"stxp-x", 16, stxp_x},
    {"casalb", 1, casalb, Reach::Spread, 0, Setup::Plain, has_lse},
    {"casal-w", 4, casal_w, Reach::Spread, 0, Setup::Plain, has_lse},
    {"casal-x", 8, casal_x, Reach::Spread, 0, Setup::Plain, has_lse},
    {"casal-x-failed", 8, casal_failed, Reach::Run, 0, Setup::Kept, has_lse},
    {"caspal-x", 16, caspal_x, Reach::Spread, 0, Setup::Plain, has_lse},
    {"swpal-x", 8, swpal_x, Reach::Spread, 0, Setup::Plain, has_lse},
    {"ldaddal-x", 8, ldaddal_x, Reach::Spread, 0, Setup::Plain, has_lse},
    {"stadd-w", 4, stadd_w, Reach::Spread, 0, Setup::Plain, has_lse},
    {"ldsetal-x", 8, ldsetal_x, Reach::Run, 0, Setup::Plain, has_lse},
    {"dc-zva", 0, dc_zva, Reach::Run, 0, Setup::Filled},
});

}  // namespace

std::span<const StoreClass> store_classes() { return kClasses; }

/// DCZID_EL0 (Arm ARM D19.2.37): BS, bits 3:0, log2 of the block size in words; DZP, bit 4, set
/// where the instruction is not allowed.
std::uint32_t zero_block_size() {
  uint64_t id;
  asm volatile("mrs %0, dczid_el0" : "=r"(id));
  return (id & 16) != 0 ? 0 : 4U << (id & 15);
}

}  // namespace sealvisor::agent
