#include "guest/agent/tamper.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/physical.h"
#include "guest/agent/store_block.h"
#include "guest/agent/store_class.h"
#include "guest/agent/tamper_entry.h"

namespace sealvisor::agent {
namespace {

using Long = unsigned long long;

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

}  // namespace

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
  return check_tampered(memory, message);
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
