#include "vmm/engine/tcg/qemu/program.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "vmm/base/child.h"
#include "vmm/base/pipe.h"
#include "vmm/engine/tcg/qemu/command_line.h"

namespace sealvisor::engine::tcg {

namespace {

constexpr const char* kDirectoryVariable = "SEALVISOR_QEMU_DIR";
constexpr std::size_t kMostOutput = 4096;

const char* package_of(arch::Arch arch) {
  return arch == arch::Arch::Arm64 ? "qemu-system-arm" : "qemu-system-x86";
}

std::string advice(arch::Arch arch) {
  return fmt::format("install {} {} or newer (Debian 12: {} from bookworm-backports)",
                     program_of(arch), text_of(kOldestQemu), package_of(arch));
}

bool is_program(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

Result<std::filesystem::path> locate(arch::Arch arch) {
  const char* name = program_of(arch);
  if (const char* directory = std::getenv(kDirectoryVariable); directory != nullptr) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    if (is_program(path)) return std::filesystem::absolute(path);
    return Error{ExitCode::HostLacks, fmt::format("no program {} in {}, which {} names", name,
                                                  directory, kDirectoryVariable)};
  }
  const char* variable = std::getenv("PATH");
  std::string_view folders = variable == nullptr ? std::string_view{} : variable;
  while (!folders.empty()) {
    const std::size_t end = folders.find(':');
    const std::string_view folder = folders.substr(0, end);
    folders = end == std::string_view::npos ? std::string_view{} : folders.substr(end + 1);
    if (folder.empty()) continue;
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    if (is_program(path)) return std::filesystem::absolute(path);
  }
  return Error{ExitCode::HostLacks, fmt::format("no {} in PATH; {}", name, advice(arch))};
}

/// What `path --version` prints, cut to kMostOutput.
Result<std::string> ask_version(const std::filesystem::path& path,
                                std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  auto pipe = make_pipe("the version of " + path.string());
  if (!pipe) return pipe.error();
  auto child = Child::start({path, {"--version"}, {}, pipe.value().writing.get()});
  if (!child) return child.error();
  pipe.value().writing.reset();

  std::string output;
  std::array<char, 1024> block{};
  while (output.size() < kMostOutput && wait_readable(pipe.value().reading.get(), until)) {
    const ssize_t count = ::read(pipe.value().reading.get(), block.data(), block.size());
    if (count <= 0) break;
    output.append(block.data(), static_cast<std::size_t>(count));
  }
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  if (output.size() < kMostOutput && !child.value().wait(std::max(left, left.zero()))) {
    return Error{ExitCode::HostLacks, fmt::format("{} --version gave no answer within {} ms",
                                                  path.string(), limit.count())};
  }
  return output;
}

}  // namespace

std::string text_of(const QemuVersion& version) {
  return fmt::format("QEMU {}.{}.{}", version.major, version.minor, version.micro);
}

std::optional<QemuVersion> parse_version(std::string_view output) {
  constexpr std::string_view kBefore = "QEMU emulator version ";
  if (!output.starts_with(kBefore)) return std::nullopt;
  const char* at = output.data() + kBefore.size();
  const char* const end = output.data() + output.size();
  QemuVersion version;
  bool first = true;
  for (unsigned* part : {&version.major, &version.minor, &version.micro}) {
    if (!std::exchange(first, false)) {
      if (at == end || *at != '.') return std::nullopt;
      ++at;
    }
    const auto [rest, error] = std::from_chars(at, end, *part);
    if (error != std::errc{}) return std::nullopt;
    at = rest;
  }
  return version;
}

Result<QemuProgram> find_qemu(arch::Arch arch, std::chrono::milliseconds limit) {
  auto path = locate(arch);
  if (!path) return path.error();
  auto output = ask_version(path.value(), limit);
  if (!output) return output.error();
  const auto version = parse_version(output.value());
  if (!version) {
    const std::string& text = output.value();
    return Error{
        ExitCode::HostLacks,
        fmt::format("{} --version printed '{}', expected 'QEMU emulator version ...'; {}",
                    path.value().string(),
                    text.substr(0, std::min<std::size_t>(text.find('\n'), 200)), advice(arch))};
  }
  if (*version < kOldestQemu) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} is {}, which is too old: the monitor needs its plugin interface "
                             "to read registers and stored values; {}",
                             path.value().string(), text_of(*version), advice(arch))};
  }
  return QemuProgram{std::move(path).value(), *version};
}

}  // namespace sealvisor::engine::tcg
