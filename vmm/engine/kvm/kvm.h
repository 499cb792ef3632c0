// The KVM API as owned objects: one class for each kind of descriptor, each call a Result.
//
// Source: Linux, Documentation/virt/kvm/api.rst; the section is named beside each call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <linux/kvm.h>

#include "arch/address.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

/// One virtual CPU (api.rst, "vcpu file descriptors"). All calls come from one thread, the one that
/// runs it; kvm requires that too.
class Vcpu {
 public:
  /// What KVM_RUN reports through. Valid as long as the Vcpu.
  [[nodiscard]] kvm_run& run_page() const;

  /// 4.10 KVM_RUN. Returns false when a signal or `immediate_exit` ended it before an exit.
  [[nodiscard]] Result<bool> run();

  /// Calls ioctl `request` with `argument`; errors name `what`.
  [[nodiscard]] Result<int> call(unsigned long request, void* argument, const char* what) const;

  /// 4.68 KVM_SET_ONE_REG and 4.69 KVM_GET_ONE_REG, 8-byte registers.
  [[nodiscard]] Status set_register(std::uint64_t id, std::uint64_t value);
  [[nodiscard]] Result<std::uint64_t> get_register(std::uint64_t id) const;

 private:
  friend class Vm;
  Vcpu(Fd fd, Mapping run) : fd_(std::move(fd)), run_(std::move(run)) {}
  Fd fd_;
  Mapping run_;
};

/// One in-kernel device (4.79 KVM_CREATE_DEVICE).
class Device {
 public:
  /// 4.80 KVM_SET_DEVICE_ATTR. `value` is what the attribute is documented to point at.
  [[nodiscard]] Status set(std::uint32_t group, std::uint64_t attribute, void* value,
                           const char* what);

 private:
  friend class Vm;
  explicit Device(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// One virtual machine (api.rst, "VM file descriptors"). Must outlive its Vcpus and Devices.
class Vm {
 public:
  /// 4.35 KVM_SET_USER_MEMORY_REGION. `memory` must stay mapped as long as the slot. An empty span
  /// deletes the slot.
  [[nodiscard]] Status set_memory(std::uint32_t slot, arch::Gpa start, std::span<std::byte> memory,
                                  std::uint32_t flags);
  /// 4.7 KVM_CREATE_VCPU.
  [[nodiscard]] Result<Vcpu> create_vcpu(std::uint32_t id);
  /// 4.79 KVM_CREATE_DEVICE.
  [[nodiscard]] Result<Device> create_device(std::uint32_t type, const char* what);
  /// 4.25 KVM_IRQ_LINE. `line` is encoded as that section says for the architecture.
  [[nodiscard]] Status set_irq_line(std::uint32_t line, bool high);
  /// 4.37 KVM_ENABLE_CAP.
  [[nodiscard]] Status enable(std::uint32_t capability, std::uint64_t argument, const char* what);
  [[nodiscard]] Result<int> call(unsigned long request, void* argument, const char* what) const;

 private:
  friend class System;
  Vm(Fd fd, std::size_t run_bytes) : fd_(std::move(fd)), run_bytes_(run_bytes) {}
  Fd fd_;
  std::size_t run_bytes_;
};

/// /dev/kvm (api.rst, "system file descriptor").
class System {
 public:
  /// Opens `path` and checks the API version (4.1). Errors: absent, not permitted, another version
  /// (exit code HostLacks).
  [[nodiscard]] static Result<System> open(const std::string& path = "/dev/kvm");

  /// 4.4 KVM_CHECK_EXTENSION: 0 where it is absent or not known.
  [[nodiscard]] int check(std::uint32_t capability) const;
  /// 4.2 KVM_CREATE_VM. `type`: the machine type of that section, 0 for the default.
  [[nodiscard]] Result<Vm> create_vm(unsigned long type = 0) const;
  [[nodiscard]] Result<int> call(unsigned long request, void* argument, const char* what) const;

 private:
  explicit System(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace sealvisor::engine::kvm
