// Where the recipe `lying` lies: the cells that a run of it must report, and no other.
#pragma once

#include "vmm/report/report.h"
#include "vmm/run/run.h"
#include "vmm/seal/guest.h"

namespace sealvisor::app {

/// Whether the kernel of recipe `lying`, in the guest `guest`, is documented to lie in this cell
/// (mapping, operation and form are used). Its two lies, guest/kernel/patches/lying:
///   0001  [vvar] says sl and is not sealed: wherever a kernel without the seal answers otherwise,
///         or lets something change that a seal keeps.
///   0002  munmap of exactly the whole [vdso] answers EPERM and does it all the same.
[[nodiscard]] bool documented_lie(const report::Cell& cell, seal::Guest guest);
/// Adds to a run what it can't know by itself: what its recipe is documented to be.
void annotate(report::Run& run, const run::RunRequest& request);

}  // namespace sealvisor::app
