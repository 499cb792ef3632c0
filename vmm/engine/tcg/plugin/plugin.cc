// Entry points that QEMU calls.
#include <memory>
#include <string>

#include "vmm/engine/tcg/plugin/monitor.h"

namespace {

using sealvisor::Fd;
using sealvisor::Mapping;
using namespace sealvisor::engine::tcg;  // NOLINT(google-build-using-namespace)

// Never destroyed on purpose: QEMU destroys a plugin's statics before it calls its atexit callback.
Monitor* the_monitor = nullptr;

int refuse(const std::string& message) {
  qemu_plugin_outs(("sealvisor: " + message + "\n").c_str());
  return 1;
}

}  // namespace

extern "C" {

// Read by QEMU before it installs the plugin: the interface version this is written for.
__attribute__((visibility("default"))) int qemu_plugin_version = 4;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int argc,
                                                               char** argv) {
  auto options = parse_plugin_options(argc, argv);
  if (!options) return refuse(options.error().message);
  const std::string target = info->target_name;
  const bool x86 = options.value().arch == sealvisor::arch::Arch::X86_64;
  if (target != (x86 ? "x86_64" : "aarch64")) {
    return refuse("plugin option arch does not fit QEMU target " + target);
  }
  if (!info->system_emulation || info->system.smp_vcpus != 1) {
    return refuse("the monitor needs system emulation with one vCPU");
  }
  Fd ram_fd(options.value().ram_fd);
  auto ram = Mapping::map(ram_fd, options.value().ram_size, PROT_READ, "guest RAM");
  if (!ram) return refuse(ram.error().message);
  const Fd ring_fd(options.value().ring_fd);
  auto mapped =
      Mapping::map(ring_fd, sealvisor::event::kRingBytes, PROT_READ | PROT_WRITE, "the event ring");
  if (!mapped) return refuse(mapped.error().message);
  const sealvisor::event::Ring ring(mapped.value().bytes());
  if (!ring.compatible()) return refuse("the event ring is of another version of sealvisor");

  RamView view(std::move(ram).value(), std::move(ram_fd),
               sealvisor::arch::Gpa{options.value().ram_base});
  Channel channel(std::move(mapped).value(), ring, Fd(options.value().channel_fd));
  the_monitor =
      std::make_unique<Monitor>(options.value(), std::move(view), std::move(channel)).release();
  qemu_plugin_register_vcpu_init_cb(
      id, [](qemu_plugin_id_t, unsigned vcpu) { the_monitor->on_vcpu_init(vcpu); });
  qemu_plugin_register_vcpu_tb_trans_cb(
      id, [](qemu_plugin_id_t, qemu_plugin_tb* tb) { the_monitor->on_translate(tb); });
  qemu_plugin_register_flush_cb(id, [](qemu_plugin_id_t) { the_monitor->on_flush(); });
  qemu_plugin_register_atexit_cb(
      id, [](qemu_plugin_id_t, void*) { the_monitor->end(); }, nullptr);
  return 0;
}

}  // extern "C"
