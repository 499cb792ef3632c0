// Experiments mmap/*-vmas-N and mmap/*-span-N: changing mappings, among others and over many.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/memory.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

/// `count` more mappings, and `pages` touched ones of a single mapping. 0 or an errno.
int set_up(Pages& extra, std::uint64_t count, Pages& target, std::uint32_t pages) {
  int error = add_mappings(extra, static_cast<std::uint32_t>(count), false);
  if (error == 0) error = target.map(Spot::Target, pages);
  if (error == 0) target.touch();
  return error;
}

/// `count` adjacent mappings of one touched page each. 0 or an errno.
int set_up_span(Pages& target, std::uint64_t count) {
  const int error = target.map(Spot::Target, static_cast<std::uint32_t>(count));
  if (error != 0) return error;
  target.touch();
  return target.split();
}

/// mprotect of all of `target`: read-only and back.
int mprotect_there_and_back(Run& run, Pages& target) {
  const long address = address_of(target.start());
  const long bytes = agent::arg(target.bytes());
  return run.each(
      [&](std::uint32_t) {
        const long there = agent::raw_call(SYS_mprotect, address, bytes, PROT_READ);
        const long back = agent::raw_call(SYS_mprotect, address, bytes, kReadWrite);
        return there == 0 && back == 0;
      },
      [&] {
        // A page that is still read-only would end this process.
        const bool kept = target.touched();
        target.touch();
        return kept;
      });
}

}  // namespace

int mprotect_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  Pages target;
  const int error = set_up(extra, mappings, target, 1);
  return error != 0 ? error : mprotect_there_and_back(run, target);
}

int mremap_move_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  Pages target;
  const int error = set_up(extra, mappings, target, 1);
  if (error != 0) return error;
  const long here = address_of(target.start());
  const auto there = static_cast<long>(Spot::Other);
  return run.each(
      [&](std::uint32_t) {
        constexpr long kMove = MREMAP_MAYMOVE | MREMAP_FIXED;
        const bool moved = agent::raw_call(SYS_mremap, here, kPage, kPage, kMove, there) == there;
        return agent::raw_call(SYS_mremap, there, kPage, kPage, kMove, here) == here && moved;
      },
      [&] { return target.touched() && is_unmapped(reinterpret_cast<const void*>(Spot::Other)); });
}

int mremap_grow_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  Pages target;
  const int error = set_up(extra, mappings, target, 1);
  if (error != 0) return error;
  const long address = address_of(target.start());
  return run.each(
      [&](std::uint32_t) {
        const bool grown = agent::raw_call(SYS_mremap, address, kPage, 2 * kPage, 0) == address;
        return agent::raw_call(SYS_mremap, address, 2 * kPage, kPage, 0) == address && grown;
      },
      [&] { return target.touched() && is_unmapped(target.page(1)); });
}

int madvise_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  Pages target;
  const int error = set_up(extra, mappings, target, run.batch());
  if (error != 0) return error;
  return run.each(
      [&] {
        target.touch();
        return 0;
      },
      [&](std::uint32_t i) {
        return agent::raw_call(SYS_madvise, address_of(target.page(i)), kPage, MADV_DONTNEED) == 0;
      },
      [&] { return target.zero(); });
}

int brk_vmas(Run& run, std::uint64_t mappings) {
  Pages extra;
  const int error = add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  if (error != 0) return error;
  const long end = agent::raw_call(SYS_brk, 0);
  const long more = end + static_cast<long>(kPage);
  return run.each([&](std::uint32_t) {
    const bool grown = agent::raw_call(SYS_brk, more) == more;
    return agent::raw_call(SYS_brk, end) == end && grown;
  });
}

int munmap_span(Run& run, std::uint64_t mappings) {
  Pages target;
  return run.each([&] { return set_up_span(target, mappings); },
                  [&](std::uint32_t) {
                    return agent::raw_call(SYS_munmap, address_of(target.start()),
                                           agent::arg(target.bytes())) == 0;
                  },
                  [&] { return target.gone(); });
}

int mprotect_span(Run& run, std::uint64_t mappings) {
  Pages target;
  const int error = set_up_span(target, mappings);
  return error != 0 ? error : mprotect_there_and_back(run, target);
}

int madvise_span(Run& run, std::uint64_t mappings) {
  Pages target;
  const int error = set_up_span(target, mappings);
  if (error != 0) return error;
  return run.each(
      [&] {
        target.touch();
        return 0;
      },
      [&](std::uint32_t) {
        return agent::raw_call(SYS_madvise, address_of(target.start()), agent::arg(target.bytes()),
                               MADV_DONTNEED) == 0;
      },
      [&] { return target.zero(); });
}

}  // namespace sealvisor::bench
