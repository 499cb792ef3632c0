#include "vmm/base/cpus.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

namespace sealvisor {

namespace {

/// Enough of them for kMostCpus, one behind the other as the system calls want them.
using CpuSet = std::vector<cpu_set_t>;
CpuSet empty_set() { return CpuSet(kMostCpus / CPU_SETSIZE); }
std::size_t bytes_of(const CpuSet& set) { return set.size() * sizeof(cpu_set_t); }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::optional<unsigned> number_in(std::string_view text) {
  unsigned value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size() || value >= kMostCpus) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  std::vector<unsigned> cpus;
  text = trimmed(text);
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t dash = part.find('-');
    const auto first = number_in(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number_in(part.substr(dash + 1));
    if (!first || !last || *last < *first) return std::nullopt;
    for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return std::nullopt;
  }
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return cpus;
}

std::string cpu_list_text(std::span<const unsigned> cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return text;
}

Result<std::vector<unsigned>> allowed_cpus() {
  CpuSet set = empty_set();
  if (::sched_getaffinity(0, bytes_of(set), set.data()) != 0) {
    return errno_error(ExitCode::HostLacks, "asking on which CPUs this may run");
  }
  std::vector<unsigned> cpus;
  for (unsigned cpu = 0; cpu < kMostCpus; ++cpu) {
    if (CPU_ISSET_S(cpu, bytes_of(set), set.data())) cpus.push_back(cpu);
  }
  return cpus;
}

Status bind_to(std::span<const unsigned> cpus) {
  CpuSet set = empty_set();
  for (const unsigned cpu : cpus) {
    if (cpu >= kMostCpus) {
      return Error{ExitCode::HostLacks,
                   fmt::format("CPU {}: expected a number below {}", cpu, kMostCpus)};
    }
    CPU_SET_S(cpu, bytes_of(set), set.data());
  }
  const std::string what = "running on CPU " + cpu_list_text(cpus) + " only";
  if (::sched_setaffinity(0, bytes_of(set), set.data()) != 0) {
    return errno_error(ExitCode::HostLacks, what);
  }
  // The kernel leaves out those that are not online, or that a cpuset has not.
  const auto now = allowed_cpus();
  if (!now) return now.error();
  if (std::equal(now.value().begin(), now.value().end(), cpus.begin(), cpus.end())) return {};
  return Error{ExitCode::HostLacks,
               fmt::format("{}: the kernel allows {}", what, cpu_list_text(now.value()))};
}

std::uint64_t thread_preemptions() {
  rusage usage{};
  if (::getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(std::max<long>(usage.ru_nivcsw, 0));
}

}  // namespace sealvisor
