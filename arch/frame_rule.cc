#include "arch/frame_rule.h"

#include "arch/arm64/frame_rule.h"
#include "arch/x86_64/frame_rule.h"

namespace sealvisor::arch {

FrameRule frame_rule(Arch arch, const CodeReader& code, std::uint64_t pc) {
  return arch == Arch::X86_64 ? x86_64::frame_rule(code, pc) : arm64::frame_rule(code, pc);
}

bool follows_call(Arch arch, const CodeReader& code, std::uint64_t address) {
  return arch == Arch::X86_64 ? x86_64::follows_call(code, address)
                              : arm64::follows_call(code, address);
}

}  // namespace sealvisor::arch
