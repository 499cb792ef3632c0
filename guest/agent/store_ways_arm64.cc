// What the instructions of store_ways_arm64.S need.
#include <sys/auxv.h>

#include <array>

#include "guest/agent/store_way.h"

/// A function of the assembler's, and the address of its instruction that stores.
#define SEALVISOR_WAY(name)                                \
  extern "C" void way_##name(void* at, const void* bytes); \
  extern "C" const char way_##name##_store[]
SEALVISOR_WAY(strb);
SEALVISOR_WAY(strh);
SEALVISOR_WAY(str_w);
SEALVISOR_WAY(str_x);
SEALVISOR_WAY(str_x_post);
SEALVISOR_WAY(str_x_pre);
SEALVISOR_WAY(str_x_register);
SEALVISOR_WAY(sturb);
SEALVISOR_WAY(sturh);
SEALVISOR_WAY(stur_w);
SEALVISOR_WAY(stur_x);
SEALVISOR_WAY(sttrb);
SEALVISOR_WAY(sttrh);
SEALVISOR_WAY(sttr_w);
SEALVISOR_WAY(sttr_x);
SEALVISOR_WAY(stlrb);
SEALVISOR_WAY(stlrh);
SEALVISOR_WAY(stlr_w);
SEALVISOR_WAY(stlr_x);
SEALVISOR_WAY(stp_w);
SEALVISOR_WAY(stp_x);
SEALVISOR_WAY(stp_x_post);
SEALVISOR_WAY(stp_x_pre);
SEALVISOR_WAY(stnp_w);
SEALVISOR_WAY(stnp_x);
SEALVISOR_WAY(stp_s);
SEALVISOR_WAY(stp_d);
SEALVISOR_WAY(stp_q);
SEALVISOR_WAY(stnp_s);
SEALVISOR_WAY(stnp_d);
SEALVISOR_WAY(stnp_q);
SEALVISOR_WAY(str_b);
SEALVISOR_WAY(str_h);
SEALVISOR_WAY(str_s);
SEALVISOR_WAY(str_d);
SEALVISOR_WAY(str_q);
SEALVISOR_WAY(str_q_post);
SEALVISOR_WAY(stur_q);
SEALVISOR_WAY(st1_lane_b);
SEALVISOR_WAY(st1_lane_h);
SEALVISOR_WAY(st1_lane_s);
SEALVISOR_WAY(st1_lane_d);
SEALVISOR_WAY(st1_16);
SEALVISOR_WAY(st1_16_post);
SEALVISOR_WAY(st1_32);
SEALVISOR_WAY(st1_48);
SEALVISOR_WAY(st1_64);
SEALVISOR_WAY(st2_32);
SEALVISOR_WAY(st3_48);
SEALVISOR_WAY(st4_64);
SEALVISOR_WAY(st2_lane_d);
SEALVISOR_WAY(st3_lane_d);
SEALVISOR_WAY(st4_lane_d);
SEALVISOR_WAY(stxrb);
SEALVISOR_WAY(stxrh);
SEALVISOR_WAY(stxr_w);
SEALVISOR_WAY(stxr_x);
SEALVISOR_WAY(stlxrb);
SEALVISOR_WAY(stlxrh);
SEALVISOR_WAY(stlxr_w);
SEALVISOR_WAY(stlxr_x);
SEALVISOR_WAY(stxp_w);
SEALVISOR_WAY(stxp_x);
SEALVISOR_WAY(stlxp_x);
SEALVISOR_WAY(casb);
SEALVISOR_WAY(cash);
SEALVISOR_WAY(cas_w);
SEALVISOR_WAY(cas_x);
SEALVISOR_WAY(casal_x);
SEALVISOR_WAY(casp_w);
SEALVISOR_WAY(caspal_x);
SEALVISOR_WAY(cas_x_failed);
SEALVISOR_WAY(casal_x_failed);
SEALVISOR_WAY(swpb);
SEALVISOR_WAY(swph);
SEALVISOR_WAY(swp_w);
SEALVISOR_WAY(swp_x);
SEALVISOR_WAY(swpal_x);
SEALVISOR_WAY(ldaddb);
SEALVISOR_WAY(ldaddh);
SEALVISOR_WAY(ldadd_w);
SEALVISOR_WAY(ldaddal_x);
SEALVISOR_WAY(stadd_w);
SEALVISOR_WAY(stadd_x);
SEALVISOR_WAY(ldeor_x);
SEALVISOR_WAY(ldeoral_x);
SEALVISOR_WAY(steor_x);
SEALVISOR_WAY(ldset_x);
SEALVISOR_WAY(ldsetal_x);
SEALVISOR_WAY(stset_x);
SEALVISOR_WAY(ldclr_x);
SEALVISOR_WAY(ldclral_x);
SEALVISOR_WAY(stclr_x);
SEALVISOR_WAY(ldumax_x);
SEALVISOR_WAY(ldumin_x);
SEALVISOR_WAY(ldsmax_x);
SEALVISOR_WAY(ldsmin_x);
SEALVISOR_WAY(dc_zva);
#undef SEALVISOR_WAY

