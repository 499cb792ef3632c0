#include "vmm/run/announcements.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "arch/linux_entry.h"
#include "vmm/image/vdso.h"
#include "vmm/run/protocol_reader.h"

namespace sealvisor::run {

using arch::Frame;
using arch::Gva;
using arch::WalkEnd;

namespace {
/// Processes whose announcements are under way at once.
constexpr std::size_t kMostAnnouncing = 64;
/// Frames of the kernel's that one process may show: all system mappings have some dozens.
constexpr std::size_t kMostKernelFrames = 4096;
/// The kernel allocates its page for each process.
constexpr std::string_view kOwnPages = "[uprobes]";
}  // namespace

std::optional<std::size_t> Announcements::known(const model::AddressSpace& space,
                                                const std::string& name) const {
  const auto index = identities_.named(name);
  if (!index) return index;
  const std::uint64_t owner = identities_.all()[*index].owner;
  return owner == 0 || owner == space.id ? index : std::nullopt;
}

void Announcements::name_again(const std::string& name, const Seen& seen) {
  std::optional<std::size_t> mapping;
  for (std::uint32_t page = 0; page < seen.frames.size(); ++page) {
    if (!seen.frames[page]) continue;
    const auto id = identities_.find(*seen.frames[page]);
    if (!id || id->page != page || (mapping && *mapping != id->mapping)) return;
    mapping = id->mapping;
  }
  if (!mapping || name == kOwnPages || identities_.all()[*mapping].code) return;
  identities_.also_called(name, *mapping);
}

void Announcements::add(const model::AddressSpace& space, const protocol::MappingClaim& claim) {
  // Bounded: few processes announce at a time. A liar that never ends evicts that of the
  // oldest address space, whosesoever it is; its count at the end then is not that of what is left,
  // which is a finding (session.cc, MappingsEnd).
  if (!pending_.contains(space.id) && pending_.size() >= kMostAnnouncing) {
    pending_.erase(pending_.begin());
  }
  std::vector<protocol::MappingClaim>& own = pending_[space.id];
  if (own.size() < protocol::kMaxMappings) own.push_back(claim);
}

std::size_t Announcements::pending(const model::AddressSpace& space) const {
  const auto own = pending_.find(space.id);
  return own == pending_.end() ? 0 : own->second.size();
}

std::optional<protocol::MappingClaim> Announcements::claim(const std::string& name) const {
  for (const auto& claim : last_) {
    if (text_of(claim.name) == name) return claim;
  }
  return std::nullopt;
}

Announcements::Seen Announcements::see(const arch::AnyFormat& format,
                                       const model::AddressSpace& space,
                                       const protocol::MappingClaim& claim) const {
  Seen seen;
  std::vector<std::byte> bytes;
  for (std::uint64_t at = claim.start; at < claim.end; at += arch::kPageSize) {
    const arch::Walk walk = arch::walk(format, memory_, space.root, Gva{at});
    const bool reachable =
        walk.end == WalkEnd::Leaf && (walk.permissions.read || walk.permissions.exec);
    if (!reachable) {
      seen.frames.emplace_back();
      continue;
    }
    const Frame frame = arch::frame_of(walk.output);
    if (seen.populated++ == 0) seen.permissions = walk.permissions;
    if (kernel_ && !kernel_->contains(frame)) seen.user_copy = true;
    seen.frames.emplace_back(frame);
    std::vector<std::byte> page(arch::kPageSize);
    if (walk.permissions.exec && memory_.read(frame.gpa(), page)) {
      bytes.insert(bytes.end(), page.begin(), page.end());
    }
  }
  seen.soname = image::elf_soname(bytes).value_or("");
  return seen;
}

void Announcements::learn(const model::AddressSpace& space, const protocol::MappingClaim& claim,
                          const std::string& name, const Seen& seen,
                          std::vector<IdentityDoubt>& doubts) {
  model::SystemMapping mapping;
  mapping.name = name;
  mapping.frames = seen.frames;
  mapping.permissions = seen.permissions;
  mapping.code = seen.permissions.exec;
  mapping.claims_sealed = claim.sealed != 0;
  if (name == kOwnPages) mapping.owner = space.id;
  mapping.identified_by.emplace_back("announcement");
  const bool vdso = name.starts_with("[vdso]");
  const bool known_soname = image::is_vdso_soname(seen.soname);
  if (vdso && known_soname) mapping.identified_by.emplace_back("content");
  if (kernel_ && !seen.user_copy) mapping.identified_by.push_back("kernel image" + symbols_source_);
  if (const auto anchor = anchors_.find(name); anchor != anchors_.end() && seen.frames[0]) {
    if (*seen.frames[0] == anchor->second.frame) {
      mapping.identified_by.push_back("kernel symbol" + symbols_source_);
    } else {
      doubts.push_back(
          {name, fmt::format("announced at {:#x}, but its first page shows frame {:#x}, and the "
                             "kernel's {} is in {:#x}",
                             claim.start, seen.frames[0]->gpa().value, anchor->second.symbol,
                             anchor->second.frame.gpa().value)});
    }
  }
  if (vdso && !known_soname) {
    doubts.push_back({name, fmt::format("announced at {:#x}, but its bytes are no vdso (SONAME "
                                        "'{}')",
                                        claim.start, seen.soname)});
  }
  if (vdso && kernel_ && seen.user_copy) {
    doubts.push_back({name, fmt::format("announced at {:#x}, but its frames lie outside the "
                                        "kernel's image",
                                        claim.start)});
  }
  identities_.add(std::move(mapping));
}

std::vector<IdentityDoubt> Announcements::end(const arch::AnyFormat& format,
                                              const model::AddressSpace& space, bool compat,
                                              bool& learned) {
  std::vector<IdentityDoubt> doubts;
  learned = false;
  last_ = std::exchange(pending_[space.id], {});
  pending_.erase(space.id);
  for (const protocol::MappingClaim& claim : last_) {
    const std::string name = text_of(claim.name) + (compat ? " (32-bit)" : "");
    const Seen seen = see(format, space, claim);
    if (seen.populated == 0) {  // nothing to compare: unobserved
      if (unreachable_.size() < protocol::kMaxMappings) unreachable_[name] = claim.sealed != 0;
      continue;
    }
    const auto known = this->known(space, name);
    if (!known) {
      const bool all_new = std::none_of(
          seen.frames.begin(), seen.frames.end(),
          [&](const auto& frame) { return frame && identities_.find(*frame).has_value(); });
      if (!all_new) {
        name_again(name, seen);
        continue;
      }
      learn(space, claim, name, seen, doubts);
      learned = true;
      continue;
    }
    const std::size_t pages = identities_.all()[*known].frames.size();
    for (std::uint32_t page = 0; page < seen.frames.size(); ++page) {
      if (!seen.frames[page]) continue;
      const Frame frame = *seen.frames[page];
      const auto id = identities_.find(frame);
      if (id && *id == model::MappingPage{*known, page}) continue;
      if (!id && page < pages && !identities_.all()[*known].frames[page] &&
          (!kernel_ || kernel_->contains(frame))) {
        learned = identities_.learn({*known, page}, frame) || learned;
        continue;
      }
      doubts.push_back(
          {name,
           fmt::format("announced at {:#x}, but page {} shows frame {:#x}, which is {}",
                       claim.start, page, frame.gpa().value,
                       id ? "another page of a system mapping" : "no frame of a system mapping")});
      break;
    }
  }
  return doubts;
}

std::vector<IdentityDoubt> Announcements::unannounced(const arch::AnyFormat& format,
                                                      const model::AddressSpace& space) {
  if (!kernel_) return {};
  struct Found {
    Frame frame;
    Gva gva;
    bool image;
  };
  /// User-reachable leaves of frames that are the kernel's.
  struct Kernels final : arch::Visitor {
    Kernels(const KernelRange& of, std::optional<arch::Arch> special_of)
        : range(of), special(special_of) {}
    /// However many leaves a guest makes, each frame is kept once, and so many at most.
    void leaf(const arch::LeafMapping& leaf) override {
      if (!leaf.permissions.read && !leaf.permissions.exec) return;
      for (std::uint64_t at = 0; at < leaf.size; at += arch::kPageSize) {
        const Frame frame = arch::frame_of(arch::Gpa{leaf.gpa.value + at});
        const bool image = range.contains(frame);
        const bool marked = special && leaf.level == 1 && arch::is_special(*special, leaf.value);
        if (!image && !marked) continue;
        if (found.size() >= kMostKernelFrames) {
          left_out = true;
          return;
        }
        if (seen.insert(frame).second) found.push_back({frame, Gva{leaf.gva.value + at}, image});
      }
    }
    const KernelRange& range;
    std::optional<arch::Arch> special;
    std::vector<Found> found;
    std::unordered_set<Frame> seen;
    bool left_out = false;
  };
  Kernels kernels(*kernel_, expect_special_ ? std::nullopt : std::optional(arch_));
  const auto summary = arch::visit(format, memory_, space.root, arch::Half::Lower, kernels,
                                   {.scope = arch::Scope::UserHalf});
  std::vector<IdentityDoubt> doubts;
  if (summary.budget_exceeded) {
    exhausted_ = true;
    doubts.push_back(
        {"unannounced",
         fmt::format("search: more than {} tables are on the ways through the user half",
                     summary.tables)});
  }
  if (kernels.left_out) {
    doubts.push_back({"unannounced", fmt::format("search: more than {} frames of the kernel's are "
                                                 "in the tables of one process",
                                                 kMostKernelFrames)});
  }
  std::vector<std::byte> page(arch::kPageSize);
  for (const auto& [frame, gva, image] : kernels.found) {
    if (identities_.find(frame) || reported_.contains(frame)) continue;
    // The page of zeroes, which anonymous memory shows until it is stored to, is the kernel's too.
    const bool readable = memory_.read(frame.gpa(), page);
    if (!readable ||
        std::all_of(page.begin(), page.end(), [](std::byte byte) { return byte == std::byte{}; })) {
      continue;
    }
    reported_.insert(frame);
    doubts.push_back(
        {"unannounced",
         fmt::format("page: {:#x} shows frame {:#x} {}, which is of no mapping that was announced",
                     gva.value, frame.gpa().value,
                     image ? "of the kernel's image" : "that the kernel keeps for itself")});
  }
  return doubts;
}

}  // namespace sealvisor::run
