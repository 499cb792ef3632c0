#include "vmm/app/places.h"

#include <cstdlib>
#include <system_error>

#include <fmt/format.h>

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPluginName = "sealvisor-tcg.so";
constexpr const char* kCounterName = "sealvisor-count.so";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_share(const fs::path& path) { return is_there(path / "guest/kernel/build"); }

}  // namespace

Result<Places> find_places(const PlacesInput& input) {
  Places places;
  const fs::path beside = input.executable.parent_path();
  const fs::path prefix = beside.parent_path();
  if (input.share_override) {
    places.share = *input.share_override;
    if (!is_share(places.share)) {
      return Error{ExitCode::HostLacks,
                   fmt::format("SEALVISOR_SHARE names {}, which has no guest/kernel/build",
                               places.share.string())};
    }
  } else if (is_share(prefix / "share/sealvisor")) {
    places.share = prefix / "share/sealvisor";
  } else if (is_share(input.source_dir)) {
    places.share = input.source_dir;
  } else {
    return Error{ExitCode::HostLacks,
                 fmt::format("no guest/kernel/build in {} or {}; SEALVISOR_SHARE can name the "
                             "folder that has it",
                             (prefix / "share/sealvisor").string(), input.source_dir.string())};
  }
  const fs::path installed = prefix / input.library_dir / "sealvisor";
  places.installed = is_there(installed / kPluginName);
  const fs::path own = places.installed ? installed : beside;
  places.plugin = own / kPluginName;
  places.counter = own / kCounterName;
  places.agents = own / "guest";
  if (input.kernels) places.kernels = *input.kernels;
  return places;
}

Result<Places> find_places() {
  PlacesInput input;
  std::error_code error;
  input.executable = fs::read_symlink("/proc/self/exe", error);
  if (error) {
    return Error{ExitCode::HostLacks, "reading the link /proc/self/exe: " + error.message(),
                 error.value()};
  }
  if (const char* share = std::getenv("SEALVISOR_SHARE"); share != nullptr && *share != '\0') {
    input.share_override = share;
  }
  if (const char* kernels = std::getenv("SEALVISOR_KERNELS");
      kernels != nullptr && *kernels != '\0') {
    input.kernels = kernels;
  }
  input.source_dir = SEALVISOR_SOURCE_DIR;
  input.library_dir = SEALVISOR_LIBRARY_DIR;
  return find_places(input);
}

}  // namespace sealvisor::app
