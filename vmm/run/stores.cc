#include "vmm/run/stores.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace sealvisor::run {

namespace {
// Keeps a lying agent from filling the VMM's memory.
constexpr std::uint32_t kMostStores = 10'000;
constexpr std::uint32_t kMostWidth = 2048;
}  // namespace

StoreControl::StoreControl(const model::Mirror& mirror)
    : StoreControl("a watched table", [&mirror](arch::Frame frame) -> std::optional<Bytes> {
        const arch::Table* const table = mirror.table(frame);
        if (table == nullptr) return std::nullopt;
        Bytes bytes;
        std::memcpy(bytes.data(), table->data(), bytes.size());
        return bytes;
      }) {}

StoreControl::Window StoreControl::window(std::uint64_t gpa) const {
  Window window;
  window.gpa = gpa;
  const std::optional<Bytes> bytes = content_(arch::frame_of(arch::Gpa{gpa}));
  window.watched = bytes.has_value();
  if (bytes) window.bytes = *bytes;
  return window;
}

void StoreControl::on_write(const event::Event& event) {
  if (!open_ || seen_.size() > std::size_t{kMostStores} * 8) return;
  const std::uint64_t frame = event.gpa & ~(arch::kPageSize - 1);
  if (frame != first_.gpa && frame != next_.gpa) return;
  seen_.push_back({event.gpa, event.old_value, event.new_value, event.pc, event.icount});
}

std::vector<std::string> StoreControl::on_block(const protocol::StoreBlock& block) {
  std::vector<std::string> wrong;
  const std::string name(block.store_class, strnlen(block.store_class, sizeof(block.store_class)));
  if (block.end == 0) {
    if (open_) wrong.push_back(name + ": a block of stores began inside another");
    if (block.stores > kMostStores || block.width == 0 || block.width > kMostWidth ||
        block.offset >= arch::kPageSize) {
      wrong.push_back(fmt::format("{}: {} stores of {} bytes at offset {}: out of bounds", name,
                                  block.stores, block.width, block.offset));
      return wrong;
    }
    open_ = true;
    block_ = block;
    first_ = window(block.gpa & ~(arch::kPageSize - 1));
    next_ = window(block.next_gpa & ~(arch::kPageSize - 1));
    if (block.next_gpa == 0) next_ = Window{};
    if (!original_ && first_.watched) original_ = first_;
    seen_.clear();
    if (!first_.watched && !next_.watched) {
      wrong.push_back(fmt::format("{}: the frame {:#x} is not {}", name, block.gpa, what_));
    }
    return wrong;
  }
  if (!open_ ||
      std::memcmp(block_.store_class, block.store_class, sizeof(block.store_class)) != 0) {
    wrong.push_back(name + ": a block of stores ended that did not begin");
    return wrong;
  }
  open_ = false;
  classes_.insert(name);
  stores_ += block_.stores;
  const std::vector<Write> want = expected();
  changes_ +=
      static_cast<std::uint64_t>(std::count_if(want.begin(), want.end(), [](const Write& write) {
        return write.old_value != write.new_value;
      }));
  if (std::string text = compare(want); !text.empty()) wrong.push_back(name + ": " + text);
  return wrong;
}

std::uint8_t StoreControl::stored_byte(const Window& window, std::uint64_t at, std::uint32_t i,
                                       std::uint32_t k) const {
  switch (block_.pattern) {
    case protocol::Pattern::Counting:
      return protocol::store_pattern_byte(i, k);
    case protocol::Pattern::Same:
      return protocol::store_pattern_byte(0, k);
    case protocol::Pattern::Zeros:
      return 0;
    case protocol::Pattern::Restored:
      if (original_ && original_->gpa == window.gpa) return original_->bytes[at];
      break;
    case protocol::Pattern::Unchanged:
      break;
  }
  return window.bytes[at];
}

std::vector<StoreControl::Write> StoreControl::expected() {
  std::vector<Write> writes;
  for (std::uint32_t i = 0; i < block_.stores; ++i) {
    const std::int64_t start =
        static_cast<std::int64_t>(block_.offset) + static_cast<std::int64_t>(i) * block_.step;
    if (start < 0 || start >= static_cast<std::int64_t>(arch::kPageSize)) break;
    std::uint64_t last_slot = UINT64_MAX;
    for (std::uint32_t k = 0; k < block_.width; ++k) {
      const std::uint64_t at = static_cast<std::uint64_t>(start) + k;
      Window& window = at < arch::kPageSize ? first_ : next_;
      const std::uint64_t in_frame = at % arch::kPageSize;
      if (!window.watched) continue;
      const std::uint64_t slot = window.gpa + (in_frame & ~std::uint64_t{7});
      std::uint64_t value = 0;
      std::uint8_t* bytes = window.bytes.data() + (in_frame & ~std::uint64_t{7});
      std::memcpy(&value, bytes, sizeof(value));
      if (slot != last_slot) {
        writes.push_back({slot, value, value, 0, i});
        last_slot = slot;
      }
      bytes[in_frame & 7] = stored_byte(window, in_frame, i, k);
      std::memcpy(&writes.back().new_value, bytes, sizeof(value));
    }
  }
  return writes;
}

std::vector<StoreControl::Write> StoreControl::joined() const {
  if (block_.width <= 8) return seen_;
  std::vector<Write> result;
  std::size_t group = 0;  // first record of the instruction in progress
  for (const Write& write : seen_) {
    if (!result.empty() && (result.back().pc != write.pc || result.back().icount != write.icount)) {
      group = result.size();
    }
    const auto same =
        std::find_if(result.begin() + static_cast<std::ptrdiff_t>(group), result.end(),
                     [&](const Write& other) { return other.gpa == write.gpa; });
    if (same != result.end() && same->new_value == write.old_value) {
      same->new_value = write.new_value;
    } else {
      result.push_back(write);
    }
  }
  return result;
}

std::string StoreControl::compare(const std::vector<Write>& want) const {
  const std::vector<Write> have = joined();
  // A compare that fails may or may not write back what it read; nothing else may happen.
  if (block_.pattern == protocol::Pattern::Unchanged && have.empty()) return "";
  for (std::size_t i = 0; i < std::max(want.size(), have.size()); ++i) {
    if (i >= want.size() || i >= have.size()) {
      return fmt::format("{} stores must give {} slot writes, {} came", block_.stores, want.size(),
                         have.size());
    }
    if (want[i] == have[i]) continue;
    return fmt::format(
        "slot write {} of {}: expected {:#x}: {:#x} -> {:#x}, came {:#x}: {:#x} -> {:#x}", i,
        want.size(), want[i].gpa, want[i].old_value, want[i].new_value, have[i].gpa,
        have[i].old_value, have[i].new_value);
  }
  return "";
}

std::vector<std::string> StoreControl::unfinished() const {
  if (!open_) return {};
  return {"a block of known stores never ended"};
}

}  // namespace sealvisor::run
