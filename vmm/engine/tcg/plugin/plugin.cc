// Entry points that QEMU calls.
#include <memory>
#include <utility>

#include "vmm/engine/tcg/plugin/entry.h"
#include "vmm/engine/tcg/plugin/monitor.h"

namespace {

using sealvisor::Fd;
using sealvisor::Mapping;
using namespace sealvisor::engine::tcg;  // NOLINT(google-build-using-namespace)

// Never destroyed on purpose: QEMU destroys a plugin's statics before it calls its atexit callback.
Monitor* the_monitor = nullptr;

}  // namespace

extern "C" {

// Read by QEMU before it installs the plugin: the interface version this is written for.
__attribute__((visibility("default"))) int qemu_plugin_version = 4;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int argc,
                                                               char** argv) {
  const auto options = options_for(*info, argc, argv, sealvisor::event::kMostVcpus);
  if (!options) return refuse(options.error().message);
  Fd ram_fd(options.value().ram_fd);
  auto ram = Mapping::map(ram_fd, options.value().ram_size, PROT_READ, "guest RAM");
  if (!ram) return refuse(ram.error().message);
  auto channel = open_channel(options.value());
  if (!channel) return refuse(channel.error().message);
  RamView view(std::move(ram).value(), std::move(ram_fd),
               sealvisor::arch::Gpa{options.value().ram_base});
  the_monitor =
      std::make_unique<Monitor>(options.value(), std::move(view), std::move(channel).value())
          .release();
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
