#include "guest/agent/vdso_copy.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {
namespace {

#if defined(__aarch64__)
constexpr std::string_view kClockGettime = "__kernel_clock_gettime";
#else
constexpr std::string_view kClockGettime = "__vdso_clock_gettime";
#endif

/// Address of `name` in the ELF image at `base`, 0 if it is not there. The image is the kernel's
/// own (trusted here) and is linked at 0: vdso(7). The number of dynamic symbols is the distance of
/// the string table behind them, which the linker always puts there for a vdso.
std::uintptr_t find_symbol(std::uintptr_t base, std::string_view name) {
  const auto& header = *reinterpret_cast<const ElfW(Ehdr)*>(base);
  const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(base + header.e_phoff);
  const ElfW(Sym)* symbols = nullptr;
  const char* strings = nullptr;
  for (int i = 0; i < header.e_phnum; ++i) {
    if (segments[i].p_type != PT_DYNAMIC) continue;
    const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(base + segments[i].p_offset);
    for (; entry->d_tag != DT_NULL; ++entry) {
      const std::uintptr_t at = base + entry->d_un.d_ptr;
      if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(at);
      if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(at);
    }
  }
  if (symbols == nullptr || strings == nullptr) return 0;
  const auto* end = reinterpret_cast<const ElfW(Sym)*>(strings);
  for (const ElfW(Sym)* symbol = symbols; symbol + 1 <= end; ++symbol) {
    if (name == strings + symbol->st_name) return base + symbol->st_value;
  }
  return 0;
}

void copy_page(std::uintptr_t from, std::uintptr_t to) {
  struct Pages {
    const void* from;
    void* to;
  } pages{reinterpret_cast<const void*>(from), reinterpret_cast<void*>(to)};
  // Pages of [vvar] that no clock of this machine uses can't be read; their copies stay zero.
  (void)call_guarded(
      [](void* argument) {
        const auto& both = *static_cast<const Pages*>(argument);
        std::memcpy(both.to, both.from, 4096);
      },
      &pages);
}

}  // namespace

int VdsoCopy::make(const MappingTable& table) {
  const SystemMapping* vdso = table.find("[vdso]");
  if (vdso == nullptr) {
    say("no [vdso] to copy");
    return ENOENT;
  }
  std::uint64_t start = vdso->start;
  for (const char* name : {"[vvar]", "[vvar_vclock]"}) {
    const SystemMapping* data = table.find(name);
    if (data != nullptr && data->end <= vdso->start) start = std::min(start, data->start);
  }
  size_ = vdso->end - start;
  void* place = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) {
    const int error = errno;
    say("memory for a copy of the vdso: %s", std::strerror(error));
    return error;
  }
  const auto copy = reinterpret_cast<std::uintptr_t>(place);
  for (std::uint64_t at = 0; at < size_; at += 4096) copy_page(start + at, copy + at);
  vdso_ = copy + (vdso->start - start);
  __builtin___clear_cache(static_cast<char*>(place), static_cast<char*>(place) + size_);
  return 0;
}

int VdsoCopy::run() const {
  using ClockGettime = int (*)(clockid_t, timespec*);
  struct Call {
    ClockGettime function;
    timespec now;
    int result;
  } call{};
  call.function = reinterpret_cast<ClockGettime>(find_symbol(vdso_, kClockGettime));
  if (call.function == nullptr) {
    say("no clock_gettime in the vdso");
    return ENOENT;
  }
  const int signal = call_guarded(
      [](void* argument) {
        Call& both = *static_cast<Call*>(argument);
        both.result = both.function(CLOCK_MONOTONIC_COARSE, &both.now);
      },
      &call);
  if (signal != 0 || call.result != 0) {
    say("the vdso's copy: signal %d, result %d", signal, call.result);
    return EPROTO;
  }
  return 0;
}

}  // namespace sealvisor::agent
