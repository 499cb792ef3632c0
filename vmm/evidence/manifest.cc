#include "vmm/evidence/manifest.h"

#include <algorithm>
#include <functional>
#include <set>
#include <span>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/base/fd.h"
#include "vmm/evidence/block_file.h"
#include "vmm/evidence/members.h"

namespace sealvisor::evidence {

namespace fs = std::filesystem;
using Json = Members::Json;

namespace {

constexpr const char* kSealSchema = "sealvisor-seal-1";
constexpr std::size_t kMostTools = 100;
constexpr std::size_t kMostNames = 4;
/// Most of the faults that are told one by one: a trace of another seed has no other good block.
constexpr std::size_t kMostFaults = 1000;
/// Most places in one file that are told.
constexpr std::size_t kMostPlaces = 16;

Error failed(std::string text) { return Error{ExitCode::Failed, std::move(text)}; }

/// Gives `take` the whole file, in pieces of `piece` bytes, the last one perhaps shorter.
Status read_pieces(const fs::path& file, std::size_t piece,
                   const std::function<Status(std::span<const std::byte>)>& take) {
  const auto fd = open_plain(file, ExitCode::Failed, file.string());
  if (!fd) return fd.error();
  std::vector<std::byte> bytes(piece);
  for (;;) {
    const auto done = read_all(fd.value(), bytes);
    if (!done) return errno_error(ExitCode::Failed, "reading " + file.string());
    if (*done == 0) return {};
    if (auto taken = take(std::span(bytes).first(*done)); !taken) return taken;
  }
}

/// Digests of a text's blocks.
std::vector<Digest> blocks_of(std::string_view text) {
  std::vector<Digest> blocks;
  for (std::size_t at = 0; at < text.size(); at += kFileBlock) {
    blocks.push_back(digest_of(text.substr(at, kFileBlock)));
  }
  return blocks;
}

/// Whether `path` leads through folders only: one that is a link could lead anywhere.
Status plain_folders(const fs::path& folder, const fs::path& path) {
  fs::path at = folder;
  for (const fs::path& name : path.parent_path()) {
    at /= name;
    std::error_code error;
    if (fs::symlink_status(at, error).type() != fs::file_type::directory) {
      return failed(fmt::format("{}: expected a folder", at.string()));
    }
  }
  return {};
}

bool is_trace(std::string_view path) { return path.ends_with(std::string("/") + kTraceName); }

/// Numbers of blocks, in order: "block 5, 7 to 9".
std::string places_of(std::span<const std::size_t> blocks) {
  std::string text = blocks.size() == 1 ? "block " : "blocks ";
  std::size_t told = 0;
  for (std::size_t i = 0; i < blocks.size(); ++told) {
    if (told == kMostPlaces) return text + fmt::format(" and {} more", blocks.size() - i);
    std::size_t last = i;
    while (last + 1 < blocks.size() && blocks[last + 1] == blocks[last] + 1) ++last;
    if (told != 0) text += ", ";
    text +=
        last == i ? fmt::format("{}", blocks[i]) : fmt::format("{} to {}", blocks[i], blocks[last]);
    i = last + 1;
  }
  return text;
}

/// Where a file is not as it was: the blocks that differ, and its length.
std::string difference(const FileEntry& then, const FileEntry& now) {
  std::vector<std::size_t> differ;
  for (std::size_t i = 0; i < std::min(then.blocks.size(), now.blocks.size()); ++i) {
    // The last block of a file that was cut or grew is another one too: its length says more.
    const std::uint64_t end = (i + 1) * kFileBlock;
    if (then.bytes != now.bytes && end > std::min(then.bytes, now.bytes)) break;
    if (then.blocks[i] != now.blocks[i]) differ.push_back(i);
  }
  std::string text;
  if (!differ.empty()) {
    text = fmt::format("block {}, at byte {}: not what it was", differ[0], differ[0] * kFileBlock);
    if (differ.size() > 1) text += "; nor " + places_of(std::span(differ).subspan(1));
  }
  if (then.bytes != now.bytes) {
    const std::uint64_t at = std::min(then.bytes, now.bytes);
    if (!text.empty()) text += "; ";
    text += fmt::format("block {}, at byte {}: it has {} bytes, and had {}", at / kFileBlock, at,
                        now.bytes, then.bytes);
  }
  return text.empty() ? "not what it was" : text;
}

Json json_of(const FileEntry& file) {
  Json blocks = Json::array();
  for (const Digest& block : file.blocks) blocks.push_back(hex(block));
  return {{"path", file.path},
          {"bytes", file.bytes},
          {"sha256", hex(file.digest)},
          {"blocks", std::move(blocks)}};
}

Json json_of(const RunEntry& run) {
  return {{"folder", run.folder},
          {"events", run.events},
          {"trace_blocks", run.trace_blocks},
          {"trace_end", hex(run.trace_end)},
          {"not_whole", run.not_whole}};
}

Result<FileEntry> file_of(const Json& json) {
  Members members(json, "manifest: a file");
  FileEntry file;
  file.path = members.text("path");
  file.bytes = members.number("bytes");
  file.digest = members.digest("sha256");
  if (!is_bundle_path(file.path)) members.refuse("path", "names of letters, digits and '.-_+'");
  const std::uint64_t most = is_trace(file.path) ? 0 : file.bytes / kFileBlock + 1;
  for (const std::string& text : members.texts("blocks", static_cast<std::size_t>(most))) {
    const auto digest = parse_digest(text);
    if (!digest) {
      members.refuse("blocks", "64 hexadecimal digits each");
      break;
    }
    file.blocks.push_back(*digest);
  }
  if (auto good = members.status(); !good) return good.error();
  return file;
}

Result<RunEntry> run_of(const Json& json) {
  Members members(json, "manifest: a run");
  RunEntry run;
  run.folder = members.text("folder");
  run.events = members.number("events");
  run.trace_blocks = members.number("trace_blocks");
  run.trace_end = members.digest("trace_end");
  run.not_whole = members.text("not_whole");
  if (!is_bundle_path(run.folder)) members.refuse("folder", "names of letters, digits and '.-_+'");
  if (auto good = members.status(); !good) return good.error();
  return run;
}

class Check {
 public:
  Check(fs::path folder, Checked& result) : folder_(std::move(folder)), result_(result) {}

