#include "vmm/app/payload.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/base/fd.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

using image::InitramfsItem;

namespace {

/// Most files, folders and links of one payload.
constexpr std::size_t kMostItems = 20'000;
/// What a guest needs beside its payload: the kernel, the agent, what they run in.
constexpr std::uint64_t kGuestBytes = 96ULL << 20;
/// Program headers that are looked at, and the longest name of a loader.
constexpr std::size_t kMostHeaders = 64;
constexpr std::size_t kLongestLoader = 256;

/// Names in a payload may be anybody's: none of them writes to a terminal.
Error refuse(const fs::path& path, const std::string& why, int number = 0) {
  return Error{ExitCode::Usage,
               report::printable(fmt::format("payload {}: {}", path.string(), why)), number};
}

Error refuse(const fs::path& path, const std::error_code& error) {
  return refuse(path, error.message(), error.value());
}

/// The guest's list of programs has a line for each.
Result<std::string> in_one_line(const fs::path& path, std::string program) {
  if (program.find('\n') == std::string::npos) return program;
  return refuse(path, fmt::format("'{}' can't be run: its name holds the end of a line", program));
}

/// Fills `out` from `offset` on; false: there are fewer bytes.
bool read_at(const Fd& file, std::uint64_t offset, std::span<char> out) {
  while (!out.empty()) {
    const ssize_t got = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

template <typename T>
bool read_at(const Fd& file, std::uint64_t offset, T& value) {
  return read_at(file, offset, std::span(reinterpret_cast<char*>(&value), sizeof value));
}

/// What the program headers say.
struct Segments {
  bool loads = false;
  std::string interpreter;
};

template <typename Ehdr, typename Phdr>
std::optional<Segments> read_segments(const Fd& file, bool& program) {
  Ehdr header{};
  if (!read_at(file, 0, header)) return std::nullopt;
  program = header.e_type == ET_EXEC || header.e_type == ET_DYN;
  if (!program) return Segments{};
  Segments segments;
  if (header.e_phentsize != sizeof(Phdr) || header.e_phnum > kMostHeaders) return std::nullopt;
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Phdr segment{};
    if (!read_at(file, header.e_phoff + i * sizeof segment, segment)) return std::nullopt;
    segments.loads = segments.loads || segment.p_type == PT_LOAD;
    if (segment.p_type != PT_INTERP) continue;
    if (segment.p_filesz == 0 || segment.p_filesz > kLongestLoader) return std::nullopt;
    std::string name(segment.p_filesz, '\0');
    if (!read_at(file, segment.p_offset, std::span(name))) return std::nullopt;
    name.resize(std::min(name.find('\0'), name.size()));
    segments.interpreter = std::move(name);
  }
  return segments;
}

/// A shared library that is no program of the user's. A C library has an interpreter too: run, it
/// says its version.
bool is_library(std::string_view name, const Executable& executable) {
  return name.ends_with(".so") || name.find(".so.") != std::string_view::npos ||
         (executable.interpreter.empty() && name.starts_with("ld-"));
}

bool is_executable(const struct stat& status) { return (status.st_mode & 0111) != 0; }

class Gatherer {
 public:
  Gatherer(arch::Arch arch, std::uint64_t most_bytes) : arch_(arch), most_bytes_(most_bytes) {}

  [[nodiscard]] Result<Payload> file(const fs::path& path) {
    const auto executable = read_executable(path);
    if (!executable) return executable.error();
    if (!executable.value()) {
      return refuse(path, "is no ELF program; a script needs a folder with its interpreter");
    }
    if (executable.value()->arch != arch_) {
      return refuse(path,
                    fmt::format("is a program for {}, expected one for {}",
                                arch::name_of(executable.value()->arch), arch::name_of(arch_)));
    }
    if (!executable.value()->interpreter.empty()) {
      return refuse(path,
                    fmt::format("is linked dynamically and needs {} and its libraries: give a "
                                "folder that has them, or link it with -static",
                                executable.value()->interpreter));
    }
    add(InitramfsItem::directory(kRoot));
    if (auto added = add_file(path, path.filename().string()); !added) return added.error();
    return std::move(payload_);
  }

  [[nodiscard]] Result<Payload> folder(const fs::path& path) {
    add(InitramfsItem::directory(kRoot));
    if (auto added = add_folder(path, ""); !added) return added.error();
    for (const auto& [loader, program] : loaders_) {
      if (auto added = place_loader(loader, program); !added) return added.error();
    }
    // Folders come before what is in them; what was put there last has come last.
    return std::move(payload_);
  }

 private:
  static constexpr const char* kRoot = "payload";

  void add(InitramfsItem item) {
    seen_.insert(item.path);
    payload_.items.push_back(std::move(item));
  }

  /// The agent mounts file systems of the kernel's on these, and would follow a link.
  [[nodiscard]] static Status check_place(const fs::path& path, const std::string& inside) {
    if (inside != "proc" && inside != "dev" && inside != "tmp") return {};
    return refuse(path,
                  fmt::format("is where programs have the guest's own /{}: expected a folder, "
                              "or nothing",
                              inside));
  }

  [[nodiscard]] Status add_file(const fs::path& path, const std::string& inside) {
    if (auto good = check_place(path, inside); !good) return good;
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      return refuse(path, std::error_code(errno, std::generic_category()));
    }
    bytes_ += static_cast<std::uint64_t>(status.st_size);
    if (bytes_ > most_bytes_) {
      return refuse(path, fmt::format("with it there are {} bytes, expected at most {}; --memory "
                                      "gives a guest more",
                                      bytes_, most_bytes_));
    }
    const bool program = is_executable(status);
    add(InitramfsItem::file_from(fmt::format("{}/{}", kRoot, inside), path,
                                 (status.st_mode & 0777U) | 0400U));
    if (!program) return {};
    const auto executable = read_executable(path);
    if (!executable) return executable.error();
    const auto& found = executable.value();
    if (!found || found->arch != arch_ || is_library(path.filename().string(), *found)) return {};
    payload_.programs.push_back("/" + inside);
    if (!found->interpreter.empty()) loaders_.insert({found->interpreter, path});
    return {};
  }

  [[nodiscard]] Status add_folder(const fs::path& path, const std::string& inside) {
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      entries.push_back(*at);
    }
    if (error) return refuse(path, error);
    std::sort(entries.begin(), entries.end());
    for (const fs::directory_entry& entry : entries) {
      if (payload_.items.size() >= kMostItems) {
        return refuse(path, fmt::format("has more than {} files", kMostItems));
      }
      const std::string name = entry.path().filename().string();
      const std::string place = inside.empty() ? name : inside + "/" + name;
      if (auto added = add_entry(entry, place); !added) return added;
    }
    return {};
  }

