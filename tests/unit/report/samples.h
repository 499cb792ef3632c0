// Hand-made runs and reports that the tests of the report share.
#pragma once

#include <string>

#include "vmm/report/report.h"

namespace sealvisor::report::samples {

/// A cell of a sealed kernel that held.
[[nodiscard]] Cell held(const std::string& mapping, const std::string& operation,
                        const std::string& form);
/// A cell of an unsealed kernel that changed as expected, with one entry write.
[[nodiscard]] Cell changed(const std::string& mapping, const std::string& operation,
                           const std::string& form);
/// A cell that was to be unchanged and is gone.
[[nodiscard]] Cell violated(const std::string& mapping, const std::string& operation,
                            const std::string& form);
[[nodiscard]] Cell skipped(const std::string& mapping, const std::string& operation,
                           const std::string& form);
[[nodiscard]] Cell unobserved(const std::string& mapping, const std::string& operation,
                              const std::string& form);
/// Of a sealed recipe: written by force, as expected.
[[nodiscard]] Cell forced(const std::string& mapping, const std::string& operation,
                          const std::string& form);
[[nodiscard]] EntryChange entry_change();
[[nodiscard]] Life life(const std::string& name);
/// The code around entry_change().
[[nodiscard]] Writer writer();
/// A process that nothing happened to between installation and exit.
[[nodiscard]] Process quiet_process(std::uint64_t id, const std::string& scenario);
/// The victim of a cell, with a moment of each kind.
[[nodiscard]] Process changed_process(std::uint64_t id, const Cell& cell);
/// In which one tampering of 12 was not reported as it is.
[[nodiscard]] Campaign campaign();

/// Runs that came out as they must: `good` and `summary` are still to be filled by conclude().
[[nodiscard]] Run sealed_run(arch::Arch arch = arch::Arch::X86_64);
[[nodiscard]] Run unsealed_run(arch::Arch arch = arch::Arch::X86_64);
/// Recipe lying: [vvar] is not sealed, munmap of the whole [vdso] is done all the same.
[[nodiscard]] Run lying_run(arch::Arch arch = arch::Arch::X86_64);
/// A guest that panicked before its first cell was over.
[[nodiscard]] Run failed_run(arch::Arch arch = arch::Arch::Arm64);

/// A program of the user's whose [vdso] is gone, with each of its parts.
[[nodiscard]] Program program();
/// A sealed run of `program` alone.
[[nodiscard]] Run run_of(const Program& program);

}  // namespace sealvisor::report::samples
