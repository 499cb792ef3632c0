#include "guest/agent/stores.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/physical.h"
#include "guest/agent/store_block.h"
#include "guest/agent/store_class.h"

namespace sealvisor::agent {
namespace {

/// Far from where the kernel puts anything by itself, and within 39 bits.
constexpr std::uintptr_t kFirstRegion = 0x10'0000'0000;
/// The one slot of a table that is in use; blocks and straddling stores stay away from it.
constexpr std::size_t kUsedSlot = 100;
/// The slots that blocks use: the upper half of a table.
constexpr std::uint32_t kAreaOffset = 2048;
constexpr std::uint32_t kAreaSize = 2048;

/// A last-level table of this process with one slot in use.
struct Table {
  std::uintptr_t page = 0;  ///< The page that the slot maps.
  std::uint64_t leaf = 0;   ///< Its gpa.
  std::uint64_t gpa = 0;    ///< Of the table, 0: not found yet.
};

bool populate(Table& table, const File& pagemap) {
  void* at = ::mmap(reinterpret_cast<void*>(table.page), kPage, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != reinterpret_cast<void*>(table.page)) {
    say("a page at 0x%zx: %s", static_cast<std::size_t>(table.page), std::strerror(errno));
    return false;
  }
  *static_cast<volatile unsigned char*>(at) = 1;
  table.leaf = gpa_of(pagemap, table.page);
  if (table.leaf == 0) say("/proc/self/pagemap does not tell the frame of a page");
  return table.leaf != 0;
}

/// True if a frame that holds `slots` is the table: nothing but the one slot in it.
bool is_table(Words slots, const Table& table) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (i == kUsedSlot ? !leads_to(slots[i], table.leaf) : slots[i] != 0) return false;
  }
  return true;
}

/// Looks for the tables in all of RAM. False: one of them is not there, or is there twice.
bool find_tables(const File& memory, std::span<Table> tables) {
  const auto ram = read_ram_ranges();
  if (!ram) return false;
  const bool once = each_frame(memory, *ram, [&](std::uint64_t gpa, Words words) {
    for (Table& table : tables) {
      if (!is_table(words, table)) continue;
      if (table.gpa != 0) {
        say("two frames look like one page table: 0x%llx, 0x%llx",
            static_cast<unsigned long long>(table.gpa), static_cast<unsigned long long>(gpa));
        return false;
      }
      table.gpa = gpa;
    }
    return true;
  });
  if (!once) return false;
  for (const Table& table : tables) {
    if (table.gpa != 0) continue;
    say("no frame of RAM looks like the page table of 0x%zx", static_cast<std::size_t>(table.page));
    return false;
  }
  return true;
}

/// Four pages side by side: scratch, first table, second table, scratch. Unmapped with the process.
struct Window {
  std::uintptr_t start = 0;
  std::array<std::uint64_t, 4> gpas{};

  [[nodiscard]] std::uintptr_t page(std::size_t i) const { return start + i * kPage; }
  [[nodiscard]] volatile std::uint64_t& slot(std::size_t page_index, std::size_t i) const {
    return reinterpret_cast<volatile std::uint64_t*>(page(page_index))[i];
  }
};

bool open_window(const File& memory, const File& pagemap, std::span<const Table, 2> tables,
                 Window& window) {
  void* place =
      ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) {
    say("memory for the window: %s", std::strerror(errno));
    return false;
  }
  window.start = reinterpret_cast<std::uintptr_t>(place);
  for (std::size_t i = 0; i < 2; ++i) {
    // Without O_SYNC: ordinary cacheable memory, as every store class needs it.
    if (::mmap64(reinterpret_cast<void*>(window.page(i + 1)), kPage, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, memory.get(),
                 static_cast<off64_t>(tables[i].gpa)) == MAP_FAILED) {
      say("mapping the page table at 0x%llx: %s; x86-64 guests need nopat",
          static_cast<unsigned long long>(tables[i].gpa), std::strerror(errno));
      return false;
    }
    window.gpas[i + 1] = tables[i].gpa;
  }
  for (const std::size_t scratch : {std::size_t{0}, std::size_t{3}}) {
    window.slot(scratch, 0) = 0;
    window.gpas[scratch] = gpa_of(pagemap, window.page(scratch));
    if (window.gpas[scratch] == 0) return false;
  }
  return true;
}

/// Sees the slot go and come back with the page: then it is the live table, not a stale copy.
bool is_live(const Window& window, std::size_t page_index, const Table& table) {
  if (::madvise(reinterpret_cast<void*>(table.page), kPage, MADV_DONTNEED) != 0) return false;
  if (window.slot(page_index, kUsedSlot) != 0) return false;
  *reinterpret_cast<volatile unsigned char*>(table.page) = 1;
  return (window.slot(page_index, kUsedSlot) & 1) != 0;
}

/// Clears every slot of both tables but the used one, and the scratch pages.
void clear(const Window& window) {
  for (std::size_t page = 0; page < 4; ++page) {
    const bool table = page == 1 || page == 2;
    for (std::size_t i = 0; i < kPage / 8; ++i) {
      if (table && i == kUsedSlot) continue;
      if (window.slot(page, i) != 0) window.slot(page, i) = 0;
    }
  }
}

void straddle(Doorbell& doorbell, const Window& window, const StoreClass& store_class,
              std::uint32_t count, Tally& tally) {
  for (std::size_t first = 0; first < 3; ++first) {
    protocol::StoreBlock message = message_for(store_class, store_class.width);
    message.gpa = window.gpas[first];
    message.next_gpa = window.gpas[first + 1];
    message.offset = static_cast<std::uint32_t>(kPage) - store_class.offset;
    message.stores = count;
    block(doorbell, message, store_class, window.page(first) + message.offset, tally);
    clear(window);
  }
}

void run_class(Doorbell& doorbell, const Window& window, const StoreClass& store_class,
               std::uint32_t count, Tally& tally) {
  if (!there(store_class)) return;
  if (store_class.reach == Reach::Straddling) {
    straddle(doorbell, window, store_class, count, tally);
    return;
  }
  const StoreArea area{window.page(1), window.gpas[1], kAreaOffset, kAreaSize};
  run_block(doorbell, area, store_class, count, tally);
  clear(window);
}

}  // namespace

int store_to_tables(Doorbell& doorbell, std::uint32_t count, std::uint32_t& stores) {
  const File memory("/dev/mem", O_RDWR);
  const File pagemap("/proc/self/pagemap", O_RDONLY);
  if (!memory.good() || !pagemap.good()) return EIO;
  std::array<Table, 2> tables{};
  for (std::size_t i = 0; i < tables.size(); ++i) {
    tables[i].page = kFirstRegion + i * 2 * kTableReach + kUsedSlot * kPage;
    if (!populate(tables[i], pagemap)) return EIO;
  }
  if (!find_tables(memory, tables)) return EIO;
  Window window;
  if (!open_window(memory, pagemap, tables, window)) return EIO;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (!is_live(window, i + 1, tables[i])) {
      say("the frame at 0x%llx is not the page table of 0x%zx",
          static_cast<unsigned long long>(tables[i].gpa), static_cast<std::size_t>(tables[i].page));
      return EIO;
    }
  }
  Tally tally;
  for (const StoreClass& store_class : store_classes()) {
    run_class(doorbell, window, store_class, count, tally);
  }
  clear(window);
  stores = tally.stores;
  return tally.right ? 0 : EPROTO;
}

}  // namespace sealvisor::agent
