// What changes the process as a whole, or memory as a whole, and mappings by the way if at all.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/agent/acts/act.h"
#include "guest/agent/raw.h"
#include "guest/scenario/numbers.h"
#if UINTPTR_MAX > UINT32_MAX
#include "guest/agent/probes.h"
#endif

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

constexpr long kCloneNewTime = 0x80;  // include/uapi/linux/sched.h

long write_text(int file, const char* text) {
  return raw_call(SYS_write, file, arg(text), arg(std::strlen(text)));
}

/// What a knob holds now, to be put back. One knob is turned in a victim.
char knob_before[32];

Skip open_knob(Target& t, std::uint32_t which) {
  const char* path = scenario::kKnobs[which].path;
  t.fd = ::open(path, O_RDWR | O_CLOEXEC);
  // vm.drop_caches can be written only.
  if (t.fd < 0) t.fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (t.fd < 0) return Skip::Unsupported;
  const ssize_t size = ::pread(t.fd, knob_before, sizeof knob_before - 1, 0);
  knob_before[size > 0 ? size : 0] = '\0';
  return Skip::No;
}

/// A knob takes a number at the start of its file only, and says nothing of one that it ignores
/// (6.12: kernel/sysctl.c, proc_first_pos_non_zero_ignore).
long write_knob(int file, const char* text) {
  const long at = raw_call(SYS_lseek, file, 0, SEEK_SET);
  return is_error(at) ? at : write_text(file, text);
}
long turn_knob(Target& t, std::uint32_t which) {
  const char* value = scenario::kKnobs[which].value;
  const long written = write_knob(t.fd, value);
  if (is_error(written) || knob_before[0] == '\0') return written;
  char now = '\0';
  (void)raw_call(SYS_lseek, t.fd, 0, SEEK_SET);
  const long got = raw_call(SYS_read, t.fd, arg(&now), 1);
  return got == 1 && now == value[0] ? written : -EIO;
}
void turn_back(Target& t, std::uint32_t) {
  if (knob_before[0] != '\0') (void)write_knob(t.fd, knob_before);
  ::close(t.fd);
}

long set_personality(Target&, std::uint32_t bits) {
  const long now = raw_call(SYS_personality, -1);  // 0xffffffff asks
  return is_error(now) ? now : raw_call(SYS_personality, now | arg(bits));
}
void old_personality(Target&, std::uint32_t bits) {
  const long now = raw_call(SYS_personality, -1);
  if (!is_error(now)) (void)raw_call(SYS_personality, now & ~arg(bits));
}

long new_time_namespace(Target&, std::uint32_t) { return raw_call(SYS_unshare, kCloneNewTime); }

long enter_time_namespace(Target& t, std::uint32_t) {
  const long made = new_time_namespace(t, 0);
  if (is_error(made)) return made;
  static constexpr char kPlace[] = "/proc/self/ns/time_for_children";
  const long file = raw_call(SYS_openat, AT_FDCWD, arg(kPlace), O_RDONLY, 0);
  if (is_error(file)) return file;
  return raw_call(SYS_setns, file, kCloneNewTime);
}

Skip has_time_namespaces(Target&, std::uint32_t) {
  return ::access("/proc/self/ns/time_for_children", F_OK) == 0 ? Skip::No : Skip::Unsupported;
}

int end_at_once(void*) {
  (void)raw_call(SYS_exit, 0);
  return 0;
}

/// The C library's clone puts the child on its own stack; the child makes no use of the library.
long clone_in_memory(Target& t, std::uint32_t) {
  void* const top = reinterpret_cast<void*>(t.place + 4 * kPage);
  const pid_t child = ::clone(end_at_once, top, CLONE_VM | SIGCHLD, nullptr);
  if (child < 0) return -errno;
  long waited = 0;
  do {
    waited = raw_call(SYS_wait4, child, 0, 0, 0);
  } while (waited == -EINTR);
  return waited == child ? 0 : waited;
}

Skip make_stack(Target& t, std::uint32_t) {
  t.place = new_memory(4 * kPage, PROT_READ | PROT_WRITE);
  return t.place == 0 ? Skip::NoRoom : Skip::No;
}

/// Names of memory: PR_SET_VMA, PR_SET_VMA_ANON_NAME (include/uapi/linux/prctl.h).
long name_it(Target& t, std::uint32_t) {
  static constexpr char kName[] = "mine";
  return raw_call(SYS_prctl, 0x53564d41, 0, arg(t.start), arg(t.size()), arg(kName));
}

long bind_it(Target& t, std::uint32_t) {
  constexpr long kBind = 2;       // MPOL_BIND
  constexpr long kMove = 1 << 1;  // MPOL_MF_MOVE
  const unsigned long node = 1;
  return raw_call(SYS_mbind, arg(t.start), arg(t.size()), kBind, arg(&node), 2, kMove);
}

long move_pages_of(Target& t, std::uint32_t) {
  constexpr long kMove = 1 << 1;
  void* const page = reinterpret_cast<void*>(t.start);
  const int node = 0;
  int status = 0;
  return raw_call(SYS_move_pages, 0, 1, arg(&page), arg(&node), arg(&status), kMove);
}

long migrate(Target&, std::uint32_t) {
  const unsigned long node = 1;
  return raw_call(SYS_migrate_pages, 0, 2, arg(&node), arg(&node));
}

#if UINTPTR_MAX > UINT32_MAX
constexpr std::uint32_t kTimes = 16;
Skip probe(Target&, std::uint32_t count) {
  const int set = set_probes(count);
  return set == 0 ? Skip::No : set == -ENOENT ? Skip::Unsupported : Skip::NoRoom;
}
long hit(Target&, std::uint32_t count) { return hit_probes(count, count == 1 ? 1 : kTimes); }
#endif

}  // namespace

void add_process_ways(Ways& ways) {
  way_of(ways, Call::Personality) = {set_personality, nullptr, old_personality};
  way_of(ways, Call::Knob) = {turn_knob, open_knob, turn_back};
  way_of(ways, Call::TimeNamespaceSetns) = {enter_time_namespace, has_time_namespaces};
  way_of(ways, Call::TimeNamespaceFork) = {new_time_namespace, has_time_namespaces};
  way_of(ways, Call::CloneVm) = {clone_in_memory, make_stack};
  way_of(ways, Call::PrctlName) = {name_it};
  way_of(ways, Call::Mbind) = {bind_it};
  way_of(ways, Call::MovePages) = {move_pages_of};
  way_of(ways, Call::MigratePages) = {migrate};
#if UINTPTR_MAX > UINT32_MAX
  way_of(ways, Call::UprobeHit) = {hit, probe};
#endif
}

}  // namespace sealvisor::agent
