// A program for tests of the emulated host itself: `host-trial kvm|files|hang|abort|reset|noise`.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "vmm/engine/nested/port_frame.h"

namespace {

int fail(const char* what) {
  std::printf("%s: %s\n", what, std::strerror(errno));
  return 1;
}

/// Makes a machine with one vCPU. Descriptors go with the process.
int try_kvm() {
  const int system = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (system < 0) return fail("/dev/kvm");
  std::printf("KVM_GET_API_VERSION %d\n", ::ioctl(system, KVM_GET_API_VERSION, 0));
  const int machine = ::ioctl(system, KVM_CREATE_VM, 0);
  if (machine < 0) return fail("KVM_CREATE_VM");
#if defined(__x86_64__)
  if (::ioctl(machine, KVM_CREATE_IRQCHIP, 0) != 0) return fail("KVM_CREATE_IRQCHIP");
#else
  kvm_create_device device{};
  device.type = KVM_DEV_TYPE_ARM_VGIC_V3;
  if (::ioctl(machine, KVM_CREATE_DEVICE, &device) != 0) return fail("KVM_DEV_TYPE_ARM_VGIC_V3");
#endif
  if (::ioctl(machine, KVM_CREATE_VCPU, 0) < 0) return fail("KVM_CREATE_VCPU");
  std::printf("KVM_CREATE_VCPU done\n");
  return 0;
}

bool write_file(const char* path, const void* data, std::size_t size) {
  const int file = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  return file >= 0 && ::write(file, data, size) == static_cast<ssize_t>(size) && ::close(file) == 0;
}

int leave_files(const char* word) {
  static std::array<char, 5'000'000> large;
  std::array<char, 256> words{};
  const char* variable = std::getenv("TRIAL");
  const int size =
      std::snprintf(words.data(), words.size(), "%s|%s", word, variable == nullptr ? "" : variable);
  if (!write_file("/out/words", words.data(), static_cast<std::size_t>(size)) ||
      ::mkdir("/out/folder", 0755) != 0 ||
      !write_file("/out/folder/large", large.data(), large.size()) ||
      !write_file("/out/bad name", "", 0)) {
    return fail("/out");
  }
  return 7;
}

int hang() {
  if (!write_file("/out/started", "", 0)) return fail("/out/started");
  for (;;) ::pause();
}

/// Ends the host before init has sent anything.
int reset() {
  std::printf("resetting\n");
  ::reboot(RB_AUTOBOOT);
  return fail("reboot");
}

/// Writes to the port before init does.
int make_noise() {
  const int port = ::open(sealvisor::engine::nested::kPortDevice, O_RDWR | O_CLOEXEC);
  constexpr std::string_view kNoise = "this is not a stream of files";
  if (port < 0 || ::write(port, kNoise.data(), kNoise.size()) < 0) return fail("port");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  if (what == "kvm") return try_kvm();
  if (what == "files" && argc == 3) return leave_files(argv[2]);
  if (what == "hang") return hang();
  if (what == "abort") std::abort();
  if (what == "reset") return reset();
  if (what == "noise") return make_noise();
  std::printf("usage: host-trial kvm|files WORD|hang|abort|reset|noise\n");
  return 2;
}
