// The same through io_uring: a worker of the kernel's asks in the victim's stead. io_uring(7).
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "guest/agent/acts/act.h"
#include "guest/agent/acts/forced_write.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

constexpr std::uint32_t kRingEntries = 4;

/// The rings and the entries of an io_uring, as mapped. One is enough for a victim.
struct Uring {
  std::uintptr_t submit = 0;
  std::uintptr_t complete = 0;
  std::uintptr_t entries = 0;
  io_uring_params layout{};
};
Uring uring;

std::uintptr_t map_ring(int fd, std::uintptr_t size, std::uint64_t what) {
  void* at = ::mmap64(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                      static_cast<off64_t>(what));
  return at == MAP_FAILED ? 0 : reinterpret_cast<std::uintptr_t>(at);
}

Skip open_uring(Target& t, std::uint32_t) {
  uring = {};
  t.other = static_cast<int>(raw_call(SYS_io_uring_setup, kRingEntries, arg(&uring.layout)));
  if (t.other < 0) return t.other == -ENOSYS ? Skip::Unsupported : Skip::NoRoom;
  const auto& sq = uring.layout.sq_off;
  const auto& cq = uring.layout.cq_off;
  uring.submit =
      map_ring(t.other, sq.array + kRingEntries * sizeof(std::uint32_t), IORING_OFF_SQ_RING);
  uring.complete = map_ring(t.other, cq.cqes + uring.layout.cq_entries * sizeof(io_uring_cqe),
                            IORING_OFF_CQ_RING);
  uring.entries = map_ring(t.other, kRingEntries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  return uring.submit != 0 && uring.complete != 0 && uring.entries != 0 ? Skip::No : Skip::NoRoom;
}

std::uint32_t& word(std::uintptr_t ring, std::uint32_t offset) {
  return *reinterpret_cast<std::uint32_t*>(ring + offset);
}

/// Has one thing done by `ring` and waits for it. Head and tail are shared with the kernel.
long do_by(int ring, const io_uring_sqe& what) {
  const auto& sq = uring.layout.sq_off;
  const auto& cq = uring.layout.cq_off;
  *reinterpret_cast<io_uring_sqe*>(uring.entries) = what;
  word(uring.submit, sq.array) = 0;
  std::atomic_ref<std::uint32_t> tail(word(uring.submit, sq.tail));
  tail.store(tail.load() + 1, std::memory_order_release);
  const long entered = raw_call(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0);
  if (is_error(entered)) return entered;
  std::atomic_ref<std::uint32_t> head(word(uring.complete, cq.head));
  const std::uint32_t at = head.load() & word(uring.complete, cq.ring_mask);
  const auto* done = reinterpret_cast<const io_uring_cqe*>(uring.complete + cq.cqes) + at;
  const long result = done->res;
  head.store(head.load() + 1, std::memory_order_release);
  return result;
}

long advise(Target& t, std::uint32_t advice) {
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_MADVISE;
  entry.addr = t.start;
  entry.len = static_cast<std::uint32_t>(t.size());
  entry.fadvise_advice = advice;
  return do_by(t.other, entry);
}

Skip open_memory_and_uring(Target& t, std::uint32_t argument) {
  t.fd = open_memory_of(0);
  return t.fd < 0 ? Skip::NoRoom : open_uring(t, argument);
}

/// Writes a word to each page through /proc/self/mem.
long write_memory(Target& t, std::uint32_t) {
  long done = 0;
  for (std::uintptr_t page = t.start; page < t.end; page += kPage) {
    const std::uint64_t word = other_word(page);
    io_uring_sqe entry{};
    entry.opcode = IORING_OP_WRITE;
    entry.fd = t.fd;
    entry.off = page + kWordOffset;
    entry.addr = reinterpret_cast<std::uintptr_t>(&word);
    entry.len = sizeof word;
    const long written = do_by(t.other, entry);
    if (is_error(written)) return written;
    done += written;
  }
  return done;
}

}  // namespace

void add_uring_ways(Ways& ways) {
  way_of(ways, Call::UringMadvise) = {advise, open_uring};
  way_of(ways, Call::UringWrite) = {write_memory, open_memory_and_uring};
}

}  // namespace sealvisor::agent
