// What the VMM tells the agent on the kernel command line. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace sealvisor::agent {

/// What the agent shows when it waits for a command (prompt.h); the VMM looks for it.
inline constexpr const char* kPrompt = "sealvisor> ";

struct BootWords {
  std::uint64_t doorbell = 0;  ///< `sealvisor.doorbell=0x<gpa>`; 0: missing or not a number.
  /// `sealvisor.layout=0x<seed>`: of a benchmark's layout (bench/layout.h); 0: none, or no number.
  std::uint64_t layout = 0;
  bool verbose = false;  ///< `sealvisor.verbose`: trace messages to the console.
  bool symbols = false;  ///< `sealvisor.symbols`: the VMM has none of this kernel.
  bool prompt = false;   ///< `sealvisor.prompt`: commands from the console, no plan.
};

/// "0x<hexadecimal digits>", 0 if it is anything else.
[[nodiscard]] constexpr std::uint64_t parse_boot_number(std::string_view digits) {
  constexpr std::string_view kHexadecimal = "0x";
  if (!digits.starts_with(kHexadecimal)) return 0;
  digits.remove_prefix(kHexadecimal.size());
  bool good = !digits.empty() && digits.size() <= 16;
  std::uint64_t value = 0;
  for (const char c : digits) {
    const bool decimal = c >= '0' && c <= '9';
    const bool letter = c >= 'a' && c <= 'f';
    good = good && (decimal || letter);
    value = value << 4 | static_cast<std::uint64_t>(decimal ? c - '0' : c - 'a' + 10);
  }
  return good ? value : 0;
}

/// Reads the words of ours from the text of /proc/cmdline. A word that is there twice counts as
/// its last copy, as the kernel itself does it.
[[nodiscard]] constexpr BootWords parse_boot_words(std::string_view text) {
  constexpr std::string_view kDoorbell = "sealvisor.doorbell=";
  constexpr std::string_view kLayout = "sealvisor.layout=";
  BootWords words;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" \n");
    const std::string_view word = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (word == "sealvisor.verbose") words.verbose = true;
    if (word == "sealvisor.symbols") words.symbols = true;
    if (word == "sealvisor.prompt") words.prompt = true;
    if (word.starts_with(kDoorbell)) {
      words.doorbell = parse_boot_number(word.substr(kDoorbell.size()));
    }
    if (word.starts_with(kLayout)) words.layout = parse_boot_number(word.substr(kLayout.size()));
  }
  return words;
}

}  // namespace sealvisor::agent
