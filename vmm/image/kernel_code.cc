#include "vmm/image/kernel_code.h"

#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/fd.h"
#include "vmm/image/elf_handle.h"

namespace sealvisor::image {

std::vector<std::uint8_t> read_kernel_code(const std::filesystem::path& vmlinux,
                                           std::uint64_t address, std::uint64_t bytes) {
  if (elf_version(EV_CURRENT) == EV_NONE) return {};
  const Fd file(::open(vmlinux.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  const ElfHandle elf(elf_begin(file.get(), ELF_C_READ, nullptr));
  if (!elf || elf_kind(elf.get()) != ELF_K_ELF) return {};
  for (Elf_Scn* section = elf_nextscn(elf.get(), nullptr); section != nullptr;
       section = elf_nextscn(elf.get(), section)) {
    GElf_Shdr head{};
    if (gelf_getshdr(section, &head) == nullptr) continue;
    const bool code = head.sh_type == SHT_PROGBITS && (head.sh_flags & SHF_EXECINSTR) != 0;
    const std::uint64_t offset = address - head.sh_addr;
    if (!code || address < head.sh_addr || offset >= head.sh_size) continue;
    // Of a file that was cut off, sizes may say anything.
    std::vector<std::uint8_t> result(std::min<std::uint64_t>(bytes, head.sh_size - offset));
    std::size_t had = 0;
    while (had < result.size()) {
      const ssize_t got = ::pread(file.get(), result.data() + had, result.size() - had,
                                  static_cast<off_t>(head.sh_offset + offset + had));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      had += static_cast<std::size_t>(got);
    }
    result.resize(had);
    return result;
  }
  return {};
}

}  // namespace sealvisor::image
