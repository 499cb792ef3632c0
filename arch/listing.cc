#include "arch/listing.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>

#include "arch/disassembler.h"

namespace sealvisor::arch {

namespace {

/// Intel SDM vol. 2A, 2.3.11: an instruction has at most 15 bytes.
constexpr std::size_t kLongest = 15;

/// Reads instructions one after the other.
class Reader {
 public:
  Reader(Arch arch, std::span<const std::uint8_t> bytes, std::uint64_t address)
      : arch_(arch), disassembler_(arch), bytes_(bytes), address_(address) {}

  [[nodiscard]] std::uint64_t address() const { return address_ + offset_; }
  [[nodiscard]] bool done() const { return offset_ >= bytes_.size(); }

  ListedInstruction next() {
    const std::span<const std::uint8_t> rest = bytes_.subspan(offset_);
    const std::span<const std::uint8_t> some = rest.first(std::min(rest.size(), kLongest));
    Decoded decoded = disassembler_.one(some, address());
    // What is unknown on x86-64 is one byte long as far as anyone can tell.
    if (arch_ == Arch::X86_64 && decoded.text.starts_with(".byte")) {
      decoded = disassembler_.one(some.first(1), address());
      decoded.size = 1;
    }
    ListedInstruction listed{
        address(),
        {some.begin(), some.begin() + static_cast<std::ptrdiff_t>(decoded.size)},
        std::move(decoded.text)};
    offset_ += decoded.size;
    return listed;
  }

 private:
  Arch arch_;
  Disassembler disassembler_;
  std::span<const std::uint8_t> bytes_;
  std::uint64_t address_;
  std::size_t offset_ = 0;
};

}  // namespace

std::vector<ListedInstruction> list_around(Arch arch, std::span<const std::uint8_t> bytes,
                                           std::uint64_t address, std::uint64_t pc,
                                           ListingExtent extent) {
  const std::uint64_t offset = pc - address;
  if (pc < address || offset >= bytes.size()) return {};
  std::deque<ListedInstruction> lines;
  Reader before(arch, bytes, address);
  while (!before.done() && before.address() < pc) {
    lines.push_back(before.next());
    if (lines.size() > extent.before) lines.pop_front();
  }
  if (before.address() != pc) lines.clear();
  Reader rest(arch, bytes.subspan(offset), pc);
  for (std::size_t i = 0; i <= extent.after && !rest.done(); ++i) lines.push_back(rest.next());
  return {std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end())};
}

}  // namespace sealvisor::arch
