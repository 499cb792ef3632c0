// Sequences of known software's calls on system mappings, as the guest tells them and as they are
// observed: guest/compat makes them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guest/protocol/doorbell.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"
#include "vmm/seal/observe.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

class Sequences {
 public:
  /// Most writes that are kept of one call; the rest are counted.
  static constexpr std::size_t kMostCallChanges = 8;

  Sequences(const RunRequest& request, const model::Identities& identities);

  /// Messages, each with the address space that its sender runs on, just looked at. Returns what is
  /// wrong with them, as text.
  [[nodiscard]] std::vector<std::string> begin(const protocol::Message& message,
                                               const model::AddressSpace& space);
  [[nodiscard]] std::vector<std::string> call(const protocol::Message& message,
                                              const model::AddressSpace& space);
  /// `space` is not used if the process was killed: then its parent is the sender.
  [[nodiscard]] std::vector<std::string> end(const protocol::Message& message,
                                             const model::AddressSpace& space);

  /// True if the violation is in the process of the sequence under way: it is judged with that, and
  /// is no finding of its own. S5 and S8 always are.
  [[nodiscard]] bool takes(const seal::Violation& violation);
  /// Whether a change in `space` is to be told in full; counts those past the bound.
  [[nodiscard]] bool wants_change(std::uint64_t space);
  /// Precondition: wants_change() just said so.
  void change(report::EntryChange change);

  /// Rows of all sequences that were asked for, and (scenario, invariant, text) of what is wrong.
  struct Finding {
    std::string scenario;
    std::string invariant;
    std::string text;
  };
  [[nodiscard]] std::pair<std::vector<report::Sequence>, std::vector<Finding>> finish();

 private:
  using Snapshots = std::map<std::size_t, seal::Snapshot>;  // by mapping
  struct Active {
    report::Sequence row;
    std::uint64_t token = 0;
    std::uint64_t space = 0;
    Snapshots first;
    Snapshots last;
    std::vector<report::EntryChange> changes;  // since the last call
    std::uint64_t left_out = 0;
    std::vector<seal::Violation> violations;
  };
  [[nodiscard]] Snapshots look(const model::AddressSpace& space) const;
  [[nodiscard]] std::vector<report::MappingOutcome> compare(const Snapshots& before,
                                                            const Snapshots& after) const;
  void close();

  const RunRequest& request_;
  const model::Identities& identities_;
  std::optional<Active> active_;
  std::map<std::string, report::Sequence> planned_;  // rows still to come
  std::vector<report::Sequence> rows_;
  std::vector<Finding> findings_;
};

}  // namespace sealvisor::run
