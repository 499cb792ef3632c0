// A plugin for the QEMU that emulates an x86-64 host: counts how often the guest in it enters user
// mode, and whether one of the planted traps ran just before. It knows nothing of the VMM.
//
// The guest runs from a `vmrun` of the host's kernel to the block behind it (AMD APM vol. 2, 15.5,
// "VMRUN Instruction"; 15.6, "#VMEXIT"). Its kernel is in the upper half once the first trap was
// planted, and what it enters in the lower half is user mode. A trap is `out 0xe6, al`
// (vmm/engine/kvm/x86_64/machine.cc), and between it and the return is nothing but padding.
//
// Option: out=FILE. Written at the end: "entries N untrapped N traps N first 0xPC".
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "vmm/engine/tcg/plugin/qemu_api.h"

namespace {

constexpr std::array<std::uint8_t, 3> kVmrun = {0x0f, 0x01, 0xd8};
constexpr std::array<std::uint8_t, 2> kTrap = {0xe6, 0xe6};
/// Blocks of kernel code from a trap to the return that it is for.
constexpr unsigned kNear = 3;

class EntryCounter {
 public:
  explicit EntryCounter(std::string out) : out_(std::move(out)) {}

  void on_vmrun(std::uint64_t gva) {
    in_guest_ = true;
    behind_vmrun_ = gva + kVmrun.size();
  }
  void on_trap() {
    if (!in_guest_) return;
    ++traps_;
    since_trap_ = 0;
  }
  void on_block(std::uint64_t gva) {
    if (!in_guest_) return;
    if (gva == behind_vmrun_) {
      in_guest_ = false;
      return;
    }
    const bool upper = gva >> 63 != 0;
    if (upper && since_trap_ <= kNear) ++since_trap_;
    if (!upper && was_upper_ && traps_ != 0) {
      ++entries_;
      if (since_trap_ > kNear) {
        if (untrapped_++ == 0) first_ = last_;
      }
      // One trap is for one return.
      since_trap_ = kNear + 1;
    }
    was_upper_ = upper;
    last_ = gva;
  }
  void end() const {
    std::ofstream(out_) << fmt::format("entries {} untrapped {} traps {} first {:#x}\n", entries_,
                                       untrapped_, traps_, first_);
  }

 private:
  std::string out_;
  bool in_guest_ = false;
  bool was_upper_ = false;
  std::uint64_t behind_vmrun_ = 0;
  std::uint64_t last_ = 0;
  unsigned since_trap_ = kNear + 1;
  std::uint64_t entries_ = 0;
  std::uint64_t untrapped_ = 0;
  std::uint64_t traps_ = 0;
  std::uint64_t first_ = 0;  ///< Block before the first entry without a trap.
};

// Never destroyed on purpose: QEMU destroys a plugin's statics before it calls its atexit callback.
EntryCounter* the_counter = nullptr;

std::uint64_t gva_of(void* userdata) { return reinterpret_cast<std::uintptr_t>(userdata); }

template <std::size_t N>
bool is(const qemu_plugin_insn* insn, const std::array<std::uint8_t, N>& bytes) {
  std::array<std::uint8_t, N> have{};
  return qemu_plugin_insn_size(insn) == N &&
         qemu_plugin_insn_data(insn, have.data(), have.size()) == N && have == bytes;
}

void on_translate(qemu_plugin_id_t /*id*/, qemu_plugin_tb* tb) {
  for (std::size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
    qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the value itself is what is passed.
    void* gva = reinterpret_cast<void*>(qemu_plugin_insn_vaddr(insn));
    const auto call = [&](qemu_plugin_vcpu_udata_cb_t callback) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, callback, QEMU_PLUGIN_CB_NO_REGS, gva);
    };
    if (i == 0) call([](unsigned, void* at) { the_counter->on_block(gva_of(at)); });
    if (is(insn, kVmrun)) call([](unsigned, void* at) { the_counter->on_vmrun(gva_of(at)); });
    if (is(insn, kTrap)) call([](unsigned, void*) { the_counter->on_trap(); });
  }
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int qemu_plugin_version = 4;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int argc,
                                                               char** argv) {
  constexpr std::string_view kOut = "out=";
  const std::string_view option = argc == 1 ? argv[0] : "";
  if (!option.starts_with(kOut) || std::string_view(info->target_name) != "x86_64") return 1;
  the_counter = std::make_unique<EntryCounter>(std::string(option.substr(kOut.size()))).release();
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_atexit_cb(
      id, [](qemu_plugin_id_t, void*) { the_counter->end(); }, nullptr);
  return 0;
}

}  // extern "C"
