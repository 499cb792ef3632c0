#include "vmm/run/real.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

namespace sealvisor::run {

namespace {

/// Behind guest/agent/console.cc's prefix.
constexpr std::string_view kMark = "sealvisor-agent: real: ";

/// What is known of a program.
struct Known {
  std::string_view name;
  std::string_view package;
  std::array<std::string_view, 2> steps;  ///< Empty: there is none.
  std::string_view sealed_source;         ///< Why it does none of them on a sealed kernel.
};

constexpr auto kKnown = std::to_array<Known>({
    {"uml",
     "user-mode-linux",
     {"a program runs in it", ""},
     "torvalds/linux: arch/um/kernel/skas/mmu.c, init_new_context; since 6.13"},
    {"criu",
     "criu",
     {"a process is dumped", "it is restored and lives"},
     "checkpoint-restore/criu: criu/vdso.c, vdso_fill_compat_symtable"},
});

const Known* find(const std::string& name) {
  const auto found = std::find_if(kKnown.begin(), kKnown.end(),
                                  [&](const Known& one) { return one.name == name; });
  return found == kKnown.end() ? nullptr : &*found;
}

/// The line of the list of packages that begins with `package`.
std::string version_of(const std::filesystem::path& folder, std::string_view package) {
  std::ifstream file(folder / "packages");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(package) && line.size() > package.size() && line[package.size()] == ' ') {
      return line;
    }
  }
  return std::string(package);
}

}  // namespace

Status add_real(const RunRequest& request, std::vector<image::InitramfsItem>& items,
                std::optional<image::Initramfs>& inner) {
  if (auto added = image::add_tree(items, request.real->folder / "root"); !added) return added;
  items.push_back(image::InitramfsItem::directory("real"));
  if (request.real->name == "criu") {
    items.push_back(
        image::InitramfsItem::file_from("real/target", request.agent_dir / "real-target", 0755));
    return {};
  }
  const std::vector<image::InitramfsItem> inside = {
      image::InitramfsItem::directory("dev"),
      image::InitramfsItem::character_device("dev/console", 5, 1),
      image::InitramfsItem::file_from("init", request.agent_dir / "uml-init", 0755)};
  auto built = image::Initramfs::build(inside);
  if (!built) return built.error();
  inner.emplace(std::move(built).value());
  items.push_back(image::InitramfsItem::file_from("real/uml-initrd", inner->path(), 0644));
  return {};
}

void RealLines::add(std::span<const char> bytes) {
  for (const char c : bytes) {
    if (c != '\n') {
      if (line_.size() < kMostBytes + kMark.size()) line_ += c;
      continue;
    }
    // A line of the kernel's may stand in front on a console that both write to.
    const std::size_t mark = line_.find(kMark);
    if (mark != std::string::npos) {
      std::string text = line_.substr(mark + kMark.size());
      while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.pop_back();
      if (lines_.size() == kMost) {
        lines_.erase(lines_.begin());
        ++left_out_;
      }
      lines_.push_back(std::move(text));
    }
    line_.clear();
  }
}

void finish_real(const RunRequest& request, const RealLines& lines, report::Run& run) {
  const Known* const known = find(request.real->name);
  report::RealRun real;
  real.name = request.real->name;
  real.lines = lines.lines();
  real.lines_left_out = lines.left_out();
  const std::string scenario = "real/" + real.name;
  for (const report::Life& life : run.lives) {
    if (life.name == scenario && life.complete) real.done = life.count;
  }
  if (known != nullptr) {
    real.package = version_of(request.real->folder, known->package);
    for (const std::string_view step : known->steps) {
      if (!step.empty()) real.steps.emplace_back(step);
    }
    if (request.expectations) {
      real.expected = request.sealed ? 0 : real.steps.size();
      real.expected_source = request.sealed ? known->sealed_source : "the package's purpose";
    }
  }
  if (real.expected && run.ending.good && real.done != *real.expected) {
    run.findings.push_back(
        {fmt::format("{}/{}/{}/expectation", arch::name_of(request.arch), request.recipe, scenario),
         "expectation",
         fmt::format("{} of its {} steps were done, expected {} ({})", real.done, real.steps.size(),
                     *real.expected, real.expected_source),
         false, ""});
  }
  run.real = std::move(real);
}

}  // namespace sealvisor::run
