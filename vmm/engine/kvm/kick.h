// Getting a vCPU's thread out of KVM_RUN.
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>

#include "vmm/base/result.h"
#include "vmm/engine/kvm/api.h"

namespace sealvisor::engine::kvm {

/// Asks the thread that made it to leave KVM_RUN, or not to enter it.
///
/// The flag in the shared page makes the next KVM_RUN return at once (KVM_CAP_IMMEDIATE_EXIT); the
/// signal, whose handler does nothing, ends one that is under way. Together they leave no gap.
class Kick {
 public:
  /// `vcpu` must outlive this; the calling thread is the one that runs it.
  explicit Kick(const Vcpu& vcpu) : run_(vcpu.run()), thread_(::pthread_self()) {}

  /// A real-time signal that nothing else here uses.
  static int number() { return SIGRTMIN + 1; }
  /// Installs the handler for the process, and lets the signal through to the calling thread, which
  /// is to run the vCPU.
  [[nodiscard]] static Status install_handler();

  /// From any thread.
  void operator()() const {
    std::atomic_ref(run_.immediate_exit).store(1);
    ::pthread_kill(thread_, number());
  }
  /// From the vCPU's thread, after KVM_RUN came back with EINTR: later kicks count again.
  void taken() const { std::atomic_ref(run_.immediate_exit).store(0); }

 private:
  kvm_run& run_;
  pthread_t thread_;
};

}  // namespace sealvisor::engine::kvm
