#include "guest/agent/probes.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "guest/agent/process.h"
#include "guest/agent/start.h"

namespace sealvisor::agent {
namespace {

// Eight functions that add one. Their first instruction is one that the kernel does not emulate but
// lets the CPU execute in [uprobes] (arch/x86/kernel/uprobes.c, arch_uprobe_analyze_insn;
// arch/arm64/kernel/probes/decode-insn.c, arm_probe_decode_insn), eight or more bytes apart.
#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .balign 16
sealvisor_probed:
  .rept 8
  .balign 16
  lea 1(%rdi), %rax
  ret
  .endr
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text
  .balign 16
sealvisor_probed:
  .rept 8
  .balign 16
  add x0, x0, #1
  ret
  .endr
  .popsection
)");
#endif
extern "C" const unsigned char sealvisor_probed[];
constexpr std::uintptr_t kApart = 16;

std::uintptr_t function(std::uint32_t index) {
  return reinterpret_cast<std::uintptr_t>(sealvisor_probed) + index * kApart;
}

/// Where `address` of this program lies in its file; 0: it does not.
std::uint64_t file_offset(std::uintptr_t address) {
  // The program is not position-independent: its headers say where it is.
  const auto* header = reinterpret_cast<const Elf64_Phdr*>(::getauxval(AT_PHDR));
  const unsigned long count = ::getauxval(AT_PHNUM);
  for (unsigned long i = 0; header != nullptr && i < count; ++i) {
    const Elf64_Phdr& one = header[i];
    if (one.p_type == PT_LOAD && address - one.p_vaddr < one.p_filesz) {
      return address - one.p_vaddr + one.p_offset;
    }
  }
  return 0;
}

/// The number under which the kernel has probes of user code; -errno.
int probe_type() {
  if (!mount_at("sysfs", "/sys")) return -ENOENT;
  constexpr const char* kType = "/sys/bus/event_source/devices/uprobe/type";
  if (::access(kType, R_OK) != 0) return -ENOENT;
  std::array<char, 16> text{};
  const ssize_t size = read_whole(kType, std::span(text).first(text.size() - 1));
  const int number = size > 0 ? std::atoi(text.data()) : 0;
  return number > 0 ? number : -ENOENT;
}

}  // namespace

int set_probes(std::uint32_t count) {
  const int type = probe_type();
  if (type < 0) return type;
  for (std::uint32_t i = 0; i < count && i < kMostProbes; ++i) {
    perf_event_attr attributes{};
    attributes.type = static_cast<std::uint32_t>(type);
    attributes.size = sizeof attributes;
    attributes.config1 = reinterpret_cast<std::uintptr_t>(kStaticImage);  // uprobe_path
    attributes.config2 = file_offset(function(i));                        // probe_offset
    const long event = ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (event < 0) return -errno;
  }
  return 0;
}

long hit_probes(std::uint32_t count, std::uint32_t times) {
  std::uint64_t value = 0;
  for (std::uint32_t round = 0; round < times; ++round) {
    for (std::uint32_t i = 0; i < count && i < kMostProbes; ++i) {
      value = reinterpret_cast<std::uint64_t (*)(std::uint64_t)>(function(i))(value);
    }
  }
  return value == std::uint64_t{count} * times ? 0 : -EPROTO;
}

}  // namespace sealvisor::agent
