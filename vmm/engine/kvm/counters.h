// Exits by kind.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sealvisor::engine::kvm {

enum class Counted : std::uint8_t {
  UserReturn,
  KernelReturn,  ///< A planted return that stayed in the kernel.
  Doorbell,
  Serial,
  OtherDevice,
  ReadOnly,
  GuardedStore,  ///< To a guarded frame.
  Step,          ///< A single step over a store that is not done otherwise.
  GuestDebug,    ///< A debug exception of the guest's own, handed back.
  Kick,
  Other,
};
inline constexpr std::array<const char*, 11> kCountedNames = {"returns to user mode",
                                                              "returns to the kernel",
                                                              "doorbells",
                                                              "serial line",
                                                              "other devices",
                                                              "read-only stores",
                                                              "stores to guarded frames",
                                                              "single steps",
                                                              "debug exceptions handed back",
                                                              "kicks",
                                                              "other exits"};

struct ExitCount {
  Counted which{};
  std::uint64_t count = 0;
  double microseconds = 0;  ///< From the return of KVM_RUN to its next call, in all.

  [[nodiscard]] const char* name() const {
    return kCountedNames.at(static_cast<std::size_t>(which));
  }
};

/// Exits and how long the VMM was at each.
class Counters {
 public:
  using Clock = std::chrono::steady_clock;

  /// KVM_RUN returned.
  void left(Clock::time_point now) {
    left_ = now;
    kind_.reset();
  }
  /// KVM_RUN is about to be called: the time since left() is of the kind that was counted first.
  void entering(Clock::time_point now) {
    if (!kind_) return;
    microseconds_.at(index(*kind_)) +=
        std::chrono::duration<double, std::micro>(now - left_).count();
    kind_.reset();
  }
  void count(Counted which) {
    ++counts_.at(index(which));
    if (!kind_) kind_ = which;
  }
  [[nodiscard]] std::uint64_t count_of(Counted which) const { return counts_.at(index(which)); }
  /// Those that are not 0.
  [[nodiscard]] std::vector<ExitCount> list() const {
    std::vector<ExitCount> exits;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_.at(i) == 0) continue;
      exits.push_back({static_cast<Counted>(i), counts_.at(i), microseconds_.at(i)});
    }
    return exits;
  }

 private:
  static std::size_t index(Counted which) { return static_cast<std::size_t>(which); }

  std::array<std::uint64_t, kCountedNames.size()> counts_{};
  std::array<double, kCountedNames.size()> microseconds_{};
  Clock::time_point left_{};
  std::optional<Counted> kind_;  ///< Of the exit that is being handled.
};

}  // namespace sealvisor::engine::kvm
