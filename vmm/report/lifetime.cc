#include "vmm/report/lifetime.h"

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::report {

const char* name_of(Effect effect) {
  switch (effect) {
    case Effect::FilledIn:
      return "filled-in";
    case Effect::Removed:
      return "removed";
    case Effect::OtherFrame:
      return "other-frame";
    case Effect::Permission:
      return "permission";
    case Effect::Upper:
      return "upper-level";
    case Effect::Rewritten:
      return "rewritten";
    case Effect::Place:
      return "second-place";
    case Effect::Content:
      return "content";
  }
  return "unknown";
}

const char* name_of(LifeVerdict verdict) {
  switch (verdict) {
    case LifeVerdict::NeverChanged:
      return "never-changed";
    case LifeVerdict::Changed:
      return "changed";
    case LifeVerdict::NotKnown:
      return "not-known";
    case LifeVerdict::Unobserved:
      return "unobserved";
  }
  return "unknown";
}

std::string watched_of(const MappingLife& life) {
  return fmt::format("{} address spaces, {} pages, {} entries to user mode", grouped(life.spaces),
                     grouped(life.pages_populated), grouped(life.entries));
}

}  // namespace sealvisor::report
