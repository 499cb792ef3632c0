#include "vmm/engine/tcg/plugin/entry.h"

#include <string_view>
#include <utility>

#include "vmm/base/fd.h"
#include "vmm/event/ring.h"

namespace sealvisor::engine::tcg {

int refuse(const std::string& message) {
  qemu_plugin_outs(("sealvisor: " + message + "\n").c_str());
  return 1;
}

Result<PluginOptions> options_for(const qemu_info_t& info, int argc, char** argv,
                                  unsigned most_vcpus) {
  auto options = parse_plugin_options(argc, argv);
  if (!options) return options;
  const std::string_view target = info.target_name;
  const bool x86 = options.value().arch == arch::Arch::X86_64;
  if (target != (x86 ? "x86_64" : "aarch64")) {
    return Error{ExitCode::Usage,
                 "plugin option arch does not fit QEMU target " + std::string(target)};
  }
  // max_vcpus: none may be added later.
  const int vcpus = info.system_emulation ? info.system.max_vcpus : 0;
  if (vcpus < 1 || vcpus > static_cast<int>(most_vcpus)) {
    return Error{ExitCode::Usage, "the plugin needs system emulation with 1 to " +
                                      std::to_string(most_vcpus) + " vCPUs"};
  }
  options.value().vcpus = static_cast<unsigned>(vcpus);
  return options;
}

Result<Channel> open_channel(const PluginOptions& options) {
  const Fd ring_fd(options.ring_fd);
  Fd socket(options.channel_fd);
  auto mapped = Mapping::map(ring_fd, event::kRingBytes, PROT_READ | PROT_WRITE, "the event ring");
  if (!mapped) return mapped.error();
  const event::Ring ring(mapped.value().bytes());
  if (!ring.compatible()) {
    return Error{ExitCode::Usage, "the event ring is of another version of sealvisor"};
  }
  return Channel(std::move(mapped).value(), ring, std::move(socket));
}

std::uint64_t stored_word(qemu_plugin_meminfo_t info) {
  const qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);
  switch (value.type) {
    case QEMU_PLUGIN_MEM_VALUE_U64:
      return value.data.u64;
    case QEMU_PLUGIN_MEM_VALUE_U32:
      return value.data.u32;
    default:
      return 0;
  }
}

}  // namespace sealvisor::engine::tcg
