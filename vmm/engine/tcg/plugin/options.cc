#include "vmm/engine/tcg/plugin/options.h"

#include <charconv>
#include <string_view>

namespace sealvisor::engine::tcg {

namespace {

template <typename Number>
bool parse_number(std::string_view text, Number& value) {
  int base = 10;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
    base = 16;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size();
}

bool parse_switch(std::string_view text, bool& value) {
  value = text == "on";
  return text == "on" || text == "off";
}

bool parse_word(std::string_view key, std::string_view value, PluginOptions& options) {
  if (key == "arch") {
    const auto arch = arch::parse_arch(value);
    if (arch) options.arch = *arch;
    return arch.has_value();
  }
  if (key == "ring-fd") return parse_number(value, options.ring_fd);
  if (key == "channel-fd") return parse_number(value, options.channel_fd);
  if (key == "ram-fd") return parse_number(value, options.ram_fd);
  if (key == "ram-base") return parse_number(value, options.ram_base);
  if (key == "ram-size") return parse_number(value, options.ram_size);
  if (key == "doorbell") return parse_number(value, options.doorbell);
  if (key == "watch") return parse_switch(value, options.watch);
  if (key == "drop") return parse_number(value, options.drop);
  if (key == "count-fd") return parse_number(value, options.count_fd);
  if (key == "count-bytes") return parse_number(value, options.count_bytes);
  if (key == "stacks") return parse_switch(value, options.stacks);
  if (key == "witness") return parse_switch(value, options.witness);
  return false;
}

}  // namespace

Result<PluginOptions> parse_plugin_options(int argc, char** argv) {
  PluginOptions options;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos ||
        !parse_word(word.substr(0, equals), word.substr(equals + 1), options)) {
      return Error{ExitCode::Usage, "plugin option '" + std::string(word) +
                                        "': expected a known key=value (see options.h)"};
    }
  }
  if (options.ring_fd < 0 || options.channel_fd < 0 || options.ram_fd < 0 ||
      options.ram_size == 0) {
    return Error{ExitCode::Usage,
                 "plugin options ring-fd, channel-fd, ram-fd and ram-size are required"};
  }
  return options;
}

}  // namespace sealvisor::engine::tcg
