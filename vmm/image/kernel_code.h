// The code of a kernel as its file has it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace sealvisor::image {

/// At most `bytes` of the code of the 64-bit ELF file `vmlinux` from the link-time address
/// `address` on, as far as the section reaches. Empty: no file, no such file, no code there. What
/// the kernel patches as it boots (alternatives, static calls and keys) is not in it.
[[nodiscard]] std::vector<std::uint8_t> read_kernel_code(const std::filesystem::path& vmlinux,
                                                         std::uint64_t address,
                                                         std::uint64_t bytes);

}  // namespace sealvisor::image
