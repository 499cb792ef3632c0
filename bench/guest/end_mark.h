// The last mark of a sample that begins before an execve and ends behind it.
//
// No mapping outlives an exec, so the new program has to map the page that takes the mark: one mmap
// of a file that is open already. What it has to know for that is in the first word of its
// arguments, which begins with
//
//   d<page, hexadecimal>   the doorbell, in /dev/mem
//   s<page, hexadecimal>   a page of the shared memory: a sample that does not count
//   c                      read the counter instead; nothing is mapped before
//   f                      it is not for this: take a sample of the first call of the vdso
//   x                      nothing: it ends at once
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#include "bench/guest/mark.h"
#include "bench/guest/shared.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {

/// The page that `word` names, mapped; or -errno.
[[nodiscard, gnu::always_inline]] inline long map_mark_page(const char* word) {
  const int fd = *word == 'd' ? kDoorbellFd : kSharedFd;
  std::uint64_t page = 0;
  for (++word; *word != '\0'; ++word) {
    page = page << 4 | static_cast<std::uint64_t>(*word <= '9' ? *word - '0' : *word - 'a' + 10);
  }
  return agent::raw_call(kMmap, 0, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                         agent::arg(page * (kPage / kMmapUnit)));
}

}  // namespace sealvisor::bench
