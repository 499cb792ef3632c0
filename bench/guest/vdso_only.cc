// Experiments vdso/ and compat/ that do not ask for the time, and those of the first call.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "bench/guest/first_call.h"
#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/processes.h"
#include "bench/guest/traced.h"
#include "bench/guest/vdso.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

/// `ask(cpu, node)`: as getcpu(2), with no cache.
template <typename Ask>
int getcpu_samples(Run& run, const Ask& ask) {
  constexpr unsigned kNone = ~0U;
  unsigned cpu = kNone;
  unsigned node = kNone;
  unsigned right_cpu = kNone;
  unsigned right_node = kNone;
  if (agent::raw_call(SYS_getcpu, address_of(&right_cpu), address_of(&right_node), 0) != 0) {
    return ENOTSUP;
  }
  return run.each(
      [&] {
        cpu = node = kNone;
        return 0;
      },
      [&](std::uint32_t) { return ask(&cpu, &node) == 0; },
      [&] { return cpu == right_cpu && node == right_node; });
}

/// What one call of getrandom is for, and how many make one operation: a round of the 96 bytes that
/// the vdso makes at a time (drivers/char/random.c; include/vdso/getrandom.h, batch).
constexpr std::size_t kRandomBytes = 32;
constexpr unsigned kRound = 3;
using RandomBytes = std::array<std::array<std::uint8_t, kRandomBytes>, kRound>;

/// `ask(buffer, size)`: as getrandom(2).
template <typename Ask>
int getrandom_samples(Run& run, const Ask& ask) {
  RandomBytes bytes{};
  return run.each(
      [&] {
        bytes = {};
        return 0;
      },
      [&](std::uint32_t) {
        bool good = true;
        for (auto& some : bytes) {
          good = ask(some.data(), kRandomBytes) == static_cast<long>(kRandomBytes) && good;
        }
        return good;
      },
      [&] {
        // 32 zeros, or the same bytes twice, come once in 2^255.
        return bytes[0] != RandomBytes::value_type{} && bytes[1] != bytes[0] &&
               bytes[2] != bytes[1] && bytes[2] != bytes[0];
      });
}

/// What the vdso's getrandom keeps between calls: include/uapi/linux/random.h, struct
/// vgetrandom_opaque_params, which headers of Debian 12 do not know.
struct RandomParameters {
  std::uint32_t size;
  std::uint32_t protection;
  std::uint32_t flags;
  std::uint32_t reserved[13];
};

}  // namespace

int getcpu_vdso(Run& run, std::uint64_t /*unused*/) {
  const auto get = Vdso::own().find<GetCpu>("getcpu");
  unsigned cpu = 0;
  unsigned node = 0;
  if (get == nullptr || !stays_in_user_mode([&] { return get(&cpu, &node, nullptr); })) {
    return ENOTSUP;
  }
  return getcpu_samples(run, [get](unsigned* c, unsigned* n) { return get(c, n, nullptr); });
}

int getcpu_call(Run& run, std::uint64_t /*unused*/) {
  return getcpu_samples(run, [](unsigned* cpu, unsigned* node) {
    return agent::raw_call(SYS_getcpu, address_of(cpu), address_of(node), 0);
  });
}

int getrandom_vdso(Run& run, std::uint64_t /*unused*/) {
  const auto get = Vdso::own().find<GetRandom>("getrandom");
  if (get == nullptr) return ENOTSUP;
  RandomParameters parameters{};
  if (get(nullptr, 0, 0, &parameters, ~std::size_t{0}) != 0) return ENOTSUP;
  const std::size_t size = parameters.size;
  void* state = ::mmap(nullptr, size, static_cast<int>(parameters.protection),
                       static_cast<int>(parameters.flags), -1, 0);
  if (state == MAP_FAILED) return errno;
  const auto ask = [=](void* buffer, std::size_t bytes) {
    return get(buffer, bytes, 0, state, size);
  };
  // The first round gets a key from the kernel; every later one is a round of user mode's own.
  RandomBytes bytes{};
  for (auto& some : bytes) {
    if (ask(some.data(), kRandomBytes) != static_cast<ssize_t>(kRandomBytes)) return EPROTO;
  }
  const bool pure = stays_in_user_mode([&] {
    for (auto& some : bytes) (void)ask(some.data(), kRandomBytes);
  });
  return pure ? getrandom_samples(run, ask) : ENOTSUP;
}

int getrandom_call(Run& run, std::uint64_t /*unused*/) {
  return getrandom_samples(run, [](void* buffer, std::size_t bytes) {
    return agent::raw_call(SYS_getrandom, address_of(buffer), agent::arg(bytes), 0);
  });
}

int first_call_fork(Run& run, std::uint64_t /*unused*/) {
  const auto gettime = Vdso::own().find<ClockGettime>(kClockGettimeName);
  Time time{};
  if (gettime == nullptr || !stays_in_user_mode([&] { return gettime(CLOCK_MONOTONIC, &time); })) {
    return ENOTSUP;
  }
  if (gettime(CLOCK_MONOTONIC, &time) != 0) return EPROTO;
  return run.samples([&](const Place&) {
    return sample_in_child(run, [&] { run.shared().good = first_call(run, gettime); });
  });
}

int first_call_exec(Run& run, std::uint64_t /*unused*/) {
  static char word[] = "f";
  static char* const arguments[] = {word, nullptr};
  const Image image{kBareTarget, arguments};
  const Vdso vdso = Vdso::own();
  const auto gettime = vdso.find<ClockGettime>(kClockGettimeName);
  Time time{};
  if (gettime == nullptr || !stays_in_user_mode([&] { return gettime(CLOCK_MONOTONIC, &time); })) {
    return ENOTSUP;
  }
  Shared& shared = run.shared();
  shared.function = vdso.address_of_function(kClockGettimeName) - vdso.start();
  return run.samples([&](const Place&) {
    shared.exec_error = 0;
    const std::int64_t good = sample_in_child(run, [&] { exec_or_leave(image, shared); });
    return shared.exec_error != 0 ? std::int64_t{-shared.exec_error} : good;
  });
}

}  // namespace sealvisor::bench
