#include "vmm/app/terminal_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace sealvisor::app {

report::TextOptions text_options_for(int fd) {
  report::TextOptions options;
  if (::isatty(fd) == 0) return options;
  const char* no_colour = std::getenv("NO_COLOR");
  options.colours = takes_escapes(fd) && (no_colour == nullptr || *no_colour == '\0');
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
    options.width = std::clamp<std::size_t>(size.ws_col, 80, 120);
  }
  return options;
}

bool takes_escapes(int fd) {
  const char* terminal = std::getenv("TERM");
  return ::isatty(fd) != 0 && (terminal == nullptr || std::string_view(terminal) != "dumb");
}

}  // namespace sealvisor::app
