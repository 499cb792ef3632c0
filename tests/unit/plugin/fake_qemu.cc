#include "tests/unit/plugin/fake_qemu.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

using sealvisor::test::FakeInstruction;
using sealvisor::test::FakeQemu;

// What QEMU keeps behind its handles; the names are those of the interface.

struct qemu_plugin_scoreboard {
  std::array<std::uint64_t, FakeQemu::kVcpus> words{};
};

struct qemu_plugin_register {
  std::string name;
};

struct qemu_plugin_hwaddr {
  std::uint64_t gpa = 0;
};

struct qemu_plugin_insn {
  FakeInstruction what;
  std::uint64_t vaddr = 0;
  std::vector<std::pair<qemu_plugin_vcpu_udata_cb_t, void*>> before;
  std::vector<std::pair<qemu_plugin_vcpu_mem_cb_t, void*>> after_store;
};

struct qemu_plugin_tb {
  struct Condition {
    qemu_plugin_vcpu_udata_cb_t call;
    qemu_plugin_u64 entry;
    std::uint64_t than;
    void* userdata;
  };
  std::uint64_t vaddr = 0;
  std::vector<qemu_plugin_insn> instructions;
  std::vector<std::pair<qemu_plugin_u64, std::uint64_t>> counts;
  std::vector<std::pair<qemu_plugin_vcpu_udata_cb_t, void*>> before;
  std::vector<Condition> conditions;
};

namespace sealvisor::test {
namespace {
constexpr unsigned kTold = 0;
}

FakeQemu& FakeQemu::get() {
  static FakeQemu qemu;
  return qemu;
}

void FakeQemu::on(unsigned vcpu, const std::function<void()>& what) {
  now_ = vcpu;
  what();
}

void FakeQemu::run(unsigned vcpu, std::uint64_t vaddr, std::vector<FakeInstruction> instructions,
                   const std::function<void(qemu_plugin_tb*)>& translate) {
  now_ = vcpu;
  qemu_plugin_tb block;
  block.vaddr = vaddr;
  for (FakeInstruction& one : instructions) {
    const std::size_t size = one.bytes.size();
    block.instructions.push_back({std::move(one), vaddr, {}, {}});
    vaddr += size;
  }
  translate(&block);
  for (const auto& [entry, add] : block.counts) entry.score->words[kTold] += add;
  for (const auto& [call, userdata] : block.before) call(kTold, userdata);
  for (const auto& condition : block.conditions) {
    if (condition.entry.score->words[kTold] != condition.than) {
      condition.call(kTold, condition.userdata);
    }
  }
  for (const qemu_plugin_insn& one : block.instructions) {
    for (const auto& [call, userdata] : one.before) call(kTold, userdata);
    if (!one.what.store) continue;
    storing_ = *one.what.store;
    std::memcpy(ram_ + storing_.gpa, &storing_.value, sizeof storing_.value);
    for (const auto& [call, userdata] : one.after_store) call(kTold, 0, storing_.vaddr, userdata);
  }
}

}  // namespace sealvisor::test

namespace {

/// Those that the monitor reads, of either architecture.
std::vector<qemu_plugin_register>& all_registers() {
  static std::vector<qemu_plugin_register> all = [] {
    std::vector<qemu_plugin_register> made;
    for (const char* name : {"rax",       "rcx",       "rdx",       "rbx",       "rsp",     "rbp",
                             "rsi",       "rdi",       "cr0",       "cr3",       "cr4",     "cs",
                             "efer",      "gs_base",   "k_gs_base", "TPIDR_EL1", "TCR_EL1", "SCTLR",
                             "TTBR0_EL1", "TTBR1_EL1", "SPSR_EL1",  "cpsr",      "sp"}) {
      made.push_back({name});
    }
    for (int i = 8; i < 16; ++i) made.push_back({"r" + std::to_string(i)});
    for (int i = 0; i < 31; ++i) made.push_back({"x" + std::to_string(i)});
    return made;
  }();
  return all;
}

std::array<std::uint8_t, 64> register_bytes;

}  // namespace

