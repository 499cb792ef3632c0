// `--bundle DIR`: the evidence of a command that runs guests, in one folder (docs/evidence.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/evidence/digest.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::app {

/// The bundle of one command: made before its guests run, sealed behind them.
class Bundle {
 public:
  /// Makes `folder`, which is new or empty, for `command` as it was typed. An empty path: nothing
  /// is kept, and what is called below does nothing. Errors name the folder: it is not empty
  /// (Usage), it can't be made (HostLacks).
  [[nodiscard]] static Result<Bundle> create(const std::filesystem::path& folder,
                                             const std::string& command);

  /// Gives each of `requests` a folder for its evidence. An error leaves the folder empty: a folder
  /// can't be made (HostLacks), or there are more runs than a bundle holds (Usage).
  [[nodiscard]] Status attach(std::vector<run::RunRequest>& requests);
  /// Adds what is known of all runs and seals it. `report` has the runs of the requests, in their
  /// order; folders of those that did not run are taken away again, unless they have events, and a
  /// run whose evidence is not whole is listed as such. `known_findings`: the reviewed
  /// file that the report was concluded with. Errors (HostLacks) say that it is not sealed, and
  /// name the file.
  [[nodiscard]] Status finish(const report::Report& report, std::string_view known_findings);

  /// nullopt: not sealed.
  [[nodiscard]] const std::optional<evidence::Digest>& seal() const { return seal_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  struct Attached {
    arch::Arch arch{};
    std::string recipe;
    std::string folder;  ///< In the bundle.
  };
  Bundle(std::filesystem::path folder, std::string command)
      : folder_(std::move(folder)), command_(std::move(command)) {}
  [[nodiscard]] Status attach_each(std::vector<run::RunRequest>& requests);
  [[nodiscard]] Status complete(const report::Report& report, std::string_view known_findings);
  [[nodiscard]] Status write(const std::string& path, std::string_view text) const;

  std::filesystem::path folder_;
  std::string command_;
  std::vector<Attached> runs_;
  std::optional<evidence::Digest> seal_;
};

/// What a person is told of a bundle that was sealed: where it is, its size for each event, and the
/// seal to keep elsewhere.
[[nodiscard]] std::string text_of(const Bundle& bundle, const report::Report& report);

}  // namespace sealvisor::app
