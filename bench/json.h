// The report as JSON, for programs: the format of Google Benchmark's reporter, which its compare.py
// reads, and one member "sealvisor" with everything. docs/bench.schema.json fixes the shape.
//
// Google Benchmark's format knows times only. What was counted stands where it has times: real_time
// and cpu_time are instructions for one operation, and time_unit "ns" is there because its tools
// refuse anything but a unit of time. The label of each entry and the context say so. A time that
// was read from a counter has its ticks beside it.
#pragma once

#include <string>

#include "bench/result.h"

namespace sealvisor::bench {

/// Value of sealvisor/schema. Raised with every change that an old reader would trip over.
inline constexpr const char* kBenchSchema = "sealvisor-bench-2";

/// The whole report; a line for each entry of a list, and a '\n' at its end. Seeds and addresses
/// are strings "0x<hex>": a JSON number does not carry 64 bits everywhere. Bytes that are no UTF-8
/// are replaced by U+FFFD. Entries of "benchmarks" are named
/// "<arch>/<experiment>/<unit>/<side>:<recipe>", with a repetition for each layout: `compare.py
/// filters FILE FILE a:RECIPE b:RECIPE` compares the sides of one run, `compare.py benchmarks` two.
[[nodiscard]] std::string render_json(const Report& report);

}  // namespace sealvisor::bench
