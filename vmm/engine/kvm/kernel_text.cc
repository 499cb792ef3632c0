#include "vmm/engine/kvm/kernel_text.h"

#include <utility>

#include "arch/arm64/bits.h"
#include "arch/x86_64/bits.h"

namespace sealvisor::engine::kvm {

namespace {

class Collector final : public arch::Visitor {
 public:
  explicit Collector(const arch::AnyFormat& format) : format_(format) {}

  void leaf(const arch::LeafMapping& mapping) override {
    if (!arch::is_upper(format_, mapping.gva)) return;
    const bool x86 = arch::arch_of(format_) == arch::Arch::X86_64;
    if ((mapping.value & (x86 ? arch::x86_64::kExecuteDisable : arch::arm64::kPrivilegedNever)) !=
        0) {
      return;
    }
    if (!ranges.empty()) {
      TextRange& last = ranges.back();
      if (last.gva.value + last.bytes == mapping.gva.value &&
          last.gpa.value + last.bytes == mapping.gpa.value) {
        last.bytes += mapping.size;
        return;
      }
    }
    ranges.push_back({mapping.gva, mapping.gpa, mapping.size});
  }

  std::vector<TextRange> ranges;

 private:
  const arch::AnyFormat& format_;
};

}  // namespace

std::vector<TextRange> kernel_text(const arch::AnyFormat& format, const arch::TableReader& memory,
                                   arch::Frame root) {
  Collector collector(format);
  arch::visit(format, memory, root, arch::Half::Upper, collector);
  return std::move(collector.ranges);
}

std::uint64_t total_bytes(const std::vector<TextRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const TextRange& range : ranges) bytes += range.bytes;
  return bytes;
}

}  // namespace sealvisor::engine::kvm
