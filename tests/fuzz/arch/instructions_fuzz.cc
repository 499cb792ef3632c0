// Any bytes: classification and disassembly are total.
#include "arch/instructions.h"
#include "tests/fuzz/arch/input.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point
using namespace sealvisor::arch;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Kind = InstructionFacts::Kind;
  fuzz::Input input(data, size);
  const auto address = input.take<std::uint64_t>();
  const auto bytes = input.rest().first(std::min<std::size_t>(input.rest().size(), 16));
  for (const Arch arch : kAllArchs) {
    const InstructionFacts facts = classify(arch, bytes);
    fuzz::require(facts.reg <= (arch == Arch::X86_64 ? 15 : 31));
    fuzz::require(!facts.upper || (arch == Arch::Arm64 && facts.kind == Kind::RootLoad));
    fuzz::require(facts.kind != Kind::ZeroBlock || arch == Arch::Arm64);
    fuzz::require(facts.reg == 0 || facts.kind == Kind::RootLoad || facts.kind == Kind::ZeroBlock);
    fuzz::require(disassemble(arch, bytes, address).empty() == bytes.empty());
  }
  return 0;
}
