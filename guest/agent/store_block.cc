#include "guest/agent/store_block.h"

#include <algorithm>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {
namespace {

/// Bytes of one store.
std::uint32_t width_of(const StoreClass& store_class) {
  return store_class.width != 0 ? store_class.width : zero_block_size();
}

/// The byte that store `i` of a block leaves at its byte `k`; `before` is what was there.
std::uint8_t expected_byte(const protocol::StoreBlock& message, std::uint32_t i, std::uint32_t k,
                           std::uint32_t before) {
  switch (message.pattern) {
    case protocol::Pattern::Counting:
      return protocol::store_pattern_byte(i, k);
    case protocol::Pattern::Zeros:
    case protocol::Pattern::Restored:  // Not compared here: only who restores knows it.
      return 0;
    case protocol::Pattern::Same:
      return protocol::store_pattern_byte(0, k);
    case protocol::Pattern::Unchanged:
      return protocol::store_pattern_byte(before / 8, before % 8);
  }
  return 0;
}

/// A block of 8-byte stores over the whole area.
protocol::StoreBlock whole_area(const StoreArea& area, const StoreClass& store_class) {
  protocol::StoreBlock message = message_for(store_class, 8);
  message.gpa = area.gpa;
  message.offset = area.offset;
  message.step = 8;
  message.stores = area.size / 8;
  return message;
}

/// Fills the area with the counting pattern, slot by slot, as a block of its own.
void fill(Doorbell& doorbell, const StoreArea& area, Tally& tally) {
  const StoreClass filling{.name = "fill", .width = 8, .run = [](const StoreRun& run) {
                             each(run, [](void* place, std::uint32_t i) {
                               *static_cast<volatile std::uint64_t*>(place) =
                                   pattern<std::uint64_t>(i);
                             });
                           }};
  protocol::StoreBlock message = whole_area(area, filling);
  block(doorbell, message, filling, area.page + area.offset, tally);
}

}  // namespace

bool there(const StoreClass& store_class) {
  return width_of(store_class) != 0 &&
         (store_class.available == nullptr || store_class.available());
}

bool left_right(const protocol::StoreBlock& message, const StoreRun& run) {
  const std::uint32_t first = message.step == 0 ? run.count - 1 : 0;
  for (std::uint32_t i = first; i < run.count; ++i) {
    const auto* bytes = static_cast<const volatile std::uint8_t*>(run.place(i));
    for (std::uint32_t k = 0; k < message.width; ++k) {
      const std::uint8_t expected = expected_byte(message, i, k, i * message.width + k);
      if (bytes[k] == expected) continue;
      say("stores %s: byte %u of store %u is 0x%02x, expected 0x%02x", message.store_class, k, i,
          static_cast<unsigned>(bytes[k]), static_cast<unsigned>(expected));
      return false;
    }
  }
  return true;
}

void block(Doorbell& doorbell, protocol::StoreBlock& message, const StoreClass& store_class,
           std::uintptr_t at, Tally& tally) {
  const StoreRun run = ring_around(doorbell, message, at, store_class.run);
  tally.stores += message.stores;
  tally.right = left_right(message, run) && tally.right;
}

protocol::StoreBlock message_for(const StoreClass& store_class, std::uint32_t width) {
  protocol::StoreBlock message{};
  std::strncpy(message.store_class, store_class.name, sizeof message.store_class - 1);
  message.width = width;
  switch (store_class.setup) {
    case Setup::Plain:
      message.pattern = protocol::Pattern::Counting;
      break;
    case Setup::Same:
      message.pattern = protocol::Pattern::Same;
      break;
    case Setup::Filled:
      message.pattern = protocol::Pattern::Zeros;
      break;
    case Setup::Kept:
      message.pattern = protocol::Pattern::Unchanged;
      break;
  }
  return message;
}

void clear_area(Doorbell& doorbell, const StoreArea& area, Tally& tally) {
  const StoreClass clearing{.name = "clear",
                            .width = 8,
                            .run =
                                [](const StoreRun& run) {
                                  each(run, [](void* place, std::uint32_t) {
                                    *static_cast<volatile std::uint64_t*>(place) = 0;
                                  });
                                },
                            .setup = Setup::Filled};
  protocol::StoreBlock message = whole_area(area, clearing);
  block(doorbell, message, clearing, area.page + area.offset, tally);
}

void run_block(Doorbell& doorbell, const StoreArea& area, const StoreClass& store_class,
               std::uint32_t count, Tally& tally) {
  if (store_class.setup == Setup::Filled || store_class.setup == Setup::Kept) {
    fill(doorbell, area, tally);
  }
  const std::uint32_t width = width_of(store_class);
  protocol::StoreBlock message = message_for(store_class, width);
  const std::uint32_t fit = (area.size - store_class.offset) / width;
  message.gpa = area.gpa;
  message.offset = area.offset + store_class.offset;
  message.stores = count;
  message.step = static_cast<std::int32_t>(width);
  if (store_class.reach == Reach::Spread) {
    if (count > fit) message.step = 0;
  } else {
    message.stores = std::min(count, fit);
  }
  if (store_class.reach == Reach::Down) {
    message.offset += (message.stores - 1) * width;
    message.step = -message.step;
  }
  block(doorbell, message, store_class, area.page + message.offset, tally);
}

}  // namespace sealvisor::agent
