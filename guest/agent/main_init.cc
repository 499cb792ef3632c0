// /init: process 1, and a static program image when the agent execs it again.
#include <unistd.h>

#include "guest/agent/image.h"
#include "guest/agent/init.h"

int main(int argc, char** argv) {
  if (::getpid() == 1) sealvisor::agent::init_main();
  return sealvisor::agent::image_main(argc, argv);
}
