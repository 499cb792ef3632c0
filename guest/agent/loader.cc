// /helpers/loader: the interpreter of /helpers/dynamic. The kernel starts it in the program's
// place, with the program's entry point in the auxiliary vector (getauxval(3), AT_ENTRY); it has
// nothing to load and goes there with the stack as it found it.
#include <elf.h>

#include <cstdint>

extern "C" {

/// `stack`: argc, then argv and a null, then the environment and a null, then pairs of the
/// auxiliary vector.
[[gnu::used]] std::uintptr_t sealvisor_entry(const std::uintptr_t* stack) {
  const std::uintptr_t* at = stack + 1 + *stack + 1;
  while (*at != 0) ++at;
  for (++at; at[0] != AT_NULL; at += 2) {
    if (at[0] == AT_ENTRY) return at[1];
  }
  return 0;
}

void _start();
}

// At the start of a program: x86-64 psABI 3.4.1 (rsp, rdx); arm64: sp, x0 (Arm SysV ABI
// supplement). The second register is an exit handler of the loader's: there is none.
#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start, @function\n"
    "_start:\n"
    "  mov %rsp, %rbx\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call sealvisor_entry\n"
    "  mov %rbx, %rsp\n"
    "  xor %edx, %edx\n"
    "  jmp *%rax\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start, %function\n"
    "_start:\n"
    "  mov x0, sp\n"
    "  bl sealvisor_entry\n"
    "  mov x16, x0\n"
    "  mov x0, #0\n"
    "  br x16\n");
#else
#error "no loader for this architecture"
#endif
