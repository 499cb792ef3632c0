// Where the host's KVM header is the arm64 one, the ids are compared with what it says, when this
// is compiled. Elsewhere there is nothing here; registers_test.cc has the numbers.
#include "vmm/engine/kvm/arm64/registers.h"

#ifdef __aarch64__

#include <linux/kvm.h>

#include <cstddef>

namespace sealvisor::engine::kvm::arm64 {
namespace {

consteval std::uint64_t core_of(std::size_t offset) {
  return KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offset / sizeof(__u32);
}

static_assert(x(0) == core_of(offsetof(kvm_regs, regs.regs[0])));
static_assert(x(1) == core_of(offsetof(kvm_regs, regs.regs[1])));
static_assert(x(30) == core_of(offsetof(kvm_regs, regs.regs[30])));
static_assert(kSpEl0 == core_of(offsetof(kvm_regs, regs.sp)));
static_assert(kPc == core_of(offsetof(kvm_regs, regs.pc)));
static_assert(kPstate == core_of(offsetof(kvm_regs, regs.pstate)));
static_assert(kSpEl1 == core_of(offsetof(kvm_regs, sp_el1)));
static_assert(kElrEl1 == core_of(offsetof(kvm_regs, elr_el1)));
static_assert(kSpsrEl1 == core_of(offsetof(kvm_regs, spsr[KVM_SPSR_EL1])));
static_assert(v(31) == (KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
                        offsetof(kvm_regs, fp_regs.vregs[31]) / sizeof(__u32)));

static_assert(kMpidrEl1 == ARM64_SYS_REG(3, 0, 0, 0, 5));
static_assert(kSctlrEl1 == ARM64_SYS_REG(3, 0, 1, 0, 0));
static_assert(kTtbr0El1 == ARM64_SYS_REG(3, 0, 2, 0, 0));
static_assert(kTtbr1El1 == ARM64_SYS_REG(3, 0, 2, 0, 1));
static_assert(kTcrEl1 == ARM64_SYS_REG(3, 0, 2, 0, 2));
static_assert(kTcr2El1 == ARM64_SYS_REG(3, 0, 2, 0, 3));
static_assert(kMairEl1 == ARM64_SYS_REG(3, 0, 10, 2, 0));
static_assert(kContextidrEl1 == ARM64_SYS_REG(3, 0, 13, 0, 1));
static_assert(kTpidrEl1 == ARM64_SYS_REG(3, 0, 13, 0, 4));
static_assert(kEsrEl1 == ARM64_SYS_REG(3, 0, 5, 2, 0));
static_assert(kFarEl1 == ARM64_SYS_REG(3, 0, 6, 0, 0));
static_assert(kVbarEl1 == ARM64_SYS_REG(3, 0, 12, 0, 0));
static_assert(kMdscrEl1 == ARM64_SYS_REG(2, 0, 0, 2, 2));
static_assert(kTimerCount == KVM_REG_ARM_TIMER_CNT);
static_assert(kTimerCompare == KVM_REG_ARM_TIMER_CVAL);
static_assert(kIdAa64Pfr0El1 == ARM64_SYS_REG(3, 0, 0, 4, 0));
static_assert(kIdAa64Mmfr4El1 == ARM64_SYS_REG(3, 0, 0, 7, 4));
// The last register that the encoding can name.
static_assert(system(3, 7, 15, 15, 7) == ARM64_SYS_REG(3, 7, 15, 15, 7));

}  // namespace
}  // namespace sealvisor::engine::kvm::arm64

#endif
