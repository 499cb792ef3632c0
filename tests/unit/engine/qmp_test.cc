#include "vmm/engine/tcg/qemu/qmp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "vmm/base/pipe.h"

namespace sealvisor::engine::tcg {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;
using Kind = QmpMessage::Kind;

TEST(QmpLines, CutsAtLineEndsHoweverBytesArrive) {
  QmpLines lines;
  ASSERT_TRUE(lines.add("{\"a\":"));
  EXPECT_EQ(lines.next(), std::nullopt);
  ASSERT_TRUE(lines.add("1}\r\n\r\n{\"b\":2}\n{\"c\""));
  EXPECT_EQ(lines.next(), "{\"a\":1}");
  EXPECT_EQ(lines.next(), "{\"b\":2}");
  EXPECT_EQ(lines.next(), std::nullopt);
}

TEST(QmpLines, GivesUpOnALineWithoutEnd) {
  QmpLines lines;
  EXPECT_TRUE(lines.add(std::string(kMostQmpMessage, 'x')));
  EXPECT_FALSE(lines.add("x"));
  EXPECT_FALSE(lines.add("\n"));
}

TEST(ParseQmp, TellsTheKindsOfMessagesApart) {
  const auto greeting = parse_qmp(R"({"QMP": {"version": {}, "capabilities": ["oob"]}})");
  ASSERT_TRUE(greeting);
  EXPECT_EQ(greeting->kind, Kind::Greeting);

  const auto value = parse_qmp(R"({"return": {"running": true}, "id": 7})");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->kind, Kind::Return);
  EXPECT_EQ(value->id, 7U);
  EXPECT_EQ(value->text, R"({"running":true})");

  const auto text = parse_qmp(R"({"return": "a\r\nb", "id": 8})");
  ASSERT_TRUE(text);
  EXPECT_EQ(text->text, "a\r\nb");

  const auto error = parse_qmp(R"({"error": {"class": "GenericError", "desc": "no"}, "id": 9})");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind, Kind::Error);
  EXPECT_EQ(error->text, "no");

  const auto event =
      parse_qmp(R"({"timestamp": {}, "event": "SHUTDOWN", "data": {"reason": "guest-reset"}})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, Kind::Event);
  EXPECT_EQ(event->text, "SHUTDOWN");
  EXPECT_EQ(event->reason, "guest-reset");
}

TEST(ParseQmp, RefusesWhatIsNoObject) {
  for (const char* line : {"", "nonsense", "[1, 2]", "7", "\"text\"", "{\"a\": ", "{\"a\": 1} x",
                           "\xff\xfe", "null"}) {
    EXPECT_EQ(parse_qmp(line), std::nullopt) << line;
  }
}

TEST(ParseQmp, SurvivesMembersOfTheWrongType) {
  for (const char* line :
       {R"({"error": 5, "id": "x"})", R"({"event": {}, "data": 3})",
        R"({"return": null, "id": -1})", R"({"event": "SHUTDOWN", "data": {"reason": 5}})",
        R"({"error": {"desc": []}})", R"({})"}) {
    const auto message = parse_qmp(line);
    ASSERT_TRUE(message) << line;
    EXPECT_EQ(message->id, 0U) << line;
    EXPECT_EQ(message->reason, "") << line;
  }
}

/// The other end of a client's connection, served by a thread of its own.
class Peer {
 public:
  explicit Peer(Fd fd) : fd_(std::move(fd)) {}
  void say(std::string_view bytes) {
    ASSERT_EQ(::write(fd_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  /// Reads one line, "" at the end.
  std::string hear() {
    std::string line;
    char c = 0;
    while (::read(fd_.get(), &c, 1) == 1 && c != '\n') line += c;
    return line;
  }
  void hang_up() { fd_.reset(); }

 private:
  Fd fd_;
};

struct Connection {
  QmpClient client;
  Peer peer;
};

Connection connect() {
  auto pair = socket_pair("a test");
  EXPECT_TRUE(pair.ok());
  return {QmpClient(std::move(pair.value().ours)), Peer(std::move(pair.value().theirs))};
}

TEST(QmpClient, LeavesNegotiationModeFirst) {
  Connection c = connect();
  EXPECT_FALSE(c.client.negotiated());
  EXPECT_EQ(c.peer.hear(), R"({"execute":"qmp_capabilities","id":1})");
  c.peer.say("{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n");
  EXPECT_TRUE(c.client.pump());
  EXPECT_TRUE(c.client.negotiated());
}

TEST(QmpClient, IsNotNegotiatedByAnErrorOrAnotherAnswer) {
  Connection c = connect();
  c.peer.say("{\"return\": {}, \"id\": 2}\n{\"error\": {}, \"id\": 1}\n{\"return\": {}}\n");
  EXPECT_TRUE(c.client.pump());
  EXPECT_FALSE(c.client.negotiated());
}

TEST(QmpClient, ReturnsWhatTheMonitorPrints) {
  Connection c = connect();
  std::string request;
  std::thread server([&] {
    c.peer.hear();
    request = c.peer.hear();
    c.peer.say("{\"event\": \"RESUME\"}\ngarbage\n{\"return\": \"other\", \"id\": 1}\n");
    c.peer.say("{\"return\": \"0x1000 -> 0x2000\\r\\n\", \"id\": 2}\n");
  });
  const auto answer = c.client.human("gva2gpa 0x1000", 10s);
  server.join();
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer.value(), "0x1000 -> 0x2000\r\n");
  EXPECT_THAT(request, HasSubstr(R"("command-line":"gva2gpa 0x1000")"));
  EXPECT_THAT(request, HasSubstr(R"("execute":"human-monitor-command")"));
}

TEST(QmpClient, PassesErrorsOn) {
  Connection c = connect();
  c.peer.say("{\"error\": {\"desc\": \"no such thing\"}, \"id\": 2}\n");
  const auto answer = c.client.execute("query-nothing", 10s);
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.error().message, HasSubstr("query-nothing"));
  EXPECT_THAT(answer.error().message, HasSubstr("no such thing"));
}

TEST(QmpClient, WaitsNoLongerThanItsDeadline) {
  Connection c = connect();
  const auto before = std::chrono::steady_clock::now();
  const auto answer = c.client.execute("query-status", 50ms);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.error().message, HasSubstr("50 ms"));
}

TEST(QmpClient, TakesNoLateAnswerForTheNextOne) {
  Connection c = connect();
  ASSERT_FALSE(c.client.execute("slow", 10ms).ok());
  c.peer.say("{\"return\": \"late\", \"id\": 2}\n{\"return\": \"right\", \"id\": 3}\n");
  const auto answer = c.client.execute("next", 10s);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer.value(), "right");
}

TEST(QmpClient, NoticesTheEndOfTheConnection) {
  Connection c = connect();
  c.peer.hang_up();
  EXPECT_FALSE(c.client.pump());
  EXPECT_FALSE(c.client.post("quit").ok());
  EXPECT_FALSE(c.client.execute("quit", 10s).ok());
}

TEST(QmpClient, KeepsTheReasonOfAShutdown) {
  Connection c = connect();
  c.peer.say(R"({"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-signal"}})"
             "\n");
  EXPECT_TRUE(c.client.pump());
  EXPECT_EQ(c.client.shutdown_reason(), "host-signal");
}

}  // namespace
}  // namespace sealvisor::engine::tcg
