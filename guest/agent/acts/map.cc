// What takes, moves, replaces and re-protects mappings.
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "guest/agent/acts/act.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

#if defined(SYS_mmap2)
constexpr long kMmap = SYS_mmap2;
#else
constexpr long kMmap = SYS_mmap;
#endif
constexpr long kMseal = 462;  // Linux 6.10, include/uapi/asm-generic/unistd.h

constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

long mmap_at(std::uintptr_t place, std::uintptr_t size, int flags) {
  return raw_call(kMmap, arg(place), arg(size), PROT_READ, flags, -1, 0);
}

long moved(Target& t, std::uintptr_t size, long result) {
  if (is_error(result)) return result;
  t.new_start = static_cast<std::uintptr_t>(result);
  t.new_size = size;
  return result;
}

long mremap_to(Target& t, std::uintptr_t new_size, long flags, std::uintptr_t place) {
  return moved(t, new_size,
               raw_call(SYS_mremap, arg(t.start), arg(t.size()), arg(new_size), flags, arg(place)));
}

Skip reserve(Target& t, std::uint32_t) {
  t.place = new_memory(t.size(), PROT_NONE);
  return t.place == 0 ? Skip::NoRoom : Skip::No;
}

/// The page right in front of the mapping: of another one, or else of the victim's own.
Skip fill_front(Target& t, std::uint32_t) {
  t.place = t.mapping_start - kPage;
  const long got = raw_call(kMmap, arg(t.place), kPage, PROT_READ | PROT_WRITE,
                            kAnonymous | MAP_FIXED_NOREPLACE, -1, 0);
  return got == arg(t.place) || got == -EEXIST ? Skip::No : Skip::NoRoom;
}

Skip fill(Target& t, std::uint32_t) {
  t.place = new_memory(t.size(), PROT_READ | PROT_WRITE);
  if (t.place == 0) return Skip::NoRoom;
  for (std::uintptr_t page = t.place; page < t.place + t.size(); page += kPage) {
    *reinterpret_cast<volatile unsigned char*>(page) = 1;
  }
  return Skip::No;
}

long protection_for(const Target& t, std::uint32_t asked) {
  return asked == scenario::kSameProtection ? t.protection : static_cast<long>(asked);
}

/// Without protection keys there is none to be had; key 1 is then asked for all the same.
Skip take_key(Target& t, std::uint32_t) {
  const long key = raw_call(SYS_pkey_alloc, 0, 0);
  t.own_key = !is_error(key);
  t.fd = t.own_key ? static_cast<int>(key) : 1;
  return Skip::No;
}

Skip make_segment(Target& t, std::uint32_t) {
  t.fd = ::shmget(IPC_PRIVATE, t.size(), IPC_CREAT | 0600);
  return t.fd >= 0 ? Skip::No : errno == ENOSYS ? Skip::Unsupported : Skip::NoRoom;
}

void drop_segment(Target& t, std::uint32_t) { ::shmctl(t.fd, IPC_RMID, nullptr); }

long brk_over(Target& t, std::uint32_t) {
  // It says how far the heap goes now, never why not farther.
  const auto reached = static_cast<std::uintptr_t>(raw_call(SYS_brk, arg(t.mapping_end)));
  return reached >= t.mapping_end ? 0 : -ENOMEM;
}

long map_vdso_again([[maybe_unused]] Target& t, std::uint32_t) {
#if defined(SYS_arch_prctl)
  constexpr long kArchMapVdso64 = 0x2003;  // arch/x86/include/uapi/asm/prctl.h
  return raw_call(SYS_arch_prctl, kArchMapVdso64, arg(t.place));
#else
  return -ENOSYS;
#endif
}

long seal(Target& t, std::uint32_t) { return raw_call(kMseal, arg(t.start), arg(t.size()), 0); }

long unmap(Target& t, std::uint32_t) { return raw_call(SYS_munmap, arg(t.start), arg(t.size())); }

}  // namespace

void allow_keys([[maybe_unused]] const Target& target) {
#if defined(__x86_64__) || defined(__i386__)
  // SDM 2, WRPKRU: ecx and edx are 0. A key was to be had, so the instruction is.
  if (target.own_key) asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"(0), "c"(0), "d"(0) : "memory");
#endif
}

