#include "guest/agent/tamper_entry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <optional>

#include "guest/agent/console.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

using Long = unsigned long long;

/// Turns a read-only page into one that user mode may write. Intel SDM vol. 3A table 4-20, R/W;
/// Arm ARM D8.4.1, AP[2]. The tables of a 32-bit process are those of its 64-bit kernel.
#if defined(__aarch64__) || defined(__arm__)
constexpr std::uint64_t kWriteBit = std::uint64_t{1} << 7;
#else
constexpr std::uint64_t kWriteBit = std::uint64_t{1} << 1;
#endif

/// A page of our own that the same last-level table maps as `near`: its frame tells this table from
/// those of processes that have the same system mappings at the same place. 0: there is no room.
std::uintptr_t populate_near(std::uintptr_t near) {
  constexpr auto kReach = static_cast<std::uintptr_t>(kTableReach);
  const std::uintptr_t first = near & ~(kReach - 1);
  for (std::uintptr_t page = first; page - first < kReach; page += kPage) {
    void* const at = ::mmap(reinterpret_cast<void*>(page), kPage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED) continue;
    *static_cast<volatile unsigned char*>(at) = 1;
    return page;
  }
  return 0;
}

/// The gpa of the entry of `page` in the table that also maps `own`, 0 if it was not found.
std::uint64_t find_entry(const File& memory, const File& pagemap, std::uintptr_t page,
                         std::uintptr_t own) {
  const auto ram = read_ram_ranges();
  const std::uint64_t leaf = gpa_of(pagemap, page);
  const std::uint64_t own_leaf = gpa_of(pagemap, own);
  if (!ram || leaf == 0 || own_leaf == 0) return 0;
  const std::size_t slot = page / kPage % Words::extent;
  const std::size_t own_slot = own / kPage % Words::extent;
  std::uint64_t found = 0;
  const bool once = each_frame(memory, *ram, [&](std::uint64_t gpa, Words words) {
    if (!leads_to(words[own_slot], own_leaf) || !leads_to(words[slot], leaf)) return true;
    const bool first = found == 0;
    found = gpa + slot * sizeof(std::uint64_t);
    return first;
  });
  if (!once || found == 0) {
    say("%s frame of RAM looks like the page table of 0x%llx", once ? "no" : "more than one",
        static_cast<Long>(page));
    return 0;
  }
  return found;
}

/// Has the kernel store `value` at `gpa`.
bool store(const File& memory, std::uint64_t gpa, std::uint64_t value) {
  const long data = arg(reinterpret_cast<std::uintptr_t>(&value));
#if UINTPTR_MAX > UINT32_MAX
  const long size = raw_call(SYS_pwrite64, memory.get(), data, sizeof value, arg(gpa));
#else
  const auto low = static_cast<long>(gpa & UINT32_MAX);
  const auto high = static_cast<long>(gpa >> 32);
#if defined(__arm__)
  // A pair of registers starts with an even one: syscall(2), "Architecture-specific requirements".
  const long size = raw_call(SYS_pwrite64, memory.get(), data, sizeof value, 0, low, high);
#else
  const long size = raw_call(SYS_pwrite64, memory.get(), data, sizeof value, low, high);
#endif
#endif
  return size == static_cast<long>(sizeof value);
}

}  // namespace

int check_tampered(const File& memory, const protocol::Tamper& message) {
  const auto left = memory.word(message.gpa);
  if (left && *left == message.original) return 0;
  say("storing to 0x%llx through /dev/mem did not work", static_cast<Long>(message.gpa));
  return EIO;
}

const SystemMapping* vdso_of(const MappingTable& table) {
  const SystemMapping* const vdso = table.find("[vdso]");
  if (vdso == nullptr) say("this process has no [vdso]");
  return vdso;
}

int tamper_with_entry(Doorbell& doorbell, const MappingTable& table, std::uint32_t pairs) {
  const SystemMapping* const vdso = vdso_of(table);
  const File memory("/dev/mem", O_RDWR);
  const File pagemap("/proc/self/pagemap", O_RDONLY);
  if (vdso == nullptr || !memory.good() || !pagemap.good()) return EIO;
  const auto place = static_cast<std::uintptr_t>(vdso->start);
  const std::uintptr_t own = populate_near(place);
  if (own == 0) {
    say("no free page in the 2 MiB around [vdso]");
    return ENOMEM;
  }
  protocol::Tamper message{};
  message.gpa = find_entry(memory, pagemap, place, own);
  const auto entry = message.gpa != 0 ? memory.word(message.gpa) : std::nullopt;
  if (!entry) return EIO;
  message.gva = vdso->start;
  message.original = *entry;
  message.changed = *entry ^ kWriteBit;
  message.pairs = pairs;
  message.target = protocol::Target::Entry;
  doorbell.tamper(message);
  bool good = true;
  for (std::uint32_t i = 0; i < pairs && good; ++i) {
    good =
        store(memory, message.gpa, message.changed) && store(memory, message.gpa, message.original);
  }
  message.end = 1;
  doorbell.tamper(message);
  return good ? check_tampered(memory, message) : EIO;
}

}  // namespace sealvisor::agent
