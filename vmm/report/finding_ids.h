// How findings are called, and which are about what. Ids are "arch/recipe/what/invariant".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// "arch/recipe/what": what the ids of all findings about it begin with, a '/' behind it.
[[nodiscard]] std::string id_of(const Run& run, std::string_view what);
/// The same of a cell: what is "mapping/operation/form".
[[nodiscard]] std::string id_of(const Run& run, const Cell& cell);
/// The same of a program of the user's.
[[nodiscard]] std::string program_id_of(const Run& run, const Program& program);
/// The whole id of the finding that says that nothing is known of cells of this mapping and form.
[[nodiscard]] std::string unobserved_id(const Run& run, const Cell& cell);

/// Findings of `run` whose id begins with `id` and a '/'.
[[nodiscard]] std::vector<const Finding*> findings_under(const Run& run, std::string_view id);

}  // namespace sealvisor::report
