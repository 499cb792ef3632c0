// A small bundle, made as `verify --bundle` makes one, of a guest of plain memory.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "tests/unit/support/trace_edit.h"
#include "vmm/app/bundle.h"
#include "vmm/app/lies.h"
#include "vmm/evidence/manifest.h"
#include "vmm/report/conclude.h"

namespace sealvisor::test {

class TestBundle {
 public:
  /// Folder of its one run.
  static constexpr const char* kRun = "runs/x86_64-lts-sealed";
  static constexpr const char* kNoKnown =
      R"({"schema": "sealvisor-known-findings-1", "findings": []})";

  void make(ScriptedRun::Kernel kernel, bool symbols = true,
            const std::function<void(ScriptedRun&)>& prepare = {}) {
    std::vector<run::RunRequest> requests = {ScriptedRun::request(inputs_.path())};
    if (!symbols) requests[0].symbols.clear();
    inputs_.file("config", "CONFIG_MSEAL_SYSTEM_MAPPINGS=y\n");
    inputs_.file("build.json", "{}\n");
    auto bundle = app::Bundle::create(folder(), "sealvisor verify --bundle b");
    ASSERT_TRUE(bundle.ok()) << bundle.error().message;
    auto attached = bundle.value().attach(requests);
    ASSERT_TRUE(attached.ok()) << attached.error().message;
    report::Run run;
    ScriptedRun script(requests[0], kernel);
    script.at_the_end = at_the_end;
    if (prepare) prepare(script);
    script.play(run);
    ASSERT_TRUE(run.evidence.has_value());
    app::annotate(run, requests[0]);
    report::NotRun other{arch::Arch::Arm64, "lts-sealed", {ExitCode::HostLacks, "not built"}};
    report = report::conclude({std::move(run)}, {std::move(other)}, {});
    auto sealed = bundle.value().finish(report, kNoKnown);
    ASSERT_TRUE(sealed.ok()) << sealed.error().message;
    ASSERT_TRUE(bundle.value().seal().has_value());
    seal = *bundle.value().seal();
    text = app::text_of(bundle.value(), report);
  }

  [[nodiscard]] std::filesystem::path folder() const { return place_.path() / "bundle"; }
  [[nodiscard]] std::filesystem::path file(const std::string& path) const {
    return folder() / path;
  }
  [[nodiscard]] std::string read(const std::string& path) const {
    return app::Temporary::read(file(path));
  }
  void write(const std::string& path, const std::string& contents) const {
    std::ofstream(file(path), std::ios::binary | std::ios::trunc) << contents;
  }
  /// Paths of all files.
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> paths;
    for (const auto& one : std::filesystem::recursive_directory_iterator(folder())) {
      if (one.is_directory()) continue;
      paths.push_back(one.path().lexically_relative(folder()).generic_string());
    }
    return paths;
  }

  void seal_again() const { test::seal_again(folder()); }
  void forge(const std::function<bool(event::Event&)>& edit) const {
    test::forge(folder(), kRun, edit);
  }

  std::function<void(ScriptedRun&)> at_the_end;  ///< Of the run; see there.
  report::Report report;
  evidence::Digest seal{};
  std::string text;  ///< What a person is told.

 private:
  app::Temporary place_;
  app::Temporary inputs_;
};

}  // namespace sealvisor::test
