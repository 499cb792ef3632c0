#include "guest/agent/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace sealvisor::agent {
namespace {

void line(const char* prefix, const char* format, std::va_list arguments) {
  char buffer[256];
  const int head = std::snprintf(buffer, sizeof buffer, "%s", prefix);
  const std::size_t used = static_cast<std::size_t>(head);
  const int body = std::vsnprintf(buffer + used, 200, format, arguments);
  std::size_t size = used + static_cast<std::size_t>(std::clamp(body, 0, 199));
  buffer[size++] = '\n';
  // Nothing can be done about a console that does not take it.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, buffer, size);
}

}  // namespace

void say(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  line("sealvisor-agent: ", format, arguments);
  va_end(arguments);
}

void trace(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  line("sealvisor-trace: ", format, arguments);
  va_end(arguments);
}

}  // namespace sealvisor::agent
