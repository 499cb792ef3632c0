#include "vmm/engine/tcg/qemu/qmp.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/base/pipe.h"

namespace sealvisor::engine::tcg {

namespace {

/// A string member of an object, empty if it is not there or is no string.
std::string string_member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// Bytes from QEMU may not be UTF-8 (guest text in a monitor's answer): never throw for that.
std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

bool QmpLines::add(std::string_view bytes) {
  if (overlong_) return false;
  buffer_ += bytes;
  overlong_ = buffer_.size() > kMostQmpMessage;
  return !overlong_;
}

std::optional<std::string> QmpLines::next() {
  for (;;) {
    const std::size_t end = buffer_.find('\n', scanned_);
    if (end == std::string::npos) {
      scanned_ = buffer_.size();
      return std::nullopt;
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    scanned_ = 0;
    while (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) return line;
  }
}

std::optional<QmpMessage> parse_qmp(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  QmpMessage message;
  if (const auto id = object.find("id"); id != object.end() && id->is_number_unsigned()) {
    message.id = id->get<std::uint64_t>();
  }
  if (object.contains("QMP")) {
    message.kind = QmpMessage::Kind::Greeting;
  } else if (const auto value = object.find("return"); value != object.end()) {
    message.kind = QmpMessage::Kind::Return;
    message.text = value->is_string() ? value->get<std::string>() : dump(*value);
  } else if (const auto error = object.find("error"); error != object.end()) {
    message.kind = QmpMessage::Kind::Error;
    message.text = error->is_object() ? string_member(*error, "desc") : std::string();
  } else if (object.contains("event")) {
    message.kind = QmpMessage::Kind::Event;
    message.text = string_member(object, "event");
    if (const auto data = object.find("data"); data != object.end() && data->is_object()) {
      message.reason = string_member(*data, "reason");
    }
  }
  return message;
}

QmpClient::QmpClient(Fd socket) : socket_(std::move(socket)) {
  if (auto sent = send("qmp_capabilities", nullptr)) negotiation_ = sent.value();
}

Result<std::uint64_t> QmpClient::send(const std::string& command, const nlohmann::json* arguments) {
  const std::uint64_t id = next_id_++;
  nlohmann::json request = {{"execute", command}, {"id", id}};
  if (arguments != nullptr) request["arguments"] = *arguments;
  const std::string line = dump(request) + "\n";
  std::size_t sent = 0;
  // Requests are short and few: if the socket's buffer is full of them, QEMU reads none.
  while (sent < line.size()) {
    const ssize_t count =
        ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(ExitCode::GuestFailed, "sending QMP command " + command);
    sent += static_cast<std::size_t>(count);
  }
  return id;
}

Status QmpClient::post(const std::string& command) {
  if (auto sent = send(command, nullptr); !sent) return sent.error();
  return {};
}

bool QmpClient::pump() {
  std::array<char, 16384> block{};
  while (!over_) {
    const ssize_t count = ::recv(socket_.get(), block.data(), block.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (count <= 0 || !lines_.add({block.data(), static_cast<std::size_t>(count)})) {
      over_ = true;
      break;
    }
    while (const auto line = lines_.next()) take(*line);
  }
  return !over_;
}

void QmpClient::take(std::string_view line) {
  auto message = parse_qmp(line);
  // What makes no sense is passed over: a command that waits has its deadline.
  if (!message) return;
  switch (message->kind) {
    case QmpMessage::Kind::Event:
      if (message->text == "SHUTDOWN") shutdown_reason_ = message->reason;
      break;
    case QmpMessage::Kind::Return:
    case QmpMessage::Kind::Error:
      if (message->id != 0 && message->id == negotiation_) {
        negotiated_ = message->kind == QmpMessage::Kind::Return;
      }
      if (message->id != 0 && message->id == awaited_) answer_ = std::move(*message);
      break;
    case QmpMessage::Kind::Greeting:
    case QmpMessage::Kind::Other:
      break;
  }
}

Result<std::string> QmpClient::execute(const std::string& command,
                                       std::chrono::milliseconds limit) {
  auto id = send(command, nullptr);
  if (!id) return id.error();
  return answer(id.value(), command, limit);
}

Result<std::string> QmpClient::human(const std::string& command, std::chrono::milliseconds limit) {
  const nlohmann::json arguments = {{"command-line", command}};
  auto id = send("human-monitor-command", &arguments);
  if (!id) return id.error();
  return answer(id.value(), command, limit);
}

Result<std::string> QmpClient::answer(std::uint64_t id, const std::string& command,
                                      std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  awaited_ = id;
  answer_.reset();
  while (!answer_) {
    if (!wait_readable(socket_.get(), until)) {
      return Error{ExitCode::GuestFailed,
                   fmt::format("QMP command {}: no answer within {} ms", command, limit.count())};
    }
    if (!pump() && !answer_) {
      return Error{ExitCode::GuestFailed,
                   fmt::format("QMP command {}: the connection has ended", command)};
    }
  }
  awaited_ = 0;
  QmpMessage message = std::move(*answer_);
  answer_.reset();
  if (message.kind == QmpMessage::Kind::Error) {
    return Error{ExitCode::GuestFailed, fmt::format("QMP command {}: {}", command, message.text)};
  }
  return std::move(message.text);
}

}  // namespace sealvisor::engine::tcg
