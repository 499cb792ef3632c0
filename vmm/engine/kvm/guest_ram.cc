#include "vmm/engine/kvm/guest_ram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::kvm {

using arch::Frame;
using arch::Gpa;

std::vector<SlotPiece> cut(arch::RamLayout ram, std::vector<Frame> frames) {
  const Frame first = arch::frame_of(ram.base);
  const std::uint64_t count = ram.bytes >> arch::kPageShift;
  std::erase_if(frames, [&](Frame frame) { return frame.number - first.number >= count; });
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  std::vector<SlotPiece> pieces;
  std::uint64_t next = first.number;
  const auto add = [&](std::uint64_t end, bool read_only) {
    if (end == next) return;
    const std::uint64_t bytes = (end - next) << arch::kPageShift;
    if (!pieces.empty() && pieces.back().read_only == read_only) {
      pieces.back().bytes += bytes;
    } else {
      pieces.push_back({Frame{next}.gpa(), bytes, read_only});
    }
    next = end;
  };
  for (const Frame frame : frames) {
    add(frame.number, false);
    add(frame.number + 1, true);
  }
  add(first.number + count, false);
  return pieces;
}

Result<GuestRam> GuestRam::map(const memory::GuestMemory& memory) {
  auto mapping = Mapping::map(memory.fd(), memory.size(), PROT_READ | PROT_WRITE, "guest RAM");
  if (!mapping) return mapping.error();
  auto for_kvm = Mapping::map(memory.fd(), memory.size(), PROT_READ | PROT_WRITE, "guest RAM");
  if (!for_kvm) return for_kvm.error();
  return GuestRam(memory.fd().get(), std::move(mapping).value(), std::move(for_kvm).value(),
                  memory.base());
}

std::span<std::byte> GuestRam::at(Gpa gpa, std::uint64_t bytes) const {
  const std::uint64_t offset = gpa.value - base_.value;
  if (offset >= mapping_.size() || mapping_.size() - offset < bytes) return {};
  return mapping_.bytes().subspan(offset, bytes);
}

Status GuestRam::load_file(std::span<const arch::FilePiece> pieces,
                           const std::filesystem::path& path) const {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return errno_error(ExitCode::Usage, path.string());
  for (const arch::FilePiece& piece : pieces) {
    const std::uint64_t bytes = std::max(piece.file_bytes, piece.memory_bytes);
    if (at(piece.gpa, bytes).empty() && bytes != 0) {
      return Error{ExitCode::Usage,
                   fmt::format("{}: {} bytes at {:#x} are not in guest memory", path.string(),
                               piece.memory_bytes, piece.gpa.value)};
    }
    // From file to file: into the mapping each page would take a page fault, ten times as long.
    auto offset = static_cast<off_t>(piece.file_offset);
    std::uint64_t left = piece.file_bytes;
    if (left == 0) continue;
    if (::lseek(file_, static_cast<off_t>(piece.gpa.value - base_.value), SEEK_SET) < 0) {
      return errno_error(ExitCode::HostLacks, "guest memory");
    }
    while (left > 0) {
      const ssize_t got = ::sendfile(file_, file.get(), &offset, left);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno_error(ExitCode::Usage, "reading " + path.string());
      if (got == 0) {
        return Error{ExitCode::Usage, fmt::format("{}: ends at byte {}, expected {} more",
                                                  path.string(), offset, left)};
      }
      left -= static_cast<std::uint64_t>(got);
    }
  }
  return {};
}

Status GuestRam::load(const arch::BootPlan& plan, const std::filesystem::path& kernel,
                      const std::filesystem::path& initramfs) const {
  if (auto loaded = load_file(plan.kernel, kernel); !loaded) return loaded;
  if (auto loaded = load_file({&plan.initramfs, 1}, initramfs); !loaded) return loaded;
  for (const arch::DataPiece& piece : plan.data) {
    const std::span<std::byte> to = at(piece.gpa, piece.bytes.size());
    if (to.size() != piece.bytes.size()) {
      return Error{ExitCode::Usage,
                   fmt::format("{} at {:#x} is not in guest memory", piece.what, piece.gpa.value)};
    }
    std::copy(piece.bytes.begin(), piece.bytes.end(), to.begin());
  }
  return {};
}

Status GuestRam::install(Vm& vm, const std::vector<Frame>& read_only) {
  const std::vector<SlotPiece> wanted = cut(layout(), read_only);
  if (wanted == installed_) return {};
  // KVM can't change the read-only flag of a slot that is there.
  for (std::uint32_t slot = 0; slot < installed_.size(); ++slot) {
    if (auto gone = vm.set_memory(slot, 0, installed_[slot].gpa, {}); !gone) return gone;
  }
  installed_.clear();
  for (std::uint32_t slot = 0; slot < wanted.size(); ++slot) {
    const SlotPiece& piece = wanted[slot];
    const std::uint32_t flags = piece.read_only ? std::uint32_t{KVM_MEM_READONLY} : 0;
    const std::span<std::byte> host =
        for_kvm_.bytes().subspan(piece.gpa.value - base_.value, piece.bytes);
    if (auto set = vm.set_memory(slot, flags, piece.gpa, host); !set) return set;
    installed_.push_back(piece);
  }
  return {};
}

Status GuestRam::let_write(Frame frame, bool allowed) {
  const std::span<std::byte> page =
      for_kvm_.bytes().subspan(frame.gpa().value - base_.value, arch::kPageSize);
  if (::mprotect(page.data(), page.size(), allowed ? PROT_READ | PROT_WRITE : PROT_READ) == 0) {
    return {};
  }
  return errno_error(ExitCode::HostLacks,
                     fmt::format("mprotect of guest frame {:#x}", frame.number));
}

}  // namespace sealvisor::engine::kvm
