// A guest of plain memory: page tables that tests edit as a kernel would, followed by the real
// tracker, mirror and address-space model. No engine, no OS.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "arch/any_format.h"
#include "guest/protocol/doorbell.h"
#include "vmm/model/mirror.h"
#include "vmm/model/space.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::test {

using arch::Arch;
using arch::Frame;
using arch::Gpa;
using arch::Gva;

/// Names a test after its architecture.
struct ArchName {
  std::string operator()(const testing::TestParamInfo<Arch>& one) const {
    return arch::name_of(one.param);
  }
};

/// What user mode may do with a page that a test maps.
struct May {
  bool write = false;
  bool exec = false;
  bool user = true;
};

/// How a process announces a mapping, as far as a cell looks at that.
inline protocol::MappingClaim claim_of(bool sealed, std::uint64_t start = 0,
                                       std::uint64_t end = 0) {
  protocol::MappingClaim claim{};
  claim.start = start;
  claim.end = end;
  claim.sealed = sealed ? 1 : 0;
  return claim;
}

inline arch::AnyFormat format_for(Arch arch) {
  if (arch == Arch::X86_64) {
    // CR0.PG; CR4.PAE, PKE; EFER.LMA, NXE.
    return arch::x86_64::format_from(
               {.cr0 = 1ULL << 31, .cr3 = 0, .cr4 = 1ULL << 5 | 1ULL << 22, .efer = 0xC00})
        .value();
  }
  // T0SZ = T1SZ = 16, TG0 = TG1 = 4 KiB: what Linux uses for 48 bits.
  return arch::arm64::format_from(
             {.tcr = 16 | (16ULL << 16) | (2ULL << 30), .ttbr0 = 0, .ttbr1 = 0, .sctlr = 1})
      .value();
}

inline std::uint64_t leaf_entry(Arch arch, Gpa gpa, May may = {}) {
  if (arch == Arch::X86_64) {
    return gpa.value | 1 | (may.write ? 2U : 0U) | (may.user ? 4U : 0U) |
           (may.exec ? 0 : 1ULL << 63);
  }
  return gpa.value | 3 | (may.user ? 0x40U : 0U) | (may.write ? 0 : 0x80U) | 0x400U |
         (may.exec ? 0 : 1ULL << 54);
}

/// An entry of level 2 or 3 that maps memory.
inline std::uint64_t large_leaf_entry(Arch arch, Gpa gpa, May may = {}) {
  const std::uint64_t entry = leaf_entry(arch, gpa, may);
  return arch == Arch::X86_64 ? entry | 0x80U : entry & ~std::uint64_t{2};
}

inline std::uint64_t table_entry(Arch arch, Frame table) {
  return table.gpa().value | (arch == Arch::X86_64 ? 7 : 3);
}

class FakeMemory final : public arch::TableReader {
 public:
  bool read_entry(Gpa slot, std::uint64_t& value) const override {
    if (!ram.contains(arch::frame_of(slot))) return false;
    const auto found = tables.find(arch::frame_of(slot));
    value = found == tables.end() ? 0 : found->second[arch::slot_index(slot)];
    return true;
  }
  bool read_table(Frame frame, arch::Table& copy) const override {
    if (!ram.contains(frame)) return false;
    const auto found = tables.find(frame);
    copy = found == tables.end() ? arch::Table{} : found->second;
    return true;
  }
  model::RamRange ram{Frame{0x100}, 0x400};
  std::map<Frame, arch::Table> tables;
};

class FakeGuest final : public model::EventSink {
 public:
  explicit FakeGuest(Arch which)
      : arch(which),
        format(format_for(which)),
        tracker(memory, memory.ram, *this),
        spaces(mirror, identities) {
    tracker.set_format(format);
    spaces.set_format(arch, format);
  }

  void emit(const event::Event& original) override {
    event::Event event = original;
    if (mutate && !mutate(event)) return;
    events.push_back(event);
    for (const auto& change : spaces.on_event(event)) changes.push_back(change);
    mirror.apply(event);
  }