std::uintptr_t new_memory(std::uintptr_t size, int protection) {
  const long place = raw_call(kMmap, 0, arg(size), protection, kAnonymous, -1, 0);
  return is_error(place) ? 0 : static_cast<std::uintptr_t>(place);
}

void add_map_ways(Ways& ways) {
  way_of(ways, Call::Munmap) = {unmap};
  way_of(ways, Call::MremapMove) = {[](Target& t, std::uint32_t) {
                                      return mremap_to(t, t.size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                                                       t.place);
                                    },
                                    reserve};
  // The range is what goes; what stays is in front of it.
  way_of(ways, Call::MremapShrink) = {[](Target& t, std::uint32_t) {
    return raw_call(SYS_mremap, arg(t.mapping_start), arg(t.end - t.mapping_start),
                    arg(t.start - t.mapping_start), 0);
  }};
  way_of(ways, Call::MremapGrow) = {[](Target& t, std::uint32_t may_move) {
    return mremap_to(t, t.size() + kPage, arg(may_move), 0);
  }};
  way_of(ways, Call::MremapDontUnmap) = {
      [](Target& t, std::uint32_t) {
        return mremap_to(t, t.size(), MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, t.place);
      },
      reserve};
  way_of(ways, Call::MremapSame) = {
      [](Target& t, std::uint32_t) { return mremap_to(t, t.size(), 0, 0); }};
  way_of(ways, Call::MremapDuplicate) = {[](Target& t, std::uint32_t) {
    return moved(t, t.size(),
                 raw_call(SYS_mremap, arg(t.start), 0, arg(t.size()), MREMAP_MAYMOVE, 0));
  }};
  way_of(ways, Call::MremapOnto) = {[](Target& t, std::uint32_t) {
                                      return raw_call(SYS_mremap, arg(t.place), arg(t.size()),
                                                      arg(t.size()), MREMAP_MAYMOVE | MREMAP_FIXED,
                                                      arg(t.start));
                                    },
                                    fill};
  way_of(ways, Call::MremapShrinkOver) = {[](Target& t, std::uint32_t) {
                                            return raw_call(SYS_mremap, arg(t.place),
                                                            arg(t.end - t.place), kPage, 0);
                                          },
                                          fill_front};
  way_of(ways, Call::Mprotect) = {[](Target& t, std::uint32_t protection) {
    return raw_call(SYS_mprotect, arg(t.start), arg(t.size()), protection_for(t, protection));
  }};
  way_of(ways, Call::PkeyMprotect) = {[](Target& t, std::uint32_t protection) {
                                        return raw_call(SYS_pkey_mprotect, arg(t.start),
                                                        arg(t.size()), arg(protection), t.fd);
                                      },
                                      take_key};
  way_of(ways, Call::MmapFixed) = {
      [](Target& t, std::uint32_t) { return mmap_at(t.start, t.size(), kAnonymous | MAP_FIXED); }};
  way_of(ways, Call::MmapNoReplace) = {[](Target& t, std::uint32_t) {
    return mmap_at(t.start, t.size(), kAnonymous | MAP_FIXED_NOREPLACE);
  }};
  way_of(ways, Call::MmapHint) = {
      [](Target& t, std::uint32_t) { return mmap_at(t.start, t.size(), kAnonymous); }};
  way_of(ways, Call::ShmatOver) = {[](Target& t, std::uint32_t flags) {
                                     return raw_call(SYS_shmat, t.fd, arg(t.start),
                                                     arg(flags) | SHM_RDONLY);
                                   },
                                   make_segment, drop_segment};
  way_of(ways, Call::BrkOver) = {brk_over};
  way_of(ways, Call::RemapFilePages) = {[](Target& t, std::uint32_t) {
    return raw_call(SYS_remap_file_pages, arg(t.start), arg(t.size()), 0, 1, 0);
  }};
  way_of(ways, Call::ArchMapVdso) = {map_vdso_again, reserve};
  way_of(ways, Call::Mseal) = {seal};
  way_of(ways, Call::MsealMunmap) = {[](Target& t, std::uint32_t) {
    const long sealed = seal(t, 0);
    return is_error(sealed) ? sealed : unmap(t, 0);
  }};
}

}  // namespace sealvisor::agent
