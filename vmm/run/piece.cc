#include "vmm/run/piece.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace sealvisor::run {

Result<std::string> read_piece(const arch::AnyFormat& format, const memory::Memory& memory,
                               arch::Frame root, const protocol::Piece& piece) {
  std::string bytes(piece.bytes, '\0');
  for (std::uint64_t done = 0; done < bytes.size();) {
    const arch::Gva at{piece.address + done};
    const std::uint64_t count =
        std::min(bytes.size() - done, arch::kPageSize - at.value % arch::kPageSize);
    const arch::Walk walk = arch::walk(format, memory, root, at);
    const bool readable = walk.end == arch::WalkEnd::Leaf && walk.permissions.read;
    if (!readable ||
        !memory.read(walk.output, std::as_writable_bytes(std::span(bytes).subspan(done, count)))) {
      return Error{ExitCode::GuestFailed,
                   fmt::format("a piece of {} bytes at {:#x}: {:#x} is not mapped for user mode",
                               piece.bytes, piece.address, at.value)};
    }
    done += count;
  }
  return bytes;
}

}  // namespace sealvisor::run
