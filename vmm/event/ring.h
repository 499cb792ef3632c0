// The ring of events that the plugin (in QEMU) fills and the VMM drains, in one shared memory file.
//
// One producer (the vCPU thread), one consumer (the VMM's loop). Nothing is ever dropped: when the
// ring is full the producer stops the vCPU until the consumer has made room.
//
// Beside the records are pages for copies of tables and stacks: a TableCopy or StackCopy record
// says which one is its. They are given and taken in order, as the records are.
//
// Wake-ups and waits go over a socket pair beside the memory, one byte each:
//   plugin -> VMM  kDrain: there is enough to be worth draining; the plugin goes on.
//   plugin -> VMM  kStop:  drain all, handle the last event, then answer; the vCPU waits.
//   VMM -> plugin  kGo:    the answer to one kStop. Commands in the header have been written.
// End of file on the socket ends QEMU: a VMM that was killed leaves no guest behind.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/walk.h"
#include "vmm/base/fd.h"
#include "vmm/event/event.h"

namespace sealvisor::event {

inline constexpr char kDrain = 'D';
inline constexpr char kStop = 'S';
inline constexpr char kGo = 'G';

/// Records in the ring: a power of two. 8,192 x 64 bytes = 512 KiB, which stays in a second-level
/// cache.
inline constexpr std::uint64_t kRingCapacity = 1U << 13;
/// The producer sends kDrain each time this many records have been added.
inline constexpr std::uint64_t kDrainEvery = kRingCapacity / 4;
/// Pages for copies of tables: a power of two.
inline constexpr std::uint64_t kCopyCapacity = 256;
/// Most content frames that the VMM may ask to have watched.
inline constexpr std::uint32_t kMaxContentFrames = 256;

inline constexpr std::uint32_t kRingMagic = 0x53564C52;

/// Start of the shared file. The consumer is trusted; the producer runs in the engine, which is
/// trusted too, but its indices are checked all the same, since a crash may leave anything.
/// Each side writes a cache line of its own.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct RingHeader {
  std::uint32_t magic;
  std::uint32_t version;                                ///< kEventVersion.
  alignas(64) std::atomic<std::uint64_t> head;          ///< Records ever written; producer only.
  alignas(64) std::atomic<std::uint64_t> tail;          ///< Records ever read; consumer only.
  alignas(64) std::atomic<std::uint64_t> copies_given;  ///< Ever; producer only.
  alignas(64) std::atomic<std::uint64_t> copies_taken;  ///< Ever; consumer only.
  /// Commands: content frames to watch. Written by the consumer between a kStop and its kGo.
  alignas(64) std::uint32_t content_count;
  std::uint64_t content_frames[kMaxContentFrames];
};

inline constexpr std::size_t kRingRecordsOffset = 4096;
static_assert(sizeof(RingHeader) <= kRingRecordsOffset);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
inline constexpr std::size_t kRingCopiesOffset = kRingRecordsOffset + kRingCapacity * sizeof(Event);
inline constexpr std::size_t kRingBytes = kRingCopiesOffset + kCopyCapacity * sizeof(arch::Table);

/// A view of the shared memory; owns nothing. Both sides use it.
class Ring {
 public:
  /// `memory` must be kRingBytes long, page-aligned and outlive the Ring.
  explicit Ring(std::span<std::byte> memory);

  /// Writes magic, version and zero indices. Done once, by the VMM, before the plugin starts.
  void initialise();
  /// Whether magic and version are those of this build.
  [[nodiscard]] bool compatible() const;

  /// Producer: whether one more record fits.
  [[nodiscard]] bool full() const;
  /// Producer: adds a record. Precondition: !full().
  void push(const Event& event);
  [[nodiscard]] std::uint64_t written() const;
  /// Producer: whether one more table can be copied.
  [[nodiscard]] bool copies_full() const;
  /// Producer: copies `table` and adds `event` (has_copy()), with the copy's number.
  /// Preconditions: !full(), !copies_full().
  void push_copy(Event event, const arch::Table& table);

  /// Consumer: the records that are ready, as one contiguous stretch (the rest follows at the next
  /// call). Empty when there is nothing, or when the indices make no sense (see broken()).
  [[nodiscard]] std::span<const Event> ready() const;
  /// Consumer: gives `count` records of ready() back.
  void consume(std::size_t count);
  /// Consumer: the copy that belongs to `event`, the oldest one that was not taken; nullptr
  /// if the number is not the next one (see broken()). Valid until take_copy().
  [[nodiscard]] const arch::Table* copy_of(const Event& event) const;
  /// Consumer: gives the page of the oldest copy back.
  void take_copy();
  /// Consumer: whether the producer's index is impossible (engine memory was corrupted).
  [[nodiscard]] bool broken() const;

  [[nodiscard]] RingHeader& header() { return *header_; }

 private:
  RingHeader* header_;
  Event* records_;
  arch::Table* copies_;
};

}  // namespace sealvisor::event
