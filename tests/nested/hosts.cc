#include "tests/nested/hosts.h"

#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "vmm/app/kernels.h"
#include "vmm/app/nested.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"

namespace sealvisor::test {

namespace fs = std::filesystem;
using engine::nested::HostPlan;
using engine::nested::NestedHost;

namespace {
/// The test programs lie in a folder of their own: of the build that they belong to.
Result<app::Places> places_of_build() {
  return app::find_places({.executable = SEALVISOR_BUILD_DIR "/sealvisor",
                           .share_override = std::nullopt,
                           .source_dir = SEALVISOR_SOURCE_DIR});
}
}  // namespace

Result<fs::path> kernel_folder(const std::string& recipe, arch::Arch arch) {
  const auto places = places_of_build();
  if (!places) return places.error();
  return app::kernel_dir(places.value(), recipe, arch);
}

HostPlan verify_plan(const app::VerifyOptions& options, const std::string& out) {
  const auto places = places_of_build();
  if (!places) {
    ADD_FAILURE() << places.error().message;
    return {};
  }
  app::VerifyTools tools;
  tools.kernel_dir = [&](const std::string& recipe, arch::Arch one) {
    return app::kernel_dir(places.value(), recipe, one);
  };
  const fs::path folder = fs::path(SEALVISOR_BUILD_DIR) / "nested-out" / out;
  fs::remove_all(folder);
  auto plan = app::nested_plan(options, options.archs.at(0), places.value(), tools, folder);
  if (!plan) {
    ADD_FAILURE() << plan.error().message;
    return {};
  }
  return std::move(plan).value();
}

Ran run(HostPlan plan) {
  Ran ran;
  plan.on_console = [&ran](std::string_view bytes) { ran.console += bytes; };
  auto host = NestedHost::create(std::move(plan));
  if (!host) {
    ADD_FAILURE() << host.error().message;
    return ran;
  }
  auto outcome = host.value().run();
  if (!outcome) {
    ADD_FAILURE() << outcome.error().message << "\n" << ran.console;
    return ran;
  }
  ran.outcome = std::move(outcome).value();
  fmt::print("{:.1f} s wall, {:.1f} s CPU\n", ran.outcome.wall_seconds, ran.outcome.cpu_seconds);
  return ran;
}

}  // namespace sealvisor::test
