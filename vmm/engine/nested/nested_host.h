// Runs a static program in an emulated host that has KVM, on a machine that has none.
//
// QEMU (tcg) emulates a CPU with virtualisation; in it boots the kernel of the recipe `host` with
// an initramfs of tests/nested/host_init.cc, the program and its files. Whatever the program leaves
// in /out comes back. Nothing of the real machine is shared with the host but the bytes of its
// port.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/engine/nested/port_reader.h"
#include "vmm/engine/tcg/qemu/program.h"

namespace sealvisor::engine::nested {

/// A file of the host.
struct HostFile {
  std::string path;  ///< Relative to the root: "share/x". Its folders are made.
  std::filesystem::path source;
  bool executable = false;
};

/// What to run.
struct HostPlan {
  arch::Arch arch = arch::Arch::X86_64;
  std::filesystem::path kernel;   ///< Of the recipe `host`: see host_kernel().
  std::filesystem::path init;     ///< <build>/guest/<arch>/host-init.
  std::filesystem::path program;  ///< Static; becomes /bin/<its name>.
  std::vector<HostFile> files;
  std::vector<std::string> arguments;    ///< Of the program, without its name. No line breaks.
  std::vector<std::string> environment;  ///< "NAME=VALUE", beside PATH, HOME and TMPDIR.
  std::string cpu_model;                 ///< Empty: default_cpu_model().
  unsigned gic_version = 3;              ///< Of the interrupt controller, 2 or 3; arm64 only.
  /// Precondition: a whole number of MiB, 128 to 2048 MiB. Holds /tmp and /out too.
  std::uint64_t memory_bytes = 512ULL << 20;
  /// How long the program may run, at most kLongestDeadline, by the host's clock, which is the real
  /// one. The host gets kBootTime more to boot and to send files.
  std::chrono::milliseconds deadline{60'000};
  std::filesystem::path out;  ///< Where the files of /out go; made if it is not there.
  PortLimits limits;
  std::uint64_t console_limit = 64ULL << 20;  ///< More bytes end the run.
  /// Gets the console as it comes: the kernel's lines, the program's standard output and error.
  std::function<void(std::string_view)> on_console;
  std::string kernel_arguments;                 ///< More words for the kernel.
  std::vector<std::string> emulator_arguments;  ///< More words for QEMU.
};

/// Gives the host the memory that one more file of `bytes` takes: while it unpacks its initramfs it
/// holds each file twice.
void make_room(HostPlan& plan, std::uint64_t bytes);

inline constexpr std::chrono::milliseconds kBootTime{60'000};
inline constexpr std::chrono::milliseconds kLongestDeadline{3'600'000};

/// How it went. The program's own exit status is in `end`; any is a success of the run.
struct HostOutcome {
  ProgramEnd end;
  double wall_seconds = 0;         ///< From the start of QEMU to its end.
  double cpu_seconds = 0;          ///< QEMU's user and system time.
  std::vector<std::string> files;  ///< Names in plan.out, in the order in which they came.
  std::string version;             ///< "QEMU 10.0.2".
};

/// An emulated host, ready to start. One use.
class NestedHost {
 public:
  /// Checks the plan and what it needs. Errors: a value or argument that the plan can't have
  /// (Usage); QEMU is missing or too old, the kernel, init or program is not built (HostLacks; the
  /// message says what to do).
  [[nodiscard]] static Result<NestedHost> create(HostPlan plan);

  /// Boots, runs, ends. SIGINT and SIGTERM end the run while it lasts. Errors: QEMU can't be
  /// started (HostLacks); the host died, passed the deadline, flooded its console, or sent what it
  /// may not send (GuestFailed; the message has the end of its console); interrupted (GuestFailed).
  [[nodiscard]] Result<HostOutcome> run();

  [[nodiscard]] const HostPlan& plan() const { return plan_; }

 private:
  NestedHost(HostPlan plan, tcg::QemuProgram qemu)
      : plan_(std::move(plan)), qemu_(std::move(qemu)) {}
  HostPlan plan_;
  tcg::QemuProgram qemu_;
};

/// The file to boot in the folder of a finished build of the recipe `host`. Errors: it is not there
/// (HostLacks).
[[nodiscard]] Result<std::filesystem::path> host_kernel(const std::filesystem::path& folder,
                                                        arch::Arch arch);

}  // namespace sealvisor::engine::nested
