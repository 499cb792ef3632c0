#include "vmm/run/narrator.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "arch/describe.h"
#include "vmm/run/writer_code.h"

namespace sealvisor::run {

std::string Narrator::function_at(std::uint64_t pc, bool user_mode) const {
  if (user_mode) return fmt::format("user mode at {:#x}", pc);
  if (symbols_ != nullptr) {
    if (auto name = symbols_->describe(pc)) return *name;
  }
  return fmt::format("{:#x}", pc);
}

std::vector<std::uint8_t> Narrator::read_code(const arch::AnyFormat& format, arch::Frame code_root,
                                              std::uint64_t first, std::uint64_t end) const {
  std::vector<std::uint8_t> code;
  for (std::uint64_t at = first; at < end;) {
    const arch::Walk walk = arch::walk(format, memory_, code_root, arch::Gva{at});
    if (walk.end != arch::WalkEnd::Leaf) break;
    const std::uint64_t in_page = arch::kPageSize - at % arch::kPageSize;
    const std::size_t had = code.size();
    const auto some = static_cast<std::size_t>(std::min(in_page, end - at));
    code.resize(had + some);
    if (!memory_.read(walk.output, std::as_writable_bytes(std::span(code).subspan(had)))) {
      code.resize(had);
      break;
    }
    at += some;
  }
  return code;
}

report::Writer Narrator::read_writer(const arch::AnyFormat& format, std::uint64_t pc,
                                     bool user_mode, arch::Frame code_root) const {
  report::Writer writer;
  writer.pc = pc;
  writer.function = function_at(pc, user_mode);
  // Who looks back has no root that shows the code of a process that is gone: only another's.
  if (user_mode && source_ == report::CodeSource::MemoryAtTheEnd) return writer;
  CodeWindow window = window_of(arch_, writer.pc, writer.function);
  std::vector<std::uint8_t> code = read_code(format, code_root, window.first, window.end);
  if (code.size() <= pc - window.first) {
    window.first = pc;
    code = read_code(format, code_root, window.first, window.end);
  }
  take_code(arch_, window, code, source_, writer);
  return writer;
}

const report::Writer& Narrator::writer_at(const arch::AnyFormat& format, std::uint64_t pc,
                                          bool user_mode, arch::Frame code_root) {
  const auto known = writers_.find(pc);
  if (known != writers_.end()) return known->second;
  report::Writer writer = read_writer(format, pc, user_mode, code_root);
  if (writers_.size() < kMostWriters) return writers_.emplace(pc, std::move(writer)).first->second;
  other_ = std::move(writer);
  return other_;
}

std::vector<report::Writer> Narrator::take_writers() {
  std::vector<report::Writer> writers;
  writers.reserve(writers_.size());
  for (auto& [pc, writer] : writers_) writers.push_back(std::move(writer));
  writers_.clear();
  return writers;
}

report::EntryChange Narrator::tell(const arch::AnyFormat& format,
                                   const model::Identities& identities,
                                   const model::MappingChange& change, arch::Frame code_root) {
  const event::Event& write = change.write;
  report::EntryChange result;
  result.mapping = identities.all()[change.page.mapping].name;
  result.gva = change.gva.value;
  result.gpa = write.gpa;
  result.level = change.level;
  result.old_value = write.old_value;
  result.new_value = write.new_value;
  result.old_text = arch::describe_entry(format, write.old_value, change.level);
  result.new_text = arch::describe_entry(format, write.new_value, change.level);
  result.pc = write.pc;
  if (write.pc == 0) {
    result.function = fmt::format("an unknown writer, seen at entry {} to user mode", write.icount);
  } else {
    const report::Writer& writer =
        writer_at(format, write.pc, (write.flags & event::kUserMode) != 0, code_root);
    result.function = writer.function;
    result.instruction = instruction_of(writer);
  }
  result.icount = write.icount;
  result.root = write.root;
  return result;
}

}  // namespace sealvisor::run
