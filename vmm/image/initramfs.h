// The guest's first file system, as a cpio archive in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::image {

/// One entry. Paths are relative to the root, without a leading slash.
struct InitramfsItem {
  enum class Kind : std::uint8_t { Directory, CharacterDevice, Text, File, Symlink };

  [[nodiscard]] static InitramfsItem directory(std::string path);
  /// The kernel opens dev/console (5:1) for init's standard streams before it runs init.
  [[nodiscard]] static InitramfsItem character_device(std::string path, unsigned major,
                                                      unsigned minor);
  [[nodiscard]] static InitramfsItem text(std::string path, std::string contents,
                                          unsigned permissions);
  /// A regular file with the bytes of the host's file `source`.
  [[nodiscard]] static InitramfsItem file_from(std::string path, std::filesystem::path source,
                                               unsigned permissions);

  /// A symbolic link; `target` is taken as it is.
  [[nodiscard]] static InitramfsItem symlink(std::string path, std::string target);

  Kind kind = Kind::Text;
  std::string path;
  unsigned permissions = 0;  ///< The lower 12 bits of the mode.
  unsigned major = 0;
  unsigned minor = 0;
  std::string contents;  ///< Text; Symlink: where it leads.
  std::filesystem::path source;
};

/// Adds what lies under the host's folder `root`: folders and files, all of which may be run. The
/// same files give the same items. Errors (HostLacks): it can't be read.
[[nodiscard]] Status add_tree(std::vector<InitramfsItem>& items, const std::filesystem::path& root);

/// An uncompressed newc archive (Documentation/driver-api/early-userspace/buffer-format.rst) in a
/// memory file. The same items give the same bytes: times, owners and inode numbers are fixed.
class Initramfs {
 public:
  /// Errors (exit code Usage unless the host fails): a path that is empty, absolute, has `.` or
  /// `..`, comes twice, or whose folder was not listed before it; a source that can't be read.
  [[nodiscard]] static Result<Initramfs> build(std::span<const InitramfsItem> items);

  /// A path by which this process and its children can open the archive while this object lives.
  [[nodiscard]] std::filesystem::path path() const;
  [[nodiscard]] const Fd& fd() const { return fd_; }

 private:
  explicit Initramfs(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace sealvisor::image
