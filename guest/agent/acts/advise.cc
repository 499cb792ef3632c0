// Advice about memory, by each way that there is to give it, and locks.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

long advise(Target& t, std::uint32_t advice) {
  return raw_call(SYS_madvise, arg(t.start), arg(t.size()), arg(advice));
}

Skip open_own_pid(Target& t, std::uint32_t) {
  t.fd = static_cast<int>(raw_call(SYS_pidfd_open, ::getpid(), 0));
  return t.fd >= 0 ? Skip::No : Skip::Unsupported;
}

long process_advise(Target& t, std::uint32_t advice) {
  const iovec range{reinterpret_cast<void*>(t.start), t.size()};
  return raw_call(SYS_process_madvise, t.fd, arg(&range), 1, arg(advice), 0);
}

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
  t.fd = static_cast<int>(raw_call(SYS_io_uring_setup, kRingEntries, arg(&uring.layout)));
  if (t.fd < 0) return t.fd == -ENOSYS ? Skip::Unsupported : Skip::NoRoom;
  const auto& sq = uring.layout.sq_off;
  const auto& cq = uring.layout.cq_off;
  uring.submit =
      map_ring(t.fd, sq.array + kRingEntries * sizeof(std::uint32_t), IORING_OFF_SQ_RING);
  uring.complete =
      map_ring(t.fd, cq.cqes + uring.layout.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
  uring.entries = map_ring(t.fd, kRingEntries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  return uring.submit != 0 && uring.complete != 0 && uring.entries != 0 ? Skip::No : Skip::NoRoom;
}

std::uint32_t& word(std::uintptr_t ring, std::uint32_t offset) {
  return *reinterpret_cast<std::uint32_t*>(ring + offset);
}

/// Head and tail are shared with the kernel: io_uring(7).
long uring_advise(Target& t, std::uint32_t advice) {
  const auto& sq = uring.layout.sq_off;
  const auto& cq = uring.layout.cq_off;
  auto& entry = *reinterpret_cast<io_uring_sqe*>(uring.entries);
  entry = {};
  entry.opcode = IORING_OP_MADVISE;
  entry.addr = t.start;
  entry.len = static_cast<std::uint32_t>(t.size());
  entry.fadvise_advice = advice;
  word(uring.submit, sq.array) = 0;
  std::atomic_ref<std::uint32_t> tail(word(uring.submit, sq.tail));
  tail.store(tail.load() + 1, std::memory_order_release);
  const long entered = raw_call(SYS_io_uring_enter, t.fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0);
  if (is_error(entered)) return entered;
  std::atomic_ref<std::uint32_t> head(word(uring.complete, cq.head));
  const std::uint32_t at = head.load() & word(uring.complete, cq.ring_mask);
  const auto* done = reinterpret_cast<const io_uring_cqe*>(uring.complete + cq.cqes) + at;
  const long result = done->res;
  head.store(head.load() + 1, std::memory_order_release);
  return result;
}

long forced_then_advise(Target& t, std::uint32_t advice) {
  const long written = write_words(t.fd, t.start, t.end);
  return is_error(written) ? written : advise(t, advice);
}

long no_act(Target&, std::uint32_t) { return 0; }

}  // namespace

void add_advise_ways(Ways& ways) {
  way_of(ways, Call::Madvise) = {advise};
  way_of(ways, Call::MadviseFork) = {advise};
  way_of(ways, Call::ProcessMadvise) = {process_advise, open_own_pid};
  way_of(ways, Call::UringMadvise) = {uring_advise, open_uring};
  way_of(ways, Call::ForcedMadvise) = {forced_then_advise, [](Target& t, std::uint32_t) {
                                         t.fd = open_memory_of(0);
                                         return t.fd >= 0 ? Skip::No : Skip::NoRoom;
                                       }};
  way_of(ways, Call::Mlock) = {
      [](Target& t, std::uint32_t) { return raw_call(SYS_mlock, arg(t.start), arg(t.size())); }};
  way_of(ways, Call::MlockOnFault) = {[](Target& t, std::uint32_t) {
    return raw_call(SYS_mlock2, arg(t.start), arg(t.size()), MLOCK_ONFAULT);
  }};
  way_of(ways, Call::Munlock) = {
      [](Target& t, std::uint32_t) { return raw_call(SYS_munlock, arg(t.start), arg(t.size())); }};
  way_of(ways, Call::MlockAll) = {
      [](Target&, std::uint32_t) { return raw_call(SYS_mlockall, MCL_CURRENT); }};
  way_of(ways, Call::Msync) = {[](Target& t, std::uint32_t flags) {
    return raw_call(SYS_msync, arg(t.start), arg(t.size()), arg(flags));
  }};
  way_of(ways, Call::Fork) = {no_act};
}

}  // namespace sealvisor::agent
