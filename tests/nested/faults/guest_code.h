// Code of guests in the assembler's language, between two symbols.
#pragma once

#include <cstddef>
#include <span>

/// Defines `name_code()`, a span of what `text` assembles to. At namespace scope.
#define SEALVISOR_GUEST(name, text)                                              \
  asm(".pushsection .rodata.guests,\"a\"\n.balign 4096\nguest_" #name ":\n" text \
      "\n.globl guest_" #name "\n.globl guest_" #name "_end\nguest_" #name       \
      "_end:\n.popsection\n");                                                   \
  extern "C" const std::byte guest_##name[];                                     \
  extern "C" const std::byte guest_##name##_end[];                               \
  static std::span<const std::byte> name##_code() { return {guest_##name, guest_##name##_end}; }
