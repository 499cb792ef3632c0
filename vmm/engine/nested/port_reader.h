// The receiving end of an emulated host's port: a stream of bytes in, files out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/engine/nested/port_frame.h"

namespace sealvisor::engine::nested {

/// How the program in the host ended.
struct ProgramEnd {
  FrameKind kind = FrameKind::Exited;  ///< Never File.
  std::uint64_t value = 0;             ///< See FrameKind.
};

/// "exited with status 3", "was killed by signal 9", ...
[[nodiscard]] std::string text_of(const ProgramEnd& end);

/// What a stream may bring.
struct PortLimits {
  std::uint64_t file_bytes = kMostFileBytes;
  std::uint64_t total_bytes = kMostTotalBytes;
  std::uint32_t files = kMostFiles;
};

/// A folder that files are only ever added to: none is followed out of it or overwritten.
class Folder {
 public:
  /// Opens `path`, which is made if it is not there. Errors: Usage.
  [[nodiscard]] static Result<Folder> open(const std::filesystem::path& path);
  /// Makes `name` (a valid_name) and the folders that it is in. Errors: it is there (GuestFailed),
  /// or the file system refuses (HostLacks).
  [[nodiscard]] Result<Fd> create(const std::string& name) const;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  Folder(std::filesystem::path path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  Fd fd_;
};

/// Decodes one stream, in pieces of any size. What the host sends is not trusted: a bad number or
/// name, or more than the limits allow, is an error (GuestFailed) that names it, after which the
/// reader takes no more.
class PortReader {
 public:
  PortReader(Folder folder, PortLimits limits) : folder_(std::move(folder)), limits_(limits) {}

  /// Takes the next bytes. Errors: see above; and what writing to the folder gives.
  [[nodiscard]] Status take(std::string_view bytes);
  /// Set once the last frame has come.
  [[nodiscard]] const std::optional<ProgramEnd>& end() const { return end_; }
  /// Names of the files that are complete, in the order in which they came.
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
  /// What a stream that stops here lacks, for messages: "half of file x", "its last frame".
  [[nodiscard]] std::string missing() const;

 private:
  enum class Expect : std::uint8_t { Stream, Frame, Name, Contents, Nothing };
  [[nodiscard]] Status on_stream(const StreamHeader& header);
  [[nodiscard]] Status on_frame(const FrameHeader& header);
  [[nodiscard]] Status on_name();
  [[nodiscard]] Status on_contents(std::string_view bytes);
  void end_file();
  /// Moves bytes into held_ until it has `size`; whether it has.
  [[nodiscard]] bool hold(std::string_view& bytes, std::size_t size);

  Folder folder_;
  PortLimits limits_;
  Expect expect_ = Expect::Stream;
  std::string held_;  ///< A header or name that is not complete.
  FrameHeader frame_;
  std::string name_;
  Fd file_;
  std::uint64_t left_ = 0;  ///< Of the contents of file_.
  std::uint64_t total_ = 0;
  std::vector<std::string> files_;
  std::optional<ProgramEnd> end_;
};

}  // namespace sealvisor::engine::nested
