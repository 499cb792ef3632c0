// Capstone, one instruction at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "arch/arch.h"

namespace sealvisor::arch {

/// An instruction as it is read.
struct Decoded {
  std::size_t size = 0;  ///< Bytes; 0: there are none.
  std::string text;
};

/// Owns a Capstone handle. Making one takes longer than using it.
class Disassembler {
 public:
  explicit Disassembler(Arch arch);
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;
  ~Disassembler();

  /// The instruction that `bytes` begin with, at `address`. What Capstone does not know comes as
  /// ".inst 0x.." (arm64, 4 bytes) or ".byte ..": all of `bytes`, and their number as the size.
  [[nodiscard]] Decoded one(std::span<const std::uint8_t> bytes, std::uint64_t address) const;

 private:
  [[nodiscard]] Decoded capstone(std::span<const std::uint8_t> bytes, std::uint64_t address) const;

  Arch arch_;
  std::size_t handle_ = 0;  ///< A csh.
  bool good_ = false;
};

/// Which Capstone that is: "4.0". Another one may put the same instruction otherwise.
[[nodiscard]] std::string disassembler_version();

}  // namespace sealvisor::arch
