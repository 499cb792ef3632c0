// A program for tests of the emulated host itself: `host-trial kvm|files|hang|abort|reset|noise`.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
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

constexpr std::uint32_t kStored = 0x55;
constexpr std::size_t kMemory = 65536;

#if defined(__x86_64__)

constexpr std::uint64_t kGuestBase = 0;
/// Real mode: mov al, 0x55; out 0x80, al; hlt.
constexpr std::array<std::uint8_t, 5> kCode = {0xb0, kStored, 0xe6, 0x80, 0xf4};

int prepare(int machine, int vcpu) {
  static_cast<void>(machine);
  kvm_sregs special{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &special) != 0) return fail("KVM_GET_SREGS");
  special.cs.base = 0;
  special.cs.selector = 0;
  if (::ioctl(vcpu, KVM_SET_SREGS, &special) != 0) return fail("KVM_SET_SREGS");
  kvm_regs registers{};
  registers.rip = kGuestBase;
  registers.rflags = 2;
  if (::ioctl(vcpu, KVM_SET_REGS, &registers) != 0) return fail("KVM_SET_REGS");
  return 0;
}

bool is_store(const kvm_run& run) {
  return run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT &&
         run.io.port == 0x80 && run.io.size == 1 &&
         reinterpret_cast<const std::uint8_t*>(&run)[run.io.data_offset] == kStored;
}

int create_interrupt_controller(int machine) {
  return ::ioctl(machine, KVM_CREATE_IRQCHIP, 0) == 0 ? 0 : fail("KVM_CREATE_IRQCHIP");
}

#else

constexpr std::uint64_t kGuestBase = 0x40000000;
/// movz x1, 0x900, lsl 16; movz w0, 0x55; str w0, [x1]; b . (Arm ARM, C6.2).
constexpr std::array<std::uint32_t, 4> kCode = {0xd2a12001, 0x52800000 | kStored << 5, 0xb9000020,
                                                0x14000000};

int prepare(int machine, int vcpu) {
  kvm_vcpu_init target{};
  if (::ioctl(machine, KVM_ARM_PREFERRED_TARGET, &target) != 0 ||
      ::ioctl(vcpu, KVM_ARM_VCPU_INIT, &target) != 0) {
    return fail("KVM_ARM_VCPU_INIT");
  }
  std::uint64_t pc = kGuestBase;
  kvm_one_reg reg{};
  reg.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc);
  reg.addr = reinterpret_cast<std::uintptr_t>(&pc);
  return ::ioctl(vcpu, KVM_SET_ONE_REG, &reg) == 0 ? 0 : fail("KVM_SET_ONE_REG pc");
}

bool is_store(const kvm_run& run) {
  std::uint32_t data = 0;
  std::memcpy(&data, run.mmio.data, sizeof data);
  return run.exit_reason == KVM_EXIT_MMIO && run.mmio.is_write != 0 &&
         run.mmio.phys_addr == 0x9000000 && run.mmio.len == 4 && data == kStored;
}

int create_interrupt_controller(int machine) {
  kvm_create_device device{};
  device.type = KVM_DEV_TYPE_ARM_VGIC_V3;
  return ::ioctl(machine, KVM_CREATE_DEVICE, &device) == 0 ? 0 : fail("KVM_DEV_TYPE_ARM_VGIC_V3");
}

#endif

/// Runs four instructions in a machine, up to a store that leaves it. What this opens and maps goes
/// with the process.
int run_code(int system) {
  const int machine = ::ioctl(system, KVM_CREATE_VM, 0);
  if (machine < 0) return fail("KVM_CREATE_VM");
  void* memory =
      ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail("guest memory");
  std::memcpy(memory, kCode.data(), sizeof kCode);
  kvm_userspace_memory_region slot{};
  slot.guest_phys_addr = kGuestBase;
  slot.memory_size = kMemory;
  slot.userspace_addr = reinterpret_cast<std::uintptr_t>(memory);
  if (::ioctl(machine, KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
    return fail("KVM_SET_USER_MEMORY_REGION");
  }
  const int vcpu = ::ioctl(machine, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return fail("KVM_CREATE_VCPU");
  const int size = ::ioctl(system, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) return fail("KVM_GET_VCPU_MMAP_SIZE");
  void* shared =
      ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (shared == MAP_FAILED) return fail("kvm_run");
  if (const int status = prepare(machine, vcpu); status != 0) return status;
  if (::ioctl(vcpu, KVM_RUN, 0) != 0) return fail("KVM_RUN");
  const auto& run = *static_cast<const kvm_run*>(shared);
  if (!is_store(run)) {
    std::printf("KVM_RUN: exit reason %u, expected the store of 0x55\n", run.exit_reason);
    return 1;
  }
  std::printf("KVM_RUN: the guest stored 0x55\n");
  return 0;
}

int try_kvm() {
  const int system = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (system < 0) return fail("/dev/kvm");
  std::printf("KVM_GET_API_VERSION %d\n", ::ioctl(system, KVM_GET_API_VERSION, 0));
  // Another machine: one with a GICv3 could not run before that has its addresses.
  const int machine = ::ioctl(system, KVM_CREATE_VM, 0);
  if (machine < 0) return fail("KVM_CREATE_VM");
  if (const int status = create_interrupt_controller(machine); status != 0) return status;
  std::printf("interrupt controller made\n");
  return run_code(system);
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
