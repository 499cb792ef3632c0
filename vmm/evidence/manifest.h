// What a bundle consists of, and the seal over it. docs/evidence.md has the format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/evidence/digest.h"

namespace sealvisor::evidence {

inline constexpr const char* kBundleSchema = "sealvisor-bundle-1";
inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kSealName = "seal";
inline constexpr const char* kReportName = "report.json";
inline constexpr const char* kKnownName = "known-findings.json";
/// In the folder of a run.
inline constexpr const char* kRunName = "run.json";
inline constexpr const char* kTraceName = "trace.slvt";
inline constexpr const char* kSymbolsName = "symbols.json";
inline constexpr const char* kConsoleName = "console.txt";
inline constexpr const char* kConfigName = "kernel.config";
inline constexpr const char* kBuildName = "kernel.json";
/// Folder of snapshots, in the folder of a run.
inline constexpr const char* kCodeFolder = "code";

/// Files are known by their blocks of this size, so that a change is named by its place.
inline constexpr std::size_t kFileBlock = 4096;
/// Most files of a bundle, bytes of one that is read as a whole (a report of the full matrix on
/// each variant has some 100 MB), and runs.
inline constexpr std::size_t kMostFiles = 10'000;
inline constexpr std::uint64_t kMostFileBytes = 256ULL << 20;
inline constexpr std::size_t kMostRuns = 256;

/// A file as it was.
struct FileEntry {
  std::string path;  ///< In the bundle, with '/'.
  std::uint64_t bytes = 0;
  Digest digest{};
  std::vector<Digest> blocks;  ///< Empty for a trace, whose own blocks are chained.
};

/// A run as it was.
struct RunEntry {
  std::string folder;  ///< "runs/x86_64-lts-sealed".
  std::uint64_t events = 0;
  std::uint64_t trace_blocks = 0;
  Digest trace_end{};  ///< Digest of the trace's last block.
  /// Why its evidence is not whole (a disk that was full): nothing can be computed from it, and of
  /// the above nothing but the folder is set. Empty: it is whole.
  std::string not_whole = {};
};

struct Manifest {
  std::string program;                                     ///< "sealvisor 0.1.0".
  std::string command;                                     ///< As it was typed, or nearly so.
  std::string created;                                     ///< "2026-01-31T12:00:00Z".
  std::vector<std::pair<std::string, std::string>> tools;  ///< What took part, and its version.
  /// In the order of the report; behind them runs that the report has none of, and that are not
  /// whole.
  std::vector<RunEntry> runs;
  std::vector<FileEntry> files;  ///< By path.
};

[[nodiscard]] std::string render(const Manifest& manifest);
/// Reads it back. Errors (Failed) name the member and what was expected. Paths lead nowhere out of
/// the bundle.
[[nodiscard]] Result<Manifest> parse_manifest(std::string_view text);

/// Whether `path` is one that a bundle may have: at most four names of letters, digits and ".-_+",
/// none of them beginning with a dot.
[[nodiscard]] bool is_bundle_path(std::string_view path);

/// The file `path` of the bundle in `folder`, as it is now. Errors (Failed): it is not there, or is
/// no plain file.
[[nodiscard]] Result<FileEntry> describe(const std::filesystem::path& folder,
                                         const std::string& path);
/// Contents of a plain file of at most `most` bytes. Errors (Failed) name it.
[[nodiscard]] Result<std::string> read_whole(const std::filesystem::path& file,
                                             std::uint64_t most = kMostFileBytes);

/// The file `seal`: digests of a manifest's blocks, and of all that. Its last line is the seal of
/// the bundle.
struct Seal {
  std::string text;
  Digest digest{};
};
[[nodiscard]] Seal seal_of(std::string_view manifest);

/// Something that is not as it was.
struct Fault {
  std::string file;
  std::string text;  ///< What, and where in the file: "block 3, at byte 12288: ...".
};

struct Checked {
  Manifest manifest;          ///< Good only if no fault is of the manifest or the seal.
  std::vector<Fault> faults;  ///< Empty: each byte is as it was.
  Digest seal{};
  [[nodiscard]] bool has(std::string_view file) const;
};

/// Looks at each byte of the bundle in `folder`. Errors (Usage): there is none, or it was never
/// finished.
[[nodiscard]] Result<Checked> check_bundle(const std::filesystem::path& folder);

}  // namespace sealvisor::evidence
