// Finding QEMU and checking that it is new enough.
#pragma once

#include <chrono>
#include <compare>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::tcg {

struct QemuVersion {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned micro = 0;
  // The check takes the zero that the compiler compares with for a null pointer.
  friend constexpr auto operator<=>(const QemuVersion&,
                                    const QemuVersion&) = default;  // NOLINT(modernize-use-nullptr)
};

/// The oldest version whose plugin interface can read registers and stored values (API v4).
inline constexpr QemuVersion kOldestQemu{10, 0, 0};

/// "QEMU 10.0.2".
[[nodiscard]] std::string text_of(const QemuVersion& version);

/// Reads the first line of `qemu-system-* --version`: "QEMU emulator version 10.0.2 (...)".
[[nodiscard]] std::optional<QemuVersion> parse_version(std::string_view output);

struct QemuProgram {
  std::filesystem::path path;
  QemuVersion version;
};

/// Looks for QEMU in the directory that the environment variable SEALVISOR_QEMU_DIR names, or if
/// that is not set in PATH, and asks it for its version. Errors (exit code HostLacks) say what was
/// found and what to install: none there, too old, no understandable answer within `limit`.
[[nodiscard]] Result<QemuProgram> find_qemu(
    arch::Arch arch, std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace sealvisor::engine::tcg
