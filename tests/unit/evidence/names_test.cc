// A run's symbols, kept, answer as the kernel's did.
#include "vmm/evidence/names.h"

#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::evidence {
namespace {

using event::Event;
using event::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Event at(Kind kind, std::uint64_t pc, std::uint8_t flags = 0) {
  Event event{};
  event.kind = kind;
  event.pc = pc;
  event.flags = flags;
  return event;
}

TEST(RecordingSymbols, CodeOfTheKernelThatAViolationMayBeByIsNamed) {
  RecordedSymbols kernel;
  for (const std::uint64_t pc : {0x10U, 0x20U, 0x30U, 0x40U, 0x50U, 0x60U}) {
    kernel.code[pc] = "code";
  }
  kernel.code[0x10] = "set_pte+0x4";
  RecordingSymbols recording(kernel);
  const std::array events = {at(Kind::SlotWrite, 0x10),
                             at(Kind::SlotWrite, 0x10),
                             at(Kind::ContentWrite, 0x20),
                             at(Kind::RootLoad, 0x30),
                             at(Kind::RootLoad, 0x40, event::kUpperHalf),
                             at(Kind::SlotWrite, 0x50, event::kUserMode),
                             at(Kind::UserEntry, 0x60),
                             at(Kind::SlotWrite, 0),
                             at(Kind::SlotWrite, 0x70)};
  recording.note(events);
  EXPECT_THAT(recording.recorded().code,
              ElementsAre(Pair(0x10, "set_pte+0x4"), Pair(0x20, "code"), Pair(0x30, "code")));
}

TEST(Names, WhatWasAnsweredIsKept) {
  RecordedSymbols kernel;
  kernel.code[0x1000] = "zap_pte_range+0x12";
  kernel.code[0x2000] = "never_asked";
  kernel.places["linux_banner"] = 0x3000;
  const RecordingSymbols recording(kernel);
  // No event told of this place.
  EXPECT_EQ(recording.describe(0x1000), "zap_pte_range+0x12");
  EXPECT_EQ(recording.describe(0x1004), std::nullopt);
  const std::string_view names[] = {"linux_banner", "none"};
  static_cast<void>(recording.addresses_of(names));
  const auto kept = RecordedSymbols::parse(recording.recorded().render());
  ASSERT_TRUE(kept.ok()) << kept.error().message;
  EXPECT_EQ(kept.value().describe(0x1000), "zap_pte_range+0x12");
  EXPECT_EQ(kept.value().describe(0x2000), std::nullopt);
  EXPECT_EQ(kept.value().addresses_of(names), kernel.addresses_of(names));
}

TEST(Names, WhatIsNoneIsRefused) {
  const auto why = [](const char* text) {
    const auto names = RecordedSymbols::parse(text);
    return names ? std::string() : names.error().message;
  };
  EXPECT_THAT(why("nonsense"), HasSubstr("symbols: no JSON"));
  EXPECT_THAT(why(R"({"schema": "sealvisor-symbols-1", "code": {}})"), HasSubstr("\"places\""));
  EXPECT_THAT(why(R"({"schema": "sealvisor-symbols-1", "places": [], "code": {}})"),
              HasSubstr("expected to be objects"));
  EXPECT_EQ(why(R"({"schema": "sealvisor-symbols-1", "places": {}, "code": {}})"), "");
}

}  // namespace
}  // namespace sealvisor::evidence
