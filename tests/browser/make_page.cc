// Writes the page of a run that never was, for the browser test.
//
//   make_page KIND FILE     KIND: whole, hostile (names that try to leave their place), void, empty
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "bench/conclude.h"
#include "bench/html.h"
#include "bench/json.h"
#include "tests/unit/bench/generate.h"
#include "vmm/app/capture.h"

namespace {

using namespace sealvisor;         // NOLINT(google-build-using-namespace)
using namespace sealvisor::bench;  // NOLINT(google-build-using-namespace)

constexpr const char* kEvil =
    "exec/</title></svg><script>document.title='evil'</script>'\"\\\n`id`-vmas-";

Collected hostile() {
  Collected collected =
      generate::collect({.layouts = 4,
                         .b_adds = {{"exec/exec-vmas-1", 5000}, {"exec/exec-vmas-16", 5000}},
                         .only = {"exec/exec-vmas-1", "exec/exec-vmas-16"}});
  for (Boot& boot : collected.boots) {
    int number = 0;
    for (Measured& measured : boot.experiments) {
      measured.experiment = kEvil + std::to_string(number++ == 0 ? 1 : 16);
      for (SymbolCount& symbol : measured.profile)
        symbol.symbol += "<img src=x onerror=alert(1)>'$";
    }
  }
  collected.failures = {"the guest said \xff<b>\x1b[31m&amp;"};
  collected.context.b = "b<i>'\"";
  return collected;
}

Collected collected_for(std::string_view kind) {
  if (kind == "whole") return generate::showcase();
  if (kind == "hostile") return hostile();
  if (kind == "void") {
    return generate::collect({.control_adds = {{"mmap/brk", 60}}, .only = {"mmap/brk"}});
  }
  return {};
}

Rules rules_for(std::string_view kind) {
  Rules rules;
  if (kind != "whole") return rules;
  auto before = conclude(
      generate::collect({.archs = {arch::Arch::X86_64, arch::Arch::Arm64}, .layout_noise = 0.0006}),
      {});
  if (!before) return rules;
  auto saved = parse_baseline(render_json(before.value()), "saved.json");
  if (saved) rules.baseline = std::move(saved.value());
  return rules;
}

Result<ProgramEnd> run(const std::filesystem::path& program,
                       const std::vector<std::string>& arguments, std::chrono::milliseconds limit) {
  auto captured = app::capture(program, arguments, limit);
  if (!captured) return captured.error();
  return ProgramEnd{captured.value().status, std::move(captured.value().output)};
}

int fail(const Error& error) {
  fmt::print(stderr, "make_page: {}\n", error.message);
  return static_cast<int>(error.code);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return fail({ExitCode::Usage, "arguments: KIND FILE"});
  const auto report = conclude(collected_for(argv[1]), rules_for(argv[1]));
  if (!report) return fail(report.error());
  const auto drawings = draw(plots_of(report.value()), run);
  if (!drawings) return fail(drawings.error());
  std::ofstream(argv[2], std::ios::binary) << render_html(report.value(), drawings.value());
  return 0;
}
