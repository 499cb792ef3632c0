#include "bench/guest/memory.h"

#include <unistd.h>

#include <cerrno>

#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

volatile std::uint64_t& word_at(std::byte* page) {
  return *reinterpret_cast<volatile std::uint64_t*>(page);
}

}  // namespace

Pages::~Pages() { unmap(); }

void Pages::unmap() {
  if (start_ != nullptr) ::munmap(start_, bytes());
  start_ = nullptr;
}

int Pages::map(Spot spot, std::uint32_t count) {
  unmap();
  count_ = count;
  void* start = ::mmap(reinterpret_cast<void*>(spot), bytes(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (start == MAP_FAILED) return errno;
  start_ = static_cast<std::byte*>(start);
  return 0;
}

int Pages::split() {
  for (std::uint32_t i = 1; i < count_; i += 2) {
    if (::madvise(page(i), kPage, MADV_DONTDUMP) != 0) return errno;
  }
  return 0;
}

void Pages::touch() {
  for (std::uint32_t i = 0; i < count_; ++i) word_at(page(i)) = i + 1;
}

bool Pages::touched() const {
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (word_at(page(i)) != i + 1) return false;
  }
  return true;
}

bool Pages::zero() const {
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (word_at(page(i)) != 0) return false;
  }
  return true;
}

bool Pages::gone() const {
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (!is_unmapped(page(i))) return false;
  }
  return true;
}

int Pages::seal() {
  if (::syscall(kMseal, start_, bytes(), 0L) == 0) return 0;
  return errno == ENOSYS ? ENOTSUP : errno;
}

bool is_unmapped(const void* start) {
  unsigned char resident = 0;
  return ::mincore(const_cast<void*>(start), kPage, &resident) != 0 && errno == ENOMEM;
}

int add_mappings(Pages& pages, std::uint32_t count, bool touched) {
  const int error = pages.map(Spot::Extra, count);
  if (error != 0) return error;
  if (touched) pages.touch();
  return pages.split();
}

}  // namespace sealvisor::bench
