#include "vmm/base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <limits>

#include <fmt/format.h>

namespace sealvisor {

bool write_all(const Fd& fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

std::optional<std::size_t> read_all(const Fd& fd, std::span<std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Result<Fd> open_plain(const std::filesystem::path& file, ExitCode code, const std::string& what) {
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat state {};
  if (!fd.valid() || ::fstat(fd.get(), &state) != 0) return errno_error(code, what);
  if (!S_ISREG(state.st_mode)) return Error{code, what + ": expected a plain file"};
  return fd;
}

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
