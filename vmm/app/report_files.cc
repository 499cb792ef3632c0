#include "vmm/app/report_files.h"

#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "vmm/app/write_file.h"
#include "vmm/report/conclude.h"
#include "vmm/report/html/report_page.h"
#include "vmm/report/json.h"
#include "vmm/report/junit.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

struct File {
  const char* option;
  const fs::path& path;
  std::string (*render)(const report::Report&);
};

std::array<File, 3> all_of(const ReportFiles& files) {
  return {{{"--json", files.json, report::render_json},
           {"--junit", files.junit, report::render_junit},
           {"--html", files.html, report::render_html}}};
}

}  // namespace

Status check_apart(const ReportFiles& files, const char* command) {
  const std::array<File, 3> all = all_of(files);
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      if (all[i].path.empty() || all[i].path.lexically_normal() != all[j].path.lexically_normal()) {
        continue;
      }
      return Error{
          ExitCode::Usage,
          fmt::format("{} and {} both name {}, expected a file for each; see `sealvisor {} "
                      "--help`",
                      all[i].option, all[j].option, all[i].path.string(), command)};
    }
  }
  return {};
}

Status check_places(const ReportFiles& files, const fs::path& bundle) {
  for (const File& file : all_of(files)) {
    if (auto apart = check_outside(file.option, file.path, bundle); !apart) return apart;
    if (auto there = check_writable(file.option, file.path); !there) return there;
  }
  return {};
}

ExitCode write_files(const ReportFiles& files, const report::Report& report) {
  ExitCode code = report.exit_code;
  for (const File& file : all_of(files)) {
    if (file.path.empty()) continue;
    const Status written = write_file(file.path, file.render(report));
    if (written) continue;
    fmt::print(stderr, "sealvisor: {}\n", written.error().message);
    code = report::worse(code, written.error().code);
  }
  return code;
}

}  // namespace sealvisor::app
