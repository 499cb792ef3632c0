#include "bench/guest/vdso.h"

#include <sys/auxv.h>

#include <array>
#include <type_traits>

#include "guest/agent/lines.h"
#include "guest/agent/smaps.h"
#include "guest/agent/vdso_symbols.h"

namespace sealvisor::bench {
namespace {

#if defined(__aarch64__)
constexpr std::string_view kPrefix = "__kernel_";
#else
constexpr std::string_view kPrefix = "__vdso_";
#endif

using Elf = std::conditional_t<sizeof(void*) == 4, agent::Elf32, agent::Elf64>;

}  // namespace

Vdso Vdso::own() {
  Vdso vdso;
  vdso.start_ = ::getauxval(AT_SYSINFO_EHDR);
  agent::SmapsReader reader;
  const bool read = agent::each_line("/proc/self/maps", [&](std::string_view line) {
    reader.line(line);
    return true;
  });
  const agent::SystemMapping* mapping = reader.table().find("[vdso]");
  if (!read || mapping == nullptr || mapping->start != vdso.start_) return {};
  vdso.size_ = static_cast<std::size_t>(mapping->end - mapping->start);
  return vdso;
}

std::uintptr_t Vdso::address_of_function(std::string_view name) const {
  std::array<char, 64> text{};
  if (kPrefix.size() + name.size() > text.size()) return 0;
  kPrefix.copy(text.data(), kPrefix.size());
  name.copy(text.data() + kPrefix.size(), name.size());
  const std::string_view whole(text.data(), kPrefix.size() + name.size());
  const std::span image(reinterpret_cast<const std::byte*>(start_), size_);
  const auto offset = agent::find_vdso_function<Elf>(image, whole);
  return offset ? start_ + static_cast<std::uintptr_t>(*offset) : 0;
}

bool Vdso::use() const {
  const auto gettime = find<ClockGettime>(kClockGettimeName);
  if (gettime == nullptr) return false;
  Time time{};
  bool good = true;
  for (const clockid_t clock : kVdsoClocks) good = gettime(clock, &time) == 0 && good;
  TimeOfDay day{};
  if (const auto get = find<GetTimeOfDay>("gettimeofday")) good = get(&day, nullptr) == 0 && good;
  if (const auto get = find<GetTime>("time")) good = get(nullptr) > 0 && good;
  unsigned cpu = 0;
  if (const auto get = find<GetCpu>("getcpu")) good = get(&cpu, nullptr, nullptr) == 0 && good;
  if (const auto get = find<ClockGetres>("clock_getres")) {
    Resolution resolution{};
    good = get(CLOCK_MONOTONIC, &resolution) == 0 && good;
  }
  std::array<std::byte, 64> about{};
  if (const auto get = find<GetRandom>("getrandom")) {
    good = get(nullptr, 0, 0, about.data(), ~std::size_t{0}) == 0 && good;
  }
  return good;
}

}  // namespace sealvisor::bench
