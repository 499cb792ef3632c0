// The tools of others that a benchmark is checked with. How they are got is the business of the
// script guest/tools/fetch; this only asks it.
#pragma once

#include <filesystem>
#include <vector>

#include "arch/arch.h"
#include "bench/samples.h"
#include "vmm/app/places.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

struct Tools {
  std::filesystem::path root;         ///< What goes into the guest's file system, from its root on.
  std::vector<bench::Tool> versions;  ///< Packages of the tools themselves.
};

/// The tools for guests of `arch`. Errors (HostLacks): they were not fetched; the message says what
/// to do.
[[nodiscard]] Result<Tools> find_tools(const Places& places, arch::Arch arch);

}  // namespace sealvisor::app
