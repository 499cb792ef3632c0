#include "guest/agent/image.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/signals.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {

ImageArguments::ImageArguments(const char* path, const Doorbell& doorbell, std::uint64_t token) {
  static char image[] = "image";
  static char verbose[] = "verbose";
  std::snprintf(gpa_, sizeof gpa_, "%llx", static_cast<unsigned long long>(doorbell.gpa()));
  std::snprintf(token_, sizeof token_, "%llu", static_cast<unsigned long long>(token));
  argv_[0] = const_cast<char*>(path);  // NOLINT: execve takes it so and does not write to it.
  argv_[1] = image;
  argv_[2] = gpa_;
  argv_[3] = token_;
  argv_[4] = doorbell.verbose() ? verbose : nullptr;
  argv_[5] = nullptr;
}

void use_vdso() {
  std::timespec now{};
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE}) {
    ::clock_gettime(clock, &now);
  }
}

int image_main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "nothing") return 0;
  if (argc < 4 || argc > 5 || std::string_view(argv[1]) != "image") {
    say("%s: expected the words that the agent gives to an image", argc > 0 ? argv[0] : "image");
    return EINVAL;
  }
  const std::uint64_t gpa = std::strtoull(argv[2], nullptr, 16);
  const std::uint64_t token = std::strtoull(argv[3], nullptr, 10);
  Doorbell doorbell;
  if (!doorbell.open(gpa, argc == 5) || !install_guard()) return EIO;
  MappingTable table;
  if (!announce_mappings(doorbell, token, table)) return EIO;
  use_vdso();
  // In a 32-bit process the way back from a handler is a system mapping of its own.
  return deliver_signals(2);
}

}  // namespace sealvisor::agent
