#include "vmm/report/finding_ids.h"

#include <fmt/format.h>

namespace sealvisor::report {

std::string id_of(const Run& run, std::string_view what) {
  return fmt::format("{}/{}/{}", arch::name_of(run.arch), run.recipe, what);
}

std::string id_of(const Run& run, const Cell& cell) {
  return id_of(run, fmt::format("{}/{}/{}", cell.mapping, cell.operation, cell.form));
}

std::string program_id_of(const Run& run, const Program& program) {
  return id_of(run, "program/" + program.name);
}

std::string unobserved_id(const Run& run, const Cell& cell) {
  return id_of(run, fmt::format("{}/{}/unobserved", cell.mapping, cell.form));
}

std::vector<const Finding*> findings_under(const Run& run, std::string_view id) {
  std::vector<const Finding*> found;
  for (const Finding& finding : run.findings) {
    const std::string_view name = finding.id;
    if (name.size() > id.size() && name.starts_with(id) && name[id.size()] == '/') {
      found.push_back(&finding);
    }
  }
  return found;
}

}  // namespace sealvisor::report
