// The report as JSON, for programs. Its shape is fixed by docs/report.schema.json.
#pragma once

#include <string>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// Value of the member "schema". Raised with every change that an old reader would trip over.
inline constexpr const char* kReportSchema = "sealvisor-report-1";

/// The whole report, indented, with a '\n' at its end. Addresses, entries and frames are strings
/// "0x<hex>": a JSON number does not carry 64 bits everywhere. What the guest wrote may be no
/// UTF-8; bytes that are not are replaced by U+FFFD.
[[nodiscard]] std::string render_json(const Report& report);

}  // namespace sealvisor::report
