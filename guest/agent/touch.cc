#include "guest/agent/touch.h"

#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/machine.h"

namespace sealvisor::agent {
namespace {

/// Where the handler jumps to. Of a thread, not of an object: a signal handler has no argument of
/// its own to carry it.
thread_local sigjmp_buf landing;
thread_local volatile std::sig_atomic_t armed = 0;

void on_fault(int signal) {
  if (armed != 0) {
    armed = 0;
    siglongjmp(landing, signal);
  }
  say("pid %d: unexpected signal %d", static_cast<int>(::getpid()), signal);
  // Init can't be killed by its own signals; a crash loop would hang the guest.
  if (::getpid() == 1) reset_machine();
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(signal, &by_default, nullptr);
  ::raise(signal);
  ::_exit(128 + signal);
}

}  // namespace

bool install_guard() {
  struct sigaction action {};
  action.sa_handler = on_fault;
  // Never blocked: the handler leaves by a jump that does not restore the mask.
  action.sa_flags = SA_NODEFER;
  if (::sigaction(SIGSEGV, &action, nullptr) != 0 || ::sigaction(SIGBUS, &action, nullptr) != 0) {
    say("installing the fault handler: %s", std::strerror(errno));
    return false;
  }
  return true;
}

int call_guarded(void (*function)(void*), void* argument) {
  const int signal = sigsetjmp(landing, 0);
  if (signal != 0) return signal;
  armed = 1;
  function(argument);
  armed = 0;
  return 0;
}

namespace {

void load(void* page) { (void)*static_cast<const volatile unsigned char*>(page); }

void store(void* page) {
  auto* byte = static_cast<volatile unsigned char*>(page);
  *byte = *byte;
}

protocol::Touch try_page(void (*access)(void*), std::uintptr_t address, protocol::Touch good) {
  const int signal = call_guarded(access, reinterpret_cast<void*>(address));
  if (signal == 0) return good;
  return signal == SIGBUS ? protocol::Touch::Bus : protocol::Touch::Segv;
}

}  // namespace

protocol::Touch touch_page(std::uintptr_t address) {
  return try_page(load, address, protocol::Touch::Read);
}

void touch_pages(std::uintptr_t start, std::span<protocol::Touch> outcomes) {
  for (protocol::Touch& outcome : outcomes) {
    outcome = touch_page(start);
    start += 4096;
  }
}

void store_pages(std::uintptr_t start, std::span<protocol::Touch> outcomes) {
  for (protocol::Touch& outcome : outcomes) {
    outcome = try_page(store, start, protocol::Touch::Written);
    start += 4096;
  }
}

}  // namespace sealvisor::agent
