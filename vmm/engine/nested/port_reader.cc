#include "vmm/engine/nested/port_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::nested {

namespace {

Error malformed(std::string what) {
  return Error{ExitCode::GuestFailed, "the emulated host's port: " + std::move(what)};
}

/// The structure whose bytes are `bytes`. Precondition: as many as it has.
template <typename T>
T structure_of(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Printable form of a name that is not valid.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 64)) text += c >= ' ' && c <= '~' ? c : '?';
  return text;
}

}  // namespace

std::string text_of(const ProgramEnd& end) {
  switch (end.kind) {
    case FrameKind::Killed:
      return fmt::format("was killed by signal {}", end.value);
    case FrameKind::Deadline:
      return "was killed because its time was over";
    case FrameKind::NotStarted:
      return fmt::format("could not be started: {}",
                         std::generic_category().message(static_cast<int>(end.value)));
    case FrameKind::Exited:
    case FrameKind::File:
      break;
  }
  return fmt::format("exited with status {}", end.value);
}

Result<Folder> Folder::open(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return Error{ExitCode::Usage, fmt::format("making {}: {}", path.string(), error.message()),
                 error.value()};
  }
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(ExitCode::Usage, "opening " + path.string());
  return Folder(path, std::move(fd));
}

Result<Fd> Folder::create(const std::string& name) const {
  Fd inner;
  int at = fd_.get();
  std::size_t start = 0;
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', start)) {
    const std::string part = name.substr(start, end - start);
    if (::mkdirat(at, part.c_str(), 0755) != 0 && errno != EEXIST) {
      return errno_error(ExitCode::HostLacks,
                         fmt::format("making the folder of {} in {}", name, path_.string()));
    }
    Fd next(::openat(at, part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) {
      return errno_error(ExitCode::GuestFailed,
                         fmt::format("the folder of {} in {}", name, path_.string()));
    }
    inner = std::move(next);
    at = inner.get();
    start = end + 1;
  }
  Fd file(::openat(at, name.c_str() + start, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   0644));
  if (!file.valid()) {
    return errno_error(errno == EEXIST ? ExitCode::GuestFailed : ExitCode::HostLacks,
                       fmt::format("making {} in {}", name, path_.string()));
  }
  return file;
}

Status PortReader::take(std::string_view bytes) {
  Status status;
  while (status.ok()) {
    switch (expect_) {
      case Expect::Stream:
        if (!hold(bytes, sizeof(StreamHeader))) return {};
        status = on_stream(structure_of<StreamHeader>(std::exchange(held_, {})));
        break;
      case Expect::Frame:
        if (!hold(bytes, sizeof(FrameHeader))) return {};
        status = on_frame(structure_of<FrameHeader>(std::exchange(held_, {})));
        break;
      case Expect::Name:
        if (!hold(bytes, frame_.name_bytes)) return {};
        status = on_name();
        break;
      case Expect::Contents: {
        if (bytes.empty()) return {};
        const std::string_view part =
            bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_)));
        bytes.remove_prefix(part.size());
        status = on_contents(part);
        break;
      }
      case Expect::Nothing:
        if (bytes.empty()) return {};
        status = malformed(fmt::format("{} bytes after its last frame", bytes.size()));
        break;
    }
  }
  expect_ = Expect::Nothing;
  return status;
}

bool PortReader::hold(std::string_view& bytes, std::size_t size) {
  const std::size_t wanted = std::min(bytes.size(), size - held_.size());
  held_.append(bytes.substr(0, wanted));
  bytes.remove_prefix(wanted);
  return held_.size() == size;
}

Status PortReader::on_stream(const StreamHeader& header) {
  if (header.magic != kPortMagic) return malformed("the stream does not begin with its magic");
  if (header.version != kPortVersion) {
    return malformed(fmt::format("version {}, expected {}", header.version, kPortVersion));
  }
  expect_ = Expect::Frame;
  return {};
}

Status PortReader::on_frame(const FrameHeader& header) {
  frame_ = header;
  const auto kind = static_cast<FrameKind>(header.kind);
  switch (kind) {
    case FrameKind::File:
      if (header.name_bytes == 0 || header.name_bytes > kMostNameBytes) {
        return malformed(fmt::format("a file name of {} bytes, expected 1 to {}", header.name_bytes,
                                     kMostNameBytes));
      }
      if (files_.size() >= limits_.files) {
        return malformed(fmt::format("more than {} files", limits_.files));
      }
      expect_ = Expect::Name;
      return {};
    case FrameKind::Exited:
    case FrameKind::Killed:
    case FrameKind::Deadline:
    case FrameKind::NotStarted:
      if (header.name_bytes != 0) {
        return malformed(fmt::format("a last frame with a name of {} bytes", header.name_bytes));
      }
      if (header.value > 4095) {
        return malformed(
            fmt::format("a last frame of kind {} with the value {}, expected at most "
                        "4095",
                        header.kind, header.value));
      }
      end_ = ProgramEnd{kind, header.value};
      expect_ = Expect::Nothing;
      return {};
  }
  return malformed(fmt::format("a frame of kind {}, expected 1 to 5", header.kind));
}

Status PortReader::on_name() {
  name_ = std::exchange(held_, {});
  if (!valid_name(name_)) return malformed(fmt::format("the file name '{}'", shown(name_)));
  if (frame_.value > limits_.file_bytes) {
    return malformed(fmt::format("file {} of {} bytes, expected at most {}", name_, frame_.value,
                                 limits_.file_bytes));
  }
  if (frame_.value > limits_.total_bytes - total_) {
    return malformed(
        fmt::format("more than {} bytes in all, with file {}", limits_.total_bytes, name_));
  }
  auto file = folder_.create(name_);
  if (!file) return file.error();
  file_ = std::move(file).value();
  left_ = frame_.value;
  total_ += left_;
  expect_ = Expect::Contents;
  if (left_ == 0) end_file();
  return {};
}

Status PortReader::on_contents(std::string_view bytes) {
  left_ -= bytes.size();
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return errno_error(ExitCode::HostLacks,
                         fmt::format("writing {} in {}", name_, folder_.path().string()));
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  if (left_ == 0) end_file();
  return {};
}

void PortReader::end_file() {
  file_.reset();
  files_.push_back(std::exchange(name_, {}));
  expect_ = Expect::Frame;
}

std::string PortReader::missing() const {
  if (expect_ == Expect::Contents) return fmt::format("{} bytes of file {}", left_, name_);
  if (expect_ == Expect::Stream) return "all of its stream";
  return "its last frame";
}

}  // namespace sealvisor::engine::nested
