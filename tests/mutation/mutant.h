// What mutate.py puts around each check of the policy and of the model: at most one of them is
// wrong in a run, the one that the environment names. Never part of a build but the one that
// mutate.py makes in a folder of its own.
#pragma once

#include <cstdlib>

namespace sealvisor::mutation {

/// The mutant that is alive; 0: none.
inline const int kAlive = [] {
  const char* const number = std::getenv("SEALVISOR_MUTANT");
  return number == nullptr ? 0 : std::atoi(number);
}();

/// A check: `value`, unless mutant `first` (it is turned over), `first` + 1 (it always holds) or
/// `first` + 2 (it never does) is alive.
inline bool check(int first, bool value) {
  if (kAlive == first) return !value;
  if (kAlive == first + 1) return true;
  return kAlive != first + 2 && value;
}

/// Whether a statement is still there.
inline bool keep(int number) { return kAlive != number; }

}  // namespace sealvisor::mutation
