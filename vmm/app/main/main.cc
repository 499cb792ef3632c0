// The program: reads the command line and does what it says.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "vmm/app/audit.h"
#include "vmm/app/bench.h"
#include "vmm/app/bench_nested.h"
#include "vmm/app/boot.h"
#include "vmm/app/compat.h"
#include "vmm/app/doctor.h"
#include "vmm/app/fail.h"
#include "vmm/app/kernels.h"
#include "vmm/app/lifetime.h"
#include "vmm/app/nested.h"
#include "vmm/app/observe.h"
#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/scenarios.h"
#include "vmm/app/terminal_text.h"
#include "vmm/app/trace.h"
#include "vmm/app/variants.h"
#include "vmm/app/verify.h"
#include "vmm/base/fd.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace)

int print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) == 0) return 0;
  return app::fail(errno_error(ExitCode::HostLacks, "writing to standard output"));
}

int kernel(const app::KernelOptions& options) {
  const auto places = app::find_places();
  if (!places) return app::fail(places.error());
  return app::fail(app::become_kernel_script(places.value(), options.arguments));
}

int scenarios(const app::ScenariosOptions& options) {
  const std::size_t width = app::text_options_for(STDOUT_FILENO).width;
  if (options.variants) return print(app::list_variants(width));
  return print(options.json ? app::list_scenarios_json() : app::list_scenarios(width));
}

/// What runs guests, which are hostile: with nothing open that is not its own.
template <typename Work>
int apart(const Work& work) {
  if (auto closed = close_inherited(); !closed) return app::fail(closed.error());
  return work();
}

struct Run {
  std::string command;  ///< As it was typed, or nearly so.

  int operator()(const app::VerifyOptions& options) const {
    return apart([&] {
      if (!options.machine.nested) return app::verify(options, command);
      app::VerifyOptions nested = options;
      nested.command = command;
      return app::verify_nested(nested);
    });
  }
  int operator()(const app::ObserveOptions& options) const {
    return apart([&] { return app::observe(options, command); });
  }
  int operator()(const app::BootOptions& options) const {
    return apart([&] { return app::boot(options); });
  }
  int operator()(const app::BenchOptions& options) const {
    return apart(
        [&] { return options.nested ? app::bench_nested(options) : app::bench(options, command); });
  }
  int operator()(const app::CompatOptions& options) const {
    return apart([&] { return app::compat(options); });
  }
  int operator()(const app::LifetimeOptions& options) const {
    return apart([&] { return app::lifetime(options); });
  }
  int operator()(const app::AuditOptions& options) const { return app::audit(options); }
  int operator()(const app::TraceOptions& options) const { return app::trace(options); }
  int operator()(const app::ScenariosOptions& options) const { return scenarios(options); }
  int operator()(const app::DoctorOptions& /*options*/) const { return app::doctor(); }
  int operator()(const app::KernelOptions& options) const { return kernel(options); }
  int operator()(const app::PrintOptions& options) const { return print(options.text); }
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto command = app::parse_options({argv + 1, argv + argc});
    if (!command) return app::fail(command.error());
    return std::visit(Run{fmt::format("sealvisor {}", fmt::join(argv + 1, argv + argc, " "))},
                      command.value());
  } catch (const std::exception& problem) {
    // Only what no caller can do anything about comes this far: memory that is not there.
    std::fprintf(stderr, "sealvisor: %s\n", problem.what());
    return static_cast<int>(ExitCode::HostLacks);
  }
}
