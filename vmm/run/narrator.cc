#include "vmm/run/narrator.h"

#include <array>

#include <fmt/format.h>

#include "arch/describe.h"
#include "arch/instructions.h"

namespace sealvisor::run {

std::string Narrator::function_at(std::uint64_t pc, bool user_mode) const {
  if (user_mode) return fmt::format("user mode at {:#x}", pc);
  if (symbols_ != nullptr) {
    if (auto name = symbols_->describe(pc)) return *name;
  }
  return fmt::format("{:#x}", pc);
}

const std::string& Narrator::instruction_at(const arch::AnyFormat& format, std::uint64_t pc,
                                            arch::Frame code_root) {
  auto [place, fresh] = instructions_.try_emplace(pc);
  if (!fresh) return place->second;
  std::array<std::uint8_t, 15> bytes{};
  std::size_t size = 0;
  const std::size_t wanted = arch_ == arch::Arch::Arm64 ? 4 : bytes.size();
  while (size < wanted) {
    const arch::Walk walk = arch::walk(format, memory_, code_root, arch::Gva{pc + size});
    if (walk.end != arch::WalkEnd::Leaf) break;
    std::byte byte{};
    if (!memory_.read(walk.output, std::span(&byte, 1))) break;
    bytes[size++] = std::to_integer<std::uint8_t>(byte);
  }
  if (size != 0) place->second = arch::disassemble(arch_, std::span(bytes).first(size), pc);
  return place->second;
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
    result.function = function_at(write.pc, (write.flags & event::kUserMode) != 0);
    result.instruction = instruction_at(format, write.pc, code_root);
  }
  result.icount = write.icount;
  result.root = write.root;
  return result;
}

}  // namespace sealvisor::run
