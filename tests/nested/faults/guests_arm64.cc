// Images: EL1, MMU off, all interrupts masked (Documentation/arch/arm64/booting.rst). Loaded at the
// start of RAM, 1 GiB; a branch over the header leads to the code.
#include "tests/nested/faults/guests.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/nested/faults/guest_code.h"

namespace sealvisor::test {

namespace {

using engine::End;

constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kCodeAt = 0x1000;
constexpr std::uint32_t kBranchToCode = 0x14000000 | kCodeAt / 4;
constexpr std::uint32_t kMagic = 0x644d5241;

}  // namespace

// NOLINTBEGIN
#define SAY               \
  "mov x9, #0x09000000\n" \
  "mov w10, #'!'\n"       \
  "strb w10, [x9]\n"
#define POWER_OFF "mov w0, #0x8\nmovk w0, #0x8400, lsl #16\nhvc #0\n"
#define RESET "mov w0, #0x9\nmovk w0, #0x8400, lsl #16\nhvc #0\n"
// Roots and sizes as a kernel sets them, 48 bits and 4 KiB pages; an empty root. Paging stays off.
#define PAGING                  \
  "mov x0, #0x42000000\n"       \
  "msr ttbr0_el1, x0\n"         \
  "msr ttbr1_el1, x0\n"         \
  "mov x0, #0x0010\n"           \
  "movk x0, #0x8010, lsl #16\n" \
  "movk x0, #0x5, lsl #32\n"    \
  "msr tcr_el1, x0\n"           \
  "isb\n"
#define DOORBELL "mov x1, #0x0a000000\n"

SEALVISOR_GUEST(loop, SAY "msr daifset, #15\n1: b 1b")
SEALVISOR_GUEST(halt, SAY "msr daifset, #15\n1: wfi\nb 1b")
// A vector that returns to the instruction.
SEALVISOR_GUEST(undefined_loop, SAY
                "adr x0, 2f\nmsr vbar_el1, x0\nisb\n"
                "1: udf #0\nb 1b\n"
                ".balign 2048\n2: .skip 0x200\neret")
SEALVISOR_GUEST(jump_nowhere, SAY "msr vbar_el1, xzr\nmov x0, #0xd0000000\nbr x0")
SEALVISOR_GUEST(run_doorbell, SAY "msr vbar_el1, xzr\n" DOORBELL "br x1")
// Two registers at once: the hardware does not decode it for the hypervisor.
SEALVISOR_GUEST(pair_nowhere, SAY "mov x0, #0xd0000000\nldp x2, x3, [x0]\n1: b 1b")
SEALVISOR_GUEST(pair_doorbell, SAY DOORBELL "stp x2, x3, [x1]\n1: b 1b")
SEALVISOR_GUEST(power_off, SAY POWER_OFF "1: b 1b")
SEALVISOR_GUEST(reset, SAY RESET "1: b 1b")
SEALVISOR_GUEST(console_flood, SAY "1: strb w10, [x9]\nb 1b")
SEALVISOR_GUEST(early_doorbell, SAY DOORBELL "str x1, [x1]\n1: b 1b")
// Two slots of the root are the root itself.
SEALVISOR_GUEST(self_map,
                SAY PAGING "mov x2, #0x42000000\norr x3, x2, #3\nstp x3, x3, [x2]\n" DOORBELL
                           "str x1, [x1]\n1: b 1b")
// Words, sizes and offsets that mean nothing, then power off.
SEALVISOR_GUEST(nonsense, SAY PAGING DOORBELL
                "mov x2, #0x1234\nstr x2, [x1]\n"
                "mov x2, #-256\nstr x2, [x1]\n"
                "mov x2, #0x40000000\nstr x2, [x1]\n"
                "str w2, [x1, #8]\n"
                "strb w2, [x1, #0xfff]\n"
                "strh w2, [x1, #0x122]\n"
                "str w2, [x1, #0xffc]\n" POWER_OFF "1: b 1b")
SEALVISOR_GUEST(doorbell_flood, SAY PAGING DOORBELL "mov x2, #0x1234\n1: str x2, [x1]\nb 1b")
// Reads give zeroes, writes nothing. Whatever else is read ends in a loop.
SEALVISOR_GUEST(unbacked, SAY
                "mov x0, #0xd0000000\nldr x2, [x0]\ncbnz x2, 1f\n"
                "str x0, [x0]\nstrb w0, [x0, #0xfff]\nldrh w2, [x0, #2]\ncbnz w2, 1f\n" POWER_OFF
                "1: b 1b")
// Fills 40 MiB, says so, loops.
SEALVISOR_GUEST(fill,
                "mov x0, #0x41000000\nmov x1, #0x02800000\nadd x1, x0, x1\n"
                "1: stp x2, x3, [x0], #16\ncmp x0, x1\nb.ne 1b\n" SAY "1: b 1b")
// NOLINTEND

const char* const kKernelTooLarge = "kernel: takes 0x6000000 bytes";
const char* const kInitramfsTooLarge = "initramfs: has 0x4600000 bytes";

std::span<const Guest> guests() {
  static const Guest kAll[] = {
      {"loop", loop_code()},
      {"halt", halt_code()},
      {"undefined-loop", undefined_loop_code()},
      // KVM makes both aborts of the guest's own, whose vector lies nowhere too.
      {"jump-nowhere", jump_nowhere_code()},
      {"run-doorbell", run_doorbell_code()},
      {"doorbell-flood", doorbell_flood_code(), {}, "", 4, "doorbell"},
      {"fill", fill_code()},
      {"pair-nowhere", pair_nowhere_code(), End::GuestCrashed, "the hardware does not decode"},
      {"pair-doorbell", pair_doorbell_code(), End::GuestCrashed, "the hardware does not decode"},
      {"early-doorbell", early_doorbell_code(), End::GuestCrashed,
       "the first message came too early", 4, "", false},
      {"self-map", self_map_code(), End::GuestCrashed, "the kernel's tables link the one", 4, "",
       false},
      {"console-flood", console_flood_code(), End::ConsoleFlood, "bytes on the console", 4, "",
       false, false},
      {"power-off", power_off_code(), End::GuestReset, "PSCI power off", 0},
      {"reset", reset_code(), End::GuestReset, "PSCI reset", 0},
      {"nonsense", nonsense_code(), End::GuestReset, "PSCI power off", 0, "doorbell"},
      {"unbacked", unbacked_code(), End::GuestReset, "PSCI power off", 0},
  };
  return kAll;
}

std::string image_of(std::span<const std::byte> code, std::uint64_t memory_bytes) {
  struct Header {
    std::uint32_t branch = kBranchToCode;
    std::uint32_t more = 0;
    std::uint64_t text_offset = 0;
    std::uint64_t image_size = 0;
    std::uint64_t flags = 2;  // 4 KiB pages
    std::uint64_t reserved[3] = {};
    std::uint32_t magic = kMagic;
    std::uint32_t pe = 0;
  } header;
  static_assert(sizeof header == kHeaderBytes);
  std::string file(kCodeAt, '\0');
  file.append(reinterpret_cast<const char*>(code.data()), code.size());
  header.image_size = std::max<std::uint64_t>(memory_bytes, file.size());
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

}  // namespace sealvisor::test
