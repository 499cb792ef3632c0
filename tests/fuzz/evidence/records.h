// Records of a trace that come from a fuzzer, as one block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/evidence/trace_reader.h"

namespace sealvisor::fuzz {

class Records final : public evidence::RecordSource {
 public:
  explicit Records(std::span<const std::uint8_t> bytes) : bytes_(std::as_bytes(bytes)) {}
  Result<std::span<const std::byte>> next() override {
    const auto given = bytes_;
    bytes_ = {};
    return given;
  }
  [[nodiscard]] std::string place() const override { return "input"; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace sealvisor::fuzz
