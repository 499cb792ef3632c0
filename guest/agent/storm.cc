#include "guest/agent/storm.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/touch.h"
#include "guest/scenario/random.h"

namespace sealvisor::agent {
namespace {

using scenario::Random;

constexpr std::size_t kPageSize = 4096;
constexpr std::uint32_t kDeeds = 64;  ///< Of one process.
constexpr std::uint32_t kMostPages = 192;

/// Memory of the storm's own, readable and writable between two deeds.
struct Region {
  std::byte* start = nullptr;
  std::size_t pages = 0;
  [[nodiscard]] std::size_t size() const { return pages * kPageSize; }
};

class Storm {
 public:
  Storm(Random& random, const MappingTable& table) : random_(random), table_(table) {}

  /// 0, or the errno of what should have worked.
  int run() {
    touch_system_mappings();
    for (std::uint32_t i = 0; i < kDeeds; ++i) {
      const int error = deed();
      if (error == 0) continue;
      say("storm: deed %u: %s", i, std::strerror(error));
      return error;
    }
    touch_system_mappings();
    return 0;
  }

 private:
  int deed() {
    switch (random_.below(12)) {
      case 0:
      case 1:
        return map(MAP_PRIVATE);
      case 2:
        return map(MAP_SHARED);
      case 3:
        return map_file();
      case 4:
        return protect();
      case 5:
        return grow();
      case 6:
        return shrink();
      case 7:
        return move();
      case 8:
        return forget();
      case 9:
        return in_child();
      case 10:
        return exec();
      default:
        touch_system_mappings();
        return unmap();
    }
  }

  /// One of the regions; nullptr: there is none yet.
  Region* pick() {
    const std::uint32_t first = random_.below(static_cast<std::uint32_t>(regions_.size()));
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      Region& region = regions_[(first + i) % regions_.size()];
      if (region.pages != 0) return &region;
    }
    return nullptr;
  }

  /// Where the next region goes; the one that was there is unmapped.
  Region& make_room() {
    Region& region = regions_[next_++ % regions_.size()];
    if (region.pages != 0) ::munmap(region.start, region.size());
    region = {};
    return region;
  }

  void touch(const Region& region) const {
    for (std::size_t i = 0; i < region.pages; ++i) {
      const_cast<volatile std::byte*>(region.start)[i * kPageSize] = std::byte{1};
    }
  }

  void touch_system_mappings() const { touch_mappings(table_); }

  /// A hint that is close to a system mapping, or none.
  void* near_system_mapping() {
    if (table_.count == 0 || random_.chance(50)) return nullptr;
    const SystemMapping& one =
        table_.mappings[random_.below(static_cast<std::uint32_t>(table_.count))];
    const std::uintptr_t away = (1 + random_.below(kMostPages)) * kPageSize;
    if (one.start >> 63 != 0) return nullptr;  // [vsyscall] is in the kernel's half
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(one.start) - away);
  }

  int map(int flags) {
    Region& region = make_room();
    const std::size_t pages = 1 + random_.below(kMostPages);
    const int populate = random_.chance(50) ? MAP_POPULATE : 0;
    void* const at = ::mmap(near_system_mapping(), pages * kPageSize, PROT_READ | PROT_WRITE,
                            flags | MAP_ANONYMOUS | populate, -1, 0);
    if (at == MAP_FAILED) return errno;
    region = {static_cast<std::byte*>(at), pages};
    if (random_.chance(50)) ::madvise(at, region.size(), MADV_HUGEPAGE);  // a hint, no more
    touch(region);
    return 0;
  }

