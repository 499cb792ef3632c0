#include "vmm/app/terminal_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace sealvisor::app {

report::TextOptions text_options_for(int fd) {
  report::TextOptions options;
  if (::isatty(fd) == 0) return options;
  const char* no_colour = std::getenv("NO_COLOR");
  options.colours = no_colour == nullptr || *no_colour == '\0';
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
    options.width = std::clamp<std::size_t>(size.ws_col, 80, 120);
  }
  return options;
}

}  // namespace sealvisor::app
