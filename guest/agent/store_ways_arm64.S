// Store instructions of AArch64 (Arm ARM C6.2, C7.2), one function each, for user mode and for the
// kernel, which gets a copy (facility.h): no address but those of the arguments, no stack, nothing
// that needs more than the registers that a call may change.
//
//   way(at, bytes)   x0, x1: leaves at `at` the first bytes of `bytes`, by one store instruction
//
// at the label way_NAME_store. What the instruction needs of old and new content says
// store_ways_arm64.cc.

.arch armv8-a+lse

.section .text.store_ways, "ax", @progbits
.balign 4096
.globl store_ways_begin
store_ways_begin:

.macro way name
  .balign 16
  .globl way_\name
  .type way_\name, %function
  way_\name:
  hint #34
.endm
// The instruction that stores.
.macro stores name, instruction:vararg
  .globl way_\name\()_store
  way_\name\()_store:
  \instruction
.endm
.macro ends name
  ret
  .size way_\name, . - way_\name
.endm
// A store of what `load` has put into a register.
.macro moves name, load, instruction:vararg
  way \name
  \load
  stores \name, \instruction
  ends \name
.endm

// One general register.
moves strb, "ldrb w2, [x1]", strb w2, [x0]
moves strh, "ldrh w2, [x1]", strh w2, [x0]
moves str_w, "ldr w2, [x1]", str w2, [x0]
moves str_x, "ldr x2, [x1]", str x2, [x0]
moves str_x_post, "ldr x2, [x1]", str x2, [x0], #8
moves str_x_pre, "ldr x2, [x1]; sub x0, x0, #8", str x2, [x0, #8]!
moves str_x_register, "ldr x2, [x1]; sub x0, x0, #64; mov x3, #8", str x2, [x0, x3, lsl #3]
moves sturb, "ldrb w2, [x1]; sub x0, x0, #3", sturb w2, [x0, #3]
moves sturh, "ldrh w2, [x1]; sub x0, x0, #3", sturh w2, [x0, #3]
moves stur_w, "ldr w2, [x1]; sub x0, x0, #3", stur w2, [x0, #3]
moves stur_x, "ldr x2, [x1]; sub x0, x0, #3", stur x2, [x0, #3]
moves sttrb, "ldrb w2, [x1]", sttrb w2, [x0]
moves sttrh, "ldrh w2, [x1]", sttrh w2, [x0]
moves sttr_w, "ldr w2, [x1]", sttr w2, [x0]
moves sttr_x, "ldr x2, [x1]", sttr x2, [x0]
moves stlrb, "ldrb w2, [x1]", stlrb w2, [x0]
moves stlrh, "ldrh w2, [x1]", stlrh w2, [x0]
moves stlr_w, "ldr w2, [x1]", stlr w2, [x0]
moves stlr_x, "ldr x2, [x1]", stlr x2, [x0]

// Two.
moves stp_w, "ldp w2, w3, [x1]", stp w2, w3, [x0]
moves stp_x, "ldp x2, x3, [x1]", stp x2, x3, [x0]
moves stp_x_post, "ldp x2, x3, [x1]", stp x2, x3, [x0], #16
moves stp_x_pre, "ldp x2, x3, [x1]; sub x0, x0, #16", stp x2, x3, [x0, #16]!
moves stnp_w, "ldp w2, w3, [x1]", stnp w2, w3, [x0]
moves stnp_x, "ldp x2, x3, [x1]", stnp x2, x3, [x0]
moves stp_s, "ldp s0, s1, [x1]", stp s0, s1, [x0]
moves stp_d, "ldp d0, d1, [x1]", stp d0, d1, [x0]
moves stp_q, "ldp q0, q1, [x1]", stp q0, q1, [x0]
moves stnp_s, "ldp s0, s1, [x1]", stnp s0, s1, [x0]
moves stnp_d, "ldp d0, d1, [x1]", stnp d0, d1, [x0]
moves stnp_q, "ldp q0, q1, [x1]", stnp q0, q1, [x0]

// One vector register, and parts of it.
moves str_b, "ldr b0, [x1]", str b0, [x0]
moves str_h, "ldr h0, [x1]", str h0, [x0]
moves str_s, "ldr s0, [x1]", str s0, [x0]
moves str_d, "ldr d0, [x1]", str d0, [x0]
moves str_q, "ldr q0, [x1]", str q0, [x0]
moves str_q_post, "ldr q0, [x1]", str q0, [x0], #16
moves stur_q, "ldr q0, [x1]; sub x0, x0, #3", stur q0, [x0, #3]
moves st1_lane_b, "ld1 {v0.b}[3], [x1]", st1 {v0.b}[3], [x0]
moves st1_lane_h, "ld1 {v0.h}[3], [x1]", st1 {v0.h}[3], [x0]
moves st1_lane_s, "ld1 {v0.s}[3], [x1]", st1 {v0.s}[3], [x0]
moves st1_lane_d, "ld1 {v0.d}[1], [x1]", st1 {v0.d}[1], [x0]

// One to four of them, side by side and woven.
moves st1_16, "ld1 {v0.2d}, [x1]", st1 {v0.2d}, [x0]
moves st1_16_post, "ld1 {v0.2d}, [x1]", st1 {v0.2d}, [x0], #16
moves st1_32, "ld1 {v0.2d-v1.2d}, [x1]", st1 {v0.2d-v1.2d}, [x0]
moves st1_48, "ld1 {v0.2d-v2.2d}, [x1]", st1 {v0.2d-v2.2d}, [x0]
moves st1_64, "ld1 {v0.2d-v3.2d}, [x1]", st1 {v0.2d-v3.2d}, [x0]
moves st2_32, "ld2 {v0.2d-v1.2d}, [x1]", st2 {v0.2d-v1.2d}, [x0]
moves st3_48, "ld3 {v0.2d-v2.2d}, [x1]", st3 {v0.2d-v2.2d}, [x0]
moves st4_64, "ld4 {v0.2d-v3.2d}, [x1]", st4 {v0.2d-v3.2d}, [x0]
moves st2_lane_d, "ld2 {v0.d-v1.d}[1], [x1]", st2 {v0.d-v1.d}[1], [x0]
moves st3_lane_d, "ld3 {v0.d-v2.d}[1], [x1]", st3 {v0.d-v2.d}[1], [x0]
moves st4_lane_d, "ld4 {v0.d-v3.d}[1], [x1]", st4 {v0.d-v3.d}[1], [x0]

// Exclusives, tried until they store: one that fails stores nothing.
.macro exclusive name, value, load, store:vararg
  way \name
  \value
  1: \load
  stores \name, \store
  cbnz w6, 1b
  ends \name
.endm
exclusive stxrb, "ldrb w2, [x1]", "ldxrb w4, [x0]", stxrb w6, w2, [x0]
exclusive stxrh, "ldrh w2, [x1]", "ldxrh w4, [x0]", stxrh w6, w2, [x0]
exclusive stxr_w, "ldr w2, [x1]", "ldxr w4, [x0]", stxr w6, w2, [x0]
exclusive stxr_x, "ldr x2, [x1]", "ldxr x4, [x0]", stxr w6, x2, [x0]
exclusive stlxrb, "ldrb w2, [x1]", "ldaxrb w4, [x0]", stlxrb w6, w2, [x0]
exclusive stlxrh, "ldrh w2, [x1]", "ldaxrh w4, [x0]", stlxrh w6, w2, [x0]
exclusive stlxr_w, "ldr w2, [x1]", "ldaxr w4, [x0]", stlxr w6, w2, [x0]
exclusive stlxr_x, "ldr x2, [x1]", "ldaxr x4, [x0]", stlxr w6, x2, [x0]
exclusive stxp_w, "ldp w2, w3, [x1]", "ldxp w4, w5, [x0]", stxp w6, w2, w3, [x0]
exclusive stxp_x, "ldp x2, x3, [x1]", "ldxp x4, x5, [x0]", stxp w6, x2, x3, [x0]
exclusive stlxp_x, "ldp x2, x3, [x1]", "ldaxp x4, x5, [x0]", stlxp w6, x2, x3, [x0]

// LSE: compare and swap with what is there, swap.
moves casb, "ldrb w2, [x1]; ldrb w3, [x0]", casb w3, w2, [x0]
moves cash, "ldrh w2, [x1]; ldrh w3, [x0]", cash w3, w2, [x0]
moves cas_w, "ldr w2, [x1]; ldr w3, [x0]", cas w3, w2, [x0]
moves cas_x, "ldr x2, [x1]; ldr x3, [x0]", cas x3, x2, [x0]
moves casal_x, "ldr x2, [x1]; ldr x3, [x0]", casal x3, x2, [x0]
moves casp_w, "ldp w2, w3, [x1]; ldp w4, w5, [x0]", casp w4, w5, w2, w3, [x0]
moves caspal_x, "ldp x2, x3, [x1]; ldp x4, x5, [x0]", caspal x4, x5, x2, x3, [x0]
// With what is not there: nothing changes.
moves cas_x_failed, "ldr x2, [x1]; ldr x3, [x0]; mvn x3, x3", cas x3, x2, [x0]
moves casal_x_failed, "ldr x2, [x1]; ldr x3, [x0]; mvn x3, x3", casal x3, x2, [x0]
moves swpb, "ldrb w2, [x1]", swpb w2, w3, [x0]
moves swph, "ldrh w2, [x1]", swph w2, w3, [x0]
moves swp_w, "ldr w2, [x1]", swp w2, w3, [x0]
moves swp_x, "ldr x2, [x1]", swp x2, x3, [x0]
moves swpal_x, "ldr x2, [x1]", swpal x2, x3, [x0]

// LSE: arithmetic. What is there becomes what is wanted.
.macro difference
  ldr x2, [x1]
  ldr x3, [x0]
  sub x2, x2, x3
.endm
.macro difference_w
  ldr w2, [x1]
  ldr w3, [x0]
  sub w2, w2, w3
.endm
.macro bits_that_differ
  ldr x2, [x1]
  ldr x3, [x0]
  eor x2, x2, x3
.endm
.macro bits_that_go
  ldr x2, [x1]
  mvn x2, x2
.endm
moves ldaddb, "ldrb w2, [x1]; ldrb w3, [x0]; sub w2, w2, w3", ldaddb w2, w3, [x0]
moves ldaddh, "ldrh w2, [x1]; ldrh w3, [x0]; sub w2, w2, w3", ldaddh w2, w3, [x0]
moves ldadd_w, difference_w, ldadd w2, w3, [x0]
moves ldaddal_x, difference, ldaddal x2, x3, [x0]
moves stadd_w, difference_w, stadd w2, [x0]
moves stadd_x, difference, stadd x2, [x0]
moves ldeor_x, bits_that_differ, ldeor x2, x3, [x0]
moves ldeoral_x, bits_that_differ, ldeoral x2, x3, [x0]
moves steor_x, bits_that_differ, steor x2, [x0]
// Bits are only set, or only cleared.
moves ldset_x, "ldr x2, [x1]", ldset x2, x3, [x0]
moves ldsetal_x, "ldr x2, [x1]", ldsetal x2, x3, [x0]
moves stset_x, "ldr x2, [x1]", stset x2, [x0]
moves ldclr_x, bits_that_go, ldclr x2, x3, [x0]
moves ldclral_x, bits_that_go, ldclral x2, x3, [x0]
moves stclr_x, bits_that_go, stclr x2, [x0]
// The number is only greater, or only less.
moves ldumax_x, "ldr x2, [x1]", ldumax x2, x3, [x0]
moves ldumin_x, "ldr x2, [x1]", ldumin x2, x3, [x0]
moves ldsmax_x, "ldr x2, [x1]", ldsmax x2, x3, [x0]
moves ldsmin_x, "ldr x2, [x1]", ldsmin x2, x3, [x0]

// Nothing but zeroes, 64 bytes of them on the CPUs that are used.
.macro nothing
.endm
moves dc_zva, nothing, dc zva, x0

.balign 4096
.globl store_ways_end
store_ways_end:

// call_on_stack(function, argument, top): as a call, on another stack.
.section .text.call_on_stack, "ax", @progbits
.globl call_on_stack
.type call_on_stack, %function
call_on_stack:
  hint #34
  stp x29, x30, [sp, #-16]!
  mov x29, sp
  mov sp, x2
  mov x9, x0
  mov x0, x1
  blr x9
  mov sp, x29
  ldp x29, x30, [sp], #16
  ret
.size call_on_stack, . - call_on_stack

.section .note.GNU-stack, "", %progbits
