#include "guest/agent/windows.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {

std::uint8_t* Windows::at(std::uint64_t gpa) {
  const std::uint64_t frame = gpa / kPage * kPage;
  std::size_t i = 0;
  while (i < count_ && frames_[i] != frame) ++i;
  const std::uintptr_t place = kFirst + i * kPage;
  if (i == count_) {
    if (count_ == kMost) {
      say("more than %zu tables", kMost);
      return nullptr;
    }
    // Without O_SYNC: ordinary cacheable memory, as every store needs it.
    if (::mmap64(reinterpret_cast<void*>(place), kPage, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED_NOREPLACE, memory_.get(),
                 static_cast<off64_t>(frame)) == MAP_FAILED) {
      say("mapping the table at 0x%llx: %s; x86-64 guests need nopat",
          static_cast<unsigned long long>(frame), std::strerror(errno));
      return nullptr;
    }
    frames_[count_++] = frame;
  }
  return reinterpret_cast<std::uint8_t*>(place) + gpa % kPage;
}

std::uint64_t Windows::word(std::uint64_t gpa) {
  const auto* const place = reinterpret_cast<const volatile std::uint64_t*>(at(gpa));
  return place == nullptr ? 0 : *place;
}

Path Windows::path(std::uint64_t root, std::uint64_t gva) {
  Path path{};
  std::uint64_t table = root;
  for (unsigned level = entry::kRootLevel; level >= 1; --level) {
    Step& step = path[level];
    step.gpa = table + entry::index_of(gva, level) * sizeof(std::uint64_t);
    step.value = word(step.gpa);
    if (!entry::is_table(step.value, level)) break;
    table = entry::address_of(step.value);
  }
  return path;
}

}  // namespace sealvisor::agent
