#include "guest/agent/tracer.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/process_info.h"

namespace sealvisor::agent {
namespace {

/// ptrace(2): what a stop asks to be let go on with. A process that was killed meanwhile does not
/// hear it.
void let_go(pid_t tid, int signal) {
  (void)::ptrace(PTRACE_CONT, tid, nullptr, static_cast<long>(signal));
}

protocol::Process about(pid_t pid, protocol::ProcessEvent event) {
  protocol::Process process{};
  process.pid = static_cast<std::uint32_t>(pid);
  process.event = event;
  return process;
}

bool stops_group(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

}  // namespace

int Tracer::follow(pid_t child) {
  constexpr long kOptions = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                            PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SEIZE, child, nullptr, kOptions) != 0) return errno;
  Task* const task = add(child);
  if (task != nullptr) task->process = child;
  return 0;
}

Tracer::Task* Tracer::find(pid_t tid) {
  for (std::size_t i = 0; i < count_; ++i) {
    if (tasks_[i].tid == tid) return &tasks_[i];
  }
  return nullptr;
}

Tracer::Task* Tracer::add(pid_t tid) {
  if (Task* const known = find(tid)) return known;
  if (count_ == tasks_.size()) {
    say("more than %zu threads and processes: %d is not followed", tasks_.size(),
        static_cast<int>(tid));
    return nullptr;
  }
  Task& task = tasks_[count_++];
  task = {.tid = tid};
  return &task;
}

void Tracer::remove(pid_t tid) {
  Task* const task = find(tid);
  if (task != nullptr) *task = tasks_[--count_];
}

std::uint32_t Tracer::processes() const {
  std::uint32_t processes = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    if (tasks_[i].tid == tasks_[i].process) ++processes;
  }
  return processes;
}

void Tracer::ring_ended(pid_t process, int status) {
  protocol::Process ended = about(process, protocol::ProcessEvent::Ended);
  ended.value = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  doorbell_.process(ended);
}

void Tracer::take(pid_t tid, int status) {
  if (WIFSTOPPED(status)) {
    on_stop(tid, WSTOPSIG(status), status >> 16);
    return;
  }
  const Task* const task = find(tid);
  // A thread's end is no news: its process goes on, or ends with its first thread.
  if (task != nullptr && task->known && task->process == tid) ring_ended(tid, status);
  remove(tid);
}

void Tracer::on_stop(pid_t tid, int signal, int event) {
  switch (event) {
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
      on_new(tid);
      break;
    case PTRACE_EVENT_EXEC:
      on_exec(tid);
      break;
    case PTRACE_EVENT_EXIT:
      if (Task* const task = find(tid)) on_exiting(*task);
      break;
    case PTRACE_EVENT_STOP:
      // A new one stops before its parent's event comes, or after it.
      if (add(tid) == nullptr) {
        (void)::ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
        return;
      }
      if (stops_group(signal)) {
        (void)::ptrace(PTRACE_LISTEN, tid, nullptr, nullptr);
        return;
      }
      break;
    default:
      let_go(tid, signal);
      return;
  }
  let_go(tid, 0);
}

void Tracer::on_new(pid_t parent) {
  unsigned long message = 0;
  if (::ptrace(PTRACE_GETEVENTMSG, parent, nullptr, &message) != 0) return;
  const auto tid = static_cast<pid_t>(message);
  const Task* const from = find(parent);
  Task* const task = add(tid);
  if (from == nullptr || task == nullptr) return;
  const pid_t of = process_of(tid);
  // One that is gone already was a process of its own, or nobody misses it.
  task->process = of == 0 ? tid : of;
  task->known = from->known;
  if (task->process != tid || !task->known) return;
  protocol::Process begun = about(tid, protocol::ProcessEvent::Begun);
  begun.parent = static_cast<std::uint32_t>(from->process);
  doorbell_.process(begun);
}

void Tracer::on_exec(pid_t tid) {
  // The other threads are gone, and the one that called has the first one's number now.
  unsigned long former = 0;
  if (::ptrace(PTRACE_GETEVENTMSG, tid, nullptr, &former) == 0 &&
      static_cast<pid_t>(former) != tid) {
    remove(static_cast<pid_t>(former));
  }
  Task* const task = add(tid);
  if (task == nullptr) return;
  *task = {.tid = tid, .process = tid, .known = true};
  protocol::Process exec = about(tid, protocol::ProcessEvent::Exec);
  tell_process(doorbell_, tid, exec, root_, false);
}

void Tracer::on_exiting(Task& task) {
  task.exiting = true;
  const bool others = std::any_of(
      tasks_.begin(), tasks_.begin() + static_cast<std::ptrdiff_t>(count_),
      [&](const Task& other) { return other.process == task.process && !other.exiting; });
  if (others || !task.known) return;
  // By the thread that is left: the first one may have ended long ago.
  protocol::Process exiting = about(task.process, protocol::ProcessEvent::Exiting);
  tell_process(doorbell_, task.tid, exiting, root_, true);
}

}  // namespace sealvisor::agent
