// What the sequences of CRIU have in common.
//
// A process that restores keeps two areas: the restorer (here: the window of this program), and the
// memory of the process to be restored, mapped beforehand at some other place. All else goes.
// Source: checkpoint-restore/criu, criu/pie/restorer.c, the comment of unmap_old_vmas.
//
// [vvar] and, where the kernel has it, [vvar_vclock] are one thing to CRIU, which are moved one
// after the other ("vdso: handle vvar_vclock vma-s", pull request 2539, CRIU 4.1).
#pragma once

#include "guest/compat/program.h"

namespace sealvisor::compat {

/// Memory of the process that is restored, away from everything; its vdso and vvar, as the image
/// has them, are at its start.
class Premapped {
 public:
  /// As large as all system mappings of `program` together.
  explicit Premapped(Program& program);
  [[nodiscard]] Range range() const { return range_; }

 private:
  Range range_;
};

/// Moves all system mappings into the window (vdso_do_park). False: CRIU gives up.
[[nodiscard]] bool park_all(Program& program);

/// Unmaps all but the window and `premapped`, in three calls (unmap_old_vmas). False: CRIU gives
/// up.
[[nodiscard]] bool unmap_old(Program& program, const Premapped& premapped);

/// Unmaps what the image has of each, and moves what was parked to there (remap_rt_vdso).
void move_to_image(Program& program, const Premapped& premapped);

}  // namespace sealvisor::compat
