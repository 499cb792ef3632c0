// Experiments mmap/map-*: making and removing a mapping.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

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

/// The same for huge pages: bytes from one that is touched to the next.
constexpr std::uint64_t huge_stride_of(std::uint64_t bytes) {
  return bytes >= kGigabyte ? 32 * kHuge : kHuge;
}

/// Calls `touch(offset)` for each 4 KiB of each huge page that is touched.
template <typename Touch>
void each_of_huge(std::uint64_t bytes, const Touch& touch) {
  for (std::uint64_t huge = 0; huge < bytes; huge += huge_stride_of(bytes)) {
    for (std::uint64_t at = huge; at < huge + kHuge; at += kPage) touch(at);
  }
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
        address = agent::raw_call(kMmap, 0, agent::arg(bytes), source.protection, source.flags,
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

/// Makes a file system that has no place in the tree of files. A descriptor of its root, or -errno;
/// -EINVAL: it has no such option.
int mount_nowhere(const char* type, const char* option, const char* value) {
  const int context = ::fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0) return -errno;
  int result = -1;
  if ((option == nullptr || ::fsconfig(context, FSCONFIG_SET_STRING, option, value, 0) == 0) &&
      ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    result = ::fsmount(context, FSMOUNT_CLOEXEC, 0);
  }
  if (result < 0) result = -errno;
  ::close(context);
  return result;
}

/// Lets processes have huge pages of memory that ask for them, as long as this object lives. The
/// kernel turns that off by itself with less than 512 MiB of memory (mm/huge_memory.c,
/// hugepage_init).
class HugePages {
 public:
  HugePages() {
    const int sysfs = mount_nowhere("sysfs", nullptr, nullptr);
    if (sysfs < 0) return;
    fd_ = ::openat(sysfs, "kernel/mm/transparent_hugepage/enabled", O_WRONLY | O_CLOEXEC);
    ::close(sysfs);
    if (fd_ >= 0 && !say("madvise")) {
      ::close(fd_);
      fd_ = -1;
    }
  }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages() {
    if (fd_ < 0) return;
    (void)say("never");
    ::close(fd_);
  }
  [[nodiscard]] bool there() const { return fd_ >= 0; }

 private:
  [[nodiscard]] bool say(std::string_view word) const {
    return ::write(fd_, word.data(), word.size()) == static_cast<ssize_t>(word.size());
  }

  int fd_ = -1;
};

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
    if (const int error = open_in(AT_FDCWD, "/tmp", bytes); error != 0) return error;
    for (std::uint64_t at = 0; at < bytes; at += stride_of(bytes)) {
      if (!put_one(at)) return errno;
    }
    return 0;
  }
  /// The same in a tmpfs that is made for it, in which whatever can be is of huge pages. ENOTSUP:
  /// this kernel has none.
  [[nodiscard]] int make_huge(std::uint64_t bytes) {
    // It has no place in the tree of files, and is gone with the last file of it.
    const int mount = mount_nowhere("tmpfs", "huge", "always");
    int error = mount < 0 ? -mount : open_in(mount, ".", bytes);
    if (mount >= 0) ::close(mount);
    if (error == EINVAL) error = ENOTSUP;
    each_of_huge(bytes, [&](std::uint64_t at) {
      if (error == 0 && !put_one(at)) error = errno;
    });
    return error;
  }
  [[nodiscard]] Source source() const { return {PROT_READ | PROT_WRITE, MAP_SHARED, fd_}; }

 private:
  [[nodiscard]] int open_in(int folder, const char* path, std::uint64_t bytes) {
    fd_ = ::openat(folder, path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0 ? errno : 0;
  }
  [[nodiscard]] bool put_one(std::uint64_t at) const {
    const std::uint64_t one = 1;
    return ::pwrite(fd_, &one, sizeof one, static_cast<off_t>(at)) == sizeof one;
  }

  int fd_ = -1;
};

/// Page faults of this process that needed no reading from a disk.
long page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/// mmap where huge pages can be, `use(address)`, munmap, as an operation; then that it is unmapped
/// and that `pages` of them, no more than a few others, were what page faults brought: 4 KiB at a
/// time there would be hundreds, 64 KiB at a time (fault-around of a file) tens.
template <typename Use>
int map_huge(Run& run, std::uint64_t bytes, const Source& source, std::uint64_t pages,
             const Use& use) {
  constexpr long kOthers = 8;
  constexpr auto kAddress = static_cast<long>(Spot::Target);
  static_assert(kAddress % static_cast<long>(kHuge) == 0);
  long before = 0;
  return run.each(
      [&] {
        before = page_faults();
        return 0;
      },
      [&](std::uint32_t) {
        const long address = agent::raw_call(kMmap, kAddress, agent::arg(bytes), source.protection,
                                             source.flags | MAP_FIXED_NOREPLACE, source.fd, 0);
        if (address != kAddress) return false;
        const bool used = use(address);
        return agent::raw_call(SYS_munmap, address, agent::arg(bytes)) == 0 && used;
      },
      [&] {
        const long expected = static_cast<long>(pages * run.batch());
        return is_unmapped(reinterpret_cast<const void*>(kAddress)) &&
               page_faults() - before <= expected + kOthers;
      });
}

bool ask_for_huge(long address, std::uint64_t bytes) {
  return agent::raw_call(SYS_madvise, address, agent::arg(bytes), MADV_HUGEPAGE) == 0;
}

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

int map_anonymous_huge(Run& run, std::uint64_t bytes) {
  const HugePages huge;
  if (!huge.there()) return ENOTSUP;
  return map_huge(run, bytes, kMemory, 0,
                  [=](long address) { return ask_for_huge(address, bytes); });
}

int map_anonymous_huge_touched(Run& run, std::uint64_t bytes) {
  const HugePages huge;
  if (!huge.there()) return ENOTSUP;
  return map_huge(run, bytes, kMemory, bytes / huge_stride_of(bytes), [=](long address) {
    if (!ask_for_huge(address, bytes)) return false;
    each_of_huge(bytes, [=](std::uint64_t at) { word_at(address, at) = 1; });
    return true;
  });
}

int map_file_huge(Run& run, std::uint64_t bytes) {
  File file;
  const int error = file.make_huge(bytes);
  return error != 0 ? error : map_huge(run, bytes, file.source(), 0, leave_alone);
}

int map_file_huge_touched(Run& run, std::uint64_t bytes) {
  File file;
  const int error = file.make_huge(bytes);
  if (error != 0) return error;
  const std::uint64_t pages = bytes / huge_stride_of(bytes);
  return map_huge(run, bytes, file.source(), pages, [=](long address) {
    std::uint64_t sum = 0;
    each_of_huge(bytes, [&](std::uint64_t at) { sum += word_at(address, at); });
    return sum == pages * (kHuge / kPage);
  });
}

int map_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  return error != 0 ? error : map_anonymous(run, kPage);
}

int map_vmas_touched(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  return error != 0 ? error : map_anonymous_touched(run, kPage);
}

int map_file_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  return error != 0 ? error : map_file(run, kPage);
}

int map_fixed(Run& run, std::uint64_t /*unused*/) {
  Pages target;
  const int error = target.map(Spot::Target, 1);
  if (error != 0) return error;
  const long address = address_of(target.start());
  return run.each([&](std::uint32_t) {
    return agent::raw_call(kMmap, address, kPage, kMemory.protection, kMemory.flags | MAP_FIXED, -1,
                           0) == address;
  });
}

}  // namespace sealvisor::bench
