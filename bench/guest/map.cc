// Experiments mmap/map-*: making and removing a mapping.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/memory.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

constexpr std::uint64_t kHuge = std::uint64_t{2} << 20;
constexpr std::uint64_t kGigabyte = std::uint64_t{1} << 30;

/// Bytes from one page that is touched to the next: all pages, or a few of a large mapping.
constexpr std::uint64_t stride_of(std::uint64_t bytes) {
  return bytes >= kGigabyte ? kHuge : kPage;
}

/// What the mapping is of.
struct Source {
  int protection;
  int flags;
  int fd;
};
constexpr Source kMemory{PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1};

/// mmap, `use(address)`, munmap, as an operation; then that it is unmapped.
template <typename Use>
int map_and_unmap(Run& run, std::uint64_t bytes, const Source& source, const Use& use) {
  long address = 0;
  return run.each(
      [&](std::uint32_t) {
        address = agent::raw_call(SYS_mmap, 0, agent::arg(bytes), source.protection, source.flags,
                                  source.fd, 0);
        if (agent::is_error(address)) return false;
        const bool used = use(address);
        return agent::raw_call(SYS_munmap, address, agent::arg(bytes)) == 0 && used;
      },
      [&] { return is_unmapped(reinterpret_cast<const void*>(address)); });
}

bool leave_alone(long /*address*/) { return true; }

volatile std::uint64_t& word_at(long address, std::uint64_t offset) {
  return *reinterpret_cast<volatile std::uint64_t*>(address + static_cast<long>(offset));
}

/// A file of a tmpfs without a name. Each page that is touched holds 1.
class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  /// 0 or an errno.
  [[nodiscard]] int make(std::uint64_t bytes) {
    fd_ = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return errno;
    const std::uint64_t one = 1;
    for (std::uint64_t at = 0; at < bytes; at += stride_of(bytes)) {
      if (::pwrite(fd_, &one, sizeof one, static_cast<off_t>(at)) != sizeof one) return errno;
    }
    return 0;
  }
  [[nodiscard]] Source source() const { return {PROT_READ | PROT_WRITE, MAP_SHARED, fd_}; }

 private:
  int fd_ = -1;
};

}  // namespace

int map_anonymous(Run& run, std::uint64_t bytes) {
  return map_and_unmap(run, bytes, kMemory, leave_alone);
}

int map_anonymous_touched(Run& run, std::uint64_t bytes) {
  const std::uint64_t stride = stride_of(bytes);
  return map_and_unmap(run, bytes, kMemory, [=](long address) {
    for (std::uint64_t at = 0; at < bytes; at += stride) word_at(address, at) = 1;
    return true;  // Without a page the store would have ended this process.
  });
}

int map_file(Run& run, std::uint64_t bytes) {
  File file;
  const int error = file.make(bytes);
  return error != 0 ? error : map_and_unmap(run, bytes, file.source(), leave_alone);
}

int map_file_touched(Run& run, std::uint64_t bytes) {
  File file;
  const int error = file.make(bytes);
  if (error != 0) return error;
  const std::uint64_t stride = stride_of(bytes);
  return map_and_unmap(run, bytes, file.source(), [=](long address) {
    std::uint64_t sum = 0;
    for (std::uint64_t at = 0; at < bytes; at += stride) sum += word_at(address, at);
    return sum == bytes / stride;
  });
}

int map_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  return error != 0 ? error : map_and_unmap(run, kPage, kMemory, leave_alone);
}

int map_fixed(Run& run, std::uint64_t /*unused*/) {
  Pages target;
  const int error = target.map(Spot::Target, 1);
  if (error != 0) return error;
  const long address = address_of(target.start());
  return run.each([&](std::uint32_t) {
    return agent::raw_call(SYS_mmap, address, kPage, kMemory.protection, kMemory.flags | MAP_FIXED,
                           -1, 0) == address;
  });
}

}  // namespace sealvisor::bench
