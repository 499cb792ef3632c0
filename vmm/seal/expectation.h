// What a kernel of a known recipe is expected to answer, and what user mode is expected to see
// afterwards, for every cell. The third voice next to claim and observation.
//
// The table (vmm/seal/rows) was derived by reading the sources, never from results; a run that
// disagrees is a finding. Read: linux-source-6.12 6.12.117 as Debian packages it, with
// guest/kernel/patches/lts (the seal: VM_SEALED in the vm_flags of the special mappings); for the
// operations that are tried by default also linux-source-7.3 7.3.4, of which of the others nothing
// is expected. Documents: Documentation/userspace-api/mseal.rst of 6.12, and the manual pages.
// Where document and code differ, the source says both; the code is expected.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "guest/scenario/operation.h"
#include "vmm/report/report.h"
#include "vmm/seal/guest.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal {

/// One question to the table.
struct Question {
  const scenario::Operation* operation = nullptr;
  scenario::Form form{};
  Kind kind{};
  std::uint32_t pages = 0;  ///< Of the mapping.
};

/// What `cell` asks; nullopt if the table knows no such mapping, operation or form. Nothing that
/// was observed is used but the number of pages of the mapping (0: as many as its kind has).
[[nodiscard]] std::optional<Question> question_of(const report::Cell& cell);

/// The rows that speak of it: one, or the table is wrong.
[[nodiscard]] std::vector<const Row*> rows_for(const Question& question, const Guest& guest);

/// What is expected of `cell`. nullopt: nothing is known.
[[nodiscard]] std::optional<report::Expected> expectation_of(const report::Cell& cell,
                                                             const Guest& guest);

}  // namespace sealvisor::seal
