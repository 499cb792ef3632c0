#include "vmm/run/protocol_reader.h"

#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using protocol::Message;
using protocol::Type;

Message good_mapping() {
  Message message{};
  message.magic = protocol::kMagic;
  message.version = protocol::kVersion;
  message.type = Type::Mapping;
  message.length = sizeof(protocol::MappingClaim);
  message.body.mapping.start = 0x7fff00000000;
  message.body.mapping.end = 0x7fff00002000;
  std::strncpy(message.body.mapping.name, "[vdso]", sizeof(message.body.mapping.name));
  return message;
}

TEST(CheckMessage, AcceptsAGoodOne) {
  const Status checked = run::check_message(good_mapping());
  EXPECT_TRUE(checked.ok());
  EXPECT_EQ(run::text_of(good_mapping().body.mapping.name), "[vdso]");
}

struct Bad {
  const char* name;
  std::function<void(Message&)> spoil;
  const char* says;  ///< Part of the error: the value that is wrong.
};

const Bad kBad[] = {
    {"Magic", [](Message& m) { m.magic = 0x1234; }, "magic 0x1234"},
    {"Version", [](Message& m) { m.version = 99; }, "version 99"},
    {"Type", [](Message& m) { m.type = static_cast<Type>(77); }, "type 77"},
    {"TypeZero", [](Message& m) { m.type = static_cast<Type>(0); }, "type 0"},
    {"Length", [](Message& m) { m.length = 3; }, "length 3"},
    {"NameWithoutEnd",
     [](Message& m) { std::memset(m.body.mapping.name, 'a', sizeof(m.body.mapping.name)); },
     "NUL-terminated"},
    {"NameWithEscape", [](Message& m) { m.body.mapping.name[0] = '\x1b'; }, "printable"},
    {"EmptyRange", [](Message& m) { m.body.mapping.end = m.body.mapping.start; }, "whole pages"},
    {"Backwards", [](Message& m) { m.body.mapping.end = 0x1000; }, "whole pages"},
    {"Unaligned", [](Message& m) { m.body.mapping.start += 8; }, "whole pages"},
    {"TooLong", [](Message& m) { m.body.mapping.end += 0x100000; }, "1 to 64"},
    {"Index", [](Message& m) { m.body.mapping.index = 1000; }, "index 1000"},
    {"PieceBytes",
     [](Message& m) {
       m.type = Type::Piece;
       m.length = sizeof(protocol::Piece);
       m.body.piece = {};
       m.body.piece.bytes = protocol::kMaxPiece + 1;
     },
     "a piece of 65537 bytes"},
    {"PieceContent",
     [](Message& m) {
       m.type = Type::Piece;
       m.length = sizeof(protocol::Piece);
       m.body.piece = {};
       m.body.piece.content = static_cast<protocol::Content>(9);
     },
     "of content 9"},
    {"ProgramIndex",
     [](Message& m) {
       m.type = Type::ProgramBegin;
       m.length = sizeof(protocol::ProgramBegin);
       m.body.program_begin = {};
       m.body.program_begin.index = protocol::kMaxPrograms;
     },
     "program 256"},
    {"ProgramOutcome",
     [](Message& m) {
       m.type = Type::ProgramEnd;
       m.length = sizeof(protocol::ProgramEnd);
       m.body.program_end = {};
       m.body.program_end.outcome = static_cast<protocol::ProgramOutcome>(5);
     },
     "outcome 5"},
    {"ProcessEvent",
     [](Message& m) {
       m.type = Type::Process;
       m.length = sizeof(protocol::Process);
       m.body.process = {};
       m.body.process.event = static_cast<protocol::ProcessEvent>(4);
     },
     "event 4"},
    {"ProcessMappings",
     [](Message& m) {
       m.type = Type::Process;
       m.length = sizeof(protocol::Process);
       m.body.process = {};
       m.body.process.mappings = protocol::kMaxMappings + 1;
     },
     "17 mappings"},
    {"ProcessName",
     [](Message& m) {
       m.type = Type::Process;
       m.length = sizeof(protocol::Process);
       m.body.process = {};
       m.body.process.name[0] = '\x07';
     },
     "printable"},
    {"ProcessMappingRange",
     [](Message& m) {
       m.type = Type::ProcessMapping;
       m.body.mapping.end = m.body.mapping.start;
     },
     "whole pages"},
    {"TouchedPages",
     [](Message& m) {
       m.type = Type::Touched;
       m.length = sizeof(protocol::Touched);
       m.body.touched = {};
       m.body.touched.pages = 65;
     },
     "65 touched pages"},
};

class CheckMessageCase : public testing::TestWithParam<Bad> {};
INSTANTIATE_TEST_SUITE_P(Bad, CheckMessageCase, testing::ValuesIn(kBad),
                         [](const testing::TestParamInfo<Bad>& one) { return one.param.name; });

TEST_P(CheckMessageCase, IsRefusedByName) {
  Message message = good_mapping();
  GetParam().spoil(message);
  const Status checked = run::check_message(message);
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.error().code, ExitCode::GuestFailed);
  EXPECT_NE(checked.error().message.find(GetParam().says), std::string::npos)
      << checked.error().message;
}

}  // namespace
}  // namespace sealvisor::test
