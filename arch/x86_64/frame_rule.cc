#include "arch/x86_64/frame_rule.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>

#include "arch/frame_walk.h"

namespace sealvisor::arch::x86_64 {

namespace {

constexpr std::size_t kMostBytes = 15;  // Intel SDM volume 2, 2.3.11
constexpr std::int64_t kWord = 8;

using Next = FrameStep::Next;

/// Owns a Capstone handle with details on, and one instruction of it.
class Decoder {
 public:
  Decoder() {
    good_ = cs_open(CS_ARCH_X86, CS_MODE_64, &handle_) == CS_ERR_OK &&
            cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK;
    if (good_) insn_ = cs_malloc(handle_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() {
    if (insn_ != nullptr) cs_free(insn_, 1);
    if (good_) cs_close(&handle_);
  }

  /// The instruction at `address`; nullptr: none. Valid until the next call.
  [[nodiscard]] const cs_insn* at(const CodeReader& code, std::uint64_t address) {
    if (insn_ == nullptr) return nullptr;
    std::array<std::uint8_t, kMostBytes> bytes{};
    std::size_t size = code.read(address, bytes);
    const std::uint8_t* from = bytes.data();
    return cs_disasm_iter(handle_, &from, &size, &address, insn_) ? insn_ : nullptr;
  }
  [[nodiscard]] bool in_group(unsigned group) const { return cs_insn_group(handle_, insn_, group); }
  /// Whether it writes `registers` in a way that no other case knows.
  [[nodiscard]] bool writes(std::span<const x86_reg> registers) const {
    cs_regs read{};
    cs_regs written{};
    std::uint8_t reads = 0;
    std::uint8_t writes = 0;
    if (cs_regs_access(handle_, insn_, read, &reads, written, &writes) != CS_ERR_OK) return true;
    return std::any_of(written, written + writes, [&](std::uint16_t one) {
      return std::find(registers.begin(), registers.end(), static_cast<x86_reg>(one)) !=
             registers.end();
    });
  }

 private:
  csh handle_ = 0;
  cs_insn* insn_ = nullptr;
  bool good_ = false;
};

constexpr std::array kSp = {X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL};
constexpr std::array kFp = {X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL};

/// The value of `operand`, if it is one that is followed.
Symbolic value_of(const FrameState& state, const cs_x86_op& operand) {
  if (operand.type == X86_OP_REG && operand.reg == X86_REG_RSP) return state.sp;
  if (operand.type == X86_OP_REG && operand.reg == X86_REG_RBP) return state.fp;
  return {};
}

/// base + displacement of a memory operand without an index.
Symbolic address_of(const FrameState& state, const cs_x86_op& operand) {
  const x86_op_mem& memory = operand.mem;
  if (memory.index != X86_REG_INVALID || memory.segment != X86_REG_INVALID) return {};
  if (memory.base == X86_REG_RSP) return plus(state.sp, memory.disp);
  if (memory.base == X86_REG_RBP) return plus(state.fp, memory.disp);
  return {};
}

Symbolic* followed(FrameState& state, const cs_x86_op& operand) {
  if (operand.type != X86_OP_REG) return nullptr;
  if (operand.reg == X86_REG_RSP) return &state.sp;
  if (operand.reg == X86_REG_RBP) return &state.fp;
  return nullptr;
}

void push(FrameState& state, Symbolic value) {
  state.sp = plus(state.sp, -kWord);
  store(state, state.sp, 0, value);
}

Symbolic pop(FrameState& state) {
  const Symbolic value = load(state, state.sp, 0);
  state.sp = plus(state.sp, kWord);
  return value;
}

/// Register to register, memory or constant: true if the instruction was one of those.
bool move_values(const cs_insn& insn, FrameState& state) {
  const cs_x86& x86 = insn.detail->x86;
  if (x86.op_count != 2) return false;
  const cs_x86_op& to = x86.operands[0];
  const cs_x86_op& from = x86.operands[1];
  Symbolic* const target = followed(state, to);
  switch (insn.id) {
    case X86_INS_MOV:
      if (target != nullptr) {
        *target = from.type == X86_OP_MEM ? load(state, address_of(state, from), 0)
                                          : value_of(state, from);
      } else if (to.type == X86_OP_MEM && to.size == kWord) {
        store(state, address_of(state, to), 0, value_of(state, from));
      }
      return true;
    case X86_INS_LEA:
      if (target == nullptr) return false;
      *target = address_of(state, from);
      // The return address was put in front of the aligned frame, a second time.
      state.realigned = target == &state.sp && from.mem.base == X86_REG_R10 &&
                        from.mem.disp == -kWord && state.realign.kind == Symbolic::Kind::FpWord;
      return true;
    case X86_INS_ADD:
    case X86_INS_SUB:
      if (target == nullptr || from.type != X86_OP_IMM) return false;
      *target = plus(*target, insn.id == X86_INS_ADD ? from.imm : -from.imm);
      return true;
    default:
      return false;
  }
}

/// What the instruction does to the stack; true if it was one of those.
bool move_stack(const cs_insn& insn, FrameState& state) {
  const cs_x86& x86 = insn.detail->x86;
  switch (insn.id) {
    case X86_INS_PUSH:
      push(state, x86.op_count == 1 ? value_of(state, x86.operands[0]) : Symbolic{});
      return true;
    case X86_INS_PUSHFQ:
      push(state, {});
      return true;
    case X86_INS_POPFQ:
      (void)pop(state);
      return true;
    case X86_INS_POP: {
      const Symbolic value = pop(state);
      if (x86.op_count != 1) return true;
      if (x86.operands[0].reg == X86_REG_R10) state.realign = value;
      if (Symbolic* const target = followed(state, x86.operands[0])) *target = value;
      return true;
    }
    case X86_INS_LEAVE:
      state.sp = state.fp;
      state.fp = pop(state);
      return true;
    default:
      return false;
  }
}

FrameStep step(Decoder& decoder, const CodeReader& code, std::uint64_t pc, FrameState& state) {
  const cs_insn* const insn = decoder.at(code, pc);
  if (insn == nullptr) return {};
  FrameStep result{Next::Behind, 0, insn->size};
  const cs_x86& x86 = insn->detail->x86;
  if (insn->id != X86_INS_RET) state.realigned = false;
  if (insn->id != X86_INS_RET && insn->id != X86_INS_POP && insn->id != X86_INS_LEA) {
    state.realign = {};
  }
  switch (insn->id) {
    case X86_INS_RET:
      result.next = Next::Return;
      return result;
    case X86_INS_IRETQ:
    case X86_INS_IRETD:
    case X86_INS_IRET:
    case X86_INS_SYSRET:
    case X86_INS_SYSEXIT:
      result.next = Next::Leave;
      return result;
    case X86_INS_UD2:
    case X86_INS_INT3:
    case X86_INS_HLT:
      result.next = Next::Stop;
      return result;
    case X86_INS_CALL:
      return result;
    default:
      break;
  }
  if (decoder.in_group(X86_GRP_JUMP)) {
    const bool direct = x86.op_count == 1 && x86.operands[0].type == X86_OP_IMM;
    if (insn->id == X86_INS_JMP) {
      result.next = direct ? Next::Jump : Next::Indirect;
    } else {
      result.next = Next::Branch;
    }
    if (direct) result.target = static_cast<std::uint64_t>(x86.operands[0].imm);
    return result;
  }
  if (move_stack(*insn, state) || move_values(*insn, state)) return result;
  if (decoder.writes(kSp)) state.sp = {};
  if (decoder.writes(kFp)) state.fp = {};
  return result;
}

FrameRule finish(const FrameState& state) {
  // push -8(%r10); push %rbp; mov %rsp, %rbp ... pop %r10 ... pop %rbp; lea -8(%r10), %rsp; ret
  if (state.realigned && state.fp == Symbolic{Symbolic::Kind::FpWord, 0}) {
    return {FrameRule::End::Returns, {Symbolic::Kind::FpWord, kWord}, state.realign, state.fp};
  }
  if (state.sp.kind == Symbolic::Kind::Unknown) return {};
  return {FrameRule::End::Returns, load(state, state.sp, 0), plus(state.sp, kWord), state.fp};
}

}  // namespace

FrameRule frame_rule(const CodeReader& code, std::uint64_t pc) {
  Decoder decoder;
  return follow(
      code, pc, [&](std::uint64_t at, FrameState& state) { return step(decoder, code, at, state); },
      finish);
}

bool follows_call(const CodeReader& code, std::uint64_t address) {
  // SDM volume 2, CALL: E8 with 4 bytes behind it; FF /2 with a register or memory operand.
  std::array<std::uint8_t, 8> before{};
  if (address < before.size() || code.read(address - before.size(), before) != before.size()) {
    return false;
  }
  if (before[3] == 0xE8) return true;
  for (std::size_t size = 2; size <= 7; ++size) {
    const std::uint8_t* const at = before.data() + before.size() - size;
    if (at[0] != 0xFF || (at[1] >> 3 & 7) != 2) continue;
    const unsigned mod = at[1] >> 6;
    const bool sib = mod != 3 && (at[1] & 7) == 4;
    const bool absolute = mod == 0 && ((at[1] & 7) == 5 || (sib && (at[2] & 7) == 5));
    const std::size_t displacement = mod == 1 ? 1 : mod == 2 || absolute ? 4 : 0;
    if (size == 2 + (sib ? 1 : 0) + displacement) return true;
  }
  return false;
}

}  // namespace sealvisor::arch::x86_64
