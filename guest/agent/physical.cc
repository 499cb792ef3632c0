#include "guest/agent/physical.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {

File::File(const char* path, int flags) : fd_(::open(path, flags | O_CLOEXEC)) {
  if (fd_ < 0) say("opening %s: %s", path, std::strerror(errno));
}

std::optional<std::uint64_t> File::word(std::uint64_t offset) const {
  std::uint64_t value = 0;
  if (::pread64(fd_, &value, sizeof value, static_cast<off64_t>(offset)) != sizeof value) {
    return std::nullopt;
  }
  return value;
}

std::uint64_t gpa_of(const File& pagemap, std::uintptr_t page) {
  const auto entry = pagemap.word(page / kPage * 8);
  if (!entry || (*entry >> 63) == 0) return 0;
  return (*entry & ((std::uint64_t{1} << 55) - 1)) * kPage;
}

std::optional<RamRanges> read_ram_ranges() {
  const File iomem("/proc/iomem", O_RDONLY);
  std::array<char, 8192> text{};
  const ssize_t size = iomem.good() ? ::pread64(iomem.get(), text.data(), text.size(), 0) : -1;
  if (size <= 0) {
    say("/proc/iomem can't be read");
    return std::nullopt;
  }
  return ram_ranges({text.data(), static_cast<std::size_t>(size)});
}

}  // namespace sealvisor::agent
