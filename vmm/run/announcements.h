// What a guest process says its system mappings are, held against what is in memory.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/memory/memory.h"
#include "vmm/model/identity.h"
#include "vmm/model/space.h"

namespace sealvisor::run {

/// Frames that hold parts of the kernel image for as long as it runs. The kernel frees the rest
/// (init memory, the gaps between its sections) and hands it out to anyone.
struct KernelRange {
  struct Part {
    arch::Frame first{};
    std::uint64_t frames = 0;
  };
  std::vector<Part> parts{};
  [[nodiscard]] bool contains(arch::Frame frame) const {
    return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
      return frame.number - part.first.number < part.frames;
    });
  }
};

/// Something about identity that does not fit; becomes a finding with invariant "identity".
struct IdentityDoubt {
  std::string mapping;
  std::string text;
};

/// Collects one process's Mapping messages and judges them at MappingsEnd.
///
/// The first process that announces a mapping teaches its frames, if they stand up to what the
/// guest cannot choose: a [vdso] must hold an ELF file whose SONAME is a vdso's (content), and lie
/// inside the kernel's own image; and where a symbol tells the frame of a mapping's first page,
/// that is where it must be. Every later announcement is compared with what was learned; it never
/// changes it.
class Announcements {
 public:
  Announcements(arch::Arch arch, const memory::Memory& memory, model::Identities& identities)
      : arch_(arch), memory_(memory), identities_(identities) {}

  /// Processes of this run map RAM through /dev/mem: entries that are special are no news.
  void expect_special() { expect_special_ = true; }

  void set_kernel_range(KernelRange range) { kernel_ = std::move(range); }
  /// The kernel keeps the first page of `mapping` in `frame`, as its `symbol` says.
  void set_anchor(const std::string& mapping, std::string symbol, arch::Frame frame) {
    anchors_.insert_or_assign(mapping, SymbolFrame{std::move(symbol), frame});
  }

  /// Behind what is said to rest on symbols ("kernel image", "kernel symbol"); empty: a file's.
  void set_symbols_source(std::string source) { symbols_source_ = std::move(source); }

  /// A Mapping message (checked) from the process that runs on `space`. Past the protocol's bound
  /// further ones are dropped. Processes may take turns: each has an announcement of its own.
  void add(const model::AddressSpace& space, const protocol::MappingClaim& claim);
  /// MappingsEnd of the process that runs on `space`. `compat`: a 32-bit process. Returns doubts;
  /// sets `learned` if identities were added.
  [[nodiscard]] std::vector<IdentityDoubt> end(const arch::AnyFormat& format,
                                               const model::AddressSpace& space, bool compat,
                                               bool& learned);
  /// Pages of `space` that user mode may read or execute and whose frames are the kernel's own, of
  /// its image or marked as special, but of no mapping that was ever announced: each once in a run.
  [[nodiscard]] std::vector<IdentityDoubt> unannounced(const arch::AnyFormat& format,
                                                       const model::AddressSpace& space);
  /// Mappings that were announced and never had a page that user mode can reach, as the place of
  /// x86-64's emulated [vsyscall]: name and whether smaps has sl.
  [[nodiscard]] const std::map<std::string, bool>& unreachable() const { return unreachable_; }
  /// A search of unannounced() ran out of its budget; its doubt says so.
  [[nodiscard]] bool exhausted() const { return exhausted_; }
  /// Mappings announced by `space` since its last end().
  [[nodiscard]] std::size_t pending(const model::AddressSpace& space) const;
  /// Claims of the last announcement, by mapping name.
  [[nodiscard]] std::optional<protocol::MappingClaim> claim(const std::string& name) const;

 private:
  struct Seen {
    std::vector<std::optional<arch::Frame>> frames;
    arch::Permissions permissions{};
    std::size_t populated = 0;
    bool user_copy = false;  ///< Outside the kernel image although that is known.
    std::string soname;
  };
  [[nodiscard]] Seen see(const arch::AnyFormat& format, const model::AddressSpace& space,
                         const protocol::MappingClaim& claim) const;
  void learn(const model::AddressSpace& space, const protocol::MappingClaim& claim,
             const std::string& name, const Seen& seen, std::vector<IdentityDoubt>& doubts);
  /// The mapping called `name`, as far as it is known in `space`.
  [[nodiscard]] std::optional<std::size_t> known(const model::AddressSpace& space,
                                                 const std::string& name) const;
  /// A process has a name of its own for pages that are known: the data pages of a 32-bit one.
  void name_again(const std::string& name, const Seen& seen);

  arch::Arch arch_;
  const memory::Memory& memory_;
  model::Identities& identities_;
  bool expect_special_ = false;
  std::map<std::string, bool> unreachable_;
  struct SymbolFrame {
    std::string symbol;
    arch::Frame frame{};
  };
  std::optional<KernelRange> kernel_;
  std::string symbols_source_;
  std::map<std::string, SymbolFrame> anchors_;                            // by mapping name
  std::map<std::uint64_t, std::vector<protocol::MappingClaim>> pending_;  // by space id
  std::vector<protocol::MappingClaim> last_;
  std::set<arch::Frame> reported_;  ///< By unannounced().
  bool exhausted_ = false;
};

}  // namespace sealvisor::run
