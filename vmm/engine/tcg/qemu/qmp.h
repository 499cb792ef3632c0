// QEMU's machine protocol (docs/interop/qmp-spec.rst of QEMU) over an inherited socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::tcg {

/// Longest message that is accepted; `info tlb` of a small guest is about 300 KiB.
inline constexpr std::size_t kMostQmpMessage = 16U << 20;

/// Cuts a byte stream into lines. QMP sends each message on a line of its own.
class QmpLines {
 public:
  /// Adds bytes. False, from then on, if a line grew past kMostQmpMessage.
  [[nodiscard]] bool add(std::string_view bytes);
  /// The next whole line, without its end; empty lines are left out.
  [[nodiscard]] std::optional<std::string> next();

 private:
  std::string buffer_;
  std::size_t scanned_ = 0;
  bool overlong_ = false;
};

/// One message from QEMU, as far as it matters here.
struct QmpMessage {
  enum class Kind : std::uint8_t { Greeting, Return, Error, Event, Other };
  Kind kind = Kind::Other;
  std::uint64_t id = 0;  ///< Return, Error: of the command; 0 if it had none of ours.
  /// Return: the value as JSON text, or the string itself if it is one. Error: its description.
  /// Event: its name.
  std::string text;
  std::string reason;  ///< Event SHUTDOWN: why, for instance "guest-reset" (qapi/run-state.json).
};

/// Reads one line. nullopt: not a JSON object.
[[nodiscard]] std::optional<QmpMessage> parse_qmp(std::string_view line);

/// A client for one connection. Not thread-safe. Two ways of use, which mix: post() and pump() in
/// an event loop; execute() and human(), which wait, also from inside Observer::on_stopped().
class QmpClient {
 public:
  /// `socket` must be a connected stream socket that does not block. Leaves negotiation mode at
  /// once: QEMU reads the request as soon as it can.
  explicit QmpClient(Fd socket);

  [[nodiscard]] const Fd& socket() const { return socket_; }

  /// Sends a command without waiting for its answer. Errors: the connection is gone.
  [[nodiscard]] Status post(const std::string& command);
  /// Takes in what has arrived, without waiting. False: the connection is over or broken.
  bool pump();

  /// Sends a command without arguments and waits for its answer, at most `limit`: the returned
  /// value as JSON text.
  [[nodiscard]] Result<std::string> execute(const std::string& command,
                                            std::chrono::milliseconds limit);
  /// The output of a monitor command for people, such as "info tlb". It works while the vCPU waits
  /// for us, since QEMU answers from its main thread.
  [[nodiscard]] Result<std::string> human(const std::string& command,
                                          std::chrono::milliseconds limit);

  /// QEMU's main loop has answered: the machine was built and the guest started.
  [[nodiscard]] bool negotiated() const { return negotiated_; }
  /// Reason of the SHUTDOWN event, empty before it.
  [[nodiscard]] const std::string& shutdown_reason() const { return shutdown_reason_; }

 private:
  [[nodiscard]] Result<std::uint64_t> send(const std::string& command,
                                           const nlohmann::json* arguments);
  [[nodiscard]] Result<std::string> answer(std::uint64_t id, const std::string& command,
                                           std::chrono::milliseconds limit);
  void take(std::string_view line);

  Fd socket_;
  QmpLines lines_;
  std::uint64_t next_id_ = 1;
  std::uint64_t negotiation_ = 0;  ///< Id of qmp_capabilities; 0 if it could not be sent.
  std::uint64_t awaited_ = 0;
  std::optional<QmpMessage> answer_;
  bool negotiated_ = false;
  bool over_ = false;
  std::string shutdown_reason_;
};

}  // namespace sealvisor::engine::tcg
