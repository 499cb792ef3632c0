// Starts /helpers/compat (program.h) on a stack of its own, and chooses the sequence.
#include <elf.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/agent/raw.h"
#include "guest/compat/list.h"
#include "guest/compat/own.h"
#include "guest/compat/program.h"

namespace sealvisor::compat {
namespace {

std::uint64_t vdso_address = 0;

/// Every sequence has its function: checked when this is compiled.
struct Named {
  std::string_view scenario;
  Run run;
};
constexpr auto kRuns = std::to_array<Named>({
    {"compat/criu-park", criu_park},
    {"compat/criu-proxy", criu_proxy},
    {"compat/criu-start", criu_start},
    {"compat/criu-map", criu_map},
    {"compat/uml-stub", uml_stub},
    {"compat/uml-flush", uml_flush},
    {"compat/gvisor-stub", gvisor_stub},
    {"compat/gvisor-ptrace", gvisor_ptrace},
    {"compat/rr-record", rr_record},
    {"compat/rr-replay", rr_replay},
    {"compat/rr-move", rr_move},
});
constexpr bool all_named() {
  if (kRuns.size() != kSequences.size()) return false;
  for (std::size_t i = 0; i < kRuns.size(); ++i) {
    if (kRuns[i].scenario != kSequences[i].scenario) return false;
    if (scenario::find(kRuns[i].scenario) == nullptr) return false;
  }
  return true;
}
static_assert(all_named());

[[noreturn]] void leave(int code) {
  for (;;) (void)agent::raw_call(SYS_exit_group, code);
}

std::uint64_t number(std::string_view digits, unsigned base) {
  std::uint64_t value = 0;
  for (const char c : digits) {
    const unsigned digit = static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    if (digit >= base) return 0;
    value = value * base + digit;
  }
  return value;
}

void read_auxiliary(const std::uintptr_t* stack) {
  const std::uintptr_t* at = stack + 1 + *stack + 1;
  while (*at != 0) ++at;
  for (++at; at[0] != AT_NULL; at += 2) {
    if (at[0] == AT_SYSINFO_EHDR) vdso_address = at[1];
  }
}

std::string_view word(const std::uintptr_t* stack, std::size_t index) {
  const char* text = reinterpret_cast<const char*>(stack[1 + index]);
  std::size_t size = 0;
  while (text[size] != '\0') ++size;
  return {text, size};
}

}  // namespace

std::uint64_t auxiliary_vdso() { return vdso_address; }

}  // namespace sealvisor::compat

extern "C" {

/// `stack`: as the kernel leaves it to a new program. It is outside of the window: what is read
/// from it is read before the sequence begins.
[[noreturn, gnu::used]] void sealvisor_start(const std::uintptr_t* stack) {
  using namespace sealvisor::compat;  // NOLINT(google-build-using-namespace)
  if (*stack != 4) leave(EINVAL);
  read_auxiliary(stack);
  const Named* chosen = nullptr;
  for (const Named& one : kRuns) {
    if (one.scenario == word(stack, 3)) chosen = &one;
  }
  static Program program;
  if (chosen == nullptr) leave(EINVAL);
  if (!program.open(number(word(stack, 1), 16), number(word(stack, 2), 10))) leave(EIO);
  program.begin(chosen->scenario);
  chosen->run(program);
  program.end();
  leave(0);
}

void _start();

alignas(16) std::byte sealvisor_stack[64 * 1024];
}

// The kernel's stack pointer becomes the argument, the stack is one in the window.
#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start, @function\n"
    "_start:\n"
    "  mov %rsp, %rdi\n"
    "  lea sealvisor_stack+65536(%rip), %rsp\n"
    "  xor %ebp, %ebp\n"
    "  call sealvisor_start\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start, %function\n"
    "_start:\n"
    "  mov x0, sp\n"
    "  adrp x1, sealvisor_stack\n"
    "  add x1, x1, :lo12:sealvisor_stack\n"
    "  add sp, x1, #16, lsl #12\n"
    "  mov x29, #0\n"
    "  bl sealvisor_start\n");
#else
#error "no start for this architecture"
#endif

namespace sealvisor::compat {

void move_bytes(void* to, const void* from, std::size_t size) { __builtin_memmove(to, from, size); }
void fill_bytes(void* to, int value, std::size_t size) { __builtin_memset(to, value, size); }

}  // namespace sealvisor::compat
