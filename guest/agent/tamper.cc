#include "guest/agent/tamper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/physical.h"
#include "guest/agent/raw.h"
#include "guest/agent/store_block.h"
#include "guest/agent/store_class.h"

namespace sealvisor::agent {
namespace {

using Long = unsigned long long;

/// Turns a read-only page into one that user mode may write. Intel SDM vol. 3A table 4-20, R/W;
/// Arm ARM D8.4.1, AP[2].
#if defined(__aarch64__)
constexpr std::uint64_t kWriteBit = std::uint64_t{1} << 7;
#else
constexpr std::uint64_t kWriteBit = std::uint64_t{1} << 1;
#endif

/// A page of our own that the same last-level table maps as `near`: its frame tells this table from
/// those of processes that have the same system mappings at the same place. 0: there is no room.
std::uintptr_t populate_near(std::uintptr_t near) {
  const std::uintptr_t first = near & ~(kTableReach - 1);
  for (std::uintptr_t page = first; page < first + kTableReach; page += kPage) {
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
  const long size = raw_call(SYS_pwrite64, memory.get(),
                             arg(reinterpret_cast<std::uintptr_t>(&value)), sizeof value, arg(gpa));
  return size == static_cast<long>(sizeof value);
}

/// The memory as it was?
int check(const File& memory, const protocol::Tamper& message) {
  const auto left = memory.word(message.gpa);
  if (left && *left == message.original) return 0;
  say("storing to 0x%llx through /dev/mem did not work", static_cast<Long>(message.gpa));
  return EIO;
}

/// Room for a page at an address where nothing is; unmapped with the process.
std::uintptr_t reserve_page() {
  void* const place = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return place == MAP_FAILED ? 0 : reinterpret_cast<std::uintptr_t>(place);
}

/// Maps the frame at `gpa` at `page`, writable. Without O_SYNC: ordinary cacheable memory.
bool map_frame(const File& memory, std::uint64_t gpa, std::uintptr_t page) {
  if (::mmap64(reinterpret_cast<void*>(page), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
               memory.get(), static_cast<off64_t>(gpa)) != MAP_FAILED) {
    return true;
  }
  say("mapping the frame at 0x%llx: %s; x86-64 guests need nopat", static_cast<Long>(gpa),
      std::strerror(errno));
  return false;
}

/// The part of [vdso] that store_to_code() uses: room for eight stores of the widest class.
constexpr std::uint32_t kCodeArea = 512;

/// What an area holds, so that it can be put back.
class Saved {
 public:
  explicit Saved(const StoreArea& area) : area_(area) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] = slot(i);
  }
  /// As a block of its own.
  void restore(Doorbell& doorbell, Tally& tally) {
    protocol::StoreBlock message = message_for({.name = "restore", .width = 8, .run = nullptr}, 8);
    message.pattern = protocol::Pattern::Restored;
    message.gpa = area_.gpa;
    message.offset = area_.offset;
    message.step = 8;
    message.stores = kCodeArea / sizeof(std::uint64_t);
    ring_around(doorbell, message, area_.page + area_.offset, [this](const StoreRun&) {
      for (std::size_t i = 0; i < words_.size(); ++i) slot(i) = words_[i];
    });
    tally.stores += message.stores;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      tally.right = tally.right && slot(i) == words_[i];
    }
  }

 private:
  [[nodiscard]] volatile std::uint64_t& slot(std::size_t i) const {
    return reinterpret_cast<volatile std::uint64_t*>(area_.page + area_.offset)[i];
  }
  StoreArea area_;
  std::array<std::uint64_t, kCodeArea / sizeof(std::uint64_t)> words_{};
};

const SystemMapping* vdso_of(const MappingTable& table) {
  const SystemMapping* const vdso = table.find("[vdso]");
  if (vdso == nullptr) say("this process has no [vdso]");
  return vdso;
}

}  // namespace

int tamper_with_entry(Doorbell& doorbell, const MappingTable& table, std::uint32_t pairs) {
  const SystemMapping* const vdso = vdso_of(table);
  const File memory("/dev/mem", O_RDWR);
  const File pagemap("/proc/self/pagemap", O_RDONLY);
  if (vdso == nullptr || !memory.good() || !pagemap.good()) return EIO;
  const std::uintptr_t own = populate_near(vdso->start);
  if (own == 0) {
    say("no free page in the 2 MiB around [vdso]");
    return ENOMEM;
  }
  protocol::Tamper message{};
  message.gpa = find_entry(memory, pagemap, vdso->start, own);
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
  return good ? check(memory, message) : EIO;
}

int tamper_with_code(Doorbell& doorbell, const MappingTable& table, std::uint32_t pairs) {
  const SystemMapping* const vdso = vdso_of(table);
  const File memory("/dev/mem", O_RDWR);
  const File pagemap("/proc/self/pagemap", O_RDONLY);
  if (vdso == nullptr || !memory.good() || !pagemap.good()) return EIO;
  protocol::Tamper message{};
  const std::uint64_t frame = gpa_of(pagemap, vdso->end - kPage);
  message.gva = reserve_page();
  if (frame == 0 || message.gva == 0) return EIO;
  constexpr std::uint64_t kOffset = kPage - sizeof(std::uint64_t);
  message.gpa = frame + kOffset;
  const auto word = memory.word(message.gpa);
  if (!word) return EIO;
  message.original = *word;
  message.changed = ~*word;
  message.pairs = pairs;
  message.target = protocol::Target::Code;
  doorbell.tamper(message);
  if (!map_frame(memory, frame, message.gva)) return EIO;
  auto& code = *reinterpret_cast<volatile std::uint64_t*>(message.gva + kOffset);
  for (std::uint32_t i = 0; i < pairs; ++i) {
    code = message.changed;
    code = message.original;
  }
  ::munmap(reinterpret_cast<void*>(message.gva), kPage);
  message.end = 1;
  doorbell.tamper(message);
  return check(memory, message);
}

int store_to_code(Doorbell& doorbell, const MappingTable& table, std::uint32_t count,
                  std::uint32_t& stores) {
  const SystemMapping* const vdso = vdso_of(table);
  const File memory("/dev/mem", O_RDWR);
  const File pagemap("/proc/self/pagemap", O_RDONLY);
  if (vdso == nullptr || !memory.good() || !pagemap.good()) return EIO;
  protocol::Tamper message{};
  message.gpa = gpa_of(pagemap, vdso->end - kPage);
  message.gva = reserve_page();
  message.target = protocol::Target::CodeStores;
  if (message.gpa == 0 || message.gva == 0) return EIO;
  doorbell.tamper(message);
  if (!map_frame(memory, message.gpa, message.gva)) return EIO;
  const StoreArea area{message.gva, message.gpa, kPage - kCodeArea, kCodeArea};
  Saved saved(area);
  Tally tally;
  for (const StoreClass& store_class : store_classes()) {
    const bool suits = store_class.to_code && store_class.reach != Reach::Straddling;
    if (!suits || !there(store_class)) continue;
    clear_area(doorbell, area, tally);
    run_block(doorbell, area, store_class, count, tally);
  }
  saved.restore(doorbell, tally);
  ::munmap(reinterpret_cast<void*>(message.gva), kPage);
  message.end = 1;
  doorbell.tamper(message);
  stores = tally.stores;
  return tally.right ? 0 : EPROTO;
}

}  // namespace sealvisor::agent
