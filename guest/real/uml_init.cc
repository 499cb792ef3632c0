// The first process of a User-Mode Linux: says that user mode runs there, and ends the machine.
// Without a C library: UML's own start is what is looked at.
#include <sys/syscall.h>

#include "guest/agent/raw.h"

namespace {

using sealvisor::agent::raw_call;

template <unsigned long N>
void say(const char (&text)[N]) {
  (void)raw_call(SYS_write, 1, reinterpret_cast<long>(text), static_cast<long>(N - 1));
}

}  // namespace

extern "C" {

[[noreturn, gnu::used]] void _start() {
  say("sealvisor: user mode of UML runs\n");
  // include/uapi/linux/reboot.h: RESTART is UML's way out too, POWER_OFF ends it at once.
  constexpr long kMagic1 = 0xfee1dead;
  constexpr long kMagic2 = 672274793;
  constexpr long kPowerOff = 0x4321FEDC;
  (void)raw_call(SYS_reboot, kMagic1, kMagic2, kPowerOff, 0);
  for (;;) (void)raw_call(SYS_exit_group, 0);
}
}
