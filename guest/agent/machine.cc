#include "guest/agent/machine.h"

#include <sys/reboot.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {

void reset_machine() {
  ::reboot(RB_AUTOBOOT);
  say("reset: %s", std::strerror(errno));
  ::reboot(RB_POWER_OFF);
  // The VMM's deadline ends a guest that can't end itself. Returning would panic the kernel and
  // hide the line above.
  for (;;) ::pause();
}

}  // namespace sealvisor::agent
