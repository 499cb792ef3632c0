// Store instructions of x86-64 (Intel SDM vol. 2), one function each, for user mode and for the
// kernel, which gets a copy (facility.h): no address but those of the arguments, no stack but where
// said, nothing that needs more than the registers that a call may change.
//
//   way(at, bytes)   rdi, rsi: leaves at `at` the first bytes of `bytes`, by one store instruction
//
// at the label way_NAME_store. What the instruction needs of old and new content says
// store_ways_x86_64.cc.

.section .text.store_ways, "ax", @progbits
.balign 4096
.globl store_ways_begin
store_ways_begin:

.macro way name
  .balign 16
  .globl way_\name
  .type way_\name, @function
  way_\name:
  endbr64
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

// General registers.
.macro load1
  movb (%rsi), %al
.endm
.macro load2
  movw (%rsi), %ax
.endm
.macro load4
  movl (%rsi), %eax
.endm
.macro load8
  movq (%rsi), %rax
.endm
moves mov_1, load1, movb %al, (%rdi)
moves mov_2, load2, movw %ax, (%rdi)
moves mov_4, load4, movl %eax, (%rdi)
moves mov_8, load8, movq %rax, (%rdi)
moves movnti_4, load4, movnti %eax, (%rdi)
moves movnti_8, load8, movnti %rax, (%rdi)
moves movbe_2, "movbew (%rsi), %ax", movbew %ax, (%rdi)
moves movbe_4, "movbel (%rsi), %eax", movbel %eax, (%rdi)
moves movbe_8, "movbeq (%rsi), %rax", movbeq %rax, (%rdi)
moves xchg_1, load1, xchgb %al, (%rdi)
moves xchg_2, load2, xchgw %ax, (%rdi)
moves xchg_4, load4, xchgl %eax, (%rdi)
moves xchg_8, load8, xchgq %rax, (%rdi)
// One byte that is 0 or 1.
moves sete_1, "cmpb $1, (%rsi)", sete (%rdi)

// The stack is somewhere else for one instruction: nothing may interrupt the kernel meanwhile.
.macro on_stack name, width, instruction:vararg
  way \name
  movq (%rsi), %rcx
  movq %rsp, %rax
  leaq \width(%rdi), %rsp
  stores \name, \instruction
  movq %rax, %rsp
  ends \name
.endm
on_stack push_2, 2, pushw %cx
on_stack push_8, 8, pushq %rcx
on_stack push_8_memory, 8, pushq (%rsi)
way enter_8
  movq %rsp, %rax
  movq %rbp, %rcx
  movq (%rsi), %rbp
  leaq 8(%rdi), %rsp
  stores enter_8, enterq $0, $0
  movq %rax, %rsp
  movq %rcx, %rbp
  ends enter_8
way pop_8
  pushq (%rsi)
  stores pop_8, popq (%rdi)
  ends pop_8

// What is there becomes what is wanted by a difference.
.macro difference size, a, bytes:vararg
  mov\size (%rsi), \a
  sub\size (%rdi), \a
.endm
moves add_8, "difference q, %rax", addq %rax, (%rdi)
moves lock_add_1, "difference b, %al", lock addb %al, (%rdi)
moves lock_add_8, "difference q, %rax", lock addq %rax, (%rdi)
moves xadd_8, "difference q, %rax", xaddq %rax, (%rdi)
moves lock_xadd_1, "difference b, %al", lock xaddb %al, (%rdi)
moves lock_xadd_2, "difference w, %ax", lock xaddw %ax, (%rdi)
moves lock_xadd_4, "difference l, %eax", lock xaddl %eax, (%rdi)
moves lock_xadd_8, "difference q, %rax", lock xaddq %rax, (%rdi)
.macro with_carry_clear
  movq (%rsi), %rax
  subq (%rdi), %rax
  clc
.endm
moves adc_8, with_carry_clear, adcq %rax, (%rdi)
.macro other_difference
  movq (%rdi), %rax
  subq (%rsi), %rax
  clc
.endm
moves sub_8, other_difference, subq %rax, (%rdi)
moves lock_sub_8, other_difference, lock subq %rax, (%rdi)
moves sbb_8, other_difference, sbbq %rax, (%rdi)
.macro bits_that_differ
  movq (%rsi), %rax
  xorq (%rdi), %rax
.endm
moves xor_8, bits_that_differ, xorq %rax, (%rdi)
moves lock_xor_8, bits_that_differ, lock xorq %rax, (%rdi)
// Bits are only set, or only cleared.
moves or_8, load8, orq %rax, (%rdi)
moves lock_or_1, load1, lock orb %al, (%rdi)
moves lock_or_8, load8, lock orq %rax, (%rdi)
moves and_8, load8, andq %rax, (%rdi)
moves lock_and_1, load1, lock andb %al, (%rdi)
moves lock_and_8, load8, lock andq %rax, (%rdi)
// One bit.
.macro number_of_bit
  movq (%rsi), %rax
  xorq (%rdi), %rax
  bsfq %rax, %rax
