#include "vmm/app/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "vmm/base/fd.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

Status write_file(const fs::path& path, std::string_view contents) {
  const auto bytes = std::as_bytes(std::span(contents));
  const auto failed = [&] { return errno_error(ExitCode::HostLacks, "writing " + path.string()); };
  std::error_code error;
  // A link is followed, so that it stays a link.
  const fs::path canonical = fs::canonical(path, error);
  const fs::path target = error ? path : canonical;
  struct stat state {};
  const bool exists = ::stat(target.c_str(), &state) == 0;
  if (exists && !S_ISREG(state.st_mode)) {
    const Fd fd(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || !write_all(fd, bytes)) return failed();
    return {};
  }
  std::string temporary = target.string() + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return failed();
  const bool good = ::fchmod(fd.get(), exists ? state.st_mode & 07777 : 0644) == 0 &&
                    write_all(fd, bytes) && ::fsync(fd.get()) == 0 &&
                    ::rename(temporary.c_str(), target.c_str()) == 0;
  if (good) return {};
  const Error problem = failed();
  ::unlink(temporary.c_str());
  return problem;
}

Status check_writable(const char* option, const fs::path& path) {
  if (path.empty()) return {};
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return Error{ExitCode::Usage, fmt::format("{} {}: is a directory", option, path.string()),
                 EISDIR};
  }
  if (::access(fs::exists(path, error) ? path.c_str() : folder.c_str(), W_OK) == 0) return {};
  return errno_error(ExitCode::Usage, fmt::format("{} {}", option, path.string()));
}

Status check_outside(const char* option, const fs::path& path, const fs::path& bundle) {
  if (path.empty() || bundle.empty()) return {};
  std::error_code error;
  // Neither must be there yet; what is there of them is followed.
  const fs::path file = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error)
    return Error{ExitCode::Usage, fmt::format("{} {}: {}", option, path.string(), error.message()),
                 error.value()};
  fs::path folder = fs::weakly_canonical(fs::absolute(bundle, error), error);
  if (error)
    return Error{ExitCode::Usage, fmt::format("{}: {}", bundle.string(), error.message()),
                 error.value()};
  if (!folder.has_filename()) folder = folder.parent_path();
  const auto end = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first;
  if (end != folder.end()) return {};
  return Error{ExitCode::Usage, fmt::format("{} {}: is in the bundle {}, which it would change",
                                            option, path.string(), bundle.string())};
}

}  // namespace sealvisor::app
