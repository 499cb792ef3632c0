#include "vmm/base/fd.h"

#include <sys/syscall.h>

#include <limits>

#include <fmt/format.h>

namespace sealvisor {

Result<Mapping> Mapping::map(const Fd& fd, std::size_t size, int protection,
                             const std::string& what) {
  void* data = ::mmap(nullptr, size, protection, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) {
    return errno_error(ExitCode::HostLacks, fmt::format("mapping {} bytes of {}", size, what));
  }
  Mapping mapping;
  mapping.data_ = data;
  mapping.size_ = size;
  return mapping;
}

Status close_inherited() {
  if (::syscall(SYS_close_range, 3U, std::numeric_limits<unsigned>::max(), 0U) != 0) {
    return errno_error(ExitCode::HostLacks, "closing inherited descriptors (close_range)");
  }
  return {};
}

Result<Fd> memory_file(const std::string& name, std::size_t size, bool inherit) {
  Fd fd(::memfd_create(name.c_str(), inherit ? 0U : static_cast<unsigned>(MFD_CLOEXEC)));
  if (!fd.valid()) return errno_error(ExitCode::HostLacks, "memfd_create for " + name);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return errno_error(ExitCode::HostLacks, fmt::format("sizing {} to {} bytes", name, size));
  }
  return fd;
}

}  // namespace sealvisor
