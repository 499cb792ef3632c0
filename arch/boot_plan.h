// Where everything goes in guest memory before the first guest instruction. Plain values: the
// engine copies them and sets the registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "arch/address.h"

namespace sealvisor::arch {

/// A piece of a file that goes to guest memory as it is. Bytes past `file_bytes` are zero: guest
/// memory is zeroed when it is made.
struct FilePiece {
  Gpa gpa{};
  std::uint64_t file_offset = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t memory_bytes = 0;  ///< >= file_bytes.
  std::string what;                ///< For messages: "kernel", "initramfs".
};

/// Bytes that the plan made itself: zero page, device tree, page tables.
struct DataPiece {
  Gpa gpa{};
  std::vector<std::byte> bytes;
  std::string what;
};

/// Precondition of its use: no two pieces overlap and all lie in RAM; the planners see to that.
struct BootPlan {
  std::vector<FilePiece> kernel;  ///< Of the kernel image.
  FilePiece initramfs;            ///< Of the initramfs file.
  std::vector<DataPiece> data;
};

/// RAM of the guest: one piece.
struct RamLayout {
  Gpa base{};
  std::uint64_t bytes = 0;
};

}  // namespace sealvisor::arch
