// Memory that all processes of an experiment share: process 1, the one that measures, its children,
// and the programs that those exec. Of the same layout in 32-bit processes.
//
// Two descriptors stay open over every fork and exec: of /dev/mem for the doorbell, and of this
// memory. Its first page is a Shared; its second takes the marks of samples that do not count.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bench/experiment.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::bench {

inline constexpr std::size_t kPage = 4096;

inline constexpr int kDoorbellFd = 10;
inline constexpr int kSharedFd = 11;
inline constexpr std::size_t kSharedBytes = 2 * kPage;

/// What each program that an experiment execs ends with.
inline constexpr int kTargetExit = 7;
/// What a child ends with that could not exec; Shared::exec_error says why.
inline constexpr int kExecFailed = 127;

inline constexpr const char* kStaticTarget = "/helpers/bench-static";
inline constexpr const char* kDynamicTarget = "/helpers/bench-dynamic";
inline constexpr const char* kCompatTarget = "/helpers/bench-compat";
/// Without a C library; of 32 bits for a process of 32 bits.
inline constexpr const char* kBareTarget =
    sizeof(void*) == 4 ? "/helpers/bench-bare-compat" : "/helpers/bench-bare";

struct Shared {
  // What is asked for. Set before the experiment begins.
  char name[protocol::kLongNameSize];
  std::uint64_t doorbell;  ///< Guest-physical address of its page.
  std::uint32_t samples;
  std::uint32_t warm_up;
  std::uint32_t batch;
  std::uint32_t clock;  ///< 1: the guest's own clock, 0: marks.

  // Where it stands.
  std::uint32_t sample;    ///< 0-based, those of the warm-up first.
  std::uint32_t finished;  ///< 1: `status` counts.
  std::int32_t status;     ///< 0 or an errno.
  std::int32_t exec_error;
  std::uint64_t checked;  ///< As in protocol::Experiment.

  // Between the process that measures and a child, or what that has exec'd, in one sample.
  std::uint64_t begin;     ///< Clock: at the beginning, where another program takes the end.
  std::uint64_t function;  ///< Offset of a function in [vdso].
  std::uint32_t good;      ///< Operations that the child saw to be right.
  std::uint32_t reserved;

  /// Clock: the samples, and a place for those of the warm-up.
  std::uint64_t ticks[kMaxSamplesOf + 1];
};
static_assert(offsetof(Shared, checked) == 104 && offsetof(Shared, ticks) == 136);
static_assert(sizeof(Shared) == 136 + 8 * (kMaxSamplesOf + 1) && sizeof(Shared) <= kPage);

}  // namespace sealvisor::bench
