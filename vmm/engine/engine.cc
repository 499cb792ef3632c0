#include "vmm/engine/engine.h"

namespace sealvisor::engine {

const char* name_of(Kind kind) { return kind == Kind::Tcg ? "tcg" : "kvm"; }

const char* name_of(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::Best:
      return "best";
    case Mechanism::Exact:
      return "exact";
    case Mechanism::Audited:
      return "audited";
  }
  return "?";
}

arch::Gpa doorbell_of(arch::Arch arch) {
  return arch::Gpa{arch == arch::Arch::Arm64 ? 0x0a000000U : 0xfeb00000U};
}

const char* name_of(End end) {
  switch (end) {
    case End::GuestReset:
      return "guest reset";
    case End::GaveUp:
      return "given up";
    case End::Deadline:
      return "deadline";
    case End::ConsoleFlood:
      return "console flood";
    case End::GuestCrashed:
      return "guest crashed";
    case End::EngineDied:
      return "engine died";
    case End::Interrupted:
      return "interrupted";
    case End::RingBroken:
      return "event ring broken";
  }
  return "?";
}

}  // namespace sealvisor::engine
