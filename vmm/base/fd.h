// Owners of what the kernel lends: file descriptors and mappings.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "vmm/base/result.h"

namespace sealvisor {

/// Owns one file descriptor; closes it once.
class Fd {
 public:
  Fd() = default;
  /// Takes ownership of `fd`; -1 means none.
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

/// Writes all of `bytes`. False: errno says why.
[[nodiscard]] bool write_all(const Fd& fd, std::span<const std::byte> bytes);

/// Fills `bytes` as far as the file goes; how far that was. nullopt: errno says why.
[[nodiscard]] std::optional<std::size_t> read_all(const Fd& fd, std::span<std::byte> bytes);

/// Opens a plain file to read it: no link, no device, no pipe that never ends. Errors (`code`)
/// begin with `what`.
[[nodiscard]] Result<Fd> open_plain(const std::filesystem::path& file, ExitCode code,
                                    const std::string& what);

/// Owns one shared mapping of a file descriptor.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// Maps `size` bytes of `fd` from offset 0, MAP_SHARED. `protection` is PROT_*. `what` names the
  /// thing in the error (exit code HostLacks).
  [[nodiscard]] static Result<Mapping> map(const Fd& fd, std::size_t size, int protection,
                                           const std::string& what);

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data(), size_}; }

 private:
  void reset() {
    if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), size_);
  }
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Closes all descriptors of the process but standard input, output and error: what whoever started
/// it left open is not within reach of a guest that breaks out. Precondition: called at the start,
/// while nothing of the process's own is open. Error: HostLacks.
[[nodiscard]] Status close_inherited();

/// An anonymous memory file of `size` bytes, close-on-exec unless `inherit`.
[[nodiscard]] Result<Fd> memory_file(const std::string& name, std::size_t size, bool inherit);

}  // namespace sealvisor