  [[nodiscard]] Status add_entry(const fs::directory_entry& entry, const std::string& place) {
    std::error_code error;
    const fs::file_status status = entry.symlink_status(error);
    if (error) return refuse(entry.path(), error);
    const std::string path = fmt::format("{}/{}", kRoot, place);
    switch (status.type()) {
      case fs::file_type::directory:
        add(InitramfsItem::directory(path));
        return add_folder(entry.path(), place);
      case fs::file_type::regular:
        return add_file(entry.path(), place);
      case fs::file_type::symlink: {
        const fs::path target = fs::read_symlink(entry.path(), error);
        if (error) return refuse(entry.path(), error);
        if (auto good = check_place(entry.path(), place); !good) return good;
        links_[place] = target.string();
        add(InitramfsItem::symlink(path, target.string()));
        return {};
      }
      default:
        return refuse(entry.path(), "is neither a file nor a folder nor a symbolic link");
    }
  }

  /// What `place` is once its links are followed as a guest follows them, to whom the payload's
  /// root is "/"; nullopt: nothing that the payload has.
  [[nodiscard]] std::optional<std::string> resolve(const fs::path& place) const {
    constexpr int kMostLinks = 40;  // Linux, MAXSYMLINKS
    std::vector<std::string> left;  // Parts that are to be gone through, the next one last.
    const auto go = [&left](const fs::path& path) {
      const std::size_t before = left.size();
      for (const fs::path& part : path) left.push_back(part.string());
      std::reverse(left.begin() + static_cast<std::ptrdiff_t>(before), left.end());
    };
    go(place);
    fs::path at;
    for (int links = 0; !left.empty();) {
      const std::string part = std::move(left.back());
      left.pop_back();
      if (part.empty() || part == "." || part == "/") continue;
      if (part == "..") {
        at = at.parent_path();
        continue;
      }
      const fs::path next = at / part;
      if (const auto link = links_.find(next.string()); link != links_.end()) {
        if (++links > kMostLinks) return std::nullopt;
        if (link->second.starts_with('/')) at.clear();
        go(link->second);
        continue;
      }
      if (!seen_.contains(fmt::format("{}/{}", kRoot, next.string()))) return std::nullopt;
      at = next;
    }
    return at.string();
  }

