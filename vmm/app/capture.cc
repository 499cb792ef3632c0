#include "vmm/app/capture.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "vmm/base/child.h"
#include "vmm/base/pipe.h"

namespace sealvisor::app {

namespace {

constexpr std::size_t kMostOutput = 65536;

}  // namespace

Result<Captured> capture(const std::filesystem::path& program,
                         const std::vector<std::string>& arguments,
                         std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  auto pipe = make_pipe("the output of " + program.string());
  if (!pipe) return pipe.error();
  auto child = Child::start({program, arguments, {}, pipe.value().writing.get()});
  if (!child) return child.error();
  pipe.value().writing.reset();
  Captured captured;
  std::array<char, 4096> block{};
  while (wait_readable(pipe.value().reading.get(), until)) {
    const ssize_t count = ::read(pipe.value().reading.get(), block.data(), block.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) break;
    // What is past the bound is read all the same, so that the writer is never stuck.
    const std::size_t room = kMostOutput - captured.output.size();
    captured.output.append(block.data(), std::min(room, static_cast<std::size_t>(count)));
  }
  const auto left = std::max(
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()),
      std::chrono::milliseconds::zero());
  const auto end = child.value().wait(left);
  if (!end) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} had not ended after {} ms", program.string(), limit.count())};
  }
  captured.status = end->signal != 0 ? 128 + end->signal : end->status;
  return captured;
}

}  // namespace sealvisor::app
