#include "vmm/report/report.h"

namespace sealvisor::report {

const char* name_of(Change change) {
  switch (change) {
    case Change::Unobserved:
      return "unobserved";
    case Change::Unchanged:
      return "unchanged";
    case Change::Refaulted:
      return "refaulted";
    case Change::Added:
      return "added";
    case Change::PermissionChanged:
      return "permission-changed";
    case Change::Privatised:
      return "privatised";
    case Change::Gone:
      return "gone";
    case Change::Replaced:
      return "replaced";
    case Change::Moved:
      return "moved";
  }
  return "unknown";
}

const char* name_of(Exception exception) {
  switch (exception) {
    case Exception::None:
      return "none";
    case Exception::Forced:
      return "forced";
    case Exception::ByDesign:
      return "by-design";
  }
  return "unknown";
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Forced:
      return "forced";
    case Verdict::ByDesign:
      return "by-design";
    case Verdict::Held:
      return "held";
    case Verdict::AsExpected:
      return "as-expected";
    case Verdict::Violation:
      return "violation";
    case Verdict::Mismatch:
      return "mismatch";
    case Verdict::Unobserved:
      return "unobserved";
    case Verdict::Skipped:
      return "skipped";
  }
  return "unknown";
}

const char* name_of(CodeSource source) {
  switch (source) {
    case CodeSource::None:
      return "none";
    case CodeSource::Memory:
      return "memory";
    case CodeSource::MemoryAtTheEnd:
      return "memory-at-the-end";
    case CodeSource::Vmlinux:
      return "vmlinux";
  }
  return "unknown";
}

const char* name_of(MomentKind kind) {
  switch (kind) {
    case MomentKind::Found:
      return "found";
    case MomentKind::Populated:
      return "populated";
    case MomentKind::Written:
      return "written";
    case MomentKind::Seen:
      return "seen";
    case MomentKind::Elsewhere:
      return "elsewhere";
    case MomentKind::Broken:
      return "broken";
    case MomentKind::Ended:
      return "ended";
  }
  return "unknown";
}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::Installation:
      return "installation";
    case Phase::Life:
      return "life";
    case Phase::Exit:
      return "exit";
  }
  return "unknown";
}

const char* name_of(SequenceVerdict verdict) {
  switch (verdict) {
    case SequenceVerdict::Works:
      return "works";
    case SequenceVerdict::Breaks:
      return "breaks";
    case SequenceVerdict::Unexpected:
      return "unexpected";
    case SequenceVerdict::Unobserved:
      return "unobserved";
  }
  return "unknown";
}

}  // namespace sealvisor::report
