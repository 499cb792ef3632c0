// Owners of what /dev/kvm lends: the system, a VM, a vCPU, a device. Each call names itself when it
// fails. Source of all of it: Documentation/virt/kvm/api.rst, by the name of the ioctl.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "arch/address.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/interrupt_lines.h"
#include "vmm/engine/kvm/register_file.h"

namespace sealvisor::engine::kvm {

/// One ioctl, restarted after a signal. Errors: exit code HostLacks, "<what>: <strerror>".
[[nodiscard]] Result<int> call(const Fd& fd, unsigned long request, unsigned long argument,
                               const char* what);
template <typename T>
[[nodiscard]] Result<int> call(const Fd& fd, unsigned long request, T* argument, const char* what) {
  return call(fd, request, reinterpret_cast<unsigned long>(argument), what);
}

/// A device inside the kernel: an interrupt controller.
class Device {
 public:
  explicit Device(Fd fd) : fd_(std::move(fd)) {}
  /// KVM_SET_DEVICE_ATTR; `value` is what the attribute points to.
  [[nodiscard]] Status set(std::uint32_t group, std::uint64_t attribute, const void* value,
                           const char* what);

 private:
  Fd fd_;
};

class Vcpu final : public Registers {
 public:
  Vcpu(Fd fd, Mapping shared) : fd_(std::move(fd)), shared_(std::move(shared)) {}

  /// The page shared with the kernel: why KVM_RUN returned.
  [[nodiscard]] kvm_run& run() const { return *reinterpret_cast<kvm_run*>(shared_.data()); }
  /// That page and those behind it, in which the data of port accesses is.
  [[nodiscard]] std::span<std::byte> shared() const { return shared_.bytes(); }
  [[nodiscard]] const Fd& fd() const { return fd_; }
  /// Runs the guest to the next exit. Returns 0, or errno: EINTR and EAGAIN are no failures.
  [[nodiscard]] int enter() const;
  template <typename T>
  [[nodiscard]] Status operate(unsigned long request, T* argument, const char* what) const {
    auto done = call(fd_, request, argument, what);
    return done ? Status() : Status(done.error());
  }
  [[nodiscard]] Result<std::uint64_t> get(std::uint64_t id) const override;
  [[nodiscard]] Status set(std::uint64_t id, std::uint64_t value) override;
  [[nodiscard]] Result<std::array<std::byte, 16>> get_vector(std::uint64_t id) const override;

 private:
  Fd fd_;
  Mapping shared_;
};

class Vm final : public InterruptLines {
 public:
  Vm(Fd fd, std::size_t shared_bytes) : fd_(std::move(fd)), shared_bytes_(shared_bytes) {}

  /// KVM_CHECK_EXTENSION; 0 if the host does not know it.
  [[nodiscard]] int check(int capability) const;
  [[nodiscard]] Status enable(std::uint32_t capability, std::uint64_t argument, const char* what);
  /// Sets, changes or (no bytes) deletes a memory slot. `host` must stay mapped as long as the VM.
  [[nodiscard]] Status set_memory(std::uint32_t slot, std::uint32_t flags, arch::Gpa gpa,
                                  std::span<std::byte> host);
  [[nodiscard]] Status set_irq(std::uint32_t line, bool level) override;
  [[nodiscard]] Result<Vcpu> create_vcpu(unsigned long id);
  [[nodiscard]] Result<Device> create_device(std::uint32_t type, const char* what);
  template <typename T>
  [[nodiscard]] Status operate(unsigned long request, T* argument, const char* what) const {
    auto done = call(fd_, request, argument, what);
    return done ? Status() : Status(done.error());
  }
  /// A request whose argument is a number.
  [[nodiscard]] Status request(unsigned long request, unsigned long argument, const char* what) {
    auto done = call(fd_, request, argument, what);
    return done ? Status() : Status(done.error());
  }
  [[nodiscard]] const Fd& fd() const { return fd_; }

 private:
  Fd fd_;
  std::size_t shared_bytes_;
};

/// Whether this program speaks the version that KVM_GET_API_VERSION of `path` gave. Error:
/// HostLacks, both versions.
[[nodiscard]] Status check_version(const std::string& path, int version);

/// The device node.
class System {
 public:
  /// Opens `path` and checks the API version (12). Errors, exit code HostLacks: there is no such
  /// device, no permission (says which group), not KVM, another version.
  [[nodiscard]] static Result<System> open(const std::string& path);

  [[nodiscard]] int check(int capability) const;
  /// `type`: KVM_CREATE_VM's machine type; 0 but for arm64 address sizes.
  [[nodiscard]] Result<Vm> create_vm(unsigned long type) const;
  [[nodiscard]] const Fd& fd() const { return fd_; }

 private:
  explicit System(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace sealvisor::engine::kvm
