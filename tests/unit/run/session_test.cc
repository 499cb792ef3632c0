#include "vmm/run/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "vmm/memory/guest_memory.h"
#include "vmm/run/run.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;
using testing::HasSubstr;

/// Each entry of the root is the root: 512 * 512 * 512 ways.
TEST(Session, EndsAGuestWhoseTablesCantBeSearchedAndSearchesNoMore) {
  constexpr arch::Frame kProcessRoot{0x100};
  auto memory = memory::GuestMemory::create(arch::Arch::X86_64, 64U << 20);
  ASSERT_TRUE(memory) << memory.error().message;
  arch::Table table{};
  std::fill(table.begin(), table.end(), kProcessRoot.gpa().value | 7);
  ASSERT_EQ(::pwrite(memory.value().fd().get(), table.data(), sizeof(table),
                     static_cast<off_t>(kProcessRoot.gpa().value)),
            static_cast<ssize_t>(sizeof(table)));

  run::RunRequest request;
  request.arch = arch::Arch::X86_64;
  run::Session session(request, memory.value(), nullptr);
  Event registers{};
  registers.kind = Kind::Registers;
  registers.old_value = 1ULL << 31;  // CR0.PG
  registers.new_value = 1ULL << 5;   // CR4.PAE
  registers.aux = 0xC00;             // EFER.LMA, NXE
  session.on_event(registers);
  Event load{};
  load.kind = Kind::RootLoad;
  load.gpa = kProcessRoot.gpa().value;
  load.root = kProcessRoot.gpa().value;
  session.on_event(load);
  Event doorbell = load;
  doorbell.kind = Kind::Doorbell;
  for (int message = 0; message < 3; ++message) {
    session.on_event(doorbell);
    const run::Commands commands = session.on_stopped(doorbell);
    ASSERT_TRUE(commands.give_up);
    EXPECT_THAT(*commands.give_up, HasSubstr("more ways than can be searched"));
  }
  report::Run run;
  session.finish(run);
  EXPECT_EQ(run.counts.doorbells, 3U);
  EXPECT_EQ(run.counts.rewalks, 1U);
  EXPECT_FALSE(run.findings.empty());
}

}  // namespace
}  // namespace sealvisor::test
