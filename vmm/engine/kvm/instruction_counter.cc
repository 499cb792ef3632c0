#include "vmm/engine/kvm/instruction_counter.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sealvisor::engine::kvm {

Error no_counter(int error) {
  const char* why = "instructions of guests are not counted";
  switch (error) {
    case ENOENT:
    case ENODEV:
    case EOPNOTSUPP:
      why = "this CPU has no counter for the instructions of guests";
      break;
    case EACCES:
    case EPERM:
      why =
          "the host lets this user have no instruction counter "
          "(/proc/sys/kernel/perf_event_paranoid)";
      break;
    case ENOSYS:
      why = "the host's kernel has no performance counters (CONFIG_PERF_EVENTS)";
      break;
    default:
      break;
  }
  errno = error;
  return errno_error(ExitCode::HostLacks, why);
}

Result<InstructionCounter> InstructionCounter::open() {
  perf_event_attr wanted{};
  wanted.type = PERF_TYPE_HARDWARE;
  wanted.size = sizeof wanted;
  wanted.config = PERF_COUNT_HW_INSTRUCTIONS;
  wanted.exclude_host = 1;
  wanted.exclude_hv = 1;
  wanted.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  // This thread, on any CPU, in no group.
  Fd fd(static_cast<int>(::syscall(SYS_perf_event_open, &wanted, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!fd.valid()) return no_counter(errno);
  return InstructionCounter(std::move(fd));
}

std::optional<std::uint64_t> InstructionCounter::read() const {
  std::array<std::uint64_t, 3> values{};  // count, time enabled, time running
  if (::read(fd_.get(), values.data(), sizeof values) != sizeof values) return std::nullopt;
  if (values[1] != values[2]) return std::nullopt;
  return values[0];
}

}  // namespace sealvisor::engine::kvm
