#include "guest/compat/criu.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "guest/agent/raw.h"
#include "guest/compat/text.h"

namespace sealvisor::compat {
namespace {

/// Away from everything in the address spaces of both architectures.
constexpr std::uintptr_t kAway = 0x2000'0000'0000;

/// Moves all system mappings to `to`, in their order and side by side: first the vdso, wherever it
/// is among them, then the others. The first that can't be moved ends it (park_at).
bool move_all(Program& program, std::uintptr_t to, std::string_view where) {
  for (const bool vdso : {true, false}) {
    std::uintptr_t next = to;
    for (Place& place : program.places()) {
      const std::string_view name = place.mapping->name_view();
      const std::uintptr_t here = next;
      next += place.size();
      if ((name == "[vdso]") != vdso) continue;
      if (!program.move(Text({name, where}).view(), place, here)) return false;
    }
  }
  return true;
}

}  // namespace

Premapped::Premapped(Program& program) {
  std::size_t size = 0;
  for (const Place& place : program.places()) size += place.size();
  // No call on a system mapping: not told.
  (void)agent::raw_call(SYS_mmap, agent::arg(kAway), agent::arg(size), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  range_ = {kAway, kAway + size};
}

bool park_all(Program& program) { return move_all(program, program.park(), " to the restorer"); }

bool unmap_old(Program& program, const Premapped& premapped) {
  const Range window = program.window();
  return program.munmap("all below the image's memory", {0, premapped.range().start}) &&
         program.munmap("all between that and the restorer",
                        {premapped.range().end, window.start}) &&
         program.munmap("all above the restorer", {window.end, Program::task_size()});
}

void move_to_image(Program& program, const Premapped& premapped) {
  for (const bool vdso : {true, false}) {
    std::uintptr_t next = premapped.range().start;
    for (const Place& place : program.places()) {
      const std::string_view name = place.mapping->name_view();
      const std::uintptr_t at = next;
      next += place.size();
      if ((name == "[vdso]") != vdso) continue;
      if (!program.munmap(Text({"the image's ", name}).view(), {at, at + place.size()})) return;
    }
  }
  (void)move_all(program, premapped.range().start, " to where the image has it");
}

}  // namespace sealvisor::compat
