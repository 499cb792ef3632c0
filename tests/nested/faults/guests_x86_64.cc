// PVH guests: 32-bit protected mode, flat segments, no paging, interrupts off, no IDT
// (include/xen/interface/hvm/start_info.h). Loaded and entered at 1 MiB.
#include "tests/nested/faults/guests.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/nested/faults/guest_code.h"

namespace sealvisor::test {

namespace {

using engine::End;

constexpr std::uint64_t kBase = 0x100000;
constexpr std::uint32_t kPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr std::uint64_t kMemory = 0x2000;

}  // namespace

// NOLINTBEGIN
#define SAY           \
  ".code32\n"         \
  "mov $0x3f8, %dx\n" \
  "mov $'!', %al\n"   \
  "out %al, %dx\n"
#define END "\n.code64"
// Identity-maps 4 GiB in 2 MiB pages and turns on paging with EFER.LME: compatibility mode.
#define PAGING                     \
  "mov $0x200000, %edi\n"          \
  "movl $0x201003, (%edi)\n"       \
  "movl $0x202003, 0x1000(%edi)\n" \
  "movl $0x203003, 0x1008(%edi)\n" \
  "movl $0x204003, 0x1010(%edi)\n" \
  "movl $0x205003, 0x1018(%edi)\n" \
  "mov $0x202000, %edi\n"          \
  "mov $0x83, %eax\n"              \
  "1: mov %eax, (%edi)\n"          \
  "add $8, %edi\n"                 \
  "add $0x200000, %eax\n"          \
  "cmp $0x206000, %edi\n"          \
  "jne 1b\n"                       \
  "mov $0x200000, %eax\n"          \
  "mov %eax, %cr3\n"               \
  "mov %cr4, %eax\n"               \
  "or $0x20, %eax\n"               \
  "mov %eax, %cr4\n"               \
  "mov $0xc0000080, %ecx\n"        \
  "rdmsr\n"                        \
  "or $0x100, %eax\n"              \
  "wrmsr\n"                        \
  "mov %cr0, %eax\n"               \
  "or $0x80000000, %eax\n"         \
  "mov %eax, %cr0\n"

SEALVISOR_GUEST(loop, SAY "cli\n1: jmp 1b" END)
SEALVISOR_GUEST(halt, SAY "cli\n1: hlt\njmp 1b" END)
SEALVISOR_GUEST(triple_fault, SAY "ud2" END)
// An IDT with a handler of #UD that returns to the instruction.
SEALVISOR_GUEST(undefined_loop, SAY
                "mov $0x300000, %esp\n"
                "mov $(0x100000 + 2f - guest_undefined_loop), %ebx\n"
                "movw %bx, 0x200030\n"
                "movw $0x10, 0x200032\n"
                "movw $0x8e00, 0x200034\n"
                "shr $16, %ebx\n"
                "movw %bx, 0x200036\n"
                "movw $0xff, 0x200800\n"
                "movl $0x200000, 0x200802\n"
                "lidt 0x200800\n"
                "1: ud2\n"
                "jmp 1b\n"
                "2: iret" END)
SEALVISOR_GUEST(jump_nowhere, SAY "mov $0xd0000000, %eax\njmp *%eax" END)
SEALVISOR_GUEST(run_doorbell, SAY "mov $0xfeb00000, %eax\njmp *%eax" END)
// fninit; fnsave to no memory: an instruction that KVM's emulator does not do.
SEALVISOR_GUEST(save_nowhere, SAY "fninit\nfnsave 0xd0000000" END)
SEALVISOR_GUEST(reset_port, SAY "mov $0xfe, %al\nout %al, $0x64\n1: jmp 1b" END)
SEALVISOR_GUEST(console_flood,
                SAY "cld\n1: mov $0x100000, %esi\nmov $0x1000, %ecx\nrep outsb\njmp 1b" END)
SEALVISOR_GUEST(early_doorbell, SAY "movl $0x1234567, 0xfeb00000\n1: jmp 1b" END)
// Two slots of the root's upper half are the root itself.
SEALVISOR_GUEST(self_map, SAY PAGING
                "movl $0x200003, 0x200800\n"
                "movl $0x200003, 0x200808\n"
                "movl $0x1234567, 0xfeb00000\n1: jmp 1b" END)
// Words, sizes and offsets that mean nothing, then a reset.
SEALVISOR_GUEST(nonsense, SAY PAGING
                "movl $0x12345, 0xfeb00008\n"
                "movl $0xfffffff0, 0xfeb00008\n"
                "movl $0xd0000000, 0xfeb00008\n"
                "movl $0x300000, 0xfeb00008\n"
                "movb $1, 0xfeb00fff\n"
                "movw $2, 0xfeb00123\n"
                "movl $3, 0xfeb00ffe\n"
                "mov $0xfe, %al\nout %al, $0x64\n1: jmp 1b" END)
SEALVISOR_GUEST(doorbell_flood, SAY PAGING "1: movl $0x12345, 0xfeb00008\njmp 1b" END)
// Reads give ones, writes nothing; a port of no device too. Whatever else is read ends in a loop.
SEALVISOR_GUEST(unbacked, SAY
                "mov 0xd0000000, %eax\n"
                "cmp $0xffffffff, %eax\n"
                "jne 1f\n"
                "movl $0, 0xd0000000\n"
                "movb $1, 0xefffffff\n"
                "mov $0x42f, %dx\n"
                "in %dx, %eax\n"
                "cmp $0xffffffff, %eax\n"
                "jne 1f\n"
                "out %eax, %dx\n"
                "mov $0xfe, %al\n"
                "out %al, $0x64\n"
                "1: jmp 1b" END)
// Fills 40 MiB, says so, loops.
SEALVISOR_GUEST(fill,
                ".code32\n"
                "cld\nmov $0x400000, %edi\nmov $0xa00000, %ecx\nmov $0x5a5a5a5a, %eax\nrep stosl\n"
                "mov $0x3f8, %dx\nmov $'!', %al\nout %al, %dx\n1: jmp 1b" END)
// NOLINTEND

const char* const kKernelTooLarge = "kernel needs guest memory up to 0x6100000";
const char* const kInitramfsTooLarge = "initramfs of 73400320 bytes does not fit";

std::span<const Guest> guests() {
  static const Guest kAll[] = {
      {"loop", loop_code()},
      {"halt", halt_code()},
      {"undefined-loop", undefined_loop_code()},
      {"doorbell-flood", doorbell_flood_code(), {}, "", 4, "doorbell"},
      {"fill", fill_code()},
      {"triple-fault", triple_fault_code(), End::GuestCrashed, "triple fault"},
      {"jump-nowhere", jump_nowhere_code(), End::GuestCrashed, "KVM internal error 1"},
      {"run-doorbell", run_doorbell_code(), End::GuestCrashed, "KVM internal error 1"},
      {"save-nowhere", save_nowhere_code(), End::GuestCrashed, "KVM internal error 1"},
      {"early-doorbell", early_doorbell_code(), End::GuestCrashed,
       "the first message came too early", 4, "", false},
      {"self-map", self_map_code(), End::GuestCrashed, "the kernel's tables link the one", 4, "",
       false},
      {"console-flood", console_flood_code(), End::ConsoleFlood, "bytes on the console", 4, "",
       false, false},
      {"reset-port", reset_port_code(), End::GuestReset, "keyboard controller", 0},
      {"nonsense", nonsense_code(), End::GuestReset, "keyboard controller", 0, "doorbell"},
      {"unbacked", unbacked_code(), End::GuestReset, "keyboard controller", 0},
  };
  return kAll;
}

std::string image_of(std::span<const std::byte> code, std::uint64_t memory_bytes) {
  struct Note {
    Elf64_Nhdr head{4, 8, kPhys32Entry};
    char name[4] = {'X', 'e', 'n', '\0'};
    std::uint64_t entry = kBase;
  } note;
  constexpr std::uint64_t kNoteAt = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
  constexpr std::uint64_t kCodeAt = 0x1000;
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_ident[EI_VERSION] = EV_CURRENT;
  head.e_type = ET_EXEC;
  head.e_machine = EM_X86_64;
  head.e_version = EV_CURRENT;
  head.e_entry = kBase;
  head.e_phoff = sizeof head;
  head.e_ehsize = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 2;
  const Elf64_Phdr segments[] = {{PT_LOAD, PF_R | PF_X, kCodeAt, kBase, kBase, code.size(),
                                  std::max(memory_bytes, kMemory), kCodeAt},
                                 {PT_NOTE, PF_R, kNoteAt, 0, 0, sizeof note, sizeof note, 4}};
  std::string file(kCodeAt, '\0');
  std::memcpy(file.data(), &head, sizeof head);
  std::memcpy(file.data() + sizeof head, segments, sizeof segments);
  std::memcpy(file.data() + kNoteAt, &note, sizeof note);
  file.append(reinterpret_cast<const char*>(code.data()), code.size());
  return file;
}

}  // namespace sealvisor::test
