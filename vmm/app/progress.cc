#include "vmm/app/progress.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace {

/// Of a terminal that does not tell its own.
constexpr std::size_t kUsualWidth = 80;
/// And more than this nobody needs to read.
constexpr std::size_t kMostLive = 119;
/// Of less that is done nobody can tell how long the rest takes.
constexpr double kLeastDone = 0.02;

/// Most characters of a line that the terminal behind `stream` does not wrap: what is wrapped can't
/// be overwritten. Asked each time, for a window may be resized.
std::size_t room_on(std::FILE* stream) {
  winsize size{};
  const bool told = ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  return std::min((told ? size.ws_col : kUsualWidth) - 1, kMostLive);
}

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
  work_ = Work{.what = std::move(what), .all = count, .all_weight = weight, .began = now_()};
  last_line_ = now_();
}

void Progress::advance(std::uint64_t count, double weight, std::string_view note) {
  const std::lock_guard lock(mutex_);
  if (!work_) return;
  work_->done = std::min(work_->done + count, work_->all);
  work_->done_weight = std::min(work_->done_weight + weight, work_->all_weight);
  if (!note.empty()) {
    line(fmt::format("{}: {}", so_far(), note));
  } else {
    tell();
  }
}

void Progress::give_up(std::uint64_t count, double weight) {
  const std::lock_guard lock(mutex_);
  if (!work_) return;
  work_->given_up = std::min(work_->given_up + count, work_->all - work_->done);
  work_->done_weight = std::min(work_->done_weight + weight, work_->all_weight);
  tell();
}

void Progress::tell() {
  const bool late = !live_ && last_line_ && now_() - *last_line_ >= kPlainEvery;
  if (late) {
    line(so_far());
  } else {
    clear();
    show();
  }
}

std::string Progress::so_far() const {
  if (!work_) return "";
  std::string text = fmt::format("{} of {} {}", work_->done, work_->all, work_->what);
  if (work_->given_up != 0) text += fmt::format(", {} not reached", work_->given_up);
  const double part = work_->all_weight > 0 ? work_->done_weight / work_->all_weight : 0;
  if (part < kLeastDone) return text;
  const std::chrono::duration<double> passed = now_() - work_->began;
  return text + fmt::format(", {} left", duration_text(passed.count() / part * (1 - part)));
}

void Progress::write(std::string_view text) {
  // Not by fmt::print, which throws: a full disk behind 2> is no reason to lose what was seen.
  (void)std::fwrite(text.data(), 1, text.size(), stream_);
}

void Progress::line(std::string_view text) {
  clear();
  write(report::printable(text) + "\n");
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
  if (live_) write("\r\x1b[K");
}

void Progress::show() {
  if (!live_ || steps_.empty()) return;
  std::string line = so_far();
  for (const auto& [run, text] : steps_) {
    line += fmt::format("{}{}: {}", line.empty() ? "" : "   ", run, text);
  }
  write(std::string_view(line).substr(0, room_on(stream_)));
  std::fflush(stream_);
}

}  // namespace sealvisor::app
