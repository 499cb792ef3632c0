// /helpers/bench-bare, and of 32 bits /helpers/bench-bare-compat: a program without a C library, so
// that its first instructions are ours and nothing touches the vdso but what is measured.
// bench/guest/end_mark.h says what it does.
#include <elf.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#include "bench/guest/end_mark.h"
#include "bench/guest/first_call.h"
#include "bench/guest/mark.h"
#include "bench/guest/run.h"
#include "bench/guest/shared.h"
#include "guest/agent/raw.h"

namespace {

namespace agent = sealvisor::agent;
namespace bench = sealvisor::bench;

[[noreturn]] void leave(int code) {
  for (;;) (void)agent::raw_call(SYS_exit_group, code);
}

std::byte* map(int fd, std::uint64_t offset, std::size_t bytes) {
  const long at = agent::raw_call(bench::kMmap, 0, agent::arg(bytes), PROT_READ | PROT_WRITE,
                                  MAP_SHARED, fd, agent::arg(offset / bench::kMmapUnit));
  if (agent::is_error(at)) leave(1);
  return reinterpret_cast<std::byte*>(at);
}

bench::Shared& map_shared() {
  return *reinterpret_cast<bench::Shared*>(map(bench::kSharedFd, 0, bench::kSharedBytes));
}

/// A word of the auxiliary vector, 0 if it is not there. `stack`: argc, argv and a null, the
/// environment and a null, then pairs.
std::uintptr_t auxiliary(const std::uintptr_t* stack, std::uintptr_t type) {
  const std::uintptr_t* at = stack + 1 + *stack + 1;
  while (*at != 0) ++at;
  for (++at; at[0] != AT_NULL; at += 2) {
    if (at[0] == type) return at[1];
  }
  return 0;
}

void end_by_clock() {
  const std::uint64_t end = bench::read_counter();
  bench::Shared& shared = map_shared();
  std::uint64_t* const ticks = bench::place_now(shared, nullptr, nullptr).ticks;
  if (ticks == nullptr) leave(1);  // Not by clock.
  *ticks = end - shared.begin;
  shared.good = 1;
}

void end_by_mark(const char* word) {
  const long page = bench::map_mark_page(word);
  if (agent::is_error(page)) leave(1);
  bench::mark(reinterpret_cast<std::byte*>(page), sealvisor::protocol::Mark::End);
  map_shared().good = 1;
}

void call_vdso(const std::uintptr_t* stack) {
  bench::Shared& shared = map_shared();
  std::byte* const doorbell = map(bench::kDoorbellFd, shared.doorbell, bench::kPage);
  bench::Run run(shared, doorbell, reinterpret_cast<std::byte*>(&shared) + bench::kPage);
  const std::uintptr_t vdso = auxiliary(stack, AT_SYSINFO_EHDR);
  if (vdso == 0) leave(1);
  shared.good = bench::first_call(run, reinterpret_cast<bench::ClockGettime>(
                                           vdso + static_cast<std::uintptr_t>(shared.function)));
}

}  // namespace

extern "C" {

/// `stack`: as the kernel leaves it to a new program.
[[noreturn, gnu::used]] void sealvisor_start(const std::uintptr_t* stack) {
  const char* const word = reinterpret_cast<const char*>(stack[1]);
  switch (*word) {
    case 'c':
      end_by_clock();
      break;
    case 'd':
    case 's':
      end_by_mark(word);
      break;
    case 'f':
      call_vdso(stack);
      break;
    case 'x':
      break;
    default:
      leave(1);
  }
  leave(bench::kTargetExit);
}

void _start();
}

// At the start of a program: x86-64 psABI 3.4.1 (rsp), i386 psABI 2.3.1 (esp); arm64 and arm: sp
// (Arm SysV ABI supplement).
#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start, @function\n"
    "_start:\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call sealvisor_start\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start, %function\n"
    "_start:\n"
    "  mov x0, sp\n"
    "  bl sealvisor_start\n");
#elif defined(__i386__)
asm(".globl _start\n"
    ".type _start, @function\n"
    "_start:\n"
    "  mov %esp, %eax\n"
    "  and $-16, %esp\n"
    "  sub $12, %esp\n"
    "  push %eax\n"
    "  call sealvisor_start\n");
#elif defined(__arm__)
// As an Arm function, whatever the compiler makes of the others: the linker changes the state.
asm(".arm\n"
    ".balign 4\n"
    ".globl _start\n"
    ".type _start, %function\n"
    "_start:\n"
    "  mov r0, sp\n"
    "  bl sealvisor_start\n");
#else
#error "no start for this architecture"
#endif
