// One guest, from its kernel to a filled report::Run.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "guest/protocol/doorbell.h"
#include "guest/scenario/plan.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"
#include "vmm/event/event.h"
#include "vmm/image/initramfs.h"
#include "vmm/image/kernel_image.h"
#include "vmm/report/report.h"

namespace sealvisor::run {

/// What a console shows of a kernel that gave up (Linux, kernel/panic.c).
inline constexpr std::string_view kPanicText = "Kernel panic";

/// A real program that a guest runs (`sealvisor compat --real`).
struct RealProgram {
  std::string name;  ///< "uml" or "criu": of scenario real/<name>.
  /// What guest/real/fetch made: `root` goes into the guest's root, `packages` says what it is of.
  std::filesystem::path folder;
};

/// A program of the user's that the guest is to run (guest/scenario/programs.h).
struct ProgramRequest {
  std::string name;                    ///< In the report.
  std::string root;                    ///< Its root folder in the guest.
  std::string run;                     ///< Its image, seen from there.
  std::vector<std::string> arguments;  ///< Behind its name. No line ends in them.
  std::vector<std::string> environment;
  std::uint32_t limit_seconds = 60;  ///< Of the guest's clock.
  std::uint32_t output_bytes = 65'536;
  bool traced = true;
};

/// What to boot, what to try in it, what to expect of it.
struct RunRequest {
  arch::Arch arch{};
  engine::Kind engine = engine::Kind::Tcg;
  engine::Mechanism mechanism = engine::Mechanism::Best;
  std::string recipe;        ///< Label in the report: recipe name, or the user's image path.
  std::string variant;       ///< Of the recipe; part of the label; empty: the usual guest.
  bool expectations = true;  ///< False for a user's own image: nothing is known of it beforehand.
  bool sealed = false;       ///< What the recipe promises.
  bool ours = true;          ///< False: an image of the user's, whose configuration is not known.
  bool control = false;      ///< A recipe whose lies must be found.
  std::filesystem::path kernel_image;
  /// `kernel_image` as it was opened already; nullptr: run_one() does it.
  std::shared_ptr<const image::KernelFile> kernel_file;
  std::filesystem::path symbols;    ///< vmlinux with a symbol table; empty: none.
  std::filesystem::path agent_dir;  ///< Holds init, dynamic, loader, helper32.
  std::filesystem::path plugin;     ///< The TCG plugin.
  std::vector<scenario::PlanItem> plan;
  std::vector<std::string> left_out;          ///< What was asked for and can't be run, with why.
  std::vector<ProgramRequest> programs;       ///< Run behind the plan, in order.
  std::vector<image::InitramfsItem> payload;  ///< Their files; folders before what is in them.
  /// For the evidence: the text of the file that says what must come of the programs, and its name
  /// in messages; empty: there is none.
  std::string program_file;
  std::string program_file_name;
  std::chrono::seconds deadline{120};
  std::uint64_t memory_bytes = 256ULL << 20;
  std::string cpu_model;         ///< Empty: the default of the architecture.
  std::string kernel_arguments;  ///< Appended to the command line.
  /// At most event::kMostVcpus. A guest that comes up with fewer is ended: it tells nothing.
  unsigned vcpus = 1;
  std::uint64_t doorbell_limit = protocol::kMaxMessages;  ///< More messages are a flood.
  /// Folder of this run's evidence (docs/evidence.md), which is there and empty; empty: none is
  /// kept.
  std::filesystem::path evidence_dir;
  /// CPU of the process before it prepared its first guest, in report::Start::cpu_ms too.
  double shared_cpu_seconds = 0;
  bool plugin_loaded = true;        ///< False: QEMU alone, nothing is observed (benchmark only).
  bool witness = false;             ///< Audit mode with the second witness.
  bool timelines = false;           ///< report::Run::processes is wanted.
  std::optional<RealProgram> real;  ///< With its scenario in the plan.
  /// tcg: list every change of a system mapping, with its call path. No evidence is kept then.
  bool lifetime = false;
  /// The engine misses one store: the first from this instruction of the run on (Event::icount)
  /// that changes a watched frame. A negative control only; 0 in every real run.
  std::uint64_t drop_store = 0;
  bool step_check = false;  ///< kvm: entries to user mode are counted by single step too.
  /// kvm: the return to user mode of this number, counted from 1, gets no trap. A negative control
  /// only; 0 in every real run.
  std::uint32_t leave_return = 0;
  /// Called for each event before anyone else sees it; may change it. A negative control only: the
  /// re-walk must notice. Empty in every real run.
  std::function<void(event::Event&)> mutate;
  std::function<void(std::string_view)> progress;  ///< One line at a time; may be empty.
  /// How many items of the plan, and of the programs behind it, are done, as the agent says; first
  /// with 0, when it is up. May be empty.
  std::function<void(std::size_t)> advanced;
};

/// The list that the agent reads (guest/scenario/programs.h). Preconditions: within its bounds, and
/// no word holds the end of a line or a NUL.
[[nodiscard]] std::string programs_text(std::span<const ProgramRequest> programs);

/// The guest's first file system for `request`: agent, helpers, plan.
[[nodiscard]] Result<image::Initramfs> initramfs_for(const RunRequest& request);

/// Runs it. An Error means that no guest ran (bad input, missing host parts); a guest that failed
/// is a Run whose `ending` says how, with all evidence up to there.
[[nodiscard]] Result<report::Run> run_one(const RunRequest& request);

}  // namespace sealvisor::run