  int map_file() {
    const int file = ::open(kStaticImage, O_RDONLY | O_CLOEXEC);
    if (file < 0) return errno;
    Region& region = make_room();
    const std::size_t pages = 1 + random_.below(16);
    void* const at =
        ::mmap(nullptr, pages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    ::close(file);
    if (at == MAP_FAILED) return errno;
    region = {static_cast<std::byte*>(at), pages};
    touch(region);
    return 0;
  }

  int protect() {
    const Region* const region = pick();
    if (region == nullptr) return map(MAP_PRIVATE);
    const std::size_t first = random_.below(static_cast<std::uint32_t>(region->pages));
    std::byte* const at = region->start + first * kPageSize;
    const std::size_t size = region->size() - first * kPageSize;
    for (const int protection :
         {PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE}) {
      if (::mprotect(at, size, protection) != 0) return errno;
    }
    touch(*region);
    return 0;
  }

  int remap(Region& region, std::size_t pages, int flags, void* place) {
    void* const at = ::mremap(region.start, region.size(), pages * kPageSize, flags, place);
    if (at == MAP_FAILED) return errno;
    region = {static_cast<std::byte*>(at), pages};
    touch(region);
    return 0;
  }

  int grow() {
    // Memory that is shared, or of a file, ends where it began to end.
    Region* const region = pick();
    if (region == nullptr || region->pages >= kMostPages) return map(MAP_PRIVATE);
    return remap_private(*region, region->pages + 1 + random_.below(32));
  }

  /// Grows what may be grown; anything else stays as it is.
  int remap_private(Region& region, std::size_t pages) {
    void* const at =
        ::mremap(region.start, region.size(), pages * kPageSize, MREMAP_MAYMOVE, nullptr);
    if (at == MAP_FAILED) return errno;
    region.start = static_cast<std::byte*>(at);
    // What lies behind the end of a file, or of shared memory, is no memory.
    for (std::size_t i = 0; i < pages; ++i) {
      if (i >= region.pages && touch_page(reinterpret_cast<std::uintptr_t>(
                                   region.start + i * kPageSize)) != protocol::Touch::Read) {
        const std::size_t behind = (pages - region.pages) * kPageSize;
        return ::munmap(region.start + region.size(), behind) == 0 ? 0 : errno;
      }
    }
    region.pages = pages;
    touch(region);
    return 0;
  }

  int shrink() {
    Region* const region = pick();
    if (region == nullptr || region->pages < 2) return map(MAP_PRIVATE);
    return remap(*region,
                 region->pages - random_.below(static_cast<std::uint32_t>(region->pages) - 1), 0,
                 nullptr);
  }

  /// To where other tables translate.
  int move() {
    Region* const region = pick();
    if (region == nullptr) return map(MAP_PRIVATE);
    constexpr std::uintptr_t kFar = 0x20'0000'0000;
    std::uintptr_t place = 0;
    do {
      place = kFar + std::uintptr_t{random_.below(512)} * 0x4000'0000 +
              std::uintptr_t{random_.below(512)} * kPageSize;
    } while (is_taken(place, region->size()));
    return remap(*region, region->pages, MREMAP_MAYMOVE | MREMAP_FIXED,
                 reinterpret_cast<void*>(place));
  }

  /// Whether one of the regions has a page in [place, place + size).
  [[nodiscard]] bool is_taken(std::uintptr_t place, std::size_t size) const {
    for (const Region& region : regions_) {
      const auto start = reinterpret_cast<std::uintptr_t>(region.start);
      if (region.pages != 0 && start < place + size && place < start + region.size()) return true;
    }
    return false;
  }

  int forget() {
    const Region* const region = pick();
    if (region == nullptr) return map(MAP_SHARED);
    if (::madvise(region->start, region->size(), MADV_DONTNEED) != 0) return errno;
    touch(*region);
    return 0;
  }

  int unmap() {
    Region* const region = pick();
    if (region == nullptr) return 0;
    if (::munmap(region->start, region->size()) != 0) return errno;
    *region = {};
    return 0;
  }

  /// Each page that the parent shares is copied, or shared for good.
  int in_child() {
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
      for (const Region& region : regions_) touch(region);
      touch_system_mappings();
      ::_exit(0);
    }
    return wait_for(child).status();
  }

  static int exec() {
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
      char path[] = "/init";
      char word[] = "nothing";
      char* const arguments[] = {path, word, nullptr};
      char* const environment[] = {nullptr};
      ::execve(path, arguments, environment);
      ::_exit(errno);
    }
    return wait_for(child).status();
  }

  Random& random_;
  const MappingTable& table_;
  std::array<Region, 12> regions_{};
  std::size_t next_ = 0;
};

}  // namespace

int run_storm(Agent& agent, std::uint64_t seed, std::uint32_t count, std::uint32_t& done) {
  for (; done < count; ++done) {
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent, token);
    if (child < 0) return EAGAIN;
    if (child == 0) {
      MappingTable table;
      if (!announce_mappings(agent.doorbell, token, table)) ::_exit(EIO);
      Random random(Random(seed).next() + done);
      ::_exit(Storm(random, table).run());
    }
    if (const int status = wait_for(child).status(); status != 0) return status;
  }
  return 0;
}

}  // namespace sealvisor::agent
