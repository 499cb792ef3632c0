// Any bytes as a kernel image: it is refused, or it has a format and lies where its headers say.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include <elf.h>
#include <fmt/format.h>

#include "tests/fuzz/arch/input.h"
#include "vmm/base/fd.h"
#include "vmm/image/kernel_image.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

template <typename Part>
void put(std::string& bytes, std::size_t at, const Part& part) {
  if (at < bytes.size())
    std::memcpy(bytes.data() + at, &part, std::min(sizeof part, bytes.size() - at));
}
void put_text(std::string& bytes, std::size_t at, std::string_view text) {
  if (at < bytes.size()) text.copy(bytes.data() + at, bytes.size() - at);
}

/// Plausible headers around what the input chooses.
std::string shaped(fuzz::Input& input) {
  const unsigned kind = input.take<std::uint8_t>() % 6;
  const std::size_t size = input.take<std::uint16_t>() % 0x2000;
  const auto near = [&] {
    return static_cast<std::uint32_t>(input.take<std::uint16_t>() % (size + 64));
  };
  const std::uint32_t one = near();
  const std::uint32_t two = near();
  const auto three = input.take<std::uint16_t>();
  const auto rest = input.rest();
  std::string bytes(rest.begin(), rest.end());
  bytes.resize(size);
  if (kind == 0) {  // EFI zboot
    put_text(bytes, 0, {"MZ\0\0zimg", 8});
    put(bytes, 8, one);
    put(bytes, 12, two);
  } else if (kind == 1) {  // bzImage
    put_text(bytes, 0x202, "HdrS");
    put(bytes, 0x206, std::uint16_t{0x20f});
    put(bytes, 0x211, std::uint8_t{1});
    put(bytes, 0x236, std::uint16_t{1});
    put(bytes, 0x1f4, three % 64U);
    put(bytes, 0x248, one);
    put(bytes, 0x24c, two);
  } else if (kind == 2) {  // arm64 Image, with an EFI stub's headers
    put_text(bytes, 0, "MZ");
    put_text(bytes, 0x38, "ARM\x64");
    put(bytes, 0x3c, one);
    put_text(bytes, one, {"PE\0\0", 4});
    put(bytes, 16, std::uint64_t{two});
  } else if (kind == 3) {  // ELF
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = one;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = three % 5;
    header.e_shoff = two;
    put(bytes, 0, header);
    Elf64_Phdr note{};
    note.p_type = PT_NOTE;
    note.p_offset = two;
    note.p_filesz = three;
    put(bytes, one, note);
  } else if (kind == 4) {
    put_text(bytes, 0, "\x1f\x8b\x08");
  }
  return bytes;
}

void check(const std::string& bytes) {
  auto fd = memory_file("fuzz", 0, false);
  fuzz::require(fd.ok());
  if (!bytes.empty()) {
    fuzz::require(::write(fd.value().get(), bytes.data(), bytes.size()) ==
                  static_cast<ssize_t>(bytes.size()));
  }
  const std::string path = fmt::format("/proc/self/fd/{}", fd.value().get());
  for (const auto bzimage : {image::BzImage::AsItIs, image::BzImage::Inner}) {
    const auto opened = image::open_kernel(path, std::nullopt, bzimage);
    if (!opened) {
      fuzz::require(opened.error().code == ExitCode::Usage && !opened.error().message.empty());
      continue;
    }
    fuzz::require(::access(opened.value().path().c_str(), R_OK) == 0);
    fuzz::require(opened.value().packing().empty() == (opened.value().path() == path));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check(std::string(data, data + size));
  fuzz::Input input(data, size);
  check(shaped(input));
  return 0;
}