extern "C" {

GByteArray* g_byte_array_new() { return std::make_unique<GByteArray>().release(); }
GByteArray* g_byte_array_set_size(GByteArray* array, unsigned length) {
  array->len = length;
  return array;
}
char* g_array_free(GArray* /*array*/, int /*free_segment*/) { return nullptr; }

GArray* qemu_plugin_get_registers() {
  static std::vector<qemu_plugin_reg_descriptor> descriptors;
  static GArray array{};
  descriptors.clear();
  for (qemu_plugin_register& one : all_registers()) {
    descriptors.push_back({&one, one.name.c_str(), "fake"});
  }
  array.data = reinterpret_cast<char*>(descriptors.data());
  array.len = static_cast<unsigned>(descriptors.size());
  return &array;
}

int qemu_plugin_read_register(qemu_plugin_register* handle, GByteArray* buffer) {
  FakeQemu& qemu = FakeQemu::get();
  const std::uint64_t value = qemu.registers_[qemu.now_][handle->name];
  std::memcpy(register_bytes.data(), &value, sizeof value);
  buffer->data = register_bytes.data();
  buffer->len = sizeof value;
  return sizeof value;
}

qemu_plugin_scoreboard* qemu_plugin_scoreboard_new(std::size_t /*element_size*/) {
  return std::make_unique<qemu_plugin_scoreboard>().release();
}
void* qemu_plugin_scoreboard_find(qemu_plugin_scoreboard* score, unsigned vcpu) {
  return &score->words[vcpu];
}
std::uint64_t qemu_plugin_u64_get(qemu_plugin_u64 entry, unsigned vcpu) {
  return entry.score->words[vcpu];
}
void qemu_plugin_u64_set(qemu_plugin_u64 entry, unsigned vcpu, std::uint64_t value) {
  entry.score->words[vcpu] = value;
}

void qemu_plugin_register_vcpu_tb_exec_cb(qemu_plugin_tb* tb, qemu_plugin_vcpu_udata_cb_t cb,
                                          qemu_plugin_cb_flags /*flags*/, void* userdata) {
  tb->before.emplace_back(cb, userdata);
}
void qemu_plugin_register_vcpu_tb_exec_cond_cb(qemu_plugin_tb* tb, qemu_plugin_vcpu_udata_cb_t cb,
                                               qemu_plugin_cb_flags /*flags*/,
                                               qemu_plugin_cond /*cond*/, qemu_plugin_u64 entry,
                                               std::uint64_t imm, void* userdata) {
  tb->conditions.push_back({cb, entry, imm, userdata});
}
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(qemu_plugin_tb* tb, qemu_plugin_op /*op*/,
                                                       qemu_plugin_u64 entry, std::uint64_t imm) {
  tb->counts.emplace_back(entry, imm);
}
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn* insn, qemu_plugin_vcpu_udata_cb_t cb,
                                            qemu_plugin_cb_flags /*flags*/, void* userdata) {
  insn->before.emplace_back(cb, userdata);
}
void qemu_plugin_register_vcpu_mem_cb(qemu_plugin_insn* insn, qemu_plugin_vcpu_mem_cb_t cb,
                                      qemu_plugin_cb_flags /*flags*/, qemu_plugin_mem_rw /*rw*/,
                                      void* userdata) {
  insn->after_store.emplace_back(cb, userdata);
}

std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* tb) { return tb->instructions.size(); }
std::uint64_t qemu_plugin_tb_vaddr(const qemu_plugin_tb* tb) { return tb->vaddr; }
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb* tb, std::size_t index) {
  return const_cast<qemu_plugin_insn*>(&tb->instructions[index]);
}
std::size_t qemu_plugin_insn_data(const qemu_plugin_insn* insn, void* dest, std::size_t length) {
  const std::size_t size = std::min(length, insn->what.bytes.size());
  std::memcpy(dest, insn->what.bytes.data(), size);
  return size;
}
std::uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn* insn) { return insn->vaddr; }

unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t /*info*/) { return 3; }
qemu_plugin_mem_value qemu_plugin_mem_get_value(qemu_plugin_meminfo_t /*info*/) {
  qemu_plugin_mem_value value{};
  value.type = QEMU_PLUGIN_MEM_VALUE_U64;
  value.data.u64 = FakeQemu::get().storing_.value;
  return value;
}
qemu_plugin_hwaddr* qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t /*info*/,
                                           std::uint64_t /*vaddr*/) {
  static qemu_plugin_hwaddr hwaddr;
  hwaddr.gpa = FakeQemu::get().storing_.gpa;
  return &hwaddr;
}
bool qemu_plugin_hwaddr_is_io(const qemu_plugin_hwaddr* /*hwaddr*/) { return false; }
std::uint64_t qemu_plugin_hwaddr_phys_addr(const qemu_plugin_hwaddr* hwaddr) { return hwaddr->gpa; }

void qemu_plugin_outs(const char* string) { std::fputs(string, stderr); }

}  // extern "C"
