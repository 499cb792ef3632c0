// What the instructions of store_ways_x86_64.S need.
#include <cpuid.h>

#include <array>

#include "guest/agent/store_way.h"

/// A function of the assembler's, and the address of its instruction that stores.
#define SEALVISOR_WAY(name)                                \
  extern "C" void way_##name(void* at, const void* bytes); \
  extern "C" const char way_##name##_store[]
SEALVISOR_WAY(mov_1);
SEALVISOR_WAY(mov_2);
SEALVISOR_WAY(mov_4);
SEALVISOR_WAY(mov_8);
SEALVISOR_WAY(movnti_4);
SEALVISOR_WAY(movnti_8);
SEALVISOR_WAY(movbe_2);
SEALVISOR_WAY(movbe_4);
SEALVISOR_WAY(movbe_8);
SEALVISOR_WAY(xchg_1);
SEALVISOR_WAY(xchg_2);
SEALVISOR_WAY(xchg_4);
SEALVISOR_WAY(xchg_8);
SEALVISOR_WAY(sete_1);
SEALVISOR_WAY(push_2);
SEALVISOR_WAY(push_8);
SEALVISOR_WAY(push_8_memory);
SEALVISOR_WAY(enter_8);
SEALVISOR_WAY(pop_8);
SEALVISOR_WAY(add_8);
SEALVISOR_WAY(lock_add_1);
SEALVISOR_WAY(lock_add_8);
SEALVISOR_WAY(xadd_8);
SEALVISOR_WAY(lock_xadd_1);
SEALVISOR_WAY(lock_xadd_2);
SEALVISOR_WAY(lock_xadd_4);
SEALVISOR_WAY(lock_xadd_8);
SEALVISOR_WAY(adc_8);
SEALVISOR_WAY(sub_8);
SEALVISOR_WAY(lock_sub_8);
SEALVISOR_WAY(sbb_8);
SEALVISOR_WAY(xor_8);
SEALVISOR_WAY(lock_xor_8);
SEALVISOR_WAY(or_8);
SEALVISOR_WAY(lock_or_1);
SEALVISOR_WAY(lock_or_8);
SEALVISOR_WAY(and_8);
SEALVISOR_WAY(lock_and_1);
SEALVISOR_WAY(lock_and_8);
SEALVISOR_WAY(bts_8);
SEALVISOR_WAY(lock_bts_8);
SEALVISOR_WAY(btr_8);
SEALVISOR_WAY(lock_btr_8);
SEALVISOR_WAY(btc_8);
SEALVISOR_WAY(lock_btc_8);
SEALVISOR_WAY(cmpxchg_8);
SEALVISOR_WAY(lock_cmpxchg_1);
SEALVISOR_WAY(lock_cmpxchg_2);
SEALVISOR_WAY(lock_cmpxchg_4);
SEALVISOR_WAY(lock_cmpxchg_8);
SEALVISOR_WAY(lock_cmpxchg8b);
SEALVISOR_WAY(lock_cmpxchg16b);
SEALVISOR_WAY(cmpxchg_8_failed);
SEALVISOR_WAY(lock_cmpxchg_8_failed);
SEALVISOR_WAY(stosb);
SEALVISOR_WAY(stosw);
SEALVISOR_WAY(stosd);
SEALVISOR_WAY(stosq);
SEALVISOR_WAY(rep_stosb);
SEALVISOR_WAY(rep_stosq);
SEALVISOR_WAY(rep_stosq_down);
SEALVISOR_WAY(movsb);
SEALVISOR_WAY(movsw);
SEALVISOR_WAY(movsd_string);
SEALVISOR_WAY(movsq);
SEALVISOR_WAY(rep_movsb);
SEALVISOR_WAY(rep_movsq);
SEALVISOR_WAY(fstp_4);
SEALVISOR_WAY(fstp_8);
SEALVISOR_WAY(fstp_10);
SEALVISOR_WAY(fistp_2);
SEALVISOR_WAY(fistp_4);
SEALVISOR_WAY(fistp_8);
SEALVISOR_WAY(fisttp_2);
SEALVISOR_WAY(fisttp_4);
SEALVISOR_WAY(fisttp_8);
SEALVISOR_WAY(fst_8);
SEALVISOR_WAY(movq_mmx);
SEALVISOR_WAY(movntq);
SEALVISOR_WAY(movd_mmx);
SEALVISOR_WAY(maskmovq_8);
SEALVISOR_WAY(movd_4);
SEALVISOR_WAY(movq_8);
SEALVISOR_WAY(movss_4);
SEALVISOR_WAY(movsd_8);
SEALVISOR_WAY(movntss_4);
SEALVISOR_WAY(movntsd_8);
SEALVISOR_WAY(movlps_8);
SEALVISOR_WAY(movlpd_8);
SEALVISOR_WAY(movhps_8);
SEALVISOR_WAY(movhpd_8);
SEALVISOR_WAY(movaps_16);
SEALVISOR_WAY(movapd_16);
SEALVISOR_WAY(movups_16);
SEALVISOR_WAY(movupd_16);
SEALVISOR_WAY(movdqa_16);
SEALVISOR_WAY(movdqu_16);
SEALVISOR_WAY(movntps_16);
SEALVISOR_WAY(movntpd_16);
SEALVISOR_WAY(movntdq_16);
SEALVISOR_WAY(maskmovdqu_16);
SEALVISOR_WAY(pextrb_1);
SEALVISOR_WAY(pextrw_2);
SEALVISOR_WAY(pextrd_4);
SEALVISOR_WAY(pextrq_8);
SEALVISOR_WAY(extractps_4);
SEALVISOR_WAY(vmovd_4);
SEALVISOR_WAY(vmovq_8);
SEALVISOR_WAY(vmovaps_32);
SEALVISOR_WAY(vmovups_32);
SEALVISOR_WAY(vmovdqa_32);
SEALVISOR_WAY(vmovdqu_32);
SEALVISOR_WAY(vmovntdq_32);
SEALVISOR_WAY(vmovntps_32);
SEALVISOR_WAY(vextractf128_16);
SEALVISOR_WAY(vmaskmovps_32);
SEALVISOR_WAY(vmaskmovpd_32);
SEALVISOR_WAY(vextracti128_16);
SEALVISOR_WAY(vcvtps2ph_8);
SEALVISOR_WAY(vpmaskmovd_32);
SEALVISOR_WAY(vpmaskmovq_32);
#undef SEALVISOR_WAY

