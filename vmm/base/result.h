// Results that say what failed.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace sealvisor {

/// Exit codes of the program (README, "Exit codes").
enum class ExitCode : int {
  AsExpected = 0,   ///< Every check ran and came out as expected.
  Failed = 1,       ///< An invariant or an expectation failed.
  Usage = 2,        ///< The command line or an input file is wrong.
  HostLacks = 3,    ///< The host lacks something; the message names it.
  GuestFailed = 4,  ///< The guest crashed, hung or broke the protocol; evidence is kept.
  /// observe: all is as it must be but for the program, which failed by its own account.
  ProgramFailed = 5,
};

/// Why an operation failed: one sentence that names the thing, the value and what was expected.
struct Error {
  ExitCode code = ExitCode::Failed;
  std::string message;
  /// errno of the failed system call, 0 if none was involved. Already part of `message`.
  int sys_errno = 0;
};

/// Builds an Error from a failed system call: "<what>: <strerror>". Reads errno at once.
[[nodiscard]] Error errno_error(ExitCode code, std::string what);

/// A value or an Error. Check ok() before value(); a wrong access asserts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  [[nodiscard]] const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

/// Success, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    assert(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace sealvisor
