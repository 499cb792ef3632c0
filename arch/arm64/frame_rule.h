// arch/frame_rule.h on arm64.
#pragma once

#include "arch/frame_rule.h"

namespace sealvisor::arch::arm64 {

[[nodiscard]] FrameRule frame_rule(const CodeReader& code, std::uint64_t pc);
[[nodiscard]] bool follows_call(const CodeReader& code, std::uint64_t address);

}  // namespace sealvisor::arch::arm64
