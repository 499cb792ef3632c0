// What can't be kept of a run takes nothing else along.
#include "vmm/run/recorder.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "vmm/evidence/manifest.h"

namespace sealvisor::test {
namespace {

using testing::HasSubstr;

TEST(Recorder, ATraceThatFindsNoRoomLeavesTheRest) {
  const app::Temporary folder;
  const run::RunRequest request = ScriptedRun::request(folder.path());
  std::filesystem::create_symlink("/dev/full", request.evidence_dir / evidence::kTraceName);
  FakeMemory memory;
  const FakeRam ram(memory, request.memory_bytes);
  evidence::RecordedSymbols symbols;
  symbols.code[0x1000] = "zap_pte_range+0x12";
  auto recorder = run::Recorder::create(request, ram, &symbols);
  ASSERT_TRUE(recorder.ok()) << recorder.error().message;
  EXPECT_TRUE(recorder.value()->symbols()->describe(0x1000).has_value());
  const auto kept = recorder.value()->close({}, {});
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code, ExitCode::HostLacks);
  EXPECT_THAT(kept.error().message, HasSubstr("No space left on device"));
  EXPECT_THAT(app::Temporary::read(request.evidence_dir / evidence::kSymbolsName),
              HasSubstr("zap_pte_range+0x12"));
  EXPECT_TRUE(std::filesystem::is_directory(request.evidence_dir / evidence::kCodeFolder));
}

}  // namespace
}  // namespace sealvisor::test
