// The user's own programs, on their way into a guest: a file, or a folder with what they need.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/image/initramfs.h"

namespace sealvisor::app {

/// Where the payload is in a guest: its programs have this as their root folder.
inline constexpr const char* kPayloadRoot = "/payload";

/// What the header of an executable file says.
struct Executable {
  arch::Arch arch{};
  bool bits_32 = false;     ///< Of the architecture's 32-bit programs.
  std::string interpreter;  ///< The loader that it names; empty: it is static.
};

/// nullopt: no ELF file, or one that is no program (a library has no interpreter and is none
/// either, unless it says that it can be run). Errors (Usage): an ELF program that is truncated, or
/// for a machine that is not verified.
[[nodiscard]] Result<std::optional<Executable>> read_executable(const std::filesystem::path& path);

struct Payload {
  std::vector<image::InitramfsItem> items;  ///< Of the initramfs, kPayloadRoot first.
  /// Paths, seen from kPayloadRoot, of the programs for this architecture, in order. No libraries.
  std::vector<std::string> programs;
  bool flat = false;  ///< Loader and libraries lie beside the programs.
};

/// The architectures that `path` has programs for: those of its folders x86_64 and arm64 if it has
/// them, else of its programs. Errors (Usage): unreadable; no program.
[[nodiscard]] Result<std::vector<arch::Arch>> payload_archs(const std::filesystem::path& path);

/// Gathers a file, or a folder and all that is in it (or in its folder that is called as `arch`):
/// files, folders, symbolic links. A loader that a program names and that lies at the top of the
/// folder is put where it is looked for. `most_bytes`: of all files.
///
/// Errors (Usage): unreadable, a file of another kind, too much; a file that is no program, is for
/// another architecture, or is linked dynamically (a folder with its libraries is needed).
[[nodiscard]] Result<Payload> gather_payload(const std::filesystem::path& path, arch::Arch arch,
                                             std::uint64_t most_bytes);

/// Which program of the payload `wanted` means (a path seen from its root, with or without a slash
/// in front); empty: the only one. Errors (Usage) list the programs that there are.
[[nodiscard]] Result<std::string> choose_program(const Payload& payload, const std::string& wanted,
                                                 const std::filesystem::path& path);

/// Most bytes of files that fit into a guest with that much memory, which holds them twice while it
/// starts.
[[nodiscard]] std::uint64_t payload_room(std::uint64_t memory_bytes);

}  // namespace sealvisor::app
