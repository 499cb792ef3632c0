// System calls without the C library: no errno, no vdso, no wrapper that might use either. What a
// victim does after it lost its vdso goes this way.
#pragma once

#include <concepts>

namespace sealvisor::agent {

#if defined(__x86_64__) || defined(__aarch64__)

/// One system call; the result as the kernel returned it, -errno on failure.
/// Registers: x86-64 psABI, A.2.1; arm64: syscall(2), "Architecture calling conventions".
[[nodiscard, gnu::always_inline]] inline long raw_call(long number, long a = 0, long b = 0,
                                                       long c = 0, long d = 0, long e = 0,
                                                       long f = 0) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc #0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
#endif
}

#else

/// The same in a 32-bit process: syscall(2), "Architecture calling conventions". On x86 by `int
/// $0x80`, for the C library's way leads through the vdso.
[[nodiscard, gnu::always_inline]] inline long raw_call(long number, long a = 0, long b = 0,
                                                       long c = 0, long d = 0) {
#if defined(__i386__)
  long result;
  asm volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
  return result;
#elif defined(__arm__)
  register long r7 asm("r7") = number;
  register long r0 asm("r0") = a;
  register long r1 asm("r1") = b;
  register long r2 asm("r2") = c;
  register long r3 asm("r3") = d;
  asm volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
  return r0;
#else
#error "no raw system calls for this architecture"
#endif
}

/// With five or six arguments. The sixth of x86 is in the register of the frame pointer.
[[nodiscard, gnu::always_inline]] inline long raw_call(long number, long a, long b, long c, long d,
                                                       long e, long f = 0) {
#if defined(__i386__)
  long result;
  asm volatile("pushl %7\n push %%ebp\n mov 4(%%esp), %%ebp\n int $0x80\n pop %%ebp\n add $4, %%esp"
               : "=a"(result)
               : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "g"(f)
               : "memory", "cc");
  return result;
#else
  register long r7 asm("r7") = number;
  register long r0 asm("r0") = a;
  register long r1 asm("r1") = b;
  register long r2 asm("r2") = c;
  register long r3 asm("r3") = d;
  register long r4 asm("r4") = e;
  register long r5 asm("r5") = f;
  asm volatile("svc #0"
               : "+r"(r0)
               : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5)
               : "memory");
  return r0;
#endif
}

#endif

/// An address or a length as a system call argument.
[[nodiscard]] constexpr long arg(std::unsigned_integral auto value) {
  return static_cast<long>(value);
}
/// A pointer as a system call argument.
[[nodiscard]] inline long arg(const volatile void* pointer) {
  return reinterpret_cast<long>(pointer);
}

/// True if `result` is -errno (the kernel's IS_ERR_VALUE: -4095 to -1).
[[nodiscard]] constexpr bool is_error(long result) { return result < 0 && result >= -4095; }

}  // namespace sealvisor::agent
