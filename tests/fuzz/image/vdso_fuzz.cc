// Any bytes as a vdso: a name comes out only if it is there, functions lie inside and apart, and
// nothing is read past the end.
#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <elf.h>

#include "tests/fuzz/arch/input.h"
#include "vmm/image/vdso.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

/// Copies `part` to `at` of `image`, as far as it fits.
template <typename Part>
void put(std::vector<std::byte>& image, std::size_t at, const Part& part) {
  if (at < image.size()) {
    std::memcpy(image.data() + at, &part, std::min(sizeof part, image.size() - at));
  }
}

/// Few random bytes make an ELF file: the magic and plausible headers are put over the input, with
/// what the input chooses in the fields that lead on.
template <typename Ehdr, typename Phdr, typename Dyn>
std::vector<std::byte> shaped(fuzz::Input& input, unsigned char elf_class) {
  // Offsets mostly lie in the image or shortly behind it; what no field was put over is a name that
  // does not end, or what is left of the input.
  const std::size_t size = input.take<std::uint16_t>() % 0x800;
  const auto offset = [&] { return input.take<std::uint16_t>() % (size + 0x40); };
  Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = elf_class;
  header.e_ident[EI_DATA] = (input.take<std::uint8_t>() & 15) == 0 ? ELFDATA2MSB : ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_version = EV_CURRENT;
  header.e_phentsize = sizeof(Phdr);
  header.e_phoff = static_cast<decltype(header.e_phoff)>(offset());
  header.e_phnum = input.take<std::uint8_t>() % 4;
  if (header.e_phnum == 0) {
    // The count is in a section header then.
    header.e_phnum = PN_XNUM;
    header.e_shnum = 1;
    header.e_shoff = static_cast<decltype(header.e_shoff)>(offset());
  }
  Phdr dynamic{};
  dynamic.p_type = PT_DYNAMIC;
  dynamic.p_offset = static_cast<decltype(dynamic.p_offset)>(offset());
  dynamic.p_filesz = input.take<std::uint16_t>();
  if ((input.take<std::uint8_t>() & 7) == 0) {
    dynamic.p_offset = static_cast<decltype(dynamic.p_offset)>(input.take<std::uint64_t>());
    dynamic.p_filesz = static_cast<decltype(dynamic.p_filesz)>(input.take<std::uint64_t>());
  }
  Dyn entries[2] = {};
  entries[0].d_tag = DT_STRTAB;
  entries[0].d_un.d_val = static_cast<decltype(entries[0].d_un.d_val)>(offset());
  entries[1].d_tag = DT_SONAME;
  entries[1].d_un.d_val = static_cast<decltype(entries[0].d_un.d_val)>(offset());
  if ((input.take<std::uint8_t>() & 7) == 0) {
    using Value = decltype(entries[0].d_un.d_val);
    entries[0].d_un.d_val = static_cast<Value>(input.take<std::uint64_t>());
    entries[1].d_un.d_val = static_cast<Value>(input.take<std::uint64_t>());
  }
  std::vector<std::byte> image(size, std::byte{'x'});
  const auto rest = std::as_bytes(input.rest());
  std::copy_n(rest.begin(), std::min(rest.size(), size), image.begin());
  put(image, dynamic.p_offset, entries);
  put(image, header.e_phoff, dynamic);
  put(image, 0, header);
  return image;
}

void check(const std::vector<std::byte>& image) {
  std::uint64_t end = 0;
  for (const image::ExportedFunction& function : image::exported_functions(image)) {
    fuzz::require(function.offset >= end && function.bytes <= image.size() - function.offset);
    end = function.offset + function.bytes;
  }
  const auto soname = image::elf_soname(image);
  if (!soname) return;
  // It stands in the image, with its end.
  const auto* name = reinterpret_cast<const std::byte*>(soname->c_str());
  fuzz::require(std::search(image.begin(), image.end(), name, name + soname->size() + 1) !=
                image.end());
  fuzz::require(soname->find('\0') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto raw = std::as_bytes(std::span(data, size));
  check({raw.begin(), raw.end()});
  for (const unsigned char elf_class : {ELFCLASS64, ELFCLASS32}) {
    fuzz::Input input(data, size);
    check(elf_class == ELFCLASS64 ? shaped<Elf64_Ehdr, Elf64_Phdr, Elf64_Dyn>(input, elf_class)
                                  : shaped<Elf32_Ehdr, Elf32_Phdr, Elf32_Dyn>(input, elf_class));
  }
  return 0;
}
