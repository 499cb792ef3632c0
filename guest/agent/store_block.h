// Blocks of known stores: rings, stores, rings (protocol::StoreBlock).
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/agent/store_class.h"

namespace sealvisor::agent {

/// The part of a page that blocks store to.
struct StoreArea {
  std::uintptr_t page = 0;   ///< Where this process may store to it.
  std::uint64_t gpa = 0;     ///< Of its frame.
  std::uint32_t offset = 0;  ///< Of the part; a multiple of the largest class that is to fit.
  std::uint32_t size = 0;
};

/// What all blocks did together.
struct Tally {
  std::uint32_t stores = 0;
  bool right = true;  ///< Memory was each time what the block says that it left there.
};

/// The message of a block of `store_class`, whose place and number are to be filled in.
[[nodiscard]] protocol::StoreBlock message_for(const StoreClass& store_class, std::uint32_t width);

/// True if the memory is what the block says that it left there; else said on the console. A
/// control that is wrong itself would blame the monitor.
[[nodiscard]] bool left_right(const protocol::StoreBlock& message, const StoreRun& run);

/// Rings, calls `stores(run)`, rings. Nothing else may store to the frames of the block meanwhile.
template <typename Stores>
StoreRun ring_around(Doorbell& doorbell, protocol::StoreBlock& message, std::uintptr_t at,
                     Stores stores) {
  const StoreRun run{at, message.step, message.stores};
  message.end = 0;
  doorbell.store_block(message);
  stores(run);
  message.end = 1;
  doorbell.store_block(message);
  return run;
}

/// One block of `store_class`, as `message` has it.
void block(Doorbell& doorbell, protocol::StoreBlock& message, const StoreClass& store_class,
           std::uintptr_t at, Tally& tally);

/// Makes each slot of the area zero, as a block of its own.
void clear_area(Doorbell& doorbell, const StoreArea& area, Tally& tally);

/// The block of a class that does not straddle: `count` stores to the area, fewer where they would
/// not fit (Reach). Before it, the fill that the class starts from. Precondition: the area is zero,
/// and the class is there().
void run_block(Doorbell& doorbell, const StoreArea& area, const StoreClass& store_class,
               std::uint32_t count, Tally& tally);

/// Whether this CPU has the class.
[[nodiscard]] bool there(const StoreClass& store_class);

}  // namespace sealvisor::agent
