// Direct boot of an x86-64 kernel: where it, the initramfs and the boot data go, and the registers
// of the first instruction.
//
// Two ways in: an ELF vmlinux through its PVH entry (32-bit protected mode, paging off), a bzImage
// through its 64-bit entry (64-bit mode, identity page tables). Neither gets ACPI tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "arch/boot_plan.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::x86_64 {

/// Fills `into` with the bytes of a file from `offset` on, all of it or an Error. Asked only for
/// bytes that lie within the size given with it.
using ReadAt = std::function<Status(std::uint64_t offset, std::span<std::byte> into)>;

/// Least and most RAM: less holds no kernel of today with its initramfs; more would need initramfs
/// and boot data kept away from the hole below 4 GiB.
inline constexpr std::uint64_t kLeastRamBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMostRamBytes = std::uint64_t{2} << 30;

/// RAM below 1 MiB ends here; from here to 1 MiB a PC has its EBDA, video memory and ROMs. A kernel
/// looks for an EBDA at and above this address (arch/x86/kernel/ebda.c).
inline constexpr std::uint64_t kLowRamEnd = 0x9fc00;
inline constexpr std::uint64_t kHighRamStart = 0x100000;

// Boot data, all below kLowRamEnd and above the BIOS data area (0x400-0x4ff). The kernel copies
// what it keeps before it hands this memory out.
inline constexpr Gpa kGdtGpa{0x5000};
inline constexpr Gpa kStartInfoGpa{0x6000};
inline constexpr Gpa kZeroPageGpa{0x7000};
inline constexpr Gpa kPageTablesGpa{0x9000};  ///< Root; 6 frames in all.
inline constexpr Gpa kCommandLineGpa{0x20000};

/// Selectors of the GDT: __BOOT_CS, __BOOT_DS, __BOOT_TSS of arch/x86/include/asm/segment.h.
inline constexpr std::uint16_t kCodeSelector = 0x10;
inline constexpr std::uint16_t kDataSelector = 0x18;
inline constexpr std::uint16_t kTaskSelector = 0x20;

/// A segment register with its hidden part. Fields as in a descriptor: Intel SDM vol. 3A 3.4.5.
struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;  ///< Last byte, whatever the granularity.
  std::uint16_t selector = 0;
  std::uint8_t type = 0;        ///< SDM 3A tables 3-1 and 3-2.
  bool code_or_data = false;    ///< S.
  std::uint8_t privilege = 0;   ///< DPL.
  bool present = false;         ///< P.
  bool long_mode = false;       ///< L.
  bool default_32_bit = false;  ///< D/B.
  bool page_granular = false;   ///< G.

  friend bool operator==(const Segment&, const Segment&) = default;
};

/// Registers of the first instruction. General registers that are not named are 0; rflags is 2:
/// interrupts, single-step and direction off. LDTR is unusable, IDTR has limit 0.
struct FirstRegisters {
  std::uint64_t rip = 0;
  std::uint64_t rbx = 0;  ///< PVH: gpa of hvm_start_info.
  std::uint64_t rsi = 0;  ///< bzImage: gpa of the zero page.
  std::uint64_t rflags = 2;
  std::uint64_t cr0 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
  Segment code{};
  Segment data{};  ///< DS, ES, FS, GS and SS.
  Segment task{};  ///< TR: a busy TSS; VMX refuses to enter a guest without (SDM 3C 27.3.1.2).
  std::uint64_t gdt_base = 0;
  std::uint16_t gdt_limit = 0;

  friend bool operator==(const FirstRegisters&, const FirstRegisters&) = default;
};

/// The 8-byte descriptor of a segment (SDM 3A figure 3-8). Base above 32 bits is left out.
[[nodiscard]] std::uint64_t descriptor(const Segment& segment);

struct BootInput {
  /// The kernel's file. Read are only: of an ELF file the header, the program headers and the notes
  /// (at most 72 KiB in all), of a bzImage the first 0x290 bytes.
  ReadAt read{};
  std::uint64_t kernel_bytes = 0;     ///< Size of that file.
  std::uint64_t initramfs_bytes = 0;  ///< 0: no initramfs.
  std::string_view command_line{};
  RamLayout ram{};
};

struct Boot {
  BootPlan plan{};
  FirstRegisters registers{};
};

/// Boot data at the addresses above, the kernel where its headers want it (1 MiB or higher), the
/// initramfs at the end of RAM.
///
/// Errors, exit code Usage, each naming what does not fit: RAM that is not one piece from 0 of
/// kLeastRamBytes to kMostRamBytes in whole pages; a file that is neither an x86-64 ELF kernel nor
/// a bzImage; a truncated one; an ELF kernel without PVH entry, with segments that overlap or lie
/// below 1 MiB; a bzImage without 64-bit entry or older than protocol 2.12; a kernel larger than
/// memory; an initramfs that does not fit between the kernel and the end of RAM (or
/// initrd_addr_max); a command line that is too long for the kernel or holds a NUL byte. An Error
/// of `read` is passed on.
///
/// Sources: include/xen/interface/hvm/start_info.h and arch/x86/platform/pvh/head.S (PVH);
/// Documentation/arch/x86/boot.rst and zero-page.rst, arch/x86/include/uapi/asm/bootparam.h
/// (bzImage); arch/x86/include/asm/setup.h (COMMAND_LINE_SIZE).
[[nodiscard]] Result<Boot> plan_boot(const BootInput& input);

}  // namespace sealvisor::arch::x86_64
