#include "guest/agent/operations.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>

#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

using protocol::Skip;
using scenario::Form;
using scenario::Operation;

constexpr std::uintptr_t kPage = 4096;

long mprotect_to(const Target& target, int protection) {
  return raw_call(SYS_mprotect, arg(target.start), arg(target.size()), protection);
}

long mremap_to(const Target& target, std::uintptr_t new_size, int flags, std::uintptr_t place) {
  return raw_call(SYS_mremap, arg(target.start), arg(target.size()), arg(new_size), flags,
                  arg(place));
}

using Act = long (*)(const Target&);

/// Index = Operation.
constexpr std::array<Act, scenario::kOperationCount> kActs = {
    // Munmap
    [](const Target& t) { return raw_call(SYS_munmap, arg(t.start), arg(t.size())); },
    // MremapMove
    [](const Target& t) { return mremap_to(t, t.size(), MREMAP_MAYMOVE | MREMAP_FIXED, t.place); },
    // MremapShrink: the range is what goes; what stays is in front of it.
    [](const Target& t) {
      return raw_call(SYS_mremap, arg(t.mapping_start), arg(t.end - t.mapping_start),
                      arg(t.start - t.mapping_start), 0);
    },
    // MremapGrow
    [](const Target& t) { return mremap_to(t, t.size() + kPage, 0, 0); },
    // MremapGrowMove
    [](const Target& t) { return mremap_to(t, t.size() + kPage, MREMAP_MAYMOVE, 0); },
    // MprotectNone
    [](const Target& t) { return mprotect_to(t, PROT_NONE); },
    // MprotectR
    [](const Target& t) { return mprotect_to(t, PROT_READ); },
    // MprotectW
    [](const Target& t) { return mprotect_to(t, PROT_WRITE); },
    // MprotectRW
    [](const Target& t) { return mprotect_to(t, PROT_READ | PROT_WRITE); },
    // MprotectRX
    [](const Target& t) { return mprotect_to(t, PROT_READ | PROT_EXEC); },
    // MprotectRWX
    [](const Target& t) { return mprotect_to(t, PROT_READ | PROT_WRITE | PROT_EXEC); },
    // MprotectX
    [](const Target& t) { return mprotect_to(t, PROT_EXEC); },
    // MprotectWX
    [](const Target& t) { return mprotect_to(t, PROT_WRITE | PROT_EXEC); },
    // MprotectSame
    [](const Target& t) { return mprotect_to(t, t.protection); },
    // MmapFixed
    [](const Target& t) {
      return raw_call(SYS_mmap, arg(t.start), arg(t.size()), PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    },
};

/// Puts a page of our own at `page` if that place is free.
bool fill_free_page(std::uintptr_t page) {
  const long result = raw_call(SYS_mmap, arg(page), arg(kPage), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (is_error(result)) return false;
  *reinterpret_cast<volatile unsigned char*>(page) = 1;
  return true;
}

}  // namespace

Skip prepare(const SystemMapping& mapping, Operation operation, Form form, Target& target) {
  const auto start = static_cast<std::uintptr_t>(mapping.start);
  const auto end = static_cast<std::uintptr_t>(mapping.end);
  target = {start, end, start, 0, 0};
  target.protection = (mapping.readable ? PROT_READ : 0) | (mapping.writable ? PROT_WRITE : 0) |
                      (mapping.executable ? PROT_EXEC : 0);
  switch (form) {
    case Form::Whole:
      break;
    case Form::FirstPage:
      if (end - start == kPage) return Skip::TooFewPages;
      target.end = start + kPage;
      break;
    case Form::LastPage:
      if (end - start == kPage) return Skip::TooFewPages;
      target.start = end - kPage;
      break;
    case Form::Neighbour:
      if (fill_free_page(end)) {
        target.start = end - kPage;
        target.end = end + kPage;
      } else if (fill_free_page(start - kPage)) {
        target.start = start - kPage;
        target.end = start + kPage;
      } else {
        return Skip::NoRoom;
      }
      break;
  }
  if (operation == Operation::MremapMove) {
    const long place =
        raw_call(SYS_mmap, 0, arg(target.size()), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is_error(place)) return Skip::NoRoom;
    target.place = static_cast<std::uintptr_t>(place);
  }
  return Skip::No;
}

Outcome perform(Operation operation, const Target& target) {
  Outcome outcome;
  outcome.result = kActs[static_cast<std::size_t>(operation)](target);
  if (is_error(outcome.result)) return outcome;
  const auto at = static_cast<std::uintptr_t>(outcome.result);
  if (operation == Operation::MremapMove) {
    outcome.new_start = at;
    outcome.new_size = target.size();
  } else if (operation == Operation::MremapGrow || operation == Operation::MremapGrowMove) {
    outcome.new_start = at;
    outcome.new_size = target.size() + kPage;
  }
  return outcome;
}

}  // namespace sealvisor::agent
