// What one boot of a guest measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sealvisor::bench {

/// Instructions of one function in one sample.
struct PlaceCount {
  std::string place;  ///< "do_mmap", "[vdso] __vdso_getcpu", "[user]", "[kernel]".
  std::uint64_t instructions = 0;
  friend bool operator==(const PlaceCount&, const PlaceCount&) = default;
};

/// One sample, in the unit of its boot: guest instructions, or ticks of the guest's own clock.
struct Sample {
  std::uint64_t user = 0;    ///< Ticks: all of them.
  std::uint64_t kernel = 0;  ///< Ticks: 0.
  [[nodiscard]] std::uint64_t total() const { return user + kernel; }
};

struct ExperimentRun {
  std::string name;
  std::uint32_t batch = 1;    ///< Operations of each sample.
  std::int32_t status = 0;    ///< 0, or the errno with which the guest stopped it.
  std::uint64_t checked = 0;  ///< Operations that the guest looked at and found right.
  std::vector<Sample> samples;
  /// Where the instructions of the sample went that `median_sample` names; largest first. Empty
  /// where nothing was profiled. Their sum is that sample's total.
  std::vector<PlaceCount> profile;
  std::size_t median_sample = 0;
};

enum class Unit : std::uint8_t { Instructions, Ticks };

/// One guest from start to end.
struct Boot {
  Unit unit = Unit::Instructions;
  std::uint64_t seed = 0;
  std::string release;          ///< uname -r.
  std::uint64_t slide = 0;      ///< Where the kernel was, less where it was linked to be.
  std::uint64_t vdso = 0;       ///< Where the vdso was.
  double ticks_per_second = 0;  ///< Unit::Ticks.
  std::vector<ExperimentRun> experiments;
  bool good =
      false;  ///< All experiments that were asked for came, and the guest ended as it should.
  bool interrupted = false;
  std::string ending;  ///< For people.
  std::string engine;  ///< "QEMU 10.0.2".
  double seconds = 0;  ///< Wall time, for progress only.
};

/// The sample in the middle: of an even number the lower one of two.
[[nodiscard]] std::size_t median_sample(const std::vector<Sample>& samples);

}  // namespace sealvisor::bench
