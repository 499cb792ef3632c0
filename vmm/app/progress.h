// Telling a person that things go on, while several threads work.
#pragma once

#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace sealvisor::app {

/// Writes lines to a stream. On a terminal a last line shows what each run is doing right now; it
/// is overwritten and leaves nothing behind. Thread-safe.
class Progress {
 public:
  /// `stream` is only borrowed. `live`: it is a terminal.
  Progress(std::FILE* stream, bool live) : stream_(stream), live_(live) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// One line that stays.
  void note(std::string_view text);
  /// What `run` is doing now; shown on a terminal only.
  void step(const std::string& run, std::string_view text);
  /// `run` does nothing any more.
  void done(const std::string& run);

 private:
  void clear();
  void show();

  std::mutex mutex_;
  std::FILE* stream_;
  bool live_;
  std::map<std::string, std::string> steps_;
};

}  // namespace sealvisor::app
