#include "arch/arm64/id_registers.h"

#include <array>

namespace sealvisor::arch::arm64 {

namespace {

// Places of the fields: Arm ARM, "ID_AA64MMFR1_EL1" and so on.
constexpr std::array kHidden = {
    IdField{"ID_AA64MMFR1_EL1.HAFDBS", kMmfr1, 0, false,
            "the table walker sets access flags and dirty states itself"},
    IdField{"ID_AA64MMFR0_EL1.TGRAN4", kMmfr0, 28, true,
            "page tables with 52-bit addresses, which are not read"},
    IdField{"ID_AA64MMFR3_EL1.S1PIE", kMmfr3, 8, false,
            "page tables with permissions by index, which are not read"},
    IdField{"ID_AA64MMFR3_EL1.D128", kMmfr3, 32, false,
            "page tables with 128-bit descriptors, which are not read"},
    IdField{"ID_AA64PFR1_EL1.GCS", kPfr1, 44, false,
            "calls and returns store to a guarded control stack"},
    IdField{"ID_AA64DFR0_EL1.PMSVer", kDfr0, 32, false,
            "statistical profiling writes its buffer itself"},
    IdField{"ID_AA64DFR0_EL1.TraceBuffer", kDfr0, 44, false,
            "the trace unit writes its buffer itself"},
    IdField{"ID_AA64ISAR2_EL1.MOPS", kIsar2, 16, false,
            "one instruction stores any number of bytes"},
    IdField{"ID_AA64ISAR1_EL1.LS64", kIsar1, 60, false, "one instruction stores 64 bytes"},
    IdField{"ID_AA64PFR0_EL1.SVE", kPfr0, 32, false, "scalable vectors are stored"},
    IdField{"ID_AA64PFR1_EL1.SME", kPfr1, 24, false, "scalable matrices are stored"},
    IdField{"ID_AA64PFR1_EL1.MTE", kPfr1, 8, false,
            "memory has tags, and instructions that store them"},
    IdField{"ID_AA64ISAR0_EL1.RNDR", kIsar0, 60, false,
            "the CPU gives random numbers, so no two runs are the same"},
    IdField{"ID_AA64DFR0_EL1.PMUVer", kDfr0, 8, false,
            "the CPU counts events, so no two runs are the same"},
    IdField{"ID_AA64MMFR2_EL1.NV", kMmfr2, 24, false,
            "a hypervisor in the guest, with user mode of its own guests"},
};

}  // namespace

std::span<const IdField> hidden_fields() { return kHidden; }

}  // namespace sealvisor::arch::arm64