  /// The loader of a flat folder, where programs look for it.
  [[nodiscard]] Status place_loader(const std::string& loader, const fs::path& program) {
    const fs::path inside = fs::path(loader).lexically_normal().relative_path();
    if (inside.empty() || *inside.begin() == "..") {
      return refuse(program, fmt::format("names '{}' as its loader", loader));
    }
    if (resolve(inside)) return {};
    const std::string name = inside.filename().string();
    if (!resolve(name)) {
      return refuse(program, fmt::format("needs its loader {}, which the folder has neither there "
                                         "nor at its top",
                                         loader));
    }
    payload_.flat = true;
    const auto blocked = [&](const fs::path& link) {
      return refuse(program, fmt::format("needs its loader {}, and the link {} leads to nothing in "
                                         "the folder",
                                         loader, link.string()));
    };
    fs::path folder;
    for (const fs::path& part : inside.parent_path()) {
      const fs::path next = folder / part;
      if (auto there = resolve(next)) {
        folder = *there;
        continue;
      }
      if (links_.contains(next.string())) return blocked(next);
      folder = next;
      add(InitramfsItem::directory(fmt::format("{}/{}", kRoot, folder.string())));
    }
    const fs::path place = folder / name;
    if (links_.contains(place.string())) return blocked(place);
    add(InitramfsItem::symlink(fmt::format("{}/{}", kRoot, place.string()), "/" + name));
    links_[place.string()] = "/" + name;
    return {};
  }

  arch::Arch arch_;
  std::uint64_t most_bytes_;
  std::uint64_t bytes_ = 0;
  Payload payload_;
  std::set<std::string> seen_;
  std::map<std::string, std::string> links_;  // Seen from the payload's root: where they lead.
  std::set<std::pair<std::string, fs::path>> loaders_;  // and a program that names it
};

/// The folder for `arch` inside `path` if it has one, else `path`.
fs::path folder_for(const fs::path& path, arch::Arch arch) {
  std::error_code error;
  const fs::path own = path / arch::name_of(arch);
  return fs::is_directory(own, error) ? own : path;
}

}  // namespace

