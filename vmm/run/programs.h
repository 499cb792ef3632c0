// Follows the user's own programs: the address spaces that they run in, what becomes of the system
// mappings there, what the agent's tracer says of their processes, what they write.
//
// Two voices, brought together and not mixed: an address space and what is in it are observed, pid,
// image and smaps of a process are claims. They meet where a frame that the guest names lies in one
// address space alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/memory/memory.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"
#include "vmm/run/narrator.h"
#include "vmm/run/run.h"
#include "vmm/seal/observe.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

class Programs {
 public:
  /// Bounds on what is kept of one program; what comes on top is counted.
  static constexpr std::size_t kMostSpaces = 1024;
  static constexpr std::size_t kMostProcesses = 1024;
  static constexpr std::size_t kMostViolations = 16;  ///< Of one address space.
  static constexpr std::size_t kMostChanges = 32;     ///< Of one mapping in one address space.

  Programs(const RunRequest& request, const model::Identities& identities,
           const memory::Memory& memory, Narrator& narrator)
      : request_(request), identities_(identities), memory_(memory), narrator_(narrator) {}

  /// Messages, checked. What is returned is wrong with them; empty: nothing.
  [[nodiscard]] std::string begin(const protocol::ProgramBegin& message);
  [[nodiscard]] std::string end(const protocol::ProgramEnd& message);
  void piece(protocol::Content content, std::string bytes);
  void process_mapping(std::uint64_t pid, const protocol::MappingClaim& claim);
  /// `isolated`: page tables are, so that user mode's root is the one behind the kernel's (x86-64).
  /// The root of an address space that must be looked at now, since its mappings were just touched.
  [[nodiscard]] std::optional<arch::Frame> process(const protocol::Process& message,
                                                   const model::Spaces& spaces, bool isolated);
  /// It was looked at.
  void touched(const model::AddressSpace& space);

  /// How frames are compared; without it no frame counts as a copy of another.
  void set_compare(seal::CompareFrames compare) { compare_ = std::move(compare); }

  /// Whether a program runs.
  [[nodiscard]] bool active() const { return current_ != nullptr; }
  /// The agent's own, or of a child of its before it ran anything of the user's.
  void agents(std::uint64_t space);

  /// User mode ran in `space`, or is about to; `look` is what differs since the last time.
  void looked(const model::AddressSpace& space, const model::Look& look,
              const arch::AnyFormat& format, const arch::TableReader& tables);
  /// A write on the path of a mapping. Precondition: active().
  void changed(const model::MappingChange& change, arch::Frame code_root);
  /// True if the violation is a program's: it is kept with its address space.
  [[nodiscard]] bool takes(const seal::Violation& violation);
  void ended(std::uint64_t space);

  /// Puts programs and findings into `run`.
  void finish(report::Run& run);

 private:
  struct Pending {
    model::MappingChange change;
    arch::Frame code_root{};
  };
  struct Tracked {
    report::ProgramSpace space;
    arch::Frame root{};
    std::vector<model::Placement> placements;
    std::vector<model::Elsewhere> elsewhere;
    std::map<std::size_t, report::ProgramMapping> mappings;  // by identity
    std::vector<Pending> pending;                            ///< Since user mode ran last.
    std::set<std::size_t> unlisted;  ///< Mappings that the kernel lists no more for its process.
    bool claimed = false;            ///< Its mappings were listed at its end.
  };

  Tracked* track(const model::AddressSpace& space, const arch::AnyFormat& format,
                 const arch::TableReader& tables);
  [[nodiscard]] std::string name_on_stack(const model::AddressSpace& space,
                                          const arch::AnyFormat& format,
                                          const arch::TableReader& tables) const;
  void take_transitions(Tracked& tracked, const model::Look& look, const arch::AnyFormat& format);
  void close(Tracked& tracked);
  void close_all();
  /// The one that runs, made known if it is not; nullptr: there are too many.
  report::ProgramProcess* process_of(std::uint32_t pid);
  /// The last that had this number, running or not.
  [[nodiscard]] const report::ProgramProcess* last_with(std::uint32_t pid) const;
  void join(std::uint32_t pid, arch::Frame root);
  void add_findings(report::Run& run) const;

  const RunRequest& request_;
  const model::Identities& identities_;
  const memory::Memory& memory_;
  Narrator& narrator_;
  seal::CompareFrames compare_;
  std::vector<report::Program> programs_;
  report::Program* current_ = nullptr;
  std::set<std::uint64_t> agents_;
  std::map<std::uint64_t, Tracked> tracked_;                             // by address space
  std::map<std::uint32_t, std::vector<report::ProcessMapping>> claims_;  // by pid, not yet told of
  std::map<arch::Frame, std::vector<std::uint32_t>> joined_;             // pids by root
};

}  // namespace sealvisor::run
