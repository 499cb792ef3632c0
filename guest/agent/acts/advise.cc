// Advice about memory, by each way that there is to give it, and locks.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "guest/agent/acts/act.h"
#include "guest/agent/acts/forced_write.h"
#include "guest/agent/acts/helper.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

long advise(Target& t, std::uint32_t advice) {
  return raw_call(SYS_madvise, arg(t.start), arg(t.size()), arg(advice));
}

Skip open_own_pid(Target& t, std::uint32_t) {
  t.fd = static_cast<int>(raw_call(SYS_pidfd_open, ::getpid(), 0));
  return t.fd >= 0 ? Skip::No : Skip::Unsupported;
}

long advise_through(int process, const Target& t, std::uint32_t advice) {
  const iovec range{reinterpret_cast<void*>(t.start), t.size()};
  return raw_call(SYS_process_madvise, process, arg(&range), 1, arg(advice), 0);
}

long process_advise(Target& t, std::uint32_t advice) { return advise_through(t.fd, t, advice); }

long advise_from_beside(const Target& t, std::uint32_t advice, pid_t victim) {
  const int process = static_cast<int>(raw_call(SYS_pidfd_open, victim, 0));
  return process >= 0 ? advise_through(process, t, advice) : process;
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
  way_of(ways, Call::ProcessMadviseOther) = {
      [](Target& t, std::uint32_t) { return run_helper(t); },
      [](Target& t, std::uint32_t advice) { return start_helper(t, advice, advise_from_beside); }};
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