  void seal_and_manifest(std::string_view manifest, std::string_view seal);
  void files();

 private:
  void fault(std::string file, std::string text) {
    if (result_.faults.size() < kMostFaults) {
      result_.faults.push_back({std::move(file), std::move(text)});
    } else {
      ++untold_;
    }
  }
  void file(const FileEntry& then);
  /// Of a run whose evidence is whole.
  void trace(const FileEntry& then, const RunEntry& run);
  void unknown_files();
  [[nodiscard]] const RunEntry* run_of_trace(const std::string& path) const;

  fs::path folder_;
  Checked& result_;
  std::size_t untold_ = 0;
};

void Check::seal_and_manifest(std::string_view manifest, std::string_view seal) {
  const Seal now = seal_of(manifest);
  result_.seal = now.digest;
  if (seal == now.text) return;
  // The seal's last line covers the ones above: whether it is the seal that was edited, or the
  // manifest, shows in that.
  const std::size_t last = seal.rfind("seal ");
  if (last == std::string_view::npos ||
      seal.substr(last) != "seal " + hex(digest_of(seal.substr(0, last))) + "\n") {
    fault(kSealName,
          fmt::format("block 0, at byte {}: its last line is not the digest of those above",
                      last == std::string_view::npos ? 0 : last));
    return;
  }
  std::vector<std::string_view> then;
  std::vector<std::string_view> is;
  const auto split = [](std::string_view text, std::vector<std::string_view>& lines) {
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
      lines.push_back(text.substr(0, end));
      text.remove_prefix(end + 1);
    }
  };
  split(seal, then);
  split(now.text, is);
  // Two lines in front of the blocks, the schema and the length, and one behind them.
  std::vector<std::size_t> differ;
  for (std::size_t line = 2; line + 1 < std::min(then.size(), is.size()); ++line) {
    if (then[line] != is[line]) differ.push_back(line - 2);
  }
  if (differ.empty() || then.size() != is.size()) {
    const std::size_t shorter = std::min(then.size(), is.size());
    differ.push_back(shorter - std::min<std::size_t>(shorter, 3));
  }
  std::string text =
      fmt::format("block {}, at byte {}: not what was sealed", differ[0], differ[0] * kFileBlock);
  if (differ.size() > 1) text += "; nor " + places_of(std::span(differ).subspan(1));
  fault(kManifestName, std::move(text));
}

const RunEntry* Check::run_of_trace(const std::string& path) const {
  const auto found =
      std::find_if(result_.manifest.runs.begin(), result_.manifest.runs.end(),
                   [&](const RunEntry& run) { return path == run.folder + "/" + kTraceName; });
  return found == result_.manifest.runs.end() ? nullptr : &*found;
}

void Check::trace(const FileEntry& then, const RunEntry& run) {
  // The chain begins with what the run was said to be.
  const std::string description = run.folder + "/" + kRunName;
  const auto& files = result_.manifest.files;
  const auto seed = std::find_if(files.begin(), files.end(),
                                 [&](const FileEntry& file) { return file.path == description; });
  if (seed == files.end()) {
    fault(then.path, description + " is not in the manifest");
    return;
  }
  auto blocks = BlockReader::open(folder_ / then.path, seed->digest);
  if (!blocks) {
    fault(then.path, blocks.error().message);
    return;
  }
  const BlockSeal& seal = blocks.value().seal();
  for (;;) {
    const auto block = blocks.value().next();
    if (!block) {
      const auto& where = blocks.value().fault();
      fault(then.path, where ? fmt::format("block {}, at byte {}: {}", where->block, where->offset,
                                           where->text)
                             : block.error().message);
      return;
    }
    if (block.value().empty()) break;
    // Good so far, and more than there was: how much more is not looked at.
    if (seal.blocks >= run.trace_blocks || seal.bytes > then.bytes) break;
  }
  // The digest of the last block is one of each byte before it: the file's own says no more.
  if (seal.digest != run.trace_end || seal.blocks != run.trace_blocks || seal.bytes != then.bytes) {
    // Good in itself: somebody wrote it anew, from a block on that nobody can tell.
    fault(then.path,
          fmt::format("block {}, at byte {}: another trace, of {} blocks or more that end in {}",
                      seal.blocks - 1, blocks.value().offset(), seal.blocks, hex(seal.digest)));
  }
}

void Check::file(const FileEntry& then) {
  if (is_trace(then.path)) {
    const RunEntry* const run = run_of_trace(then.path);
    if (run == nullptr) {
      fault(then.path, "no run has this trace");
      return;
    }
    if (run->not_whole.empty()) {
      if (auto below = plain_folders(folder_, then.path); !below) {
        fault(then.path, below.error().message);
      } else {
        trace(then, *run);
      }
      return;
    }
    // It may end anywhere: a file like others.
  }
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(folder_ / then.path, error);
  if (!error && is_trace(then.path) && bytes != then.bytes) {
    fault(then.path, fmt::format("it has {} bytes, and had {}", bytes, then.bytes));
    return;
  }
  const auto now = describe(folder_, then.path);
  if (!now) {
    fault(then.path, now.error().message);
  } else if (now.value().digest != then.digest || now.value().bytes != then.bytes) {
    fault(then.path, difference(then, now.value()));
  } else if (now.value().blocks != then.blocks) {
    fault(then.path, "the digests of its blocks in the manifest are not its own");
  }
}

void Check::unknown_files() {
  std::set<std::string> known = {kManifestName, kSealName};
  for (const FileEntry& one : result_.manifest.files) known.insert(one.path);
  std::error_code error;
  std::vector<std::string> others;
  std::size_t seen = 0;
  for (fs::recursive_directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string path = it->path().lexically_relative(folder_).generic_string();
    if (++seen > 2 * kMostFiles) {
      fault(".", fmt::format("more than {} files and folders", 2 * kMostFiles));
      return;
    }
    std::error_code ignored;
    const bool folder = it->symlink_status(ignored).type() == fs::file_type::directory;
    if (!folder && !known.contains(path)) others.push_back(path);
  }
  if (error) fault(".", "listing the folder: " + error.message());
  std::sort(others.begin(), others.end());
  for (std::string& other : others) fault(std::move(other), "not in the manifest");
}

void Check::files() {
  for (const FileEntry& one : result_.manifest.files) file(one);
  for (const RunEntry& run : result_.manifest.runs) {
    if (!run.not_whole.empty()) continue;
    for (const char* name : {kRunName, kTraceName, kSymbolsName, kConsoleName}) {
      const std::string path = run.folder + "/" + name;
      const auto& all = result_.manifest.files;
      if (std::none_of(all.begin(), all.end(),
                       [&](const FileEntry& one) { return one.path == path; })) {
        fault(path, "not in the manifest, and each run has one");
      }
    }
  }
  unknown_files();
  if (untold_ != 0) result_.faults.push_back({".", fmt::format("and {} more", untold_)});
}

}  // namespace