Result<std::optional<Executable>> read_executable(const fs::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return refuse(path, std::error_code(errno, std::generic_category()));
  std::array<char, EI_NIDENT> ident{};
  if (!read_at(file, 0, std::span(ident)) || std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0) {
    return std::optional<Executable>();
  }
  std::uint16_t machine = 0;
  if (!read_at(file, offsetof(Elf64_Ehdr, e_machine), machine)) {
    return refuse(path, "is an ELF file that is truncated");
  }
  Executable executable;
  executable.bits_32 = ident[EI_CLASS] == ELFCLASS32;
  const bool little = ident[EI_DATA] == ELFDATA2LSB;
  if (little && machine == (executable.bits_32 ? EM_386 : EM_X86_64)) {
    executable.arch = arch::Arch::X86_64;
  } else if (little && machine == (executable.bits_32 ? EM_ARM : EM_AARCH64)) {
    executable.arch = arch::Arch::Arm64;
  } else {
    return refuse(path, fmt::format("is an ELF file for machine {} ({} bits), expected x86 or Arm",
                                    machine, executable.bits_32 ? 32 : 64));
  }
  bool program = false;
  auto segments = executable.bits_32 ? read_segments<Elf32_Ehdr, Elf32_Phdr>(file, program)
                                     : read_segments<Elf64_Ehdr, Elf64_Phdr>(file, program);
  if (!segments) return refuse(path, "is an ELF file that is truncated or damaged");
  if (!program || !segments->loads) return std::optional<Executable>();
  executable.interpreter = std::move(segments->interpreter);
  return std::optional(std::move(executable));
}

Result<Payload> gather_payload(const fs::path& path, arch::Arch arch, std::uint64_t most_bytes) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found || error) {
    return refuse(path, error ? error : std::make_error_code(std::errc::no_such_file_or_directory));
  }
  Gatherer gatherer(arch, most_bytes);
  if (status.type() == fs::file_type::directory) return gatherer.folder(folder_for(path, arch));
  if (status.type() != fs::file_type::regular) {
    return refuse(path, "is neither a file nor a folder");
  }
  return gatherer.file(path);
}

Result<std::vector<arch::Arch>> payload_archs(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return refuse(path, error ? error : std::make_error_code(std::errc::no_such_file_or_directory));
  }
  if (!fs::is_directory(path, error)) {
    const auto executable = read_executable(path);
    if (!executable) return executable.error();
    if (!executable.value()) {
      return refuse(path, "is no ELF program; a script needs a folder with its interpreter");
    }
    return std::vector<arch::Arch>{executable.value()->arch};
  }
  std::vector<arch::Arch> archs;
  for (const arch::Arch arch : arch::kAllArchs) {
    if (fs::is_directory(path / arch::name_of(arch), error)) archs.push_back(arch);
  }
  if (!archs.empty()) return archs;
  for (const arch::Arch arch : arch::kAllArchs) {
    auto payload = Gatherer(arch, ~std::uint64_t{0}).folder(path);
    if (!payload) return payload.error();
    if (!payload.value().programs.empty()) archs.push_back(arch);
  }
  if (archs.empty()) {
    return refuse(path, "has no program: no executable ELF file for x86 or Arm");
  }
  return archs;
}

Result<std::string> choose_program(const Payload& payload, const std::string& wanted,
                                   const fs::path& path) {
  const std::string list = payload.programs.empty()
                               ? std::string("it has none")
                               : fmt::format("it has {}", fmt::join(payload.programs, ", "));
  if (wanted.empty()) {
    if (payload.programs.size() == 1) return in_one_line(path, payload.programs.front());
    return refuse(path, fmt::format("which program is to be run? --run names it; {}", list));
  }
  const std::string place = wanted.starts_with("/") ? wanted : "/" + wanted;
  const std::string inside = std::string(kPayloadRoot).substr(1) + place;
  // A script is no program of the list, and can be run all the same.
  const bool there =
      std::any_of(payload.items.begin(), payload.items.end(), [&](const InitramfsItem& item) {
        return item.path == inside && item.kind != InitramfsItem::Kind::Directory;
      });
  if (there) return in_one_line(path, place);
  return refuse(path, fmt::format("has no file '{}'; programs: {}", wanted, list));
}

std::uint64_t payload_room(std::uint64_t memory_bytes) {
  return memory_bytes <= kGuestBytes ? 0 : (memory_bytes - kGuestBytes) / 2;
}

}  // namespace sealvisor::app
