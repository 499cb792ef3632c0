// Experiments mmap/*-refused and mmap/mseal*: mappings of our own that mseal(2) seals.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/memory.h"
#include "bench/guest/processes.h"
#include "bench/guest/vdso.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

/// Samples of `call(address)`, on a sealed mapping of one touched page that has `protection`, in a
/// process with `mappings` more. Each must be refused, and leave the page as it is.
template <typename Call>
int refused(Run& run, std::uint64_t mappings, int protection, const Call& call) {
  Pages extra;
  Pages target;
  int error = mappings == 0 ? 0 : add_mappings(extra, static_cast<std::uint32_t>(mappings), false);
  if (error == 0) error = target.map(Spot::Target, 1);
  if (error != 0) return error;
  target.touch();
  if (::mprotect(target.start(), kPage, protection) != 0) return errno;
  error = target.seal();
  if (error != 0) return error;
  const long address = address_of(target.start());
  return run.each([&](std::uint32_t) { return call(address) == -EPERM; },
                  [&] { return target.touched(); });
}

/// The same of [vdso], `call(address, bytes)`: sealed by us as well, so that it is in each kernel.
/// Each must be refused, and its functions work as before.
template <typename Call>
int vdso_refused(Run& run, const Call& call) {
  const Vdso vdso = Vdso::own();
  if (!vdso.use()) return ENOTSUP;
  const long address = agent::arg(vdso.start());
  const long bytes = agent::arg(vdso.size());
  const long sealed = agent::raw_call(kMseal, address, bytes, 0);
  if (sealed != 0) return sealed == -ENOSYS ? ENOTSUP : static_cast<int>(-sealed);
  return run.each([&](std::uint32_t) { return call(address, bytes) == -EPERM; },
                  [&] { return vdso.use(); });
}

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kFixedMemory = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

/// ENOTSUP if this kernel has no mseal: it refuses these flags, if it knows the call at all.
int find_mseal() {
  const long result = agent::raw_call(kMseal, 0, 0, -1);
  return result == -EINVAL ? 0 : ENOTSUP;
}

/// True if no page of `target` can be unmapped.
bool all_sealed(const Pages& target, std::uint32_t pages) {
  for (std::uint32_t i = 0; i < pages; ++i) {
    if (agent::raw_call(SYS_munmap, address_of(target.page(i)), kPage) != -EPERM) return false;
  }
  return true;
}

/// In a child: makes `mappings` new ones, and seals them by `operation(target, i)`.
template <typename Operation>
int seal_in_children(Run& run, std::uint32_t mappings, const Operation& operation) {
  const int error = find_mseal();
  if (error != 0) return error;
  return run.samples([&](const Place& place) {
    return sample_in_child(run, [&] {
      Pages target;
      if (target.map(Spot::Target, mappings) != 0) leave(1);
      target.touch();
      if (target.split() != 0) leave(1);
      const std::uint32_t good =
          timed(place, run.batch(), [&](std::uint32_t i) { return operation(target, i) == 0; });
      run.shared().good = all_sealed(target, mappings) && target.touched() ? good : 0;
    });
  });
}

}  // namespace

int munmap_refused(Run& run, std::uint64_t mappings) {
  return refused(run, mappings, kReadWrite,
                 [](long address) { return agent::raw_call(SYS_munmap, address, kPage); });
}

int mprotect_refused(Run& run, std::uint64_t mappings) {
  return refused(run, mappings, kReadWrite, [](long address) {
    return agent::raw_call(SYS_mprotect, address, kPage, PROT_READ);
  });
}

int mremap_refused(Run& run, std::uint64_t /*unused*/) {
  return refused(run, 0, kReadWrite, [](long address) {
    return agent::raw_call(SYS_mremap, address, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                           static_cast<long>(Spot::Other));
  });
}

int mremap_grow_refused(Run& run, std::uint64_t /*unused*/) {
  return refused(run, 0, kReadWrite, [](long address) {
    return agent::raw_call(SYS_mremap, address, kPage, 2 * kPage, 0);
  });
}

int brk_refused(Run& run, std::uint64_t /*unused*/) {
  constexpr auto kSize = static_cast<long>(kPage);
  // A page of the heap by itself. brk has no error: it answers with the end that there is.
  const long start = (agent::raw_call(SYS_brk, 0) + kSize - 1) / kSize * kSize;
  const long end = start + kSize;
  if (agent::raw_call(SYS_brk, end) != end) return ENOMEM;
  auto& word = *reinterpret_cast<volatile std::uint64_t*>(start);
  word = 1;
  const long sealed = agent::raw_call(kMseal, start, kSize, 0);
  if (sealed != 0) return sealed == -ENOSYS ? ENOTSUP : static_cast<int>(-sealed);
  return run.each([&](std::uint32_t) { return agent::raw_call(SYS_brk, start) == end; },
                  [&] { return word == 1; });
}

int munmap_vdso_refused(Run& run, std::uint64_t /*unused*/) {
  return vdso_refused(
      run, [](long address, long bytes) { return agent::raw_call(SYS_munmap, address, bytes); });
}

int mprotect_vdso_refused(Run& run, std::uint64_t /*unused*/) {
  return vdso_refused(run, [](long address, long bytes) {
    return agent::raw_call(SYS_mprotect, address, bytes, PROT_READ);
  });
}

int mremap_vdso_refused(Run& run, std::uint64_t /*unused*/) {
  return vdso_refused(run, [](long address, long bytes) {
    return agent::raw_call(SYS_mremap, address, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                           static_cast<long>(Spot::Other));
  });
}

int madvise_refused(Run& run, std::uint64_t /*unused*/) {
  // Only memory that this process may not write anyway is kept from being thrown away:
  // Documentation/userspace-api/mseal.rst, "madvise".
  return refused(run, 0, PROT_READ, [](long address) {
    return agent::raw_call(SYS_madvise, address, kPage, MADV_DONTNEED);
  });
}

int map_fixed_refused(Run& run, std::uint64_t /*unused*/) {
  return refused(run, 0, kReadWrite, [](long address) {
    return agent::raw_call(kMmap, address, kPage, kReadWrite, kFixedMemory, -1, 0);
  });
}

int seal_each(Run& run, std::uint64_t /*unused*/) {
  return seal_in_children(run, run.batch(), [](const Pages& target, std::uint32_t i) {
    return agent::raw_call(kMseal, address_of(target.page(i)), kPage, 0);
  });
}

int seal_span(Run& run, std::uint64_t mappings) {
  return seal_in_children(
      run, static_cast<std::uint32_t>(mappings), [](const Pages& target, std::uint32_t) {
        return agent::raw_call(kMseal, address_of(target.start()), agent::arg(target.bytes()), 0);
      });
}

}  // namespace sealvisor::bench
