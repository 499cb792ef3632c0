// The code around a writer: which bytes to read, and what they come to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "arch/arch.h"
#include "vmm/report/process.h"
#include "vmm/report/report.h"

namespace sealvisor::run {

/// Bytes to read for a listing around an instruction.
struct CodeWindow {
  std::uint64_t first = 0;  ///< Where an instruction begins.
  std::uint64_t end = 0;
};

/// From the start of the function that `function` ("name+0x12") names, where an instruction surely
/// begins, if it is not too far away; else from the instruction itself, or on arm64 some before it.
[[nodiscard]] CodeWindow window_of(arch::Arch arch, std::uint64_t pc, std::string_view function);

/// Fills `writer` with what `code`, which is what was to be read of `window`, comes to; from
/// `source`. Nothing to read, nothing to fill.
void take_code(arch::Arch arch, const CodeWindow& window, std::span<const std::uint8_t> code,
               report::CodeSource source, report::Writer& writer);

/// The writer's own line; empty if there is none.
[[nodiscard]] std::string instruction_of(const report::Writer& writer);

/// Gives the writers of `run` in the kernel whose code was not to be had that of the file
/// `vmlinux`, their symbols' own, and the writes of theirs their instruction. A file that can't be
/// read gives nothing.
void complete_from_file(report::Run& run, const std::filesystem::path& vmlinux);

}  // namespace sealvisor::run
