#include "vmm/app/progress.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace {

/// A longer line would wrap, and then could not be overwritten.
constexpr std::size_t kMostLive = 79;
/// Of less that is done nobody can tell how long the rest takes.
constexpr double kLeastDone = 0.02;

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::lround(std::max(seconds, 0.0)));
  if (whole <= 90) return fmt::format("{} s", whole);
  const std::uint64_t minutes = whole / 60;
  if (minutes < 60) return fmt::format("{} min {} s", minutes, whole % 60);
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

Progress::~Progress() {
  const std::lock_guard lock(mutex_);
  clear();
}

void Progress::expect(std::string what, std::uint64_t count, double weight) {
  const std::lock_guard lock(mutex_);
  work_ = Work{std::move(what), count, 0, weight, 0, now_()};
  last_line_ = now_();
}

void Progress::advance(std::uint64_t count, double weight, std::string_view note) {
  const std::lock_guard lock(mutex_);
  if (!work_) return;
  work_->done = std::min(work_->done + count, work_->all);
  work_->done_weight = std::min(work_->done_weight + weight, work_->all_weight);
  const bool late = !live_ && last_line_ && now_() - *last_line_ >= kPlainEvery;
  if (!note.empty()) {
    line(fmt::format("{}: {}", so_far(), note));
  } else if (late) {
    line(so_far());
  } else {
    clear();
    show();
  }
}

std::string Progress::so_far() const {
  if (!work_) return "";
  std::string text = fmt::format("{} of {} {}", work_->done, work_->all, work_->what);
  const double part = work_->all_weight > 0 ? work_->done_weight / work_->all_weight : 0;
  if (part < kLeastDone) return text;
  const std::chrono::duration<double> passed = now_() - work_->began;
  return text + fmt::format(", {} left", duration_text(passed.count() / part * (1 - part)));
}

void Progress::line(std::string_view text) {
  clear();
  fmt::print(stream_, "{}\n", report::printable(text));
  // A pipe would keep it back until it is full.
  std::fflush(stream_);
  last_line_ = now_();
  show();
}

void Progress::note(std::string_view text) {
  const std::lock_guard lock(mutex_);
  line(text);
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
  std::string line = so_far();
  for (const auto& [run, text] : steps_) {
    line += fmt::format("{}{}: {}", line.empty() ? "" : "   ", run, text);
  }
  fmt::print(stream_, "{}", line.substr(0, kMostLive));
  std::fflush(stream_);
}

}  // namespace sealvisor::app
