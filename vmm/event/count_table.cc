#include "vmm/event/count_table.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iterator>

#include "vmm/event/event.h"

namespace sealvisor::event {

std::span<Place> CountTable::places() const {
  return {reinterpret_cast<Place*>(memory_.data() + sizeof(CountHeader)),
          (memory_.size() - sizeof(CountHeader)) / sizeof(Place)};
}

void CountTable::initialise(std::span<const Place> kernel, bool profiling) {
  assert(count_table_bytes(kernel.size()) <= memory_.size());
  CountHeader& header = head();
  header = {};
  header.magic = kCountMagic;
  header.version = kEventVersion;
  header.kernel_places = static_cast<std::uint32_t>(kernel.size());
  header.profiling = profiling ? 1 : 0;
  std::copy(kernel.begin(), kernel.end(), places().begin());
}

std::uint64_t page_mark(std::span<const std::byte, arch::kPageSize> page) {
  std::uint64_t mark = 0xCBF29CE484222325;
  for (std::size_t at = 0; at < page.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, page.data() + at, sizeof word);
    mark = (mark ^ word) * 0x100000001B3;
  }
  return mark;
}

void CountTable::begin(std::uint64_t slide, std::span<const std::byte> vdso_image,
                       std::span<const Place> vdso_places) {
  CountHeader& header = head();
  header.slide = slide;
  const std::size_t pages = std::min(vdso_image.size() / arch::kPageSize, kMostVdsoPages);
  for (std::size_t i = 0; i < pages; ++i) {
    header.vdso_pages[i] =
        page_mark(vdso_image.subspan(i * arch::kPageSize).first<arch::kPageSize>());
  }
  header.vdso_page_count = pages;
  const std::span<Place> room = places().subspan(header.kernel_places);
  const std::size_t count = std::min(room.size(), vdso_places.size());
  std::copy_n(vdso_places.begin(), count, room.begin());
  header.vdso_places = static_cast<std::uint32_t>(count);
  header.counting = 1;
}

bool CountTable::compatible() const {
  if (memory_.size() < sizeof(CountHeader)) return false;
  const CountHeader& head = header();
  const std::uint64_t count = std::uint64_t{head.kernel_places} + head.vdso_places;
  return head.magic == kCountMagic && head.version == kEventVersion && count <= kMostPlaces &&
         head.vdso_page_count <= kMostVdsoPages && count_table_bytes(count) <= memory_.size();
}

std::span<const Place> CountTable::kernel() const { return places().first(header().kernel_places); }

std::span<const Place> CountTable::vdso() const {
  return places().subspan(header().kernel_places, header().vdso_places);
}

std::optional<std::uint32_t> place_of(std::span<const Place> places, std::uint64_t address) {
  const auto next =
      std::upper_bound(places.begin(), places.end(), address,
                       [](std::uint64_t value, const Place& place) { return value < place.start; });
  if (next == places.begin()) return std::nullopt;
  const auto place = std::prev(next);
  if (address - place->start >= place->bytes) return std::nullopt;
  return static_cast<std::uint32_t>(place - places.begin());
}

}  // namespace sealvisor::event
