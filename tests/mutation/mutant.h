// What mutate.py puts around each check of the policy and of the model: at most one of them is
// wrong in a run, the one that the environment names. Never part of a build but the one that
// mutate.py makes in a folder of its own.
#pragma once

#include <cstdlib>
#include <type_traits>

namespace sealvisor::mutation {

/// The mutant that is alive; 0: none.
inline const int kAlive = [] {
  const char* const number = std::getenv("SEALVISOR_MUTANT");
  return number == nullptr ? 0 : std::atoi(number);
}();

inline bool spoilt(int first, bool value) {
  if (kAlive == first) return !value;
  if (kAlive == first + 1) return true;
  return kAlive != first + 2 && value;
}
inline bool is_alive(int number) { return kAlive == number; }

/// A check: `value`, unless mutant `first` (it is turned over), `first` + 1 (it always holds) or
/// `first` + 2 (it never does) is alive. Nothing is wrong while a program is compiled.
constexpr bool check(int first, bool value) {
  return std::is_constant_evaluated() ? value : spoilt(first, value);
}

/// Whether a statement is still there.
constexpr bool keep(int number) { return std::is_constant_evaluated() ? true : !is_alive(number); }

}  // namespace sealvisor::mutation
