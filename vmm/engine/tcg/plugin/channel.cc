#include "vmm/engine/tcg/plugin/channel.h"

#include <cerrno>
#include <cstdlib>

#include <sys/socket.h>
#include <unistd.h>

namespace sealvisor::engine::tcg {

namespace {
[[noreturn]] void end_with_vmm() { ::_exit(1); }
}  // namespace

void Channel::notify(char byte) {
  while (::send(socket_.get(), &byte, 1, MSG_NOSIGNAL) != 1) {
    if (errno != EINTR) end_with_vmm();
  }
}

void Channel::wait_for_vmm() {
  notify(event::kStop);
  char answer = 0;
  // No deadline here: the VMM holds the one for the whole run, and its death ends this read.
  for (;;) {
    const ssize_t count = ::recv(socket_.get(), &answer, 1, 0);
    if (count == 1) break;
    if (count == 0 || errno != EINTR) end_with_vmm();
  }
  if (answer != event::kGo) end_with_vmm();
}

void Channel::emit(const event::Event& event) {
  while (ring_.full()) wait_for_vmm();
  ring_.push(event);
  notify_now_and_then();
}

void Channel::emit_copy(const event::Event& event, const arch::Table& table) {
  while (ring_.full() || ring_.copies_full()) wait_for_vmm();
  ring_.push_copy(event, table);
  notify_now_and_then();
}

void Channel::notify_now_and_then() {
  if (ring_.written() % event::kDrainEvery == 0) notify(event::kDrain);
}

void Channel::emit_and_wait(const event::Event& event) {
  emit(event);
  wait_for_vmm();
}

}  // namespace sealvisor::engine::tcg
