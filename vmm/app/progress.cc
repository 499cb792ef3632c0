#include "vmm/app/progress.h"

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace {

/// A longer line would wrap, and then could not be overwritten.
constexpr std::size_t kMostLive = 79;

}  // namespace

Progress::~Progress() {
  const std::lock_guard lock(mutex_);
  clear();
}

void Progress::note(std::string_view text) {
  const std::lock_guard lock(mutex_);
  clear();
  fmt::print(stream_, "{}\n", report::printable(text));
  show();
}

void Progress::step(const std::string& run, std::string_view text) {
  const std::lock_guard lock(mutex_);
  steps_[run] = report::printable(text);
  clear();
  show();
}

void Progress::done(const std::string& run) {
  const std::lock_guard lock(mutex_);
  steps_.erase(run);
  clear();
  show();
}

void Progress::clear() {
  // Back to the first column, erase to the end of the line (ECMA-48 EL).
  if (live_) fmt::print(stream_, "\r\x1b[K");
}

void Progress::show() {
  if (!live_ || steps_.empty()) return;
  std::string line;
  for (const auto& [run, text] : steps_) {
    line += fmt::format("{}{}: {}", line.empty() ? "" : "   ", run, text);
  }
  fmt::print(stream_, "{}", line.substr(0, kMostLive));
  std::fflush(stream_);
}

}  // namespace sealvisor::app
