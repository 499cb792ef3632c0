#include "vmm/run/writer_code.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "arch/listing.h"
#include "vmm/image/kernel_code.h"

namespace sealvisor::run {

namespace {

/// Most bytes between a function's start and the writer that are read and gone through.
constexpr std::uint64_t kMostBefore = 32'768;
/// Behind it: the instruction and those that are shown, of at most 15 bytes each.
constexpr std::uint64_t kAfter = 112;
/// arm64, where no symbol tells: instructions before it.
constexpr std::uint64_t kBlindBefore = 8;
constexpr std::uint64_t kArmInstruction = 4;

/// 0x12 of "name+0x12".
std::optional<std::uint64_t> offset_in(std::string_view function) {
  constexpr std::string_view kSign = "+0x";
  const std::size_t sign = function.rfind(kSign);
  if (sign == std::string_view::npos) return std::nullopt;
  const std::string_view digits = function.substr(sign + kSign.size());
  std::uint64_t offset = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), offset, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return offset;
}

}  // namespace

CodeWindow window_of(arch::Arch arch, std::uint64_t pc, std::string_view function) {
  CodeWindow window{pc, pc + kAfter};
  const auto offset = offset_in(function);
  if (offset && *offset <= kMostBefore && *offset <= pc) {
    window.first = pc - *offset;
  } else if (arch == arch::Arch::Arm64) {
    window.first = pc - std::min(pc / kArmInstruction, kBlindBefore) * kArmInstruction;
  }
  return window;
}

void take_code(arch::Arch arch, const CodeWindow& window, std::span<const std::uint8_t> code,
               report::CodeSource source, report::Writer& writer) {
  for (const arch::ListedInstruction& one :
       arch::list_around(arch, code, window.first, writer.pc)) {
    writer.lines.push_back(
        {one.address, fmt::format("{:02x}", fmt::join(one.bytes, " ")), one.text});
  }
  if (!writer.lines.empty()) writer.source = source;
}

std::string instruction_of(const report::Writer& writer) {
  const auto line =
      std::find_if(writer.lines.begin(), writer.lines.end(),
                   [&](const report::CodeLine& one) { return one.address == writer.pc; });
  return line == writer.lines.end() ? "" : line->text;
}

void complete_from_file(report::Run& run, const std::filesystem::path& vmlinux) {
  for (report::Writer& writer : run.writers) {
    if (writer.source != report::CodeSource::None || !offset_in(writer.function)) continue;
    const CodeWindow window = window_of(run.arch, writer.pc, writer.function);
    const std::vector<std::uint8_t> code =
        image::read_kernel_code(vmlinux, window.first, window.end - window.first);
    take_code(run.arch, window, code, report::CodeSource::Vmlinux, writer);
    if (writer.source == report::CodeSource::None) continue;
    const auto name = [&](report::EntryChange& change) {
      if (change.pc == writer.pc && change.instruction.empty()) {
        change.instruction = instruction_of(writer);
      }
    };
    for (report::Cell& cell : run.cells) {
      for (report::EntryChange& change : cell.changes) name(change);
    }
    for (report::Sequence& sequence : run.sequences) {
      for (report::SequenceCall& call : sequence.calls) {
        for (report::EntryChange& change : call.changes) name(change);
      }
    }
    for (report::Program& program : run.programs) {
      for (report::ProgramSpace& space : program.spaces) {
        for (report::ProgramMapping& mapping : space.mappings) {
          for (report::EntryChange& change : mapping.changes) name(change);
        }
      }
    }
    for (report::Process& process : run.processes) {
      for (report::Moment& moment : process.timeline) {
        if (moment.write) name(*moment.write);
      }
    }
  }
}

}  // namespace sealvisor::run
