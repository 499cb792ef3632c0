// A guest without a kernel that asks its CPU what user mode may do: for each probed address it
// translates as EL0 would for a load and for a store (AT S1E0R, AT S1E0W; Arm ARM C5.5), and then
// jumps there at EL0, where `svc #0` waits if the address can be executed.
//
// The test appends tables and a list of addresses, and fills the last page: parameters.
// Entered at EL1 with the MMU off (Documentation/arch/arm64/booting.rst).

  .text
header:
  b start
  .word 0
  .quad 0                  // text_offset
  .quad 0x1000000          // image_size: not 0, so that text_offset counts
  .quad 2                  // flags: 4 KiB pages
  .quad 0, 0, 0
  .ascii "ARM\x64"
  .word 0

start:
  adr x19, parameters
  mov x0, #0xff            // attribute 0: normal memory; attribute 1: device
  msr mair_el1, x0
  ldr x0, [x19]
  msr tcr_el1, x0
  ldr x0, [x19, #8]
  msr ttbr0_el1, x0
  ldr x0, [x19, #16]
  msr ttbr1_el1, x0
  adr x0, vectors
  msr vbar_el1, x0
  isb
  mrs x0, sctlr_el1
  orr x0, x0, #1
  msr sctlr_el1, x0
  isb
  ldp x20, x21, [x19, #24] // addresses, how many
  ldr x22, [x19, #40]      // answers
next:
  cbz x21, done
  ldr x23, [x20], #8
  at s1e0r, x23
  isb
  mrs x0, par_el1
  at s1e0w, x23
  isb
  mrs x1, par_el1
  stp x0, x1, [x22]
  msr elr_el1, x23
  mov x0, #0x3c0           // EL0, exceptions masked
  msr spsr_el1, x0
  isb
  eret
from_user:
  mrs x0, esr_el1
  mrs x1, elr_el1
  stp x0, x1, [x22, #16]
  add x22, x22, #32
  sub x21, x21, #1
  b next
done:
  ldr x0, [x19, #40]
  mov x1, #0x0a000000      // the doorbell
  str x0, [x1]
off:
  mov w0, #0x8             // PSCI SYSTEM_OFF
  movk w0, #0x8400, lsl #16
  hvc #0
  b off

  .balign 2048
vectors:
  .rept 8                  // of EL1 itself: none is expected, and the doorbell is then never rung
  b off
  .balign 128
  .endr
  b from_user              // synchronous, from EL0
  .balign 128
  .rept 7
  b off
  .balign 128
  .endr

  .balign 4096
parameters:
  .fill 4096, 1, 0
