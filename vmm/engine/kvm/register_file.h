// A vCPU's registers by the names of KVM_GET_ONE_REG: what decides about them needs no vCPU.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

class Registers {
 public:
  virtual ~Registers() = default;
  /// A 64-bit register. Errors: exit code HostLacks, the register's number.
  [[nodiscard]] virtual Result<std::uint64_t> get(std::uint64_t id) const = 0;
  [[nodiscard]] virtual Status set(std::uint64_t id, std::uint64_t value) = 0;
  /// A 128-bit register, bits 7:0 in the first byte.
  [[nodiscard]] virtual Result<std::array<std::byte, 16>> get_vector(std::uint64_t id) const = 0;

 protected:
  Registers() = default;
  Registers(const Registers&) = default;
  Registers& operator=(const Registers&) = default;
  Registers(Registers&&) = default;
  Registers& operator=(Registers&&) = default;
};

struct WantedRegister {
  std::uint64_t id = 0;
  std::uint64_t* to = nullptr;
};
/// Reads all of them, or says which one can't be read.
[[nodiscard]] inline Status get_all(const Registers& registers,
                                    std::initializer_list<WantedRegister> wanted) {
  for (const WantedRegister& one : wanted) {
    auto value = registers.get(one.id);
    if (!value) return value.error();
    *one.to = value.value();
  }
  return {};
}

struct RegisterValue {
  std::uint64_t id = 0;
  std::uint64_t value = 0;
};
/// Writes them in this order, up to the first that can't be written.
[[nodiscard]] inline Status set_all(Registers& registers, std::span<const RegisterValue> values) {
  for (const RegisterValue& one : values) {
    if (auto set = registers.set(one.id, one.value); !set) return set;
  }
  return {};
}

}  // namespace sealvisor::engine::kvm
