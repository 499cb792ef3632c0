#include "guest/compat/guarded.h"

#include <sys/syscall.h>
#include <ucontext.h>

#include <csignal>
#include <initializer_list>

#include "guest/agent/raw.h"

// Here and nowhere else: no table of addresses, which a program without a loader has no use for.
#pragma GCC visibility push(hidden)
extern "C" {

/// An access of one instruction each, and where the handler goes on if it faults.
int sealvisor_load(std::uintptr_t address);
extern const char sealvisor_load_access[];
int sealvisor_store(std::uintptr_t address, int value);
extern const char sealvisor_store_access[];
extern const char sealvisor_fault[];
void sealvisor_restore();
}
#pragma GCC visibility pop

// Registers: x86-64 psABI 3.2.3; Arm AAPCS64 6.8.
#if defined(__x86_64__)
asm(".text\n"
    "sealvisor_load:\n"
    "sealvisor_load_access:\n"
    "  movzbl (%rdi), %eax\n"
    "  ret\n"
    "sealvisor_store:\n"
    "sealvisor_store_access:\n"
    "  movb %sil, (%rdi)\n"
    "  xorl %eax, %eax\n"
    "  ret\n"
    "sealvisor_fault:\n"
    "  movl $-1, %eax\n"
    "  ret\n"
    "sealvisor_restore:\n"
    "  movl $15, %eax\n"  // rt_sigreturn
    "  syscall\n");
#elif defined(__aarch64__)
asm(".text\n"
    "sealvisor_load:\n"
    "sealvisor_load_access:\n"
    "  ldrb w0, [x0]\n"
    "  ret\n"
    "sealvisor_store:\n"
    "sealvisor_store_access:\n"
    "  strb w1, [x0]\n"
    "  mov w0, #0\n"
    "  ret\n"
    "sealvisor_fault:\n"
    "  mov w0, #-1\n"
    "  ret\n"
    "sealvisor_restore:\n"
    "  mov x8, #139\n"  // rt_sigreturn
    "  svc #0\n");
#else
#error "no guarded accesses for this architecture"
#endif

namespace sealvisor::compat {
namespace {

/// include/linux/signal_types.h, struct sigaction.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  std::uint64_t mask;
};
constexpr unsigned long kHasRestorer = 0x04000000;  // SA_RESTORER

[[noreturn]] void leave(int code) {
  for (;;) (void)agent::raw_call(SYS_exit_group, code);
}

void on_fault(int signal, siginfo_t* /*info*/, void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  auto& pc = machine.gregs[REG_RIP];
#else
  auto& pc = machine.pc;
#endif
  const auto at = static_cast<std::uintptr_t>(pc);
  if (at != reinterpret_cast<std::uintptr_t>(sealvisor_load_access) &&
      at != reinterpret_cast<std::uintptr_t>(sealvisor_store_access)) {
    leave(128 + signal);
  }
  pc = static_cast<decltype(+pc)>(reinterpret_cast<std::uintptr_t>(sealvisor_fault));
}

}  // namespace

bool install_guard() {
  const KernelAction action{on_fault, SA_SIGINFO | SA_NODEFER | kHasRestorer, sealvisor_restore, 0};
  for (const int signal : {SIGSEGV, SIGBUS}) {
    const long result = agent::raw_call(SYS_rt_sigaction, signal,
                                        agent::arg(reinterpret_cast<std::uintptr_t>(&action)), 0,
                                        sizeof action.mask);
    if (agent::is_error(result)) return false;
  }
  return true;
}

int guarded_load(std::uintptr_t address) { return sealvisor_load(address); }

bool guarded_store(std::uintptr_t address, std::uint8_t value) {
  return sealvisor_store(address, value) == 0;
}

}  // namespace sealvisor::compat
