// What the command line takes, declared to CLI11; what becomes of it is in options.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "vmm/app/options.h"

namespace sealvisor::app {

struct ArchWord {
  std::string word = "all";
};

/// Of `kernel list` and `kernel build`.
struct KernelWords {
  std::string recipe;
  std::string arch;
  bool update = false;
  bool json = false;
};

/// Where the library writes what it reads, and each command's part of it.
struct CommandLine {
  struct Parts {
    CLI::App* verify = nullptr;
    CLI::App* observe = nullptr;
    CLI::App* boot = nullptr;
    CLI::App* bench = nullptr;
    CLI::App* compat = nullptr;
    CLI::App* lifetime = nullptr;
    CLI::App* audit = nullptr;
    CLI::App* trace = nullptr;
    CLI::App* scenarios = nullptr;
    CLI::App* doctor = nullptr;
    CLI::App* kernel = nullptr;
  };
  Parts parts;
  VerifyOptions verify;
  ObserveOptions observe;
  BootOptions boot;
  BenchOptions bench;
  CompatOptions compat;
  LifetimeOptions lifetime;
  AuditOptions audit;
  TraceOptions trace;
  ScenariosOptions scenarios;
  KernelWords kernel;
  ArchWord verify_arch;
  ArchWord observe_arch;
  ArchWord boot_arch;
  ArchWord bench_arch;
  ArchWord compat_arch;
  ArchWord lifetime_arch;
};

/// Declares every command. `line` must outlive `app`, which keeps references into it.
void declare_options(CLI::App& app, CommandLine& line);

}  // namespace sealvisor::app
