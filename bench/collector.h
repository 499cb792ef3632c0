// From what the guest and the counting plugin say to samples. Knows no engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/plan.h"
#include "bench/samples.h"
#include "guest/protocol/doorbell.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"

namespace sealvisor::bench {

/// Takes messages and events of one boot in order. The guest is not trusted: what does not fit the
/// plan is an error, which ends the boot.
class Collector {
 public:
  /// A counter's place (event/count_table.h), for people; several counters may have one.
  using NameOf = std::function<std::pair<Space, std::string>(std::uint64_t counter)>;

  Collector(Lane lane, std::vector<PlanItem> plan, NameOf name_of)
      : lane_(lane), plan_(std::move(plan)), name_of_(std::move(name_of)) {}

  /// Error: what is wrong with the message (exit code GuestFailed).
  [[nodiscard]] Status on_message(const protocol::Message& message);
  /// What is wrong with an event comes out at the next message.
  void on_event(const event::Event& event);

  /// Whether the agent said goodbye behind the last experiment of the plan.
  [[nodiscard]] bool finished() const { return bye_ && !open_ && measured_.size() == plan_.size(); }
  /// Whose release the guest's kernel says it is.
  [[nodiscard]] const std::string& release() const { return release_; }
  [[nodiscard]] const std::optional<protocol::Layout>& layout() const { return layout_; }
  [[nodiscard]] const std::optional<Counter>& counter() const { return counter_; }
  /// Something was written to the guest's console. In the middle of an experiment that is timed it
  /// makes its samples worthless.
  void on_console();
  [[nodiscard]] std::size_t ended() const { return measured_.size() - (open_ ? 1 : 0); }
  /// The experiments that ended, in the order of the plan. The last call.
  [[nodiscard]] std::vector<Measured> take();

 private:
  Status begin(const protocol::Experiment& experiment);
  Status end(const protocol::Experiment& experiment);
  Status add(const protocol::Samples& samples);
  Status describe(const protocol::Counter& counter);
  void close_profile(Measured& measured);
  [[nodiscard]] const PlanItem& item() const { return plan_[measured_.size() - 1]; }

  Lane lane_;
  std::vector<PlanItem> plan_;
  NameOf name_of_;
  std::vector<Measured> measured_;
  bool open_ = false;                              ///< The last one has not ended.
  std::map<std::uint64_t, std::uint64_t> counts_;  ///< By counter; of the open one's samples.
  std::optional<std::string> broken_;
  std::string release_;
  std::optional<protocol::Layout> layout_;
  std::optional<Counter> counter_;
  bool disturbed_ = false;  ///< By the console, in the open one.
  bool bye_ = false;
};

}  // namespace sealvisor::bench
