#include "vmm/engine/kvm/kernel_text.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "arch/arm64/bits.h"
#include "arch/x86_64/bits.h"

namespace sealvisor::engine::kvm {

namespace {

using arch::EntryKind;
using arch::Frame;
using arch::Gpa;
using arch::Gva;
using arch::Half;

Error refused(const std::string& why) {
  return {ExitCode::GuestFailed, "the kernel's tables " + why};
}

/// Reads each table once for each level; every entry once.
class Search {
 public:
  Search(const arch::AnyFormat& format, const arch::TableReader& memory, arch::RamLayout ram)
      : format_(format),
        memory_(memory),
        ram_(ram),
        most_text_(std::min(ram.bytes, kMostText)),
        never_executed_(arch::arch_of(format) == arch::Arch::X86_64
                            ? arch::x86_64::kExecuteDisable
                            : arch::arm64::kPrivilegedNever),
        known_(ram.bytes >> arch::kPageShift) {}

  [[nodiscard]] Result<std::vector<TextRange>> run(Frame root) {
    const unsigned top = arch::top_level(format_, Half::Upper);
    arch::Table copy;
    if (!memory_.read_table(root, copy)) return std::move(ranges_);
    const Status done = std::visit(
        [&](const auto& format) {
          const std::size_t slots = format.root_slots(Half::Upper, arch::Scope::All);
          for (std::size_t i = 0; i < slots; ++i) {
            const Gva gva = format.root_slot_gva(Half::Upper, i);
            if (format.half_of(gva) != Half::Upper) continue;
            if (auto good = entry(copy[i], top, gva); !good) return good;
          }
          return Status();
        },
        format_);
    if (!done) return done.error();
    return std::move(ranges_);
  }

 private:
  /// What is known of a table, a bit for each level: it was read; there is code below it.
  struct Known {
    std::uint8_t read = 0;
    std::uint8_t code = 0;
  };

  [[nodiscard]] Status entry(std::uint64_t value, unsigned level, Gva gva) {
    if (value == 0) return {};
    const arch::Entry decoded = arch::decode(format_, value, level, Half::Upper);
    if (decoded.kind == EntryKind::Table) {
      return table(arch::frame_of(decoded.output), level - 1, gva);
    }
    if (decoded.kind == EntryKind::Leaf && (value & never_executed_) == 0) {
      return code(gva, decoded.output, decoded.size);
    }
    return {};
  }

  [[nodiscard]] Status table(Frame frame, unsigned level, Gva first) {
    const std::uint64_t number = frame.number - arch::frame_of(ram_.base).number;
    if (number >= known_.size()) return {};
    Known& known = known_[number];
    const auto bit = static_cast<std::uint8_t>(1U << (level - 1));
    if ((known.read & bit) != 0) {
      // Such tables without code are the shadow of a kernel with KASAN.
      if ((known.code & bit) == 0) return {};
      return refused(
          fmt::format("link the one in frame {:#x} twice, with code below it", frame.number));
    }
    known.read = static_cast<std::uint8_t>(known.read | bit);
    if (++tables_ > most_tables(ram_)) {
      return refused(fmt::format("are more than {}, with {} MiB of memory", most_tables(ram_),
                                 ram_.bytes >> 20));
    }
    arch::Table copy;
    if (!memory_.read_table(frame, copy)) return {};
    const std::uint64_t before = bytes_;
    for (std::size_t i = 0; i < copy.size(); ++i) {
      const Gva gva{first.value + i * arch::level_size(level)};
      if (auto good = entry(copy[i], level, gva); !good) return good;
    }
    if (bytes_ != before) known.code = static_cast<std::uint8_t>(known.code | bit);
    return {};
  }

  [[nodiscard]] Status code(Gva gva, Gpa gpa, std::uint64_t size) {
    // The part that is RAM.
    const std::uint64_t skip = gpa.value < ram_.base.value ? ram_.base.value - gpa.value : 0;
    const std::uint64_t end = ram_.base.value + ram_.bytes;
    if (skip >= size || gpa.value >= end) return {};
    const TextRange found{Gva{gva.value + skip}, Gpa{gpa.value + skip},
                          std::min(size - skip, end - (gpa.value + skip))};
    bytes_ += found.bytes;
    if (bytes_ > most_text_) {
      return refused(fmt::format("map more than {} MiB as code, with {} MiB of memory",
                                 most_text_ >> 20, ram_.bytes >> 20));
    }
    if (!ranges_.empty()) {
      TextRange& last = ranges_.back();
      if (last.gva.value + last.bytes == found.gva.value &&
          last.gpa.value + last.bytes == found.gpa.value) {
        last.bytes += found.bytes;
        return {};
      }
    }
    ranges_.push_back(found);
    return {};
  }

  const arch::AnyFormat& format_;
  const arch::TableReader& memory_;
  arch::RamLayout ram_;
  std::uint64_t most_text_;
  std::uint64_t never_executed_;
  std::vector<Known> known_;  ///< By frame of RAM.
  std::uint64_t tables_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<TextRange> ranges_;
};

}  // namespace

Result<std::vector<TextRange>> kernel_text(const arch::AnyFormat& format,
                                           const arch::TableReader& memory, Frame root,
                                           arch::RamLayout ram) {
  return Search(format, memory, ram).run(root);
}

std::uint64_t total_bytes(const std::vector<TextRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const TextRange& range : ranges) bytes += range.bytes;
  return bytes;
}

Error too_many_returns() {
  return refused(fmt::format("map code with more than {} returns", kMostReturns));
}

}  // namespace sealvisor::engine::kvm
