#include "guest/agent/cpus.h"

#include <sched.h>
#include <sys/syscall.h>

#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

/// Bit n: CPU n. No guest has more than event::kMostVcpus.
using Mask = unsigned long;

/// 0 if it could not be had. The raw call returns how many bytes it wrote.
Mask allowed() {
  Mask mask = 0;
  return is_error(raw_call(SYS_sched_getaffinity, 0, sizeof mask, arg(&mask))) ? 0 : mask;
}

void allow(Mask mask) { (void)raw_call(SYS_sched_setaffinity, 0, sizeof mask, arg(&mask)); }

}  // namespace

std::uint32_t usable_cpus() { return static_cast<std::uint32_t>(__builtin_popcountl(allowed())); }

void keep_to_cpu(std::uint32_t number) {
  const std::uint32_t cpus = usable_cpus();
  if (cpus < 2) return;
  allow(Mask{1} << number % cpus);
}

void visit_cpus() {
  const Mask all = allowed();
  const auto cpus = static_cast<std::uint32_t>(__builtin_popcountl(all));
  if (cpus < 2) return;
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) allow(Mask{1} << cpu);
  allow(all);
}

}  // namespace sealvisor::agent