.endm
moves bts_8, number_of_bit, btsq %rax, (%rdi)
moves lock_bts_8, number_of_bit, lock btsq %rax, (%rdi)
moves btr_8, number_of_bit, btrq %rax, (%rdi)
moves lock_btr_8, number_of_bit, lock btrq %rax, (%rdi)
moves btc_8, number_of_bit, btcq %rax, (%rdi)
moves lock_btc_8, number_of_bit, lock btcq %rax, (%rdi)

// Compare and exchange, with what is there.
.macro expected1
  movb (%rsi), %cl
  movb (%rdi), %al
.endm
.macro expected2
  movw (%rsi), %cx
  movw (%rdi), %ax
.endm
.macro expected4
  movl (%rsi), %ecx
  movl (%rdi), %eax
.endm
.macro expected8
  movq (%rsi), %rcx
  movq (%rdi), %rax
.endm
moves cmpxchg_8, expected8, cmpxchgq %rcx, (%rdi)
moves lock_cmpxchg_1, expected1, lock cmpxchgb %cl, (%rdi)
moves lock_cmpxchg_2, expected2, lock cmpxchgw %cx, (%rdi)
moves lock_cmpxchg_4, expected4, lock cmpxchgl %ecx, (%rdi)
moves lock_cmpxchg_8, expected8, lock cmpxchgq %rcx, (%rdi)
way lock_cmpxchg8b
  movq %rbx, %r8
  movl (%rsi), %ebx
  movl 4(%rsi), %ecx
  movl (%rdi), %eax
  movl 4(%rdi), %edx
  stores lock_cmpxchg8b, lock cmpxchg8b (%rdi)
  movq %r8, %rbx
  ends lock_cmpxchg8b
way lock_cmpxchg16b
  movq %rbx, %r8
  movq (%rsi), %rbx
  movq 8(%rsi), %rcx
  movq (%rdi), %rax
  movq 8(%rdi), %rdx
  stores lock_cmpxchg16b, lock cmpxchg16b (%rdi)
  movq %r8, %rbx
  ends lock_cmpxchg16b
// With what is not there: nothing changes.
.macro unexpected
  movq (%rsi), %rcx
  movq (%rdi), %rax
  notq %rax
.endm
moves cmpxchg_8_failed, unexpected, cmpxchgq %rcx, (%rdi)
moves lock_cmpxchg_8_failed, unexpected, lock cmpxchgq %rcx, (%rdi)

// Strings.
moves stosb, load1, stosb
moves stosw, load2, stosw
moves stosd, load4, stosl
moves stosq, load8, stosq
moves rep_stosb, "movb (%rsi), %al; movl $1, %ecx", rep stosb
moves rep_stosq, "movq (%rsi), %rax; movl $1, %ecx", rep stosq
way rep_stosq_down
  movq (%rsi), %rax
  movl $1, %ecx
  std
  stores rep_stosq_down, rep stosq
  cld
  ends rep_stosq_down
.macro nothing
.endm
moves movsb, nothing, movsb
moves movsw, nothing, movsw
moves movsd_string, nothing, movsl
moves movsq, nothing, movsq
moves rep_movsb, "movl $1, %ecx", rep movsb
moves rep_movsq, "movl $2, %ecx", rep movsq

// x87 and MMX: 80-bit numbers and whole ones keep every bit.
moves fstp_4, "flds (%rsi)", fstps (%rdi)
moves fstp_8, "fldl (%rsi)", fstpl (%rdi)
moves fstp_10, "fldt (%rsi)", fstpt (%rdi)
moves fistp_2, "filds (%rsi)", fistps (%rdi)
moves fistp_4, "fildl (%rsi)", fistpl (%rdi)
moves fistp_8, "fildq (%rsi)", fistpq (%rdi)
moves fisttp_2, "filds (%rsi)", fisttps (%rdi)
moves fisttp_4, "fildl (%rsi)", fisttpl (%rdi)
moves fisttp_8, "fildq (%rsi)", fisttpq (%rdi)
way fst_8
  fldl (%rsi)
  stores fst_8, fstl (%rdi)
  fstp %st(0)
  ends fst_8
.macro mmx name, instruction:vararg
  way \name
  movq (%rsi), %mm0
  stores \name, \instruction
  emms
  ends \name
.endm
mmx movq_mmx, movq %mm0, (%rdi)
mmx movntq, movntq %mm0, (%rdi)
mmx movd_mmx, movd %mm0, (%rdi)
way maskmovq_8
  movq (%rsi), %mm0
  pcmpeqd %mm1, %mm1
  stores maskmovq_8, maskmovq %mm1, %mm0
  emms
  ends maskmovq_8

