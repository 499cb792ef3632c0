#include "vmm/engine/kvm/api.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::kvm {

Result<int> call(const Fd& fd, unsigned long request, unsigned long argument, const char* what) {
  for (;;) {
    const int result = ::ioctl(fd.get(), request, argument);
    if (result >= 0) return result;
    if (errno != EINTR) return errno_error(ExitCode::HostLacks, what);
  }
}

Status Device::set(std::uint32_t group, std::uint64_t attribute, const void* value,
                   const char* what) {
  kvm_device_attr request{};
  request.group = group;
  request.attr = attribute;
  request.addr = reinterpret_cast<std::uint64_t>(value);
  auto done = call(fd_, KVM_SET_DEVICE_ATTR, &request, what);
  return done ? Status() : Status(done.error());
}

int Vcpu::enter() const { return ::ioctl(fd_.get(), KVM_RUN, 0) == 0 ? 0 : errno; }

namespace {

/// T has the size that `id` says.
template <typename T>
Result<T> get_one(const Fd& fd, std::uint64_t id) {
  T value{};
  kvm_one_reg request{id, reinterpret_cast<std::uint64_t>(&value)};
  auto done = call(fd, KVM_GET_ONE_REG, &request, "KVM_GET_ONE_REG");
  if (done) return value;
  return Error{done.error().code, fmt::format("register {:#x}: {}", id, done.error().message),
               done.error().sys_errno};
}

}  // namespace

Result<std::uint64_t> Vcpu::get(std::uint64_t id) const { return get_one<std::uint64_t>(fd_, id); }

Result<std::array<std::byte, 16>> Vcpu::get_vector(std::uint64_t id) const {
  return get_one<std::array<std::byte, 16>>(fd_, id);
}

Status Vcpu::set(std::uint64_t id, std::uint64_t value) {
  kvm_one_reg request{id, reinterpret_cast<std::uint64_t>(&value)};
  auto done = call(fd_, KVM_SET_ONE_REG, &request, "KVM_SET_ONE_REG");
  if (done) return {};
  return Error{done.error().code,
               fmt::format("register {:#x} to {:#x}: {}", id, value, done.error().message),
               done.error().sys_errno};
}

int Vm::check(int capability) const {
  const int result =
      ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
  return result < 0 ? 0 : result;
}

Status Vm::enable(std::uint32_t capability, std::uint64_t argument, const char* what) {
  kvm_enable_cap request{};
  request.cap = capability;
  request.args[0] = argument;
  return operate(KVM_ENABLE_CAP, &request, what);
}

Status Vm::set_memory(std::uint32_t slot, std::uint32_t flags, arch::Gpa gpa,
                      std::span<std::byte> host) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = flags;
  region.guest_phys_addr = gpa.value;
  region.memory_size = host.size();
  region.userspace_addr = reinterpret_cast<std::uint64_t>(host.data());
  return operate(KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
}

Status Vm::set_irq(std::uint32_t line, bool level) {
  kvm_irq_level request{};
  request.irq = line;
  request.level = level ? 1 : 0;
  return operate(KVM_IRQ_LINE, &request, "KVM_IRQ_LINE");
}

Result<Vcpu> Vm::create_vcpu(unsigned long id) {
  auto made = call(fd_, KVM_CREATE_VCPU, id, "KVM_CREATE_VCPU");
  if (!made) return made.error();
  Fd fd(made.value());
  auto shared = Mapping::map(fd, shared_bytes_, PROT_READ | PROT_WRITE, "the vCPU's shared page");
  if (!shared) return shared.error();
  return Vcpu(std::move(fd), std::move(shared).value());
}

Result<Device> Vm::create_device(std::uint32_t type, const char* what) {
  kvm_create_device request{};
  request.type = type;
  auto made = call(fd_, KVM_CREATE_DEVICE, &request, what);
  if (!made) return made.error();
  return Device(Fd(static_cast<int>(request.fd)));
}

Status check_version(const std::string& path, int version) {
  if (version == KVM_API_VERSION) return {};
  return Error{ExitCode::HostLacks,
               fmt::format("{}: KVM API version {}, expected {}: the host needs a kernel of 2.6.22 "
                           "or newer, of this architecture",
                           path, version, KVM_API_VERSION)};
}

Result<System> System::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    const bool denied = errno == EACCES || errno == EPERM;
    Error error = errno_error(ExitCode::HostLacks, path);
    if (denied) error.message += "; the user must be root or in the group that owns it (kvm)";
    if (error.sys_errno == ENOENT) {
      error.message +=
          "; the host's kernel has no KVM, or the CPU's virtualisation is switched off";
    }
    return error;
  }
  auto version = call(fd, KVM_GET_API_VERSION, 0UL, "KVM_GET_API_VERSION");
  if (!version) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} is not KVM: {}", path, version.error().message)};
  }
  if (auto fits = check_version(path, version.value()); !fits) return fits.error();
  return System(std::move(fd));
}

int System::check(int capability) const {
  const int result =
      ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
  return result < 0 ? 0 : result;
}

Result<Vm> System::create_vm(unsigned long type) const {
  auto bytes = call(fd_, KVM_GET_VCPU_MMAP_SIZE, 0UL, "KVM_GET_VCPU_MMAP_SIZE");
  if (!bytes) return bytes.error();
  auto made = call(fd_, KVM_CREATE_VM, type, "KVM_CREATE_VM");
  if (!made) return made.error();
  return Vm(Fd(made.value()), static_cast<std::size_t>(bytes.value()));
}

}  // namespace sealvisor::engine::kvm
