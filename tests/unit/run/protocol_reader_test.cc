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

/// One of `type` with a body of `length` bytes, all zero.
Message empty_of(Type type, std::size_t length) {
  Message message = good_mapping();
  message.type = type;
  message.length = static_cast<std::uint32_t>(length);
  std::memset(&message.body, 0, sizeof(message.body));
  return message;
}

Message counter(std::uint64_t step, std::uint64_t reads, std::uint64_t nops) {
  Message message = empty_of(Type::Counter, sizeof(protocol::Counter));
  message.body.counter.step = step;
  message.body.counter.reads = reads;
  message.body.counter.nops = nops;
  return message;
}

Message mappings_end(std::uint32_t count) {
  Message message = empty_of(Type::MappingsEnd, sizeof(protocol::MappingsEnd));
  message.body.mappings_end.count = count;
  return message;
}

Message tamper(std::uint64_t gpa, protocol::Target target) {
  Message message = empty_of(Type::Tamper, sizeof(protocol::Tamper));
  message.body.tamper.gpa = gpa;
  message.body.tamper.target = target;
  return message;
}

Message samples(std::uint32_t count) {
  Message message = empty_of(Type::Samples, sizeof(protocol::Samples));
  message.body.samples.count = count;
  return message;
}

TEST(CheckMessage, AcceptsAGoodOne) {
  EXPECT_TRUE(run::check_message(mappings_end(0)).ok());
  EXPECT_TRUE(run::check_message(mappings_end(protocol::kMaxMappings)).ok());
  EXPECT_TRUE(run::check_message(tamper(0x1008, protocol::Target::CodeStores)).ok());
  EXPECT_TRUE(run::check_message(samples(1)).ok());
  EXPECT_TRUE(run::check_message(samples(protocol::kMaxSamples)).ok());
  EXPECT_TRUE(run::check_message(counter(1, 1, 1)).ok());
  const Status checked = run::check_message(good_mapping());
  EXPECT_TRUE(checked.ok());
  EXPECT_EQ(run::text_of(good_mapping().body.mapping.name), "[vdso]");
}

protocol::Tampering& spoil_tampering(Message& message) {
  message.type = Type::Tampering;
  message.length = sizeof(protocol::Tampering);
  message.body.tampering = {};
  return message.body.tampering;
}

protocol::Campaign& spoil_campaign(Message& message) {
  message.type = Type::Campaign;
  message.length = sizeof(protocol::Campaign);
  message.body.campaign = {};
  message.body.campaign.pages = 3;
  message.body.campaign.code_pages = 2;
  return message.body.campaign;
}

TEST(CheckMessage, AcceptsACampaign) {
  Message message = good_mapping();
  spoil_campaign(message);
  EXPECT_TRUE(run::check_message(message).ok());
  // The process that is tampered with too chooses nothing.
  spoil_campaign(message).what = protocol::Campaign::kOther;
  message.body.campaign.pages = 0;
  message.body.campaign.code_pages = 0;
  EXPECT_TRUE(run::check_message(message).ok());
}

TEST(CheckMessage, AcceptsATampering) {
  Message message = good_mapping();
  spoil_tampering(message);
  EXPECT_TRUE(run::check_message(message).ok());
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
    {"MappingsAtTheEnd", [](Message& m) { m = mappings_end(protocol::kMaxMappings + 1); },
     "17 mappings"},
    {"TamperUnaligned", [](Message& m) { m = tamper(0x1004, protocol::Target::Entry); },
     "tampering at 0x1004"},
    {"TamperOfNothing", [](Message& m) { m = tamper(0x1000, static_cast<protocol::Target>(99)); },
     "target 99"},
    {"NoSamples", [](Message& m) { m = samples(0); }, "0 samples"},
    {"SamplesOverTheEnd", [](Message& m) { m = samples(protocol::kMaxSamples + 1); }, "samples"},
    {"CounterWithoutAStep", [](Message& m) { m = counter(0, 1, 1); }, "a step of 0"},
    {"CounterWithoutReadings", [](Message& m) { m = counter(1, 0, 1); }, "0 readings"},
    {"CounterWithoutNops", [](Message& m) { m = counter(1, 1, 0); }, "0 nops"},
    {"CounterOfNobody",
     [](Message& m) {
       m = counter(1, 1, 1);
       m.body.counter.source[0] = '\n';
     },
     "printable"},
    {"CampaignWhat", [](Message& m) { spoil_campaign(m).what = 2; }, "campaign message 2"},
    {"CampaignPages", [](Message& m) { spoil_campaign(m).pages = 1; }, "campaign on 1 pages"},
    {"CampaignManyPages", [](Message& m) { spoil_campaign(m).pages = 33; }, "campaign on 33 pages"},
    {"CampaignCode", [](Message& m) { spoil_campaign(m).code_pages = 0; }, "0 with code"},
    {"CampaignMuchCode", [](Message& m) { spoil_campaign(m).code_pages = 4; }, "4 with code"},
    {"TamperingEdit", [](Message& m) { spoil_tampering(m).edit = protocol::Edit{32}; },
     "tampering 32"},
    {"TamperingWriter", [](Message& m) { spoil_tampering(m).writer = protocol::Writer{3}; },
     "by 3"},
    {"TamperingShown", [](Message& m) { spoil_tampering(m).shown = protocol::Shown{2}; },
     "one that is known"},
    {"TamperingLevel", [](Message& m) { spoil_tampering(m).level = 5; }, "at level 5"},
    {"TamperingWord", [](Message& m) { spoil_tampering(m).words[1].gpa = 0x1004; },
     "a word at 0x1004"},
    {"TamperingWay", [](Message& m) { std::memset(spoil_tampering(m).way, 'a', 24); },
     "NUL-terminated"},
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
