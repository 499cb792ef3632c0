#include "vmm/memory/guest_memory.h"

#include <atomic>
#include <cstring>

#include <fmt/format.h>

namespace sealvisor::memory {

namespace {
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kLeast = 64 * kMiB;
constexpr std::uint64_t kMost = 2048 * kMiB;
}  // namespace

arch::Gpa ram_base(arch::Arch arch) {
  return arch::Gpa{arch == arch::Arch::Arm64 ? std::uint64_t{1} << 30 : 0};
}

Result<GuestMemory> GuestMemory::create(arch::Arch arch, std::uint64_t bytes) {
  if (bytes < kLeast || bytes > kMost || bytes % (2 * kMiB) != 0) {
    return Error{ExitCode::Usage,
                 fmt::format("guest memory of {} bytes: expected {} to {} MiB in steps of 2 MiB",
                             bytes, kLeast / kMiB, kMost / kMiB)};
  }
  auto fd = memory_file(kRamFile, bytes, true);
  if (!fd) return fd.error();
  auto mapping = Mapping::map(fd.value(), bytes, PROT_READ, "guest RAM");
  if (!mapping) return mapping.error();
  return GuestMemory(std::move(fd).value(), std::move(mapping).value(), ram_base(arch));
}

bool GuestMemory::read_entry(arch::Gpa slot, std::uint64_t& value) const {
  const std::uint64_t offset = slot.value - base_.value;
  if (offset >= size() || size() - offset < 8 || (offset & 7) != 0) return false;
  auto* word = reinterpret_cast<std::uint64_t*>(mapping_.data() + offset);
  value = std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
  return true;
}

bool GuestMemory::read_table(arch::Frame frame, arch::Table& copy) const {
  const std::uint64_t index = frame.number - arch::frame_of(base_).number;
  if (index >= size() >> arch::kPageShift) return false;
  const std::uint64_t offset = index << arch::kPageShift;
  for (std::size_t i = 0; i < copy.size(); ++i) {
    auto* word = reinterpret_cast<std::uint64_t*>(mapping_.data() + offset + i * 8);
    copy[i] = std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
  }
  return true;
}

bool GuestMemory::holds(arch::Frame frame, const arch::Table& known, std::uint64_t bits) const {
  const std::uint64_t index = frame.number - arch::frame_of(base_).number;
  if (index >= size() >> arch::kPageShift) return false;
  const auto* const words =
      reinterpret_cast<const std::uint64_t*>(mapping_.data() + (index << arch::kPageShift));
  std::uint64_t differs = 0;
  for (std::size_t i = 0; i < known.size(); ++i) differs |= words[i] ^ known[i];
  return (differs & bits) == 0;
}

bool GuestMemory::read(arch::Gpa gpa, std::span<std::byte> out) const {
  const std::uint64_t offset = gpa.value - base_.value;
  if (offset >= size() || size() - offset < out.size()) return false;
  if (!out.empty()) std::memcpy(out.data(), mapping_.data() + offset, out.size());
  return true;
}

}  // namespace sealvisor::memory
