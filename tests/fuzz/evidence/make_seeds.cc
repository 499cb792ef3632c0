// Makes the inputs that the fuzz targets of bundles begin with: a guest of plain memory, recorded.
//
//   make_seeds DIR     writes into DIR/evidence_trace, evidence_blocks, evidence_replay and
//                      evidence_texts
//
// The target `fuzz` runs it. What fuzzing found worth keeping goes to corpus/ (libFuzzer,
// -merge=1).
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "vmm/evidence/block_file.h"
#include "vmm/evidence/manifest.h"
#include "vmm/report/conclude.h"
#include "vmm/report/json.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): a program of its own
namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

/// All records of a trace.
std::string records_of(const fs::path& folder) {
  const std::string description = app::Temporary::read(folder / evidence::kRunName);
  auto reader =
      evidence::BlockReader::open(folder / evidence::kTraceName, evidence::digest_of(description));
  EXPECT_TRUE(reader.ok());
  std::string records;
  for (;;) {
    const auto block = reader.value().next();
    EXPECT_TRUE(block.ok());
    if (!block || block.value().empty()) return records;
    records.append(reinterpret_cast<const char*>(block.value().data()), block.value().size());
  }
}

void make(const fs::path& to, const std::string& name, test::ScriptedRun::Kernel kernel) {
  const app::Temporary folder;
  const run::RunRequest request = test::ScriptedRun::request(folder.path());
  test::ScriptedRun script(request, kernel);
  script.real_vdso = false;
  report::Run run;
  script.play(run);
  const std::string records = records_of(request.evidence_dir);
  write(to / "evidence_trace" / name, records);
  write(to / "evidence_blocks" / name, std::string(24, '\0') + records.substr(0, 1000));
  write(to / "evidence_replay" / name, std::string(1, '\x04') + records);
  const fs::path texts = to / "evidence_texts";
  const auto text = [&](char kind, const char* file) {
    write(texts / (name + "-" + file),
          std::string(1, kind) + app::Temporary::read(request.evidence_dir / file));
  };
  text(3, evidence::kRunName);
  text(1, evidence::kSymbolsName);
  write(texts / (name + "-outcome"),
        std::string(1, '\x02') + records.substr(records.find("{\"end\"")));
  evidence::Manifest manifest;
  manifest.program = "sealvisor";
  manifest.tools = {{"zstd", "1"}};
  manifest.runs.push_back({"runs/x", 1, 2, {}});
  manifest.files.push_back({"runs/x/run.json", 5000, {}, {{}, {}}});
  write(texts / (name + "-manifest"), std::string(1, '\0') + evidence::render(manifest));
  const report::Report report = report::conclude({std::move(run)}, {}, {});
  write(texts / (name + "-report"), std::string(1, '\x04') + report::render_json(report));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds DIR\n");
    return static_cast<int>(ExitCode::Usage);
  }
  make(argv[1], "refuses", test::ScriptedRun::Kernel::Refuses);
  make(argv[1], "obeys", test::ScriptedRun::Kernel::Obeys);
  make(argv[1], "lies", test::ScriptedRun::Kernel::Lies);
  return testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed() ? 1 : 0;
}
