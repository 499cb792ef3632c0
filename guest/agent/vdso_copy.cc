#include "guest/agent/vdso_copy.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <span>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/touch.h"
#include "guest/agent/vdso_symbols.h"

namespace sealvisor::agent {
namespace {

#if defined(__aarch64__)
constexpr std::string_view kClockGettime = "__kernel_clock_gettime";
#else
constexpr std::string_view kClockGettime = "__vdso_clock_gettime";
#endif

void copy_page(std::uintptr_t from, std::uintptr_t to) {
  struct Pages {
    const void* from;
    void* to;
  } pages{reinterpret_cast<const void*>(from), reinterpret_cast<void*>(to)};
  // Pages of [vvar] that no clock of this machine uses can't be read; their copies stay zero.
  (void)call_guarded(
      [](void* argument) {
        const auto& both = *static_cast<const Pages*>(argument);
        std::memcpy(both.to, both.from, 4096);
      },
      &pages);
}

}  // namespace

int VdsoCopy::make(const MappingTable& table) {
  const SystemMapping* vdso = table.find("[vdso]");
  if (vdso == nullptr) {
    say("no [vdso] to copy");
    return ENOENT;
  }
  std::uint64_t start = vdso->start;
  for (const char* name : {"[vvar]", "[vvar_vclock]"}) {
    const SystemMapping* data = table.find(name);
    if (data != nullptr && data->end <= vdso->start) start = std::min(start, data->start);
  }
  size_ = vdso->end - start;
  void* place = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) {
    const int error = errno;
    say("memory for a copy of the vdso: %s", std::strerror(error));
    return error;
  }
  const auto copy = reinterpret_cast<std::uintptr_t>(place);
  for (std::uint64_t at = 0; at < size_; at += 4096) copy_page(start + at, copy + at);
  vdso_ = copy + (vdso->start - start);
  vdso_size_ = vdso->end - vdso->start;
  __builtin___clear_cache(static_cast<char*>(place), static_cast<char*>(place) + size_);
  return 0;
}

int VdsoCopy::run() const {
  using ClockGettime = int (*)(clockid_t, timespec*);
  struct Call {
    ClockGettime function;
    timespec now;
    int result;
  } call{};
  const std::span image(reinterpret_cast<const std::byte*>(vdso_),
                        static_cast<std::size_t>(vdso_size_));
  const auto offset = find_vdso_function<Elf64>(image, kClockGettime);
  if (!offset) {
    say("no clock_gettime in the vdso");
    return ENOENT;
  }
  call.function = reinterpret_cast<ClockGettime>(vdso_ + *offset);
  const int signal = call_guarded(
      [](void* argument) {
        Call& both = *static_cast<Call*>(argument);
        both.result = both.function(CLOCK_MONOTONIC_COARSE, &both.now);
      },
      &call);
  if (signal != 0 || call.result != 0) {
    say("the vdso's copy: signal %d, result %d", signal, call.result);
    return EPROTO;
  }
  return 0;
}

}  // namespace sealvisor::agent
