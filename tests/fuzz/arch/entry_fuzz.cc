// Any entry at any level: decoding is total and its results fit together.
#include "arch/describe.h"
#include "arch/linux_entry.h"
#include "arch/linux_swap.h"
#include "tests/fuzz/arch/formats.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point
using namespace sealvisor::arch;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto format = fuzz::take_format(input);
  if (!format) return 0;
  const auto entry = input.take<std::uint64_t>();
  const auto other = input.take<std::uint64_t>();
  for (unsigned level = 1; level <= kMaxLevels; ++level) {
    for (const Half half : {Half::Lower, Half::Upper}) {
      const Entry decoded = decode(*format, entry, level, half);
      fuzz::require((decoded.kind == EntryKind::Absent) == (entry == 0));
      fuzz::require(decoded.kind != EntryKind::Table || level > 1);
      if (decoded.kind == EntryKind::Leaf) {
        fuzz::require(decoded.size == level_size(level));
        fuzz::require(decoded.output.value % decoded.size == 0);
        fuzz::require(!decoded.permissions.write || decoded.permissions.read);
      } else {
        fuzz::require(decoded.size == 0);
      }
      // What hardware may set by itself never changes what is mapped where.
      const std::uint64_t touched = entry ^ (other & hardware_bits(*format, level));
      if ((entry & 1) != 0) {
        const Entry after = decode(*format, touched, level, half);
        fuzz::require(after.kind == decoded.kind && after.output == decoded.output);
      }
    }
    const std::string text = describe_entry(*format, entry, level);
    fuzz::require(!text.empty());
    if (entry != other) fuzz::require(text != describe_entry(*format, other, level));
  }
  for (const Arch arch : kAllArchs) {
    const NonPresent coarse = decode_non_present(arch, entry);
    const SoftEntry fine = decode_soft_entry(arch, entry);
    fuzz::require(
        (coarse.kind == NonPresentKind::ProtNone) ==
        (fine.kind == SoftEntryKind::ProtNone || fine.kind == SoftEntryKind::Invalidated));
    fuzz::require(!fine.frame || fine.frame->number < std::uint64_t{1} << 40);
  }
  return 0;
}
