// Telling a person that things go on, while several threads work.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sealvisor::app {

/// Writes lines to a stream. On a terminal a last line shows how far all is and what each run is
/// doing right now; it is overwritten and leaves nothing behind. Elsewhere how far all is comes as
/// a line of its own, with something that is done, if nothing else has come for a while. What can't
/// be written is lost, and nothing else. Thread-safe.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  /// `stream` is only borrowed. `live`: it is a terminal whose last line can be overwritten.
  /// `now`: for tests.
  Progress(std::FILE* stream, bool live, std::function<Clock::time_point()> now = Clock::now)
      : stream_(stream), live_(live), now_(std::move(now)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// What there is to do in all: `count` of `what` ("cells"), which with what comes beside them
  /// take as long as `weight` says, in any unit. Time runs from here.
  void expect(std::string what, std::uint64_t count, double weight);
  /// So much more is done. `note`: said in a line that stays, behind how far all is.
  void advance(std::uint64_t count, double weight, std::string_view note = {});

  /// So much of all will not be done.
  void give_up(std::uint64_t count, double weight);

  /// One line that stays.
  void note(std::string_view text);
  /// What `run` is doing now; shown on a terminal only.
  void step(const std::string& run, std::string_view text);
  /// `run` does nothing any more.
  void done(const std::string& run);

  /// Between lines that say how far all is, where there is no terminal.
  static constexpr std::chrono::seconds kPlainEvery{10};

 private:
  struct Work {
    std::string what;
    std::uint64_t all = 0;
    std::uint64_t done = 0;
    std::uint64_t given_up = 0;
    double all_weight = 0;
    double done_weight = 0;  ///< And of what was given up.
    Clock::time_point began;
  };
  /// "12 of 40 cells, 3 not reached, 31 s left"; empty if nothing was said to be expected.
  [[nodiscard]] std::string so_far() const;
  /// How far all is, in a line of its own if it is time for one.
  void tell();
  void write(std::string_view text);
  void line(std::string_view text);
  void clear();
  void show();

  std::mutex mutex_;
  std::FILE* stream_;
  bool live_;
  std::function<Clock::time_point()> now_;
  std::map<std::string, std::string> steps_;
  std::optional<Work> work_;
  std::optional<Clock::time_point> last_line_;
};

/// "45 s", "3 min 10 s", "2 h 5 min": seconds up to 90 of them, as people say it.
[[nodiscard]] std::string duration_text(double seconds);

}  // namespace sealvisor::app
