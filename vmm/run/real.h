// Real programs in a guest: what goes into its first file system, and what it printed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/image/initramfs.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::run {

/// Adds the files of `request.real` and what it works on. `inner` holds an archive that one of the
/// items is read from, as long as the items are used. Errors: what was fetched can't be read
/// (HostLacks).
[[nodiscard]] Status add_real(const RunRequest& request, std::vector<image::InitramfsItem>& items,
                              std::optional<image::Initramfs>& inner);

/// Collects the lines of a console that the agent marks as a real program's.
class RealLines {
 public:
  /// Most lines that are kept: the last ones, for what went wrong comes last.
  static constexpr std::size_t kMost = 200;
  static constexpr std::size_t kMostBytes = 300;  ///< Of one line.

  void add(std::span<const char> bytes);
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

 private:
  std::string line_;
  std::vector<std::string> lines_;
  std::uint64_t left_out_ = 0;
};

/// Fills run.real from what the guest told, and judges it: a finding if it is not as expected.
void finish_real(const RunRequest& request, const RealLines& lines, report::Run& run);

}  // namespace sealvisor::run
