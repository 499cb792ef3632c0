// arch/frame_rule.h on x86-64.
#pragma once

#include "arch/frame_rule.h"

namespace sealvisor::arch::x86_64 {

[[nodiscard]] FrameRule frame_rule(const CodeReader& code, std::uint64_t pc);
[[nodiscard]] bool follows_call(const CodeReader& code, std::uint64_t address);

}  // namespace sealvisor::arch::x86_64
