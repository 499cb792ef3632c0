#include "vmm/evidence/trace_writer.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace sealvisor::evidence {

Result<TraceWriter> TraceWriter::create(const std::filesystem::path& file) {
  std::error_code failed;
  std::filesystem::create_directories(file.parent_path(), failed);
  if (failed) {
    return Error{ExitCode::HostLacks,
                 "trace folder " + file.parent_path().string() + ": " + failed.message(),
                 failed.value()};
  }
  // Level 1: the stream repeats itself so much that more buys little.
  gzFile opened = gzopen(file.c_str(), "wb1e");
  if (opened == nullptr) return errno_error(ExitCode::HostLacks, "trace file " + file.string());
  TraceWriter writer(file.string(), opened);
  std::array<char, 16> header{'S', 'L', 'V', 'T', 'R', 'A', 'C', 'E'};
  const std::uint32_t version = event::kEventVersion;
  const std::uint32_t size = sizeof(event::Event);
  std::memcpy(header.data() + 8, &version, sizeof(version));
  std::memcpy(header.data() + 12, &size, sizeof(size));
  if (gzwrite(opened, header.data(), header.size()) != static_cast<int>(header.size())) {
    return errno_error(ExitCode::HostLacks, "trace file " + file.string());
  }
  return writer;
}

void TraceWriter::append(std::span<const event::Event> events) {
  if (failed_ || events.empty()) return;
  const auto size = static_cast<unsigned>(events.size_bytes());
  if (gzwrite(file_.get(), events.data(), size) != static_cast<int>(size)) {
    failed_ = errno_error(ExitCode::HostLacks, "trace file " + path_);
  }
}

Status TraceWriter::close() {
  const int result = gzclose(file_.release());
  if (failed_) return *failed_;
  if (result != Z_OK) return errno_error(ExitCode::HostLacks, "trace file " + path_);
  return {};
}

}  // namespace sealvisor::evidence