// SSE.
.macro sse
  movdqu (%rsi), %xmm0
.endm
.macro sse8
  movq (%rsi), %xmm0
.endm
.macro sse4
  movd (%rsi), %xmm0
.endm
moves movd_4, sse4, movd %xmm0, (%rdi)
moves movq_8, sse8, movq %xmm0, (%rdi)
moves movss_4, sse4, movss %xmm0, (%rdi)
moves movsd_8, sse8, movsd %xmm0, (%rdi)
moves movntss_4, sse4, movntss %xmm0, (%rdi)
moves movntsd_8, sse8, movntsd %xmm0, (%rdi)
moves movlps_8, sse8, movlps %xmm0, (%rdi)
moves movlpd_8, sse8, movlpd %xmm0, (%rdi)
moves movhps_8, "movhps (%rsi), %xmm0", movhps %xmm0, (%rdi)
moves movhpd_8, "movhpd (%rsi), %xmm0", movhpd %xmm0, (%rdi)
moves movaps_16, sse, movaps %xmm0, (%rdi)
moves movapd_16, sse, movapd %xmm0, (%rdi)
moves movups_16, sse, movups %xmm0, (%rdi)
moves movupd_16, sse, movupd %xmm0, (%rdi)
moves movdqa_16, sse, movdqa %xmm0, (%rdi)
moves movdqu_16, sse, movdqu %xmm0, (%rdi)
moves movntps_16, sse, movntps %xmm0, (%rdi)
moves movntpd_16, sse, movntpd %xmm0, (%rdi)
moves movntdq_16, sse, movntdq %xmm0, (%rdi)
moves maskmovdqu_16, "movdqu (%rsi), %xmm0; pcmpeqd %xmm1, %xmm1", maskmovdqu %xmm1, %xmm0
moves pextrb_1, "pinsrb $3, (%rsi), %xmm0", pextrb $3, %xmm0, (%rdi)
moves pextrw_2, "pinsrw $3, (%rsi), %xmm0", pextrw $3, %xmm0, (%rdi)
moves pextrd_4, "pinsrd $3, (%rsi), %xmm0", pextrd $3, %xmm0, (%rdi)
moves pextrq_8, "pinsrq $1, (%rsi), %xmm0", pextrq $1, %xmm0, (%rdi)
moves extractps_4, "pinsrd $2, (%rsi), %xmm0", extractps $2, %xmm0, (%rdi)

// AVX.
.macro avx name, instruction:vararg
  way \name
  vmovdqu (%rsi), %ymm0
  vpcmpeqd %xmm1, %xmm1, %xmm1
  vinsertf128 $1, %xmm1, %ymm1, %ymm1
  stores \name, \instruction
  vzeroupper
  ends \name
.endm
avx vmovd_4, vmovd %xmm0, (%rdi)
avx vmovq_8, vmovq %xmm0, (%rdi)
avx vmovaps_32, vmovaps %ymm0, (%rdi)
avx vmovups_32, vmovups %ymm0, (%rdi)
avx vmovdqa_32, vmovdqa %ymm0, (%rdi)
avx vmovdqu_32, vmovdqu %ymm0, (%rdi)
avx vmovntdq_32, vmovntdq %ymm0, (%rdi)
avx vmovntps_32, vmovntps %ymm0, (%rdi)
avx vextractf128_16, vextractf128 $0, %ymm0, (%rdi)
avx vmaskmovps_32, vmaskmovps %ymm0, %ymm1, (%rdi)
avx vmaskmovpd_32, vmaskmovpd %ymm0, %ymm1, (%rdi)
avx vextracti128_16, vextracti128 $0, %ymm0, (%rdi)
// Half-precision numbers, through single precision and back.
way vcvtps2ph_8
  vcvtph2ps (%rsi), %xmm0
  stores vcvtps2ph_8, vcvtps2ph $0, %xmm0, (%rdi)
  vzeroupper
  ends vcvtps2ph_8
avx vpmaskmovd_32, vpmaskmovd %ymm0, %ymm1, (%rdi)
avx vpmaskmovq_32, vpmaskmovq %ymm0, %ymm1, (%rdi)

.balign 4096
.globl store_ways_end
store_ways_end:

// call_on_stack(function, argument, top): as a call, on another stack.
.section .text.call_on_stack, "ax", @progbits
.globl call_on_stack
.type call_on_stack, @function
call_on_stack:
  endbr64
  pushq %rbp
  movq %rsp, %rbp
  movq %rdx, %rsp
  movq %rdi, %rax
  movq %rsi, %rdi
  call *%rax
  movq %rbp, %rsp
  popq %rbp
  ret
.size call_on_stack, . - call_on_stack

.section .note.GNU-stack, "", @progbits