  /// A kernel store of `value` to the entry at `slot`.
  void store(Gpa slot, std::uint64_t value) {
    memory.tables[arch::frame_of(slot)][arch::slot_index(slot)] = value;
    if (!tracker.is_watched(arch::frame_of(slot))) return;
    tracker.stored({slot, 8, 8, 0, 1}, source());
  }
  /// A store that the engine never tells of.
  void secret_store(Gpa slot, std::uint64_t value) {
    memory.tables[arch::frame_of(slot)][arch::slot_index(slot)] = value;
  }
  void load_root(Frame root) {
    event::Event event{};
    event.kind = event::Kind::RootLoad;
    event.vcpu = vcpu;
    event.gpa = root.gpa().value;
    event.root = root.gpa().value;
    event.icount = ++icount;
    emit(event);
    tracker.load_root(root, arch::Half::Lower, source());
  }
  /// The root of the upper half (arm64).
  void load_upper_root(Frame root) {
    event::Event event{};
    event.kind = event::Kind::RootLoad;
    event.vcpu = vcpu;
    event.flags = event::kUpperHalf;
    event.gpa = root.gpa().value;
    event.root = root.gpa().value;
    event.icount = ++icount;
    emit(event);
    tracker.load_root(root, arch::Half::Upper, source());
  }
  Frame new_table() { return Frame{next_table++}; }

  /// The slot of the level-1 entry of `gva` under `root`; makes tables on the way.
  Gpa leaf_slot(Frame root, Gva gva) { return slot_at(root, gva, 1); }
  /// The same for the entry at `lowest`, 1 to 4.
  Gpa slot_at(Frame root, Gva gva, unsigned lowest) {
    Frame table = root;
    for (unsigned level = 4; level > lowest; --level) {
      const Gpa slot = table.slot((gva.value >> arch::level_shift(level)) & 511);
      std::uint64_t entry = 0;
      (void)memory.read_entry(slot, entry);
      if (entry == 0) {
        entry = table_entry(arch, new_table());
        store(slot, entry);
      }
      table = arch::frame_of(arch::decode(format, entry, level, arch::Half::Lower).output);
    }
    return table.slot((gva.value >> arch::level_shift(lowest)) & 511);
  }
  [[nodiscard]] std::uint64_t entry_at(Gpa slot) const {
    std::uint64_t entry = 0;
    EXPECT_TRUE(memory.read_entry(slot, entry));
    return entry;
  }
  void map(Frame root, Gva gva, Frame frame, May may = {}) {
    store(leaf_slot(root, gva), leaf_entry(arch, frame.gpa(), may));
  }
  void unmap(Frame root, Gva gva) { store(leaf_slot(root, gva), 0); }

  /// What the monitor sees when user mode is about to run on `root`.
  model::Look enter_user(Frame root) {
    model::Look look;
    spaces.look(root, look);
    return look;
  }
  model::Rewalk rewalk(Frame root) {
    return model::rewalk(format, memory, mirror, root, arch::Half::Lower, arch::Scope::All);
  }
  /// A vdso of two code pages and a vvar of one data page, as learned from the first process.
  void learn_vdso() {
    model::SystemMapping vdso;
    vdso.name = "[vdso]";
    vdso.code = true;
    vdso.frames = {kVdso, Frame{kVdso.number + 1}};
    vdso.permissions = {true, false, true, 0};
    identities.add(vdso);
    model::SystemMapping vvar;
    vvar.name = "[vvar]";
    vvar.frames = {kVvar, std::nullopt};
    vvar.permissions = {true, false, false, 0};
    identities.add(vvar);
    spaces.identities_changed();
  }
  /// A process on a fresh root with both mappings populated at their usual places.
  Frame new_process() {
    const Frame root = new_table();
    map(root, kVdsoPlace, kVdso, {.exec = true});
    map(root, Gva{kVdsoPlace.value + 0x1000}, Frame{kVdso.number + 1}, {.exec = true});
    map(root, kVvarPlace, kVvar);
    load_root(root);
    return root;
  }
  model::StoreSource source() {
    model::StoreSource source;
    source.pc = 0xffffffff81000000;
    source.icount = ++icount;
    source.vcpu = vcpu;
    return source;
  }

  static constexpr Frame kVdso{0x400};
  static constexpr Frame kVvar{0x410};
  static constexpr Frame kOther{0x420};
  static constexpr Gva kVdsoPlace{0x7ffff7fd0000};
  static constexpr Gva kVvarPlace{0x7ffff7fc0000};

  Arch arch;
  arch::AnyFormat format;
  FakeMemory memory;
  model::Mirror mirror;
  model::Identities identities;
  model::TableTracker tracker;
  model::Spaces spaces;
  std::vector<event::Event> events;
  std::vector<model::MappingChange> changes;
  std::function<bool(event::Event&)> mutate;  ///< False drops the event.
  std::uint64_t next_table = 0x180;
  std::uint64_t icount = 0;
  std::uint8_t vcpu = 0;  ///< The one that stores and loads roots.
};

}  // namespace sealvisor::test
