#include "vmm/image/kernel_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "vmm/image/kernel_headers.h"

namespace sealvisor::image {

namespace {

/// zboot around gzip around an Image is two; nobody has need of more than one on top of that.
constexpr int kMostLayers = 3;

/// The bytes of a part of a file.
ByteSource source_of(const Candidate& file, const Packed& packed) {
  return [&file, at = packed.offset,
          left = packed.bytes](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const std::size_t wanted = std::min<std::uint64_t>(into.size(), left);
    ssize_t got = 0;
    do {
      got = ::pread(file.fd.get(), into.data(), wanted, static_cast<off_t>(at));
    } while (got < 0 && errno == EINTR);
    if (got < 0) return errno_error(ExitCode::Usage, "reading kernel " + file.name);
    at += static_cast<std::uint64_t>(got);
    left -= static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  };
}

Result<Fd> unpack(const Candidate& file, const Packed& packed) {
  auto fd = memory_file("sealvisor-kernel", 0, false);
  if (!fd) return fd.error();
  // What is more than the image says of itself is not unpacked to be refused then.
  const std::uint64_t most = std::min<std::uint64_t>(
      kMostUnpackedBytes, packed.unpacked_bytes.value_or(kMostUnpackedBytes));
  const auto count =
      decompress(packed.compression, source_of(file, packed), most,
                 [&](std::span<const std::byte> bytes) -> Status {
                   if (write_all(fd.value(), bytes)) return {};
                   return errno_error(ExitCode::HostLacks, "unpacking a kernel into memory");
                 });
  if (!count) {
    if (count.error().sys_errno != 0) return count.error();
    return Error{count.error().code,
                 fmt::format("kernel {}: its {} data {}", file.name, name_of(packed.compression),
                             count.error().message)};
  }
  if (packed.unpacked_bytes && *packed.unpacked_bytes != count.value()) {
    return file.refuse(fmt::format("its {} data unpacks to {} bytes, expected {}",
                                   name_of(packed.compression), count.value(),
                                   *packed.unpacked_bytes));
  }
  return fd;
}

}  // namespace

/// Goes through the layers of one image.
class KernelOpener {
 public:
  explicit KernelOpener(const std::filesystem::path& path) { result_.file_ = path; }

  [[nodiscard]] Result<KernelFile> run(BzImage bzimage) {
    // Not blocking: a FIFO is refused rather than waited for.
    Fd fd(::open(result_.file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) return errno_error(ExitCode::Usage, "kernel " + result_.file_.string());
    for (int layer = 0;; ++layer) {
      auto file = Candidate::read(name(), fd);
      if (!file) return file.error();
      auto seen = look_at(file.value());
      if (!seen) return seen.error();
      if (const auto* image = std::get_if<KernelImage>(&seen.value())) {
        result_.image_ = *image;
        if (bzimage == BzImage::Inner && image->format == KernelFormat::BzImage) {
          if (auto tried = try_inner(file.value()); !tried) return tried.error();
        }
        break;
      }
      if (layer == kMostLayers) {
        return file.value().refuse(fmt::format("is packed in more than {} layers", kMostLayers));
      }
      const auto& packed = std::get<Packed>(seen.value());
      auto inner = unpack(file.value(), packed);
      if (!inner) return inner.error();
      fd = std::move(inner).value();
      note(packed.what);
      unpacked_ = true;
    }
    if (unpacked_ && !result_.unpacked_) result_.unpacked_ = std::move(fd);
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::string name() const {
    const std::string path = result_.file_.string();
    return result_.packing_.empty() ? path
                                    : fmt::format("{} (unpacked: {})", path, result_.packing_);
  }
  void note(const std::string& what) {
    result_.packing_ += (result_.packing_.empty() ? "" : ", ") + what;
  }
  /// Takes the vmlinux inside if it can be booted; a bzImage that has none stays what it is.
  [[nodiscard]] Status try_inner(const Candidate& file) {
    auto payload = payload_of(file);
    if (!payload) return payload.error();
    if (!payload.value()) return {};
    auto inner = unpack(file, *payload.value());
    if (!inner) return inner.error();
    const auto vmlinux = Candidate::read(name(), inner.value());
    if (!vmlinux) return vmlinux.error();
    const auto seen = look_at(vmlinux.value());
    const KernelImage* image = seen ? std::get_if<KernelImage>(&seen.value()) : nullptr;
    if (image == nullptr || image->format != KernelFormat::PvhElf) return {};
    result_.image_ = *image;
    result_.unpacked_ = std::move(inner).value();
    note(payload.value()->what);
    return {};
  }

  KernelFile result_;
  bool unpacked_ = false;
};

const char* name_of(KernelFormat format) {
  switch (format) {
    case KernelFormat::PvhElf:
      return "PVH vmlinux";
    case KernelFormat::BzImage:
      return "bzImage";
    case KernelFormat::Arm64Image:
      return "arm64 Image";
  }
  return "?";
}

std::filesystem::path KernelFile::path() const {
  if (!unpacked_) return file_;
  return fmt::format("/proc/{}/fd/{}", ::getpid(), unpacked_->get());
}

Result<KernelFile> open_kernel(const std::filesystem::path& path,
                               std::optional<arch::Arch> expected, BzImage bzimage) {
  auto file = KernelOpener(path).run(bzimage);
  if (!file || !expected || file.value().image().arch == *expected) return file;
  return Error{ExitCode::Usage,
               fmt::format("kernel {}: is a kernel for {} ({}), expected one for {}", path.string(),
                           arch::name_of(file.value().image().arch),
                           name_of(file.value().image().format), arch::name_of(*expected))};
}

Result<KernelImage> probe_kernel(const std::filesystem::path& path) {
  const auto file = open_kernel(path);
  if (!file) return file.error();
  return file.value().image();
}

Result<KernelImage> probe_kernel(const std::filesystem::path& path, arch::Arch expected) {
  const auto file = open_kernel(path, expected);
  if (!file) return file.error();
  return file.value().image();
}

}  // namespace sealvisor::image