bool is_bundle_path(std::string_view path) {
  std::size_t names = 0;
  while (true) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, end);
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view(".-_+").find(c) != std::string_view::npos;
    });
    if (name.empty() || name.front() == '.' || !plain || ++names > kMostNames) return false;
    if (end == path.size()) return true;
    path.remove_prefix(end + 1);
  }
}

std::string render(const Manifest& manifest) {
  Json tools = Json::object();
  for (const auto& [name, version] : manifest.tools) tools[name] = version;
  Json runs = Json::array();
  for (const RunEntry& run : manifest.runs) runs.push_back(json_of(run));
  Json files = Json::array();
  for (const FileEntry& file : manifest.files) files.push_back(json_of(file));
  const Json json = {{"schema", kBundleSchema},     {"program", manifest.program},
                     {"command", manifest.command}, {"created", manifest.created},
                     {"tools", std::move(tools)},   {"runs", std::move(runs)},
                     {"files", std::move(files)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> parse_manifest(std::string_view text) {
  const auto json = parse_json(text, "manifest");
  if (!json) return json.error();
  Members members(json.value(), "manifest");
  if (members.text("schema") != kBundleSchema) {
    members.refuse("schema", fmt::format("\"{}\"", kBundleSchema));
  }
  Manifest manifest;
  manifest.program = members.text("program");
  manifest.command = members.text("command");
  manifest.created = members.text("created");
  const Json* runs = members.array("runs", kMostRuns);
  const Json* files = members.array("files", kMostFiles);
  const Json* tools = members.member("tools");
  if (auto good = members.status(); !good) return good.error();
  for (const Json& one : *runs) {
    auto run = run_of(one);
    if (!run) return run.error();
    manifest.runs.push_back(std::move(run).value());
  }
  for (const Json& one : *files) {
    auto file = file_of(one);
    if (!file) return file.error();
    manifest.files.push_back(std::move(file).value());
  }
  if (!tools->is_object() || tools->size() > kMostTools) {
    members.refuse("tools", fmt::format("an object of at most {}", kMostTools));
    return members.status().error();
  }
  for (const auto& [name, version] : tools->items()) {
    if (version.is_string()) manifest.tools.emplace_back(name, version.get<std::string>());
  }
  return manifest;
}

Result<FileEntry> describe(const fs::path& folder, const std::string& path) {
  if (!is_bundle_path(path)) return failed(fmt::format("{}: no path of a bundle", path));
  if (auto below = plain_folders(folder, path); !below) return below.error();
  const fs::path relative = path;
  FileEntry entry;
  entry.path = path;
  Hasher whole;
  const auto read =
      read_pieces(folder / relative, kFileBlock, [&](std::span<const std::byte> bytes) {
        whole.add(bytes);
        entry.bytes += bytes.size();
        if (is_trace(path)) return Status();
        if (entry.bytes > kMostFileBytes) {
          return Status(failed(fmt::format("{}: more than {} bytes", path, kMostFileBytes)));
        }
        entry.blocks.push_back(digest_of(bytes));
        return Status();
      });
  if (!read) return read.error();
  entry.digest = whole.end();
  return entry;
}

Result<std::string> read_whole(const fs::path& file, std::uint64_t most) {
  std::error_code error;
  if (const auto bytes = fs::file_size(file, error); !error && bytes > most) {
    return failed(fmt::format("{}: more than {} bytes", file.string(), most));
  }
  std::string text;
  const auto read = read_pieces(file, 64U << 10, [&](std::span<const std::byte> bytes) {
    if (text.size() + bytes.size() > most) {
      return Status(failed(fmt::format("{}: more than {} bytes", file.string(), most)));
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return Status();
  });
  if (!read) return read.error();
  return text;
}

Seal seal_of(std::string_view manifest) {
  Seal seal;
  seal.text = fmt::format("{}\n{} {}\n", kSealSchema, kManifestName, manifest.size());
  for (const Digest& block : blocks_of(manifest)) seal.text += hex(block) + "\n";
  seal.digest = digest_of(seal.text);
  seal.text += fmt::format("seal {}\n", hex(seal.digest));
  return seal;
}

bool Checked::has(std::string_view file) const {
  return std::any_of(manifest.files.begin(), manifest.files.end(),
                     [&](const FileEntry& one) { return one.path == file; });
}

Result<Checked> check_bundle(const fs::path& folder) {
  const auto manifest = read_whole(folder / kManifestName);
  if (!manifest) {
    // One that was sealed had one.
    if (const auto seal = read_whole(folder / kSealName)) {
      Checked result;
      result.faults.push_back({kManifestName, manifest.error().message});
      const std::string_view text = seal.value();
      constexpr std::size_t kLine = 2 * sizeof(Digest) + 1;
      const std::string_view line = text.substr(text.size() - std::min(text.size(), kLine));
      result.seal = parse_digest(line.substr(0, kLine - 1)).value_or(Digest{});
      return result;
    }
    return Error{ExitCode::Usage, fmt::format("{}: no bundle, or one that was never finished: {}",
                                              folder.string(), manifest.error().message)};
  }
  Checked result;
  Check check(folder, result);
  const auto seal = read_whole(folder / kSealName);
  if (!seal) {
    result.faults.push_back({kSealName, seal.error().message});
    result.seal = seal_of(manifest.value()).digest;
    return result;
  }
  check.seal_and_manifest(manifest.value(), seal.value());
  // What an edited manifest says of the other files is worth nothing.
  if (!result.faults.empty()) return result;
  auto parsed = parse_manifest(manifest.value());
  if (!parsed) {
    result.faults.push_back({kManifestName, parsed.error().message});
    return result;
  }
  result.manifest = std::move(parsed).value();
  check.files();
  return result;
}

}  // namespace sealvisor::evidence
