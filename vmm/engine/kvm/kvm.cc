#include "vmm/engine/kvm/kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

#include <fmt/format.h>

namespace sealvisor::engine::kvm {

namespace {

Result<int> call_on(const Fd& fd, unsigned long request, void* argument, const char* what) {
  const int result = ::ioctl(fd.get(), request, argument);
  if (result < 0) return errno_error(ExitCode::HostLacks, fmt::format("kvm: {}", what));
  return result;
}

/// Calls that take a number, not a pointer.
Result<int> call_on(const Fd& fd, unsigned long request, unsigned long number, const char* what) {
  const int result = ::ioctl(fd.get(), request, number);
  if (result < 0) return errno_error(ExitCode::HostLacks, fmt::format("kvm: {}", what));
  return result;
}

Status status_of(const Result<int>& result) {
  if (!result) return result.error();
  return {};
}

}  // namespace

kvm_run& Vcpu::run_page() const { return *reinterpret_cast<kvm_run*>(run_.data()); }

Result<bool> Vcpu::run() {
  if (::ioctl(fd_.get(), KVM_RUN, 0UL) >= 0) return true;
  if (errno == EINTR) return false;
  return errno_error(ExitCode::GuestFailed, "kvm: KVM_RUN");
}

Result<int> Vcpu::call(unsigned long request, void* argument, const char* what) const {
  return call_on(fd_, request, argument, what);
}

Status Vcpu::set_register(std::uint64_t id, std::uint64_t value) {
  kvm_one_reg reg{id, reinterpret_cast<std::uintptr_t>(&value)};
  const Result<int> result = call_on(fd_, KVM_SET_ONE_REG, &reg, "KVM_SET_ONE_REG");
  if (!result) {
    return Error{result.error().code, fmt::format("{} {:#x}", result.error().message, id),
                 result.error().errno_value};
  }
  return {};
}

Result<std::uint64_t> Vcpu::get_register(std::uint64_t id) const {
  std::uint64_t value = 0;
  kvm_one_reg reg{id, reinterpret_cast<std::uintptr_t>(&value)};
  const Result<int> result = call_on(fd_, KVM_GET_ONE_REG, &reg, "KVM_GET_ONE_REG");
  if (!result) {
    return Error{result.error().code, fmt::format("{} {:#x}", result.error().message, id),
                 result.error().errno_value};
  }
  return value;
}

Status Device::set(std::uint32_t group, std::uint64_t attribute, void* value, const char* what) {
  kvm_device_attr attr{0, group, attribute, reinterpret_cast<std::uintptr_t>(value)};
  return status_of(call_on(fd_, KVM_SET_DEVICE_ATTR, &attr, what));
}

Status Vm::set_memory(std::uint32_t slot, arch::Gpa start, std::span<std::byte> memory,
                      std::uint32_t flags) {
  kvm_userspace_memory_region region{slot, flags, start.value, memory.size(),
                                     reinterpret_cast<std::uintptr_t>(memory.data())};
  return status_of(
      call_on(fd_, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION"));
}

Result<Vcpu> Vm::create_vcpu(std::uint32_t id) {
  auto made = call_on(fd_, KVM_CREATE_VCPU, static_cast<unsigned long>(id), "KVM_CREATE_VCPU");
  if (!made) return made.error();
  Fd fd(made.value());
  auto run = Mapping::map(fd, run_bytes_, PROT_READ | PROT_WRITE, "the vcpu's run page");
  if (!run) return run.error();
  return Vcpu(std::move(fd), std::move(run).value());
}

Result<Device> Vm::create_device(std::uint32_t type, const char* what) {
  kvm_create_device device{type, 0, 0};
  const auto made = call_on(fd_, KVM_CREATE_DEVICE, &device, what);
  if (!made) return made.error();
  return Device(Fd(static_cast<int>(device.fd)));
}

Status Vm::set_irq_line(std::uint32_t line, bool high) {
  kvm_irq_level level{};
  level.irq = line;
  level.level = high ? 1 : 0;
  return status_of(call_on(fd_, KVM_IRQ_LINE, &level, "KVM_IRQ_LINE"));
}

Status Vm::enable(std::uint32_t capability, std::uint64_t argument, const char* what) {
  kvm_enable_cap cap{};
  cap.cap = capability;
  cap.args[0] = argument;
  return status_of(call_on(fd_, KVM_ENABLE_CAP, &cap, what));
}

Result<int> Vm::call(unsigned long request, void* argument, const char* what) const {
  return call_on(fd_, request, argument, what);
}

Result<System> System::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return errno_error(ExitCode::HostLacks, path);
  const auto version = call_on(fd, KVM_GET_API_VERSION, 0UL, "KVM_GET_API_VERSION");
  if (!version) return version.error();
  // 4.1: 12 since Linux 2.6.22, and any other value is to be refused.
  if (version.value() != KVM_API_VERSION) {
    return Error{ExitCode::HostLacks, fmt::format("{}: KVM API version {}, expected {}", path,
                                                  version.value(), KVM_API_VERSION)};
  }
  return System(std::move(fd));
}

int System::check(std::uint32_t capability) const {
  const auto result = call_on(fd_, KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability),
                              "KVM_CHECK_EXTENSION");
  return result ? result.value() : 0;
}

Result<Vm> System::create_vm(unsigned long type) const {
  auto run_bytes = call_on(fd_, KVM_GET_VCPU_MMAP_SIZE, 0UL, "KVM_GET_VCPU_MMAP_SIZE");
  if (!run_bytes) return run_bytes.error();
  auto made = call_on(fd_, KVM_CREATE_VM, type, "KVM_CREATE_VM");
  if (!made) return made.error();
  return Vm(Fd(made.value()), static_cast<std::size_t>(run_bytes.value()));
}

Result<int> System::call(unsigned long request, void* argument, const char* what) const {
  return call_on(fd_, request, argument, what);
}

}  // namespace sealvisor::engine::kvm
