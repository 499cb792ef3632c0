// What takes, moves and merges pages behind everyone's back. Each has a bystander: memory of the
// victim's own, which must be hit too, or nothing was tried.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "guest/agent/acts/act.h"
#include "guest/agent/acts/helper.h"
#include "guest/agent/lines.h"
#include "guest/agent/raw.h"
#include "guest/agent/start.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

constexpr std::uint32_t kBystanders = 256;

/// Memory of the victim's own that stands by, each page with something in it.
Skip stand_by(Target& t, std::uint32_t pages, bool alike) {
  t.bystander = new_memory(pages * kPage, PROT_READ | PROT_WRITE);
  if (t.bystander == 0) return Skip::NoRoom;
  t.bystanders = pages;
  for (std::uint32_t i = 0; i < pages; ++i) {
    *reinterpret_cast<volatile std::uint32_t*>(t.bystander + i * kPage) = alike ? 7 : i + 1;
  }
  return Skip::No;
}

bool write_file(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto size = static_cast<ssize_t>(std::strlen(text));
  const bool written = ::write(fd, text, static_cast<std::size_t>(size)) == size;
  ::close(fd);
  return written;
}

/// The number behind `name` in a file of such lines; 0: none.
std::uint64_t counter(const char* path, std::string_view name) {
  std::uint64_t value = 0;
  (void)each_line(path, [&](std::string_view line) {
    if (!line.starts_with(name) || line.size() <= name.size() ||
        (line[name.size()] != ' ' && line[name.size()] != '\t')) {
      return true;
    }
    value = std::strtoull(line.data() + name.size(), nullptr, 10);
    return false;
  });
  return value;
}

// Swap.

constexpr const char* kDisk = "/dev/ram0";
constexpr std::uint64_t kDiskPages = 4096;  // CONFIG_BLK_DEV_RAM_SIZE
constexpr std::uintptr_t kChunk = std::uintptr_t{4} << 20;
constexpr std::uintptr_t kMostChunks = 512;
constexpr std::uint64_t kEnoughSwapped = 512;
constexpr std::size_t kEnoughBystanders = 64;

