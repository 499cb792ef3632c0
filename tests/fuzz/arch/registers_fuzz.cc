// Any register values: refused with a reason, or a format whose geometry is sound.
#include "arch/any_format.h"
#include "tests/fuzz/arch/formats.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point
using namespace sealvisor::arch;

namespace {

template <PagingFormat Format>
void check_geometry(const Format& format, std::uint64_t raw) {
  for (const Half half : {Half::Lower, Half::Upper}) {
    const unsigned top = format.top_level(half);
    fuzz::require(top >= 1 && top <= kMaxLevels);
    const std::size_t slots = format.root_slots(half, Scope::All);
    fuzz::require(slots <= kTableEntries && format.root_slots(half, Scope::UserHalf) <= slots);
    if (slots == 0) continue;
    const std::size_t slot = raw % slots;
    const Gva first = format.root_slot_gva(half, slot);
    fuzz::require(format.is_canonical(first) && format.index(first, top) == slot);
    const Gva last{first.value + (level_size(top) - 1)};
    fuzz::require(format.is_canonical(last) && format.index(last, top) == slot);
    for (unsigned level = 1; level < top; ++level) {
      fuzz::require(format.index(first, level) == 0);
      fuzz::require(format.index(last, level) == kTableEntries - 1);
    }
  }
  for (unsigned level = 1; level <= kMaxLevels; ++level) {
    fuzz::require(format.index(Gva{raw}, level) < kTableEntries);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto raw = input.take<std::uint64_t>();
  const x86_64::Registers registers{.cr0 = input.take<std::uint64_t>(),
                                    .cr3 = input.take<std::uint64_t>(),
                                    .cr4 = input.take<std::uint64_t>(),
                                    .efer = input.take<std::uint64_t>()};
  const auto free = x86_64::format_from(registers, input.take<std::uint8_t>());
  fuzz::require(free.ok() || !free.error().message.empty());
  fuzz::require(x86_64::root_of(raw).number < std::uint64_t{1} << 40);
  fuzz::require(arm64::root_of(raw).number < std::uint64_t{1} << 36);
  const auto format = fuzz::take_format(input);
  if (format) std::visit([&](const auto& one) { check_geometry(one, raw); }, *format);
  return 0;
}
