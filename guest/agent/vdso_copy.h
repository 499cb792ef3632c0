// The vdso's bytes at another place, in memory of the process's own.
#pragma once

#include <cstdint>

#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// A copy of [vvar] to [vdso], with the distances between them kept, in anonymous memory that is
/// readable, writable and executable. Lives as long as the process.
class VdsoCopy {
 public:
  /// 0, or an errno; said on the console.
  [[nodiscard]] int make(const MappingTable& table);
  /// Calls the copy's clock_gettime. 0, or an errno; said on the console.
  [[nodiscard]] int run() const;
  /// Where the copy of [vdso] begins.
  [[nodiscard]] std::uint64_t vdso() const { return vdso_; }

 private:
  std::uint64_t vdso_ = 0;
  std::uint64_t vdso_size_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace sealvisor::agent
