// What the compiler and its headers call by themselves. Built without optimisations that would make
// calls of themselves out of these loops.
#include <sys/syscall.h>

#include <cstddef>

#include "guest/agent/raw.h"

namespace std {

/// libstdc++'s answer to a position behind the end of a string_view.
[[noreturn]] void __throw_out_of_range_fmt(const char* /*format*/, ...);   // NOLINT
[[noreturn]] void __throw_out_of_range_fmt(const char* /*format*/, ...) {  // NOLINT
  for (;;) (void)sealvisor::agent::raw_call(SYS_exit_group, 125);
}

}  // namespace std

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size) {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  for (std::size_t i = 0; i < size; ++i) out[i] = in[i];
  return to;
}

void* memmove(void* to, const void* from, std::size_t size) {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  if (out <= in) return memcpy(to, from, size);
  for (std::size_t i = size; i > 0; --i) out[i - 1] = in[i - 1];
  return to;
}

void* memset(void* to, int value, std::size_t size) {
  auto* out = static_cast<char*>(to);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(value);
  return to;
}

int memcmp(const void* one, const void* other, std::size_t size) {
  const auto* a = static_cast<const unsigned char*>(one);
  const auto* b = static_cast<const unsigned char*>(other);
  for (std::size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

void* memchr(const void* in, int value, std::size_t size) {
  auto* bytes = static_cast<const unsigned char*>(in);
  for (std::size_t i = 0; i < size; ++i) {
    if (bytes[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(bytes + i);
  }
  return nullptr;
}

std::size_t strlen(const char* text) {
  std::size_t size = 0;
  while (text[size] != '\0') ++size;
  return size;
}
}
