#include "vmm/evidence/names.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::evidence {
namespace {

using event::Event;
using event::Kind;
using testing::ElementsAre;
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

}  // namespace
}  // namespace sealvisor::evidence
