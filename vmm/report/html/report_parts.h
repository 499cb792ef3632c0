// Parts of the page of a report, and how its places are called. Inside of the page only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/report/html/page.h"
#include "vmm/report/report.h"

namespace sealvisor::report::html {

/// Ids of places in the page. `run`: its index in the report.
[[nodiscard]] std::string run_id(std::size_t run);
[[nodiscard]] std::string cell_id(std::size_t run, std::size_t cell);
[[nodiscard]] std::string process_id(std::size_t run, std::uint64_t process);
[[nodiscard]] std::string program_id(std::size_t run, std::size_t program);
/// Of the writer at `pc`; empty if there is no listing of it.
[[nodiscard]] std::string writer_id(std::size_t run, const Run& of, std::uint64_t pc);

/// <a href="#id">text</a>; the text alone if there is no id.
[[nodiscard]] std::string link(std::string_view id, std::string_view text);

/// How things stand with a cell, worst first. Rows of the matrix are sorted by it.
/// Exception: changed as expected, by force or by design: what no seal keeps out.
enum class State : std::uint8_t { Finding, Open, Lie, Exception, Good, Skipped };
[[nodiscard]] State state_of(const Run& run, const Cell& cell);
[[nodiscard]] State state_of(const Run& run, const Life& life);
[[nodiscard]] State state_of(const Run& run, const Program& program);
/// "finding", "open", "lie", "exception", "good", "skipped".
[[nodiscard]] const char* name_of(State state);
/// Class of words that say so.
[[nodiscard]] const char* style_of(State state);
/// "held", "forced", "violation, known finding", "violation: lie caught", "not reached".
[[nodiscard]] std::string verdict_words(const Run& run, const Cell& cell);
/// "0 violations", "0 violations, new finding".
[[nodiscard]] std::string outcome_words(const Run& run, const Life& life);
/// "exit status 0, 2 mappings changed", "killed by SIGSEGV, new finding".
[[nodiscard]] std::string outcome_words(const Run& run, const Program& program);

/// Sections; each empty if there is nothing to say.
[[nodiscard]] std::string findings_section(const Report& report);
[[nodiscard]] std::string runs_section(const Report& report);
[[nodiscard]] std::string matrix_section(const Report& report);
[[nodiscard]] std::string run_section(const Report& report, std::size_t run);
/// Parts of run_section().
[[nodiscard]] std::string programs(const Report& report, std::size_t run);
[[nodiscard]] std::string timelines(const Report& report, std::size_t run);
[[nodiscard]] std::string writers(const Report& report, std::size_t run);

/// Of the page of a report, behind those of every page.
extern const char* const kReportStyle;
/// Arrow keys in the matrix; listings where they are asked for; what is folded opens when a link
/// leads into it. Without it links lead to the same things.
extern const char* const kReportScript;

}  // namespace sealvisor::report::html
