// /helpers/bench-static and /helpers/bench-dynamic: programs with a C library that end at once.
#include "bench/guest/shared.h"

#if defined(SEALVISOR_INTERPRETER)
namespace {

/// The linker makes PT_INTERP of a section of this name (ELF specification, "Program Interpreter").
[[gnu::section(".interp"), gnu::used, gnu::retain]] constexpr char kInterpreter[] =
    SEALVISOR_INTERPRETER;

}  // namespace
#endif

int main() { return sealvisor::bench::kTargetExit; }