/// Makes the disk a swap area: include/linux/swap.h, union swap_header. All of it is written, for a
/// disk in memory takes that memory when it is, and there is none to be had when it is wanted.
bool make_swap_area() {
  const int fd = ::open(kDisk, O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<unsigned char, kPage> head{};
  for (std::uint64_t page = 1; page < kDiskPages; ++page) {
    if (::write(fd, head.data(), head.size()) != ssize_t{kPage}) {
      ::close(fd);
      return false;
    }
  }
  const std::array<std::uint32_t, 2> info = {1, kDiskPages - 1};  // version, last_page
  std::memcpy(head.data() + 1024, info.data(), sizeof info);
  std::memcpy(head.data() + kPage - 10, "SWAPSPACE2", 10);
  const bool written = ::pwrite(fd, head.data(), head.size(), 0) == ssize_t{kPage};
  ::close(fd);
  return written;
}

/// How many of the bystanders are in the swap area. `pagemap`: the victim's.
/// Documentation/admin-guide/mm/pagemap.rst: bit 62.
std::size_t swapped_bystanders(const char* pagemap, const Target& t) {
  std::array<std::uint64_t, kBystanders> entries{};
  const int fd = ::open(pagemap, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  (void)::pread(fd, entries.data(), sizeof entries,
                static_cast<off_t>(t.bystander / kPage * sizeof(std::uint64_t)));
  ::close(fd);
  return static_cast<std::size_t>(
      std::ranges::count_if(entries, [](std::uint64_t entry) { return (entry >> 62 & 1) != 0; }));
}

/// Takes memory until enough was swapped out, of the bystanders too: whose pages go first is not
/// ours to say. Whoever is killed for want of memory, it is this one.
long take_memory(const Target& t, std::uint32_t, pid_t victim) {
  if (!write_file("/proc/self/oom_score_adj", "1000")) return -EPERM;
  std::array<char, 32> pagemap{};
  std::snprintf(pagemap.data(), pagemap.size(), "/proc/%d/pagemap", victim);
  const auto swapped = [] { return counter("/proc/vmstat", "pswpout"); };
  const std::uint64_t before = swapped();
  for (std::uintptr_t chunk = 0; chunk < kMostChunks; ++chunk) {
    void* taken =
        ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED) return -errno;
    (void)::madvise(taken, kChunk, MADV_HUGEPAGE);
    for (std::uintptr_t page = 0; page < kChunk; page += kPage) {
      static_cast<volatile unsigned char*>(taken)[page] = 1;
    }
    if (swapped() >= before + kEnoughSwapped &&
        swapped_bystanders(pagemap.data(), t) >= kEnoughBystanders) {
      return 0;
    }
  }
  return -ENOMEM;
}

/// A bystander that goes first, and where it can go to.
Skip make_swappable(Target& t) {
  ::swapoff(kDisk);  // Of a victim that did not come to its end.
  if (!make_swap_area()) return Skip::Unsupported;
  if (::swapon(kDisk, 0) != 0) return errno == ENOSYS ? Skip::Unsupported : Skip::NoRoom;
  const Skip stood = stand_by(t, kBystanders, false);
  if (stood == Skip::No) {
    (void)::madvise(reinterpret_cast<void*>(t.bystander), kBystanders * kPage, MADV_COLD);
  }
  return stood;
}

void end_swap(Target&, std::uint32_t) { ::swapoff(kDisk); }

/// Nothing is finished that was not prepared to its end.
Skip or_end_swap(Target& t, Skip prepared) {
  if (prepared != Skip::No) end_swap(t, 0);
  return prepared;
}

Skip prepare_swap(Target& t, std::uint32_t argument) {
  const Skip swappable = make_swappable(t);
  return or_end_swap(t, swappable == Skip::No ? start_helper(t, argument, take_memory) : swappable);
}

// Compaction.

constexpr std::uint64_t kEnoughMoved = 64;
constexpr int kRounds = 50;
constexpr int kRoundMs = 200;

/// Gives every other page back.
void punch_holes(std::uintptr_t start, std::uint32_t pages) {
  for (std::uint32_t i = 0; i < pages; i += 2) {
    (void)::madvise(reinterpret_cast<void*>(start + i * kPage), kPage, MADV_DONTNEED);
  }
}

/// It brings what is low in memory together at its top: much must stand by for some of it to be
/// low, and there must be places for it that no CPU keeps for itself (an eighth of all memory,
/// mm/page_alloc.c zone_highsize).
Skip prepare_compaction(Target& t, std::uint32_t) {
  t.fd = ::open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
  if (t.fd < 0) return Skip::Unsupported;
  struct sysinfo memory {};
  if (::sysinfo(&memory) != 0) return Skip::NoRoom;
  const std::uint64_t room = std::uint64_t{memory.freeram} * memory.mem_unit / kPage * 3 / 4;
  const auto pages =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(room / 2, protocol::kMaxBystanders));
  t.bystander = new_memory(pages * kPage, PROT_READ | PROT_WRITE);
  const std::uintptr_t other = new_memory(pages * kPage, PROT_READ | PROT_WRITE);
  if (t.bystander == 0 || other == 0) return Skip::NoRoom;
  t.bystanders = pages;
  // In turn with as much again, so that its frames are spread over twice the place.
  for (std::uint32_t i = 0; i < pages; ++i) {
    *reinterpret_cast<volatile std::uint32_t*>(t.bystander + i * kPage) = i + 1;
    *reinterpret_cast<volatile std::uint32_t*>(other + i * kPage) = i + 1;
  }
  punch_holes(t.bystander, pages);
  punch_holes(other, pages);
  return Skip::No;
}
/// Free pages that a CPU keeps on a list of its own are no place to move to; the kernel gives them
/// back by and by (6.12: mm/page_alloc.c, decay_pcp_high).
long compact(Target& t, std::uint32_t) {
  static constexpr char kOne[] = "1";
  const auto moved = [] { return counter("/proc/vmstat", "pgmigrate_success"); };
  const std::uint64_t before = moved();
  for (int round = 0; round < kRounds && moved() < before + kEnoughMoved; ++round) {
    if (round != 0) (void)::poll(nullptr, 0, kRoundMs);
    const long written = raw_call(SYS_write, t.fd, arg(kOne), 1);
    if (written != 1) return written;
  }
  return 0;
}

