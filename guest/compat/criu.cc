#include "guest/compat/criu.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "guest/agent/raw.h"
#include "guest/compat/text.h"

namespace sealvisor::compat {
namespace {

/// Away from everything in the address spaces of both architectures.
constexpr std::uintptr_t kAway = 0x2000'0000'0000;

}  // namespace

Premapped::Premapped(Program& program) {
  std::size_t size = 0;
  for (const Place& place : program.places()) size += place.size();
  // No call on a system mapping: not told.
  (void)agent::raw_call(SYS_mmap, agent::arg(kAway), agent::arg(size), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  range_ = {kAway, kAway + size};
}

bool park_all(Program& program) {
  std::uintptr_t to = program.park();
  for (Place& place : program.places()) {
    program.move(Text({place.mapping->name_view(), " to the restorer"}).view(), place, to);
    to += place.size();
  }
  return !program.gave_up();
}

bool unmap_old(Program& program, const Premapped& premapped) {
  const Range window = program.window();
  return program.munmap("all below the image's memory", {0, premapped.range().start}) &&
         program.munmap("all between that and the restorer",
                        {premapped.range().end, window.start}) &&
         program.munmap("all above the restorer", {window.end, Program::task_size()});
}

void move_to_image(Program& program, const Premapped& premapped) {
  std::size_t offset = 0;
  for (const Place& place : program.places()) {
    const std::uintptr_t at = premapped.at(offset);
    if (!program.munmap(Text({"the image's ", place.mapping->name_view()}).view(),
                        {at, at + place.size()})) {
      return;
    }
    offset += place.size();
  }
  offset = 0;
  for (Place& place : program.places()) {
    program.move(Text({place.mapping->name_view(), " to where the image has it"}).view(), place,
                 premapped.at(offset));
    offset += place.size();
  }
}

}  // namespace sealvisor::compat
