// Entry points that QEMU calls.
#include <memory>
#include <utility>

#include "vmm/engine/tcg/counter/counter.h"
#include "vmm/engine/tcg/plugin/entry.h"

namespace {

using sealvisor::Fd;
using sealvisor::Mapping;
using namespace sealvisor::engine::tcg;  // NOLINT(google-build-using-namespace)

// Never destroyed on purpose: QEMU destroys a plugin's statics before it calls its atexit callback.
Counter* the_counter = nullptr;

}  // namespace

extern "C" {

// Read by QEMU before it installs the plugin: the interface version this is written for.
__attribute__((visibility("default"))) int qemu_plugin_version = 4;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int argc,
                                                               char** argv) {
  // Its samples are of one CPU.
  const auto options = options_for(*info, argc, argv, 1);
  if (!options) return refuse(options.error().message);
  auto channel = open_channel(options.value());
  if (!channel) return refuse(channel.error().message);
  const Fd table_fd(options.value().count_fd);
  auto table = Mapping::map(table_fd, options.value().count_bytes, PROT_READ, "table of places");
  if (!table) return refuse(table.error().message);
  if (!sealvisor::event::CountTable(table.value().bytes()).compatible()) {
    return refuse("the table of places is of another version of sealvisor");
  }
  // RAM is the VMM's to read.
  const Fd ram_fd(options.value().ram_fd);
  the_counter = std::make_unique<Counter>(id, options.value(), std::move(table).value(),
                                          std::move(channel).value())
                    .release();
  qemu_plugin_register_vcpu_init_cb(
      id, [](qemu_plugin_id_t, unsigned vcpu) { the_counter->on_vcpu_init(vcpu); });
  return 0;
}

}  // extern "C"
