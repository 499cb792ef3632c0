#include "guest/agent/process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "guest/agent/console.h"
#include "guest/agent/image.h"

namespace sealvisor::agent {
namespace {

constexpr unsigned kChildSeconds = 60;

}  // namespace

int Ending::status() const {
  if (signal == SIGALRM) return ETIMEDOUT;
  return signal != 0 ? EPROTO : error;
}

pid_t announced_fork(Agent& agent, std::uint64_t& token) {
  token = agent.next_fork++;
  agent.doorbell.fork_parent(token, false);
  const pid_t child = ::fork();
  if (child < 0) {
    say("fork: %s", std::strerror(errno));
    return -1;
  }
  if (child == 0) {
    agent.doorbell.restart();
    agent.doorbell.fork_child(token, false);
    ::alarm(kChildSeconds);
  }
  return child;
}

Ending wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return {errno, 0};
  }
  if (WIFSIGNALED(status)) return {0, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

int exec_image(const char* path, const Doorbell& doorbell, std::uint64_t token) {
  ImageArguments arguments(path, doorbell, token);
  char* const environment[] = {nullptr};
  ::execve(path, arguments.argv(), environment);
  return errno;
}

int exec_helper32(const Doorbell& doorbell, std::string_view what,
                  std::span<const std::string> words) {
  std::vector<std::string> all = {kCompatImage, std::string(what), std::to_string(doorbell.gpa())};
  all.insert(all.end(), words.begin(), words.end());
  if (doorbell.verbose()) all.emplace_back("verbose");
  std::vector<char*> arguments;
  for (std::string& word : all) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  char* const environment[] = {nullptr};
  ::execve(kCompatImage, arguments.data(), environment);
  return errno;
}

pid_t announced_vfork_exec(Agent& agent, const char* path, std::uint64_t& token) {
  token = agent.next_fork++;
  agent.doorbell.fork_parent(token, true);
  // The child runs in this memory until it execs, and rings from it.
  const std::uint64_t sequence = agent.doorbell.sequence();
  // vfork itself is what is tried, and what the child does in the memory that it shares is known:
  // it rings, which changes nothing but the message, and execs.
  // NOLINTBEGIN
  const pid_t child = ::vfork();
  if (child == 0) {
    agent.doorbell.restart();
    agent.doorbell.fork_child(token, true);
    ::alarm(kChildSeconds);
    ::_exit(exec_image(path, agent.doorbell, token));
  }
  // NOLINTEND
  const int error = errno;
  agent.doorbell.resume(sequence);
  if (child < 0) say("vfork: %s", std::strerror(error));
  return child;
}

}  // namespace sealvisor::agent
