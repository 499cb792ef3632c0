#include "vmm/image/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace sealvisor::image {

namespace {

struct ArchiveFree {
  void operator()(struct archive* writer) const { archive_write_free(writer); }
};
struct EntryFree {
  void operator()(struct archive_entry* entry) const { archive_entry_free(entry); }
};
using Writer = std::unique_ptr<struct archive, ArchiveFree>;
using Entry = std::unique_ptr<struct archive_entry, EntryFree>;

/// Read and written at once.
constexpr int kBlock = 65536;

/// 2026-01-01, the date at which every guest starts.
constexpr std::time_t kTime = 1767225600;

Error refuse(const InitramfsItem& item, const std::string& why) {
  return Error{ExitCode::Usage, fmt::format("initramfs entry '{}': {}", item.path, why)};
}

Error archive_error(struct archive* writer, const std::string& what) {
  const char* text = archive_error_string(writer);
  return Error{ExitCode::HostLacks,
               fmt::format("initramfs: {}: {}", what, text == nullptr ? "unknown error" : text),
               archive_errno(writer)};
}

/// Checks the path of `item` and notes it. `folders` holds the directories so far.
Status check_path(const InitramfsItem& item, std::set<std::string>& seen,
                  std::set<std::string>& folders) {
  const std::filesystem::path path(item.path);
  if (item.path.empty() || path.is_absolute()) {
    return refuse(item, "expected a relative path");
  }
  if (path.lexically_normal().string() != item.path || item.path == "." ||
      item.path.starts_with("..") || item.path.ends_with("/")) {
    return refuse(item, "expected a path without '.', '..' or doubled slashes");
  }
  const std::string parent = path.parent_path().string();
  if (!parent.empty() && !folders.contains(parent)) {
    return refuse(item, fmt::format("its folder '{}' was not listed before it", parent));
  }
  if (!seen.insert(item.path).second) return refuse(item, "is there twice");
  if (item.kind == InitramfsItem::Kind::Directory) folders.insert(item.path);
  return {};
}

/// A file of the host that becomes an entry.
struct Source {
  Fd fd;
  std::int64_t bytes = 0;
  std::string what;  ///< For messages.
};

Result<Source> open_source(const InitramfsItem& item) {
  Source source;
  source.what = fmt::format("initramfs entry '{}' from {}", item.path, item.source.string());
  source.fd = Fd(::open(item.source.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!source.fd.valid() || ::fstat(source.fd.get(), &status) != 0) {
    return errno_error(ExitCode::Usage, source.what);
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{ExitCode::Usage, source.what + ": is not a regular file"};
  }
  source.bytes = status.st_size;
  return source;
}

Status write_bytes(struct archive* writer, const InitramfsItem& item, std::string_view bytes) {
  if (bytes.empty() || archive_write_data(writer, bytes.data(), bytes.size()) ==
                           static_cast<la_ssize_t>(bytes.size())) {
    return {};
  }
  return archive_error(writer, item.path);
}

/// Piece by piece: to hold a whole file takes page faults, and memory that is never given back.
Status write_source(struct archive* writer, const InitramfsItem& item, const Source& source) {
  std::vector<char> block(kBlock);
  for (std::int64_t left = source.bytes; left > 0;) {
    const auto wanted = std::min<std::size_t>(block.size(), static_cast<std::size_t>(left));
    const ssize_t count = ::read(source.fd.get(), block.data(), wanted);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(ExitCode::Usage, source.what);
    if (count == 0) return Error{ExitCode::Usage, source.what + ": became shorter"};
    const std::string_view bytes(block.data(), static_cast<std::size_t>(count));
    if (auto written = write_bytes(writer, item, bytes); !written) return written;
    left -= count;
  }
  return {};
}

unsigned file_type(InitramfsItem::Kind kind) {
  switch (kind) {
    case InitramfsItem::Kind::Directory:
      return AE_IFDIR;
    case InitramfsItem::Kind::CharacterDevice:
      return AE_IFCHR;
    case InitramfsItem::Kind::Symlink:
      return AE_IFLNK;
    case InitramfsItem::Kind::Text:
    case InitramfsItem::Kind::File:
      break;
  }
  return AE_IFREG;
}

Status write_item(struct archive* writer, const InitramfsItem& item, std::int64_t inode) {
  std::optional<Source> source;
  if (item.kind == InitramfsItem::Kind::File) {
    auto opened = open_source(item);
    if (!opened) return opened.error();
    source.emplace(std::move(opened).value());
  }
  const Entry entry(archive_entry_new());
  if (entry == nullptr) return refuse(item, "out of memory");
  archive_entry_set_pathname(entry.get(), item.path.c_str());
  archive_entry_set_filetype(entry.get(), file_type(item.kind));
  archive_entry_set_perm(entry.get(), item.permissions & 07777U);
  archive_entry_set_ino64(entry.get(), inode);
  archive_entry_set_nlink(entry.get(), item.kind == InitramfsItem::Kind::Directory ? 2 : 1);
  archive_entry_set_mtime(entry.get(), kTime, 0);
  archive_entry_set_uid(entry.get(), 0);
  archive_entry_set_gid(entry.get(), 0);
  if (item.kind == InitramfsItem::Kind::CharacterDevice) {
    archive_entry_set_rdevmajor(entry.get(), item.major);
    archive_entry_set_rdevminor(entry.get(), item.minor);
  }
  const bool link = item.kind == InitramfsItem::Kind::Symlink;
  if (link) archive_entry_set_symlink(entry.get(), item.contents.c_str());
  archive_entry_set_size(entry.get(), source ? source->bytes
                                      : link ? 0
                                             : static_cast<std::int64_t>(item.contents.size()));
  if (archive_write_header(writer, entry.get()) != ARCHIVE_OK) {
    return archive_error(writer, item.path);
  }
  if (link) return {};  // Where it leads is part of the header.
  return source ? write_source(writer, item, *source) : write_bytes(writer, item, item.contents);
}

}  // namespace

InitramfsItem InitramfsItem::directory(std::string path) {
  InitramfsItem item;
  item.kind = Kind::Directory;
  item.path = std::move(path);
  item.permissions = 0755;
  return item;
}

InitramfsItem InitramfsItem::character_device(std::string path, unsigned major, unsigned minor) {
  InitramfsItem item;
  item.kind = Kind::CharacterDevice;
  item.path = std::move(path);
  item.permissions = 0600;
  item.major = major;
  item.minor = minor;
  return item;
}

InitramfsItem InitramfsItem::text(std::string path, std::string contents, unsigned permissions) {
  InitramfsItem item;
  item.kind = Kind::Text;
  item.path = std::move(path);
  item.contents = std::move(contents);
  item.permissions = permissions;
  return item;
}

InitramfsItem InitramfsItem::file_from(std::string path, std::filesystem::path source,
                                       unsigned permissions) {
  InitramfsItem item;
  item.kind = Kind::File;
  item.path = std::move(path);
  item.source = std::move(source);
  item.permissions = permissions;
  return item;
}

InitramfsItem InitramfsItem::symlink(std::string path, std::string target) {
  InitramfsItem item;
  item.kind = Kind::Symlink;
  item.path = std::move(path);
  item.contents = std::move(target);
  item.permissions = 0777;
  return item;
}

Status add_tree(std::vector<InitramfsItem>& items, const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> paths;
  for (auto at = fs::recursive_directory_iterator(root, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    paths.push_back(at->path());
  }
  if (error) {
    return Error{ExitCode::HostLacks, fmt::format("reading {}: {}", root.string(), error.message()),
                 error.value()};
  }
  // A folder comes before what is in it, and the same files make the same archive.
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    const std::string name = path.lexically_relative(root).string();
    items.push_back(fs::is_directory(path, error) ? InitramfsItem::directory(name)
                                                  : InitramfsItem::file_from(name, path, 0755));
  }
  return {};
}

Result<Initramfs> Initramfs::build(std::span<const InitramfsItem> items) {
  auto fd = memory_file("sealvisor-initramfs", 0, false);
  if (!fd) return fd.error();
  const Writer writer(archive_write_new());
  if (writer == nullptr) return Error{ExitCode::HostLacks, "initramfs: out of memory"};
  if (archive_write_set_format_cpio_newc(writer.get()) != ARCHIVE_OK ||
      archive_write_set_bytes_per_block(writer.get(), kBlock) != ARCHIVE_OK ||
      archive_write_open_fd(writer.get(), fd.value().get()) != ARCHIVE_OK) {
    return archive_error(writer.get(), "starting the archive");
  }
  std::set<std::string> seen;
  std::set<std::string> folders;
  std::int64_t inode = 0;
  for (const InitramfsItem& item : items) {
    if (auto checked = check_path(item, seen, folders); !checked) return checked.error();
    if (auto written = write_item(writer.get(), item, ++inode); !written) return written.error();
  }
  if (archive_write_close(writer.get()) != ARCHIVE_OK) {
    return archive_error(writer.get(), "ending the archive");
  }
  return Initramfs(std::move(fd).value());
}

std::filesystem::path Initramfs::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
}

}  // namespace sealvisor::image
