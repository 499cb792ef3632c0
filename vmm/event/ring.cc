#include "vmm/event/ring.h"

#include <algorithm>
#include <cassert>
#include <new>

namespace sealvisor::event {

Ring::Ring(std::span<std::byte> memory)
    : header_(std::launder(reinterpret_cast<RingHeader*>(memory.data()))),
      records_(std::launder(reinterpret_cast<Event*>(memory.data() + kRingRecordsOffset))),
      copies_(std::launder(reinterpret_cast<arch::Table*>(memory.data() + kRingCopiesOffset))) {
  assert(memory.size() >= kRingBytes);
}

void Ring::initialise() {
  header_->magic = kRingMagic;
  header_->version = kEventVersion;
  header_->content_count = 0;
  header_->copies_given.store(0, std::memory_order_relaxed);
  header_->copies_taken.store(0, std::memory_order_relaxed);
  header_->head.store(0, std::memory_order_relaxed);
  header_->tail.store(0, std::memory_order_release);
}

bool Ring::compatible() const {
  return header_->magic == kRingMagic && header_->version == kEventVersion;
}

bool Ring::full() const {
  return header_->head.load(std::memory_order_relaxed) -
             header_->tail.load(std::memory_order_acquire) >=
         kRingCapacity;
}

void Ring::push(const Event& event) {
  const std::uint64_t head = header_->head.load(std::memory_order_relaxed);
  records_[head & (kRingCapacity - 1)] = event;
  header_->head.store(head + 1, std::memory_order_release);
}

std::uint64_t Ring::written() const { return header_->head.load(std::memory_order_relaxed); }

bool Ring::copies_full() const {
  return header_->copies_given.load(std::memory_order_relaxed) -
             header_->copies_taken.load(std::memory_order_acquire) >=
         kCopyCapacity;
}

void Ring::push_copy(Event event, const arch::Table& table) {
  const std::uint64_t number = header_->copies_given.load(std::memory_order_relaxed);
  copies_[number & (kCopyCapacity - 1)] = table;
  header_->copies_given.store(number + 1, std::memory_order_relaxed);
  event.aux = number;
  push(event);  // its store to head releases the copy too
}

const arch::Table* Ring::copy_of(const Event& event) const {
  if (event.aux != header_->copies_taken.load(std::memory_order_relaxed)) return nullptr;
  return &copies_[event.aux & (kCopyCapacity - 1)];
}

void Ring::take_copy() {
  const std::uint64_t taken = header_->copies_taken.load(std::memory_order_relaxed);
  header_->copies_taken.store(taken + 1, std::memory_order_release);
}

bool Ring::broken() const {
  const std::uint64_t head = header_->head.load(std::memory_order_acquire);
  const std::uint64_t tail = header_->tail.load(std::memory_order_relaxed);
  return head - tail > kRingCapacity;
}

std::span<const Event> Ring::ready() const {
  const std::uint64_t head = header_->head.load(std::memory_order_acquire);
  const std::uint64_t tail = header_->tail.load(std::memory_order_relaxed);
  const std::uint64_t count = head - tail;
  if (count > kRingCapacity) return {};
  const std::uint64_t first = tail & (kRingCapacity - 1);
  return {records_ + first, static_cast<std::size_t>(std::min(count, kRingCapacity - first))};
}

void Ring::consume(std::size_t count) {
  const std::uint64_t tail = header_->tail.load(std::memory_order_relaxed);
  header_->tail.store(tail + count, std::memory_order_release);
}

}  // namespace sealvisor::event