// KSM.

/// Of this process: pages that KSM merged.
constexpr const char* kMerging = "/proc/self/ksm_merging_pages";
constexpr int kScans = 500;
constexpr int kPauseMs = 5;

std::uint64_t number_in(const char* path) {
  std::array<char, 24> text{};
  const ssize_t size = read_whole(path, std::span(text).first(text.size() - 1));
  return size > 0 ? std::strtoull(text.data(), nullptr, 10) : 0;
}

Skip prepare_merging(Target& t, std::uint32_t) {
  if (!mount_at("sysfs", "/sys") || ::access("/sys/kernel/mm/ksm/run", W_OK) != 0) {
    return Skip::Unsupported;
  }
  const Skip stood = stand_by(t, kBystanders, true);
  if (stood != Skip::No) return stood;
  // The mapping is offered too; whether that is refused is another cell's matter.
  (void)::madvise(reinterpret_cast<void*>(t.mapping_start), t.mapping_end - t.mapping_start,
                  MADV_MERGEABLE);
  if (::madvise(reinterpret_cast<void*>(t.bystander), kBystanders * kPage, MADV_MERGEABLE) != 0) {
    return Skip::NoRoom;
  }
  return write_file("/sys/kernel/mm/ksm/pages_to_scan", "2000") &&
                 write_file("/sys/kernel/mm/ksm/sleep_millisecs", "5")
             ? Skip::No
             : Skip::NoRoom;
}
long merge(Target&, std::uint32_t) {
  if (!write_file("/sys/kernel/mm/ksm/run", "1")) return -EIO;
  // A thread of the kernel's scans, and tells nobody when it is done.
  for (int i = 0; i < kScans; ++i) {
    if (number_in(kMerging) != 0) return 0;
    // These kernels have no calls with times of 32 bits, which nanosleep of a 32-bit process is.
    (void)::poll(nullptr, 0, kPauseMs);
  }
  return -ETIMEDOUT;
}
void stop_merging(Target&, std::uint32_t) { (void)write_file("/sys/kernel/mm/ksm/run", "0"); }

// Memory cgroups.

/// A group of the victim's own, so that its pages are what there is to reclaim: what stands by is
/// charged to it. Documentation/admin-guide/cgroup-v2.rst.
Skip prepare_group(Target& t, std::uint32_t) {
  ::mkdir("/tmp/cgroup", 0755);
  if (::mount("cgroup2", "/tmp/cgroup", "cgroup2", 0, nullptr) != 0 && errno != EBUSY) {
    return Skip::Unsupported;
  }
  ::mkdir("/tmp/cgroup/victim", 0755);
  if (!write_file("/tmp/cgroup/cgroup.subtree_control", "+memory") ||
      !write_file("/tmp/cgroup/victim/cgroup.procs", "0")) {
    return Skip::Unsupported;
  }
  t.fd = ::open("/tmp/cgroup/victim/memory.reclaim", O_WRONLY | O_CLOEXEC);
  return t.fd >= 0 ? or_end_swap(t, make_swappable(t)) : Skip::Unsupported;
}
/// Half of the bystanders: who asks for more than there is gets EAGAIN.
long reclaim(Target& t, std::uint32_t) {
  static constexpr char kAmount[] = "512K";
  static_assert(kBystanders * kPage == 2 * (512 << 10));
  const long written = raw_call(SYS_write, t.fd, arg(kAmount), sizeof kAmount - 1);
  return written > 0 ? 0 : written;
}

}  // namespace

void add_pressure_ways(Ways& ways) {
  way_of(ways, Call::PressureSwap) = {[](Target& t, std::uint32_t) { return run_helper(t); },
                                      prepare_swap, end_swap};
  way_of(ways, Call::PressureCompact) = {compact, prepare_compaction};
  way_of(ways, Call::PressureKsm) = {merge, prepare_merging, stop_merging};
  way_of(ways, Call::PressureMemcg) = {reclaim, prepare_group, end_swap};
}

}  // namespace sealvisor::agent
