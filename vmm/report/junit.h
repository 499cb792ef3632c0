// The report in the format that CI systems read (JUnit XML). Pure.
#pragma once

#include <string>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// A <testsuite> for each run, with a <testcase> for each cell, each scenario without cells and
/// each program of the user's, one for the guest, one for the re-walks and one for each finding
/// that is about none of these; a suite for each run that did not start; a last one for the
/// conclusion. What a test case comes to:
///
///   passed   held, as expected, or changed by force or by design, which is then said in it; of a
///            control also a documented lie that was caught
///   failure  violation, mismatch, a lie that was not caught, a finding that is new; a program that
///            failed by its own account
///   error    unobserved or not reached, and nobody knows why; a program that could not be run; a
///            guest that failed; a run that could not start; what was not kept
///   skipped  the form does not exist; or anything of the above that is a known finding, with the
///            reason: what was not observed has never passed
///
/// There is a failure or an error exactly if the report's exit code is not 0. Within a file no two
/// test cases have the same class and name. Everything is UTF-8, whatever the guest wrote.
[[nodiscard]] std::string render_junit(const Report& report);

}  // namespace sealvisor::report
