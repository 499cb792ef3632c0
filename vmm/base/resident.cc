#include "vmm/base/resident.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>

#include "vmm/base/fd.h"

namespace sealvisor {

namespace {

/// Whether a line begins a mapping: "7f00-7f01 r--p 0 00:1 7 /path"; all others begin with a name.
bool begins_mapping(std::string_view line) {
  const std::string_view word = line.substr(0, line.find(' '));
  return word.find('-') != std::string_view::npos && !word.ends_with(':');
}

/// The number in "Rss:   12 kB"; nullopt: it is another line, or no such number.
std::optional<std::uint64_t> kibibytes(std::string_view line) {
  const std::size_t digits = line.find_first_not_of(' ');
  if (digits == std::string_view::npos) return std::nullopt;
  line.remove_prefix(digits);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (error != std::errc{} || line.substr(static_cast<std::size_t>(end - line.data())) != " kB") {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<std::uint64_t> resident_in(std::string_view smaps, std::string_view without) {
  constexpr std::string_view kRss = "Rss:";
  std::uint64_t total = 0;
  bool found = false;
  bool counts = true;
  while (!smaps.empty()) {
    const std::string_view line = smaps.substr(0, smaps.find('\n'));
    smaps.remove_prefix(std::min(smaps.size(), line.size() + 1));
    if (begins_mapping(line)) {
      counts = line.find(without) == std::string_view::npos;
    } else if (line.starts_with(kRss)) {
      const auto value = kibibytes(line.substr(kRss.size()));
      if (!value) return std::nullopt;
      found = true;
      if (counts) total += *value * 1024;
    }
  }
  if (!found) return std::nullopt;
  return total;
}

std::optional<std::uint64_t> resident_bytes(std::string_view without) {
  const Fd file(::open("/proc/self/smaps", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  std::string text;
  std::array<char, 4096> block{};
  for (;;) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return resident_in(text, without);
    text.append(block.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace sealvisor
