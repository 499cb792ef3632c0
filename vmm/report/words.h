// What is said of the parts of a report, wherever it is printed. As the guest wrote it: how to keep
// that harmless is for who prints it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// "x86_64 lts-sealed".
[[nodiscard]] std::string name_of(const Run& run);
/// "sealvisor verify", or "sealvisor observe" of programs of the user's.
[[nodiscard]] std::string title_of(const Report& report);
/// "EPERM"; "ok" for 0.
[[nodiscard]] std::string name_of_errno(int number);
/// The same of what a system call returned: "ok", or the name of the errno in -4095..-1.
[[nodiscard]] std::string name_of_result(std::int64_t result);
/// "EPERM, sl".
[[nodiscard]] std::string words_of(const Claim& claim);
/// "EPERM, unchanged"; "-" if nothing is known.
[[nodiscard]] std::string words_of(const std::optional<Expected>& expected);
/// What came of it: "0 violations".
[[nodiscard]] std::string words_of(const Life& life);

/// It ran to its end, user mode was judged, and nothing was violated.
[[nodiscard]] bool is_good(const Life& life);

/// Each is one sentence or a list with semicolons; empty if there is nothing to say.
[[nodiscard]] std::string machine_words(const Run& run);
[[nodiscard]] std::string start_words(const Run& run);
/// What the lane promises of a run of kvm (docs/lanes.md), and where that was never tried.
[[nodiscard]] std::string promise_words(const Run& run);
[[nodiscard]] std::string mappings_words(const Run& run);
[[nodiscard]] std::string counts_words(const Run& run);
/// What came of a campaign of tamperings.
[[nodiscard]] std::string campaign_words(const Run& run);
[[nodiscard]] std::string costs_words(const Run& run);

/// What the runs cannot see, each thing once, with the runs that it is true of unless it is of all.
[[nodiscard]] std::vector<std::string> blind_spots_of(const Report& report);

}  // namespace sealvisor::report