namespace sealvisor::agent {
namespace {

/// HWCAP_ATOMICS: Documentation/arch/arm64/elf_hwcaps.rst.
bool has_lse() { return (::getauxval(AT_HWCAP) & (1UL << 8)) != 0; }

/// DCZID_EL0 (Arm ARM D19.2.37): allowed, and 64 bytes at a time.
bool zeroes_64() {
  std::uint64_t id;
  asm volatile("mrs %0, dczid_el0" : "=r"(id));
  return (id & 31) == 4;
}

/// What arch/arm64/stores.h does not do: these end a guest of the kvm lanes (docs/lanes.md).
constexpr bool kNotToCode = false;

using Run = void (*)(void*, const void*);

/// A store of `width` bytes, aligned to that or, if it is no power of two, to 8.
constexpr StoreWay plain(const char* name, Run run, const char* store, std::uint32_t width,
                         bool to_code = true) {
  const std::uint32_t align = (width & (width - 1)) == 0 ? width : 8;
  return {name, run, store, {width, align, 0, width < 8 ? width : 8}, false, false, to_code};
}
constexpr StoreWay by_user(const char* name, Run run, const char* store, std::uint32_t width) {
  return {name, run, store, {width, width, 0, width}, true};
}
/// The same instruction `phase` bytes away from a place that is aligned to 8.
constexpr StoreWay unaligned(const char* name, Run run, const char* store, std::uint32_t width,
                             std::uint32_t phase) {
  return {name, run, store, {width, 8, phase, width < 8 ? width : 8}};
}
/// The same instruction with its first `in_front` bytes in front of a page's end.
constexpr StoreWay straddling(const char* name, Run run, const char* store, std::uint32_t width,
                              std::uint32_t in_front) {
  return {name, run, store, {width, 4096, 4096 - in_front, width}, false, true, kNotToCode};
}
constexpr StoreWay atomic(const char* name, Run run, const char* store, std::uint32_t width,
                          Needs needs = Needs::Nothing) {
  return {name,  run,   store, {width, width, 0, width < 8 ? width : 8, needs},
          false, false, true,  has_lse};
}

#define WAY(symbol) way_##symbol, way_##symbol##_store

constexpr auto kWays = std::to_array<StoreWay>({
    plain("strb", WAY(strb), 1),
    plain("strh", WAY(strh), 2),
    plain("str-w", WAY(str_w), 4),
    plain("str-x", WAY(str_x), 8),
    plain("str-x-post-index", WAY(str_x_post), 8),
    plain("str-x-pre-index", WAY(str_x_pre), 8),
    plain("str-x-register", WAY(str_x_register), 8),
    plain("sturb", WAY(sturb), 1),
    plain("sturh", WAY(sturh), 2),
    plain("stur-w", WAY(stur_w), 4),
    plain("stur-x", WAY(stur_x), 8),
    by_user("sttrb", WAY(sttrb), 1),
    by_user("sttrh", WAY(sttrh), 2),
    by_user("sttr-w", WAY(sttr_w), 4),
    by_user("sttr-x", WAY(sttr_x), 8),
    unaligned("strh-unaligned", WAY(strh), 2, 7),
    unaligned("stur-w-unaligned", WAY(stur_w), 4, 2),
    unaligned("str-x-unaligned", WAY(str_x), 8, 4),
    straddling("strh-straddling", WAY(strh), 2, 1),
    straddling("str-w-straddling", WAY(str_w), 4, 3),
    straddling("str-x-straddling", WAY(str_x), 8, 4),
    plain("stlrb", WAY(stlrb), 1),
    plain("stlrh", WAY(stlrh), 2),
    plain("stlr-w", WAY(stlr_w), 4),
    plain("stlr-x", WAY(stlr_x), 8),
    {"stp-w", WAY(stp_w), {8, 8, 0, 4}},
    plain("stp-x", WAY(stp_x), 16),
    plain("stp-x-post-index", WAY(stp_x_post), 16),
    plain("stp-x-pre-index", WAY(stp_x_pre), 16),
    unaligned("stp-x-unaligned", WAY(stp_x), 16, 4),
    straddling("stp-x-straddling", WAY(stp_x), 16, 8),
    {"stnp-w", WAY(stnp_w), {8, 8, 0, 4}},
    plain("stnp-x", WAY(stnp_x), 16),
    {"stp-s", WAY(stp_s), {8, 8, 0, 4}},
    plain("stp-d", WAY(stp_d), 16),
    plain("stp-q", WAY(stp_q), 32),
    straddling("stp-q-straddling", WAY(stp_q), 32, 12),
    {"stnp-s", WAY(stnp_s), {8, 8, 0, 4}},
    plain("stnp-d", WAY(stnp_d), 16),
    plain("stnp-q", WAY(stnp_q), 32),
    plain("str-b", WAY(str_b), 1),
    plain("str-h", WAY(str_h), 2),
    plain("str-s", WAY(str_s), 4),
    plain("str-d", WAY(str_d), 8),
    plain("str-q", WAY(str_q), 16),
    plain("str-q-post-index", WAY(str_q_post), 16),
    plain("stur-q", WAY(stur_q), 16),
    unaligned("str-q-unaligned", WAY(str_q), 16, 4),
    straddling("str-q-straddling", WAY(str_q), 16, 12),
    plain("st1-lane-b", WAY(st1_lane_b), 1, kNotToCode),
    plain("st1-lane-h", WAY(st1_lane_h), 2, kNotToCode),
    plain("st1-lane-s", WAY(st1_lane_s), 4, kNotToCode),
    plain("st1-lane-d", WAY(st1_lane_d), 8, kNotToCode),
    plain("st1-16", WAY(st1_16), 16),
    plain("st1-16-post-index", WAY(st1_16_post), 16),
    plain("st1-32", WAY(st1_32), 32),
    plain("st1-48", WAY(st1_48), 48),
    plain("st1-64", WAY(st1_64), 64),
    straddling("st1-64-straddling", WAY(st1_64), 64, 32),
    plain("st2-32", WAY(st2_32), 32, kNotToCode),
    plain("st3-48", WAY(st3_48), 48, kNotToCode),
    plain("st4-64", WAY(st4_64), 64, kNotToCode),
    plain("st2-lane-d", WAY(st2_lane_d), 16, kNotToCode),
    plain("st3-lane-d", WAY(st3_lane_d), 24, kNotToCode),
    plain("st4-lane-d", WAY(st4_lane_d), 32, kNotToCode),
    plain("stxrb", WAY(stxrb), 1),
    plain("stxrh", WAY(stxrh), 2),
    plain("stxr-w", WAY(stxr_w), 4),
    plain("stxr-x", WAY(stxr_x), 8),
    plain("stlxrb", WAY(stlxrb), 1),
    plain("stlxrh", WAY(stlxrh), 2),
    plain("stlxr-w", WAY(stlxr_w), 4),
    plain("stlxr-x", WAY(stlxr_x), 8),
    plain("stxp-w", WAY(stxp_w), 8),
    plain("stxp-x", WAY(stxp_x), 16),
    plain("stlxp-x", WAY(stlxp_x), 16),
    atomic("casb", WAY(casb), 1),
    atomic("cash", WAY(cash), 2),
    atomic("cas-w", WAY(cas_w), 4),
    atomic("cas-x", WAY(cas_x), 8),
    atomic("casal-x", WAY(casal_x), 8),
    atomic("casp-w", WAY(casp_w), 8),
    atomic("caspal-x", WAY(caspal_x), 16),
    atomic("cas-x-failed", WAY(cas_x_failed), 8, Needs::NoChange),
    atomic("casal-x-failed", WAY(casal_x_failed), 8, Needs::NoChange),
    atomic("swpb", WAY(swpb), 1),
    atomic("swph", WAY(swph), 2),
    atomic("swp-w", WAY(swp_w), 4),
    atomic("swp-x", WAY(swp_x), 8),
    atomic("swpal-x", WAY(swpal_x), 8),
    atomic("ldaddb", WAY(ldaddb), 1),
    atomic("ldaddh", WAY(ldaddh), 2),
    atomic("ldadd-w", WAY(ldadd_w), 4),
    atomic("ldaddal-x", WAY(ldaddal_x), 8),
    atomic("stadd-w", WAY(stadd_w), 4),
    atomic("stadd-x", WAY(stadd_x), 8),
    atomic("ldeor-x", WAY(ldeor_x), 8),
    atomic("ldeoral-x", WAY(ldeoral_x), 8),
    atomic("steor-x", WAY(steor_x), 8),
    atomic("ldset-x", WAY(ldset_x), 8, Needs::Sets),
    atomic("ldsetal-x", WAY(ldsetal_x), 8, Needs::Sets),
    atomic("stset-x", WAY(stset_x), 8, Needs::Sets),
    atomic("ldclr-x", WAY(ldclr_x), 8, Needs::Clears),
    atomic("ldclral-x", WAY(ldclral_x), 8, Needs::Clears),
    atomic("stclr-x", WAY(stclr_x), 8, Needs::Clears),
    atomic("ldumax-x", WAY(ldumax_x), 8, Needs::Greater),
    atomic("ldumin-x", WAY(ldumin_x), 8, Needs::Less),
    atomic("ldsmax-x", WAY(ldsmax_x), 8, Needs::GreaterSigned),
    atomic("ldsmin-x", WAY(ldsmin_x), 8, Needs::LessSigned),
    {"dc-zva", WAY(dc_zva), {64, 64, 0, 64, Needs::Zeroes}, false, false, kNotToCode, zeroes_64},
});

#undef WAY

}  // namespace

std::span<const StoreWay> store_ways() { return kWays; }

}  // namespace sealvisor::agent
