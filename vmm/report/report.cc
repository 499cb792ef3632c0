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