namespace sealvisor::agent {
namespace {

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }
bool has_sse41() { return __builtin_cpu_supports("sse4.1") != 0; }
bool has_sse3() { return __builtin_cpu_supports("sse3") != 0; }

bool has_ecx(unsigned leaf, unsigned bit) {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(leaf, &a, &b, &c, &d) != 0 && (c & bit) != 0;
}
/// CPUID.01H:ECX, bits 13, 22 and 29.
bool has_cmpxchg16b() { return has_ecx(1, bit_CMPXCHG16B); }
bool has_movbe() { return has_ecx(1, bit_MOVBE); }
bool has_f16c() { return has_avx2() && has_ecx(1, bit_F16C); }
/// CPUID 8000_0001H:ECX, bit 6 (APM vol. 3, E.4.2).
bool has_sse4a() { return has_ecx(0x8000'0001, bit_SSE4a); }

/// KVM has no code for these where a frame is read-only (arch/x86/kvm/emulate.c).
constexpr bool kNotToCode = false;

using Run = void (*)(void*, const void*);

/// A store of `width` bytes, aligned to that.
constexpr StoreWay plain(const char* name, Run run, const char* store, std::uint32_t width,
                         Needs needs = Needs::Nothing) {
  return {name, run, store, {width, width, 0, width < 8 ? width : 8, needs}};
}
/// One that KVM can't do in a guest's stead, on CPUs that have it.
constexpr StoreWay special(const char* name, Run run, const char* store, std::uint32_t width,
                           bool (*available)() = nullptr, std::uint32_t grain = 8,
                           Needs needs = Needs::Nothing, std::uint32_t align = 0) {
  const std::uint32_t most = width < grain ? width : grain;
  return {name,  run,   store,      {width, align == 0 ? width : align, 0, most, needs},
          false, false, kNotToCode, available};
}
/// The same instruction `phase` bytes away from a place that is aligned to 8.
constexpr StoreWay unaligned(const char* name, Run run, const char* store, std::uint32_t width,
                             std::uint32_t phase, bool to_code = true,
                             bool (*available)() = nullptr) {
  return {name,  run,   store,   {width, 8, phase, width < 8 ? width : 8},
          false, false, to_code, available};
}
/// The same instruction with its first `in_front` bytes in front of a page's end.
constexpr StoreWay straddling(const char* name, Run run, const char* store, std::uint32_t width,
                              std::uint32_t in_front, bool (*available)() = nullptr) {
  return {name,  run,  store,      {width, 4096, 4096 - in_front, width},
          false, true, kNotToCode, available};
}

#define WAY(symbol) way_##symbol, way_##symbol##_store

constexpr auto kWays = std::to_array<StoreWay>({
    plain("mov-1", WAY(mov_1), 1),
    plain("mov-2", WAY(mov_2), 2),
    plain("mov-4", WAY(mov_4), 4),
    plain("mov-8", WAY(mov_8), 8),
    unaligned("mov-2-unaligned", WAY(mov_2), 2, 7),
    unaligned("mov-4-unaligned", WAY(mov_4), 4, 2),
    unaligned("mov-8-unaligned", WAY(mov_8), 8, 4),
    straddling("mov-2-straddling", WAY(mov_2), 2, 1),
    straddling("mov-4-straddling", WAY(mov_4), 4, 3),
    straddling("mov-8-straddling", WAY(mov_8), 8, 4),
    plain("movnti-4", WAY(movnti_4), 4),
    plain("movnti-8", WAY(movnti_8), 8),
    special("movbe-2", WAY(movbe_2), 2, has_movbe),
    special("movbe-4", WAY(movbe_4), 4, has_movbe),
    special("movbe-8", WAY(movbe_8), 8, has_movbe),
    plain("xchg-1", WAY(xchg_1), 1),
    plain("xchg-2", WAY(xchg_2), 2),
    plain("xchg-4", WAY(xchg_4), 4),
    plain("xchg-8", WAY(xchg_8), 8),
    straddling("xchg-8-straddling", WAY(xchg_8), 8, 4),
    special("sete-1", WAY(sete_1), 1, nullptr, 1, Needs::Flag),
    special("push-2", WAY(push_2), 2),
    plain("push-8", WAY(push_8), 8),
    plain("push-8-memory", WAY(push_8_memory), 8),
    straddling("push-8-straddling", WAY(push_8), 8, 2),
    special("enter-8", WAY(enter_8), 8),
    plain("pop-8", WAY(pop_8), 8),
    plain("add-8", WAY(add_8), 8),
    plain("lock-add-1", WAY(lock_add_1), 1),
    plain("lock-add-8", WAY(lock_add_8), 8),
    plain("xadd-8", WAY(xadd_8), 8),
    plain("lock-xadd-1", WAY(lock_xadd_1), 1),
    plain("lock-xadd-2", WAY(lock_xadd_2), 2),
    plain("lock-xadd-4", WAY(lock_xadd_4), 4),
    plain("lock-xadd-8", WAY(lock_xadd_8), 8),
    straddling("lock-xadd-8-straddling", WAY(lock_xadd_8), 8, 5),
    plain("adc-8", WAY(adc_8), 8),
    plain("sub-8", WAY(sub_8), 8),
    plain("lock-sub-8", WAY(lock_sub_8), 8),
    plain("sbb-8", WAY(sbb_8), 8),
    plain("xor-8", WAY(xor_8), 8),
    plain("lock-xor-8", WAY(lock_xor_8), 8),
    plain("or-8", WAY(or_8), 8, Needs::Sets),
    plain("lock-or-1", WAY(lock_or_1), 1, Needs::Sets),
    plain("lock-or-8", WAY(lock_or_8), 8, Needs::Sets),
    plain("and-8", WAY(and_8), 8, Needs::Clears),
    plain("lock-and-1", WAY(lock_and_1), 1, Needs::Clears),
    plain("lock-and-8", WAY(lock_and_8), 8, Needs::Clears),
    plain("bts-8", WAY(bts_8), 8, Needs::OneBitSet),
    plain("lock-bts-8", WAY(lock_bts_8), 8, Needs::OneBitSet),
    plain("btr-8", WAY(btr_8), 8, Needs::OneBitCleared),
    plain("lock-btr-8", WAY(lock_btr_8), 8, Needs::OneBitCleared),
    plain("btc-8", WAY(btc_8), 8, Needs::OneBit),
    plain("lock-btc-8", WAY(lock_btc_8), 8, Needs::OneBit),
    plain("cmpxchg-8", WAY(cmpxchg_8), 8),
    plain("lock-cmpxchg-1", WAY(lock_cmpxchg_1), 1),
    plain("lock-cmpxchg-2", WAY(lock_cmpxchg_2), 2),
    plain("lock-cmpxchg-4", WAY(lock_cmpxchg_4), 4),
    plain("lock-cmpxchg-8", WAY(lock_cmpxchg_8), 8),
    straddling("lock-cmpxchg-8-straddling", WAY(lock_cmpxchg_8), 8, 4),
    plain("lock-cmpxchg8b", WAY(lock_cmpxchg8b), 8),
    special("lock-cmpxchg16b", WAY(lock_cmpxchg16b), 16, has_cmpxchg16b),
    plain("cmpxchg-8-failed", WAY(cmpxchg_8_failed), 8, Needs::NoChange),
    plain("lock-cmpxchg-8-failed", WAY(lock_cmpxchg_8_failed), 8, Needs::NoChange),
    plain("stosb", WAY(stosb), 1),
    plain("stosw", WAY(stosw), 2),
    plain("stosd", WAY(stosd), 4),
    plain("stosq", WAY(stosq), 8),
    plain("rep-stosb", WAY(rep_stosb), 1),
    plain("rep-stosq", WAY(rep_stosq), 8),
    plain("rep-stosq-down", WAY(rep_stosq_down), 8),
    plain("movsb", WAY(movsb), 1),
    plain("movsw", WAY(movsw), 2),
    plain("movsd-string", WAY(movsd_string), 4),
    plain("movsq", WAY(movsq), 8),
    plain("rep-movsb", WAY(rep_movsb), 1),
    {"rep-movsq", WAY(rep_movsq), {16, 8, 0, 8}},
    special("fstp-4", WAY(fstp_4), 4, nullptr, 4, Needs::Number),
    special("fstp-8", WAY(fstp_8), 8, nullptr, 8, Needs::Number),
    special("fstp-10", WAY(fstp_10), 10, nullptr, 8, Needs::Nothing, 2),
    straddling("fstp-10-straddling", WAY(fstp_10), 10, 9),
    special("fistp-2", WAY(fistp_2), 2),
    special("fistp-4", WAY(fistp_4), 4),
    special("fistp-8", WAY(fistp_8), 8),
    special("fisttp-2", WAY(fisttp_2), 2, has_sse3),
    special("fisttp-4", WAY(fisttp_4), 4, has_sse3),
    special("fisttp-8", WAY(fisttp_8), 8, has_sse3),
    special("fst-8", WAY(fst_8), 8, nullptr, 8, Needs::Number),
    special("movq-mmx", WAY(movq_mmx), 8),
    special("movntq", WAY(movntq), 8),
    special("movd-mmx", WAY(movd_mmx), 4),
    special("maskmovq-8", WAY(maskmovq_8), 8, nullptr, 1),
    special("movd-4", WAY(movd_4), 4),
    special("movq-8", WAY(movq_8), 8),
    special("movss-4", WAY(movss_4), 4),
    special("movsd-8", WAY(movsd_8), 8),
    special("movntss-4", WAY(movntss_4), 4, has_sse4a),
    special("movntsd-8", WAY(movntsd_8), 8, has_sse4a),
    special("movlps-8", WAY(movlps_8), 8),
    special("movlpd-8", WAY(movlpd_8), 8),
    special("movhps-8", WAY(movhps_8), 8),
    special("movhpd-8", WAY(movhpd_8), 8),
    plain("movaps-16", WAY(movaps_16), 16),
    special("movapd-16", WAY(movapd_16), 16),
    special("movups-16", WAY(movups_16), 16),
    special("movupd-16", WAY(movupd_16), 16),
    plain("movdqa-16", WAY(movdqa_16), 16),
    unaligned("movdqu-16-unaligned", WAY(movdqu_16), 16, 4, kNotToCode),
    straddling("movdqu-16-straddling", WAY(movdqu_16), 16, 12),
    special("movntps-16", WAY(movntps_16), 16),
    special("movntpd-16", WAY(movntpd_16), 16),
    plain("movntdq-16", WAY(movntdq_16), 16),
    special("maskmovdqu-16", WAY(maskmovdqu_16), 16, nullptr, 1),
    special("pextrb-1", WAY(pextrb_1), 1, has_sse41),
    special("pextrw-2", WAY(pextrw_2), 2, has_sse41),
    special("pextrd-4", WAY(pextrd_4), 4, has_sse41),
    special("pextrq-8", WAY(pextrq_8), 8, has_sse41),
    special("extractps-4", WAY(extractps_4), 4, has_sse41),
    special("vmovd-4", WAY(vmovd_4), 4, has_avx2),
    special("vmovq-8", WAY(vmovq_8), 8, has_avx2),
    special("vmovaps-32", WAY(vmovaps_32), 32, has_avx2),
    special("vmovups-32", WAY(vmovups_32), 32, has_avx2),
    special("vmovdqa-32", WAY(vmovdqa_32), 32, has_avx2),
    unaligned("vmovdqu-32-unaligned", WAY(vmovdqu_32), 32, 4, kNotToCode, has_avx2),
    straddling("vmovdqu-32-straddling", WAY(vmovdqu_32), 32, 20, has_avx2),
    special("vmovntdq-32", WAY(vmovntdq_32), 32, has_avx2),
    special("vmovntps-32", WAY(vmovntps_32), 32, has_avx2),
    special("vextractf128-16", WAY(vextractf128_16), 16, has_avx2),
    special("vmaskmovps-32", WAY(vmaskmovps_32), 32, has_avx2, 4),
    special("vmaskmovpd-32", WAY(vmaskmovpd_32), 32, has_avx2),
    special("vextracti128-16", WAY(vextracti128_16), 16, has_avx2),
    special("vcvtps2ph-8", WAY(vcvtps2ph_8), 8, has_f16c, 8, Needs::Halves),
    special("vpmaskmovd-32", WAY(vpmaskmovd_32), 32, has_avx2, 4),
    special("vpmaskmovq-32", WAY(vpmaskmovq_32), 32, has_avx2),
});

#undef WAY

}  // namespace

std::span<const StoreWay> store_ways() { return kWays; }

}  // namespace sealvisor::agent
