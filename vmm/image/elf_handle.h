// libelf's handle of a file, owned.
#pragma once

#include <libelf.h>

#include <memory>

namespace sealvisor::image {

struct ElfEnd {
  void operator()(Elf* elf) const { elf_end(elf); }
};
using ElfHandle = std::unique_ptr<Elf, ElfEnd>;

}  // namespace sealvisor::image
