// Entry points that QEMU calls.
#include <memory>
#include <string>

#include "vmm/engine/tcg/counter/counter.h"

namespace {

using sealvisor::Fd;
using sealvisor::Mapping;
using namespace sealvisor::engine::tcg;  // NOLINT(google-build-using-namespace)

// Never destroyed on purpose: QEMU destroys a plugin's statics before it calls its atexit callback.
Counter* the_counter = nullptr;

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
    return refuse("counting needs system emulation with one vCPU");
  }
  const Fd ring_fd(options.value().ring_fd);
  auto mapped =
      Mapping::map(ring_fd, sealvisor::event::kRingBytes, PROT_READ | PROT_WRITE, "the event ring");
  if (!mapped) return refuse(mapped.error().message);
  const sealvisor::event::Ring ring(mapped.value().bytes());
  if (!ring.compatible()) return refuse("the event ring is of another version of sealvisor");
  const Fd table_fd(options.value().count_fd);
  auto table = Mapping::map(table_fd, options.value().count_bytes, PROT_READ, "table of places");
  if (!table) return refuse(table.error().message);
  if (!sealvisor::event::CountTable(table.value().bytes()).compatible()) {
    return refuse("the table of places is of another version of sealvisor");
  }
  // RAM is the VMM's to read.
  const Fd ram_fd(options.value().ram_fd);
  Channel channel(std::move(mapped).value(), ring, Fd(options.value().channel_fd));
  the_counter =
      std::make_unique<Counter>(id, options.value(), std::move(table).value(), std::move(channel))
          .release();
  qemu_plugin_register_vcpu_init_cb(
      id, [](qemu_plugin_id_t, unsigned vcpu) { the_counter->on_vcpu_init(vcpu); });
  return 0;
}

}  // extern "C"
