// What goes wrong with a guest or with the VMM, in a host that has KVM and nothing else:
// `fault-trial engine|program|console|kill`. Needs /bin/sealvisor and what `verify` needs.
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/nested/faults/checks.h"
#include "tests/nested/faults/guests.h"

namespace sealvisor::test {

const Guest& guest_named(const char* name) {
  for (const Guest& guest : guests()) {
    if (std::strcmp(guest.name, name) == 0) return guest;
  }
  std::printf("no guest '%s'\n", name);
  std::terminate();
}

void write_too_large(const char* kernel, const char* initramfs, TooLarge which) {
  constexpr std::uint64_t kKernelBytes = 96ULL << 20;
  constexpr std::uint64_t kInitramfsBytes = 70ULL << 20;
  std::ofstream(kernel, std::ios::binary | std::ios::trunc)
      << image_of(guests().front().code, which == TooLarge::Kernel ? kKernelBytes : 0);
  // A file that is far smaller than what it asks for is refused as truncated.
  if (which == TooLarge::Kernel) std::filesystem::resize_file(kernel, kKernelBytes);
  std::ofstream(initramfs, std::ios::trunc) << "none";
  if (which == TooLarge::Initramfs) std::filesystem::resize_file(initramfs, kInitramfsBytes);
}

}  // namespace sealvisor::test

int main(int argc, char** argv) {
  using namespace sealvisor::test;  // NOLINT(google-build-using-namespace)
  // Terminals for the programs that are tried.
  ::mkdir("/dev/pts", 0755);
  if (::mount("devpts", "/dev/pts", "devpts", 0, nullptr) != 0) {
    std::perror("mounting /dev/pts");
    return 2;
  }
  const std::string_view what = argc == 2 ? argv[1] : "";
  Checks checks;
  if (what == "engine") {
    try_engine(checks);
  } else if (what == "program") {
    try_program(checks);
  } else if (what == "console") {
    try_console(checks);
  } else if (what == "kill") {
    try_kill(checks);
  } else {
    std::printf("usage: fault-trial engine|program|console|kill\n");
    return 2;
  }
  return checks.finish();
}
