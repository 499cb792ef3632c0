// /helpers/dynamic: a program image that names an interpreter, so that exec maps two ELF files, as
// it does for a program with shared libraries. It needs none itself.
#include "guest/agent/image.h"

namespace {

/// The linker makes PT_INTERP of a section of this name (ELF specification, "Program Interpreter").
[[gnu::section(".interp"), gnu::used, gnu::retain]] constexpr char kInterpreter[] =
    "/helpers/loader";

}  // namespace

int main(int argc, char** argv) { return sealvisor::agent::image_main(argc, argv); }
