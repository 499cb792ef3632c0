#include "bench/gnuplot.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"

namespace sealvisor::bench {

namespace {

namespace fs = std::filesystem;

/// What env(1) ends with if there is no such program.
constexpr int kNoSuchProgram = 127;
/// Most of gnuplot's complaint that is repeated.
constexpr std::size_t kMostComplaint = 400;

/// A folder that ends with it.
class Folder {
 public:
  static Result<Folder> make() {
    std::error_code error;
    const fs::path base = fs::temp_directory_path(error);
    std::string name = (error ? fs::path("/tmp") : base) / "sealvisor-plots-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      return errno_error(ExitCode::HostLacks, "making a folder for plots");
    }
    return Folder(name);
  }
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, fs::path())) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  Folder& operator=(Folder&&) = delete;
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  explicit Folder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

fs::path file_of(const Folder& folder, std::size_t number) {
  return folder.path() / fmt::format("{}.svg", number);
}

std::string script_for(const std::vector<Plot>& plots, const Folder& folder) {
  std::string script;
  for (std::size_t i = 0; i < plots.size(); ++i) {
    script += fmt::format(
        "reset\nset terminal svg size {},{} dynamic font 'sans-serif,13'\nset output '{}'\n{}unset "
        "output\n",
        plots[i].width, plots[i].height, file_of(folder, i).string(), plots[i].script);
  }
  return script;
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Status run_gnuplot(const fs::path& script, const RunProgram& run) {
  // -d: no settings of the user's. env finds it in PATH.
  auto end = run("/usr/bin/env", {"gnuplot", "-d", script.string()}, kDrawingLimit);
  if (!end) return end.error();
  if (end.value().status == kNoSuchProgram) {
    return Error{ExitCode::HostLacks, "gnuplot is missing: install the package gnuplot-nox"};
  }
  if (end.value().status == 0) return {};
  return Error{ExitCode::HostLacks, fmt::format("gnuplot ended with {}: {}", end.value().status,
                                                end.value().output.substr(0, kMostComplaint))};
}

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
}

/// Removes what lies between `begin` and `end`, both included, each time.
void remove_all_between(std::string& text, std::string_view begin, std::string_view end) {
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    const std::size_t last = text.find(end, at);
    if (last == std::string::npos) return;
    text.erase(at, last + end.size() - at);
  }
}

}  // namespace

Result<std::string> inline_svg(std::string_view svg, const std::string& prefix, const Plot& plot) {
  const std::size_t begin = svg.find("<svg");
  const std::size_t end = svg.rfind("</svg>");
  const std::size_t inside = begin == std::string_view::npos ? begin : svg.find('>', begin);
  if (inside == std::string_view::npos || end == std::string_view::npos || end < inside) {
    return Error{ExitCode::HostLacks, fmt::format("gnuplot wrote no SVG for '{}'", plot.title)};
  }
  std::string body(svg.substr(inside + 1, end - inside - 1));
  remove_all_between(body, "<title>", "</title>");
  remove_all_between(body, "<desc>", "</desc>");
  for (const char* mark : {"id='", "id=\"", "href='#", "href=\"#", "url(#"}) {
    replace_all(body, mark, mark + prefix);
  }
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" "
      "xmlns:xlink=\"http://www.w3.org/1999/xlink\" role=\"img\" "
      "aria-labelledby=\"{}title {}desc\">\n<title id=\"{}title\">{}</title>\n"
      "<desc id=\"{}desc\">{}</desc>{}</svg>",
      plot.width, plot.height, prefix, prefix, prefix, report::html::escape(plot.title), prefix,
      report::html::escape(plot.description), body);
}

Result<std::vector<Drawing>> draw(const std::vector<Plot>& plots, const RunProgram& run) {
  std::vector<Drawing> drawings;
  if (plots.empty()) return drawings;
  auto folder = Folder::make();
  if (!folder) return folder.error();
  const fs::path script = folder.value().path() / "plots.gp";
  std::ofstream(script, std::ios::binary) << script_for(plots, folder.value());
  if (auto done = run_gnuplot(script, run); !done) return done.error();
  for (std::size_t i = 0; i < plots.size(); ++i) {
    auto svg = inline_svg(read(file_of(folder.value(), i)), fmt::format("p{}-", i), plots[i]);
    if (!svg) return svg.error();
    drawings.push_back({plots[i], std::move(svg.value())});
  }
  return drawings;
}

}  // namespace sealvisor::bench
