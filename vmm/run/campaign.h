// The campaign of tamperings (control/campaign): what the guest says that it did, one by one, is
// compared with what was found without its help.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "arch/arch.h"
#include "guest/protocol/doorbell.h"
#include "guest/scenario/campaign.h"
#include "vmm/event/event.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"
#include "vmm/seal/observe.h"
#include "vmm/seal/policy.h"

namespace sealvisor::run {

/// One thing that the monitor found.
struct Observation {
  /// "S1" to "S8", a violation; "removal": a page that was there has no translation now (S1, S7: no
  /// violation yet); "transient": changed and changed back before user mode ran.
  std::string_view what;
  std::uint64_t space = 0;  ///< S5 of a store: 0.
  arch::Frame root{};       ///< Of the space.
  model::MappingPage page;
  arch::Gva gva{};  ///< Transient, S5 of a store: 0.
  arch::Frame frame{};
  std::optional<event::Event> cause{};
  /// Instructions of user mode in this address space between cause and finding; nullopt: the lane
  /// does not count them, or there is no cause.
  std::optional<std::uint64_t> late{};
};

/// What a lane tells.
struct LaneTells {
  bool writers = true;       ///< Which instruction stored.
  bool transients = true;    ///< What was undone before user mode ran.
  bool instructions = true;  ///< How many user mode ran.
  bool exact_pcs = true;     ///< Of stores to code too.
  bool root_loads = true;    ///< Which instruction loaded a root.
};

/// What the plan asks the guest to do.
struct CampaignOrder {
  std::uint64_t seed = 0;
  std::uint32_t count = 0;
  bool emulated = false;  ///< scenario::Offer::emulated
};

/// Takes what tamperings cause, and misses what they should have. Create it only if the plan asks
/// for a campaign: else a guest could hide a violation by announcing it.
class CampaignControl {
 public:
  /// The kernel's function at an address: its name alone.
  using FunctionAt = std::function<std::string(std::uint64_t)>;

  /// Without `compare` no frame counts as a copy of another. Without `order` any list is good.
  CampaignControl(arch::Arch arch, const model::Identities& identities, FunctionAt function_at,
                  seal::CompareFrames compare = {}, std::optional<CampaignOrder> order = {})
      : arch_(arch),
        identities_(identities),
        function_at_(std::move(function_at)),
        compare_(std::move(compare)),
        order_(order) {}

  /// A Campaign message from `space`, with every earlier event applied. `keys`: the guest has
  /// protection keys on. Returns what is wrong.
  [[nodiscard]] std::vector<std::string> on_campaign(const protocol::Campaign& message,
                                                     const model::AddressSpace& space,
                                                     bool keys = false);
  /// A Tampering message from `space`, with every earlier event applied and every earlier moment
  /// judged. `bits`: those that the table walker sets by itself. `other`: the other process's, or
  /// nullptr. Returns what is wrong with the tampering before it, each with its edit's name in
  /// front.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> on_tampering(
      const protocol::Tampering& message, const model::AddressSpace& space,
      const model::AddressSpace* other, std::uint64_t bits, const LaneTells& tells);
  /// A SlotWrite or ContentWrite.
  void on_write(const event::Event& event);
  /// True if a tampering is under way, so that what was found is compared with it.
  [[nodiscard]] bool takes(const Observation& observation);
  /// A campaign that did not end, or that never began although it was ordered.
  [[nodiscard]] std::vector<std::string> unfinished() const;

  [[nodiscard]] std::optional<std::uint64_t> other_space() const { return other_space_; }
  [[nodiscard]] report::Campaign result() const;

 private:
  /// When the store that causes an observation is made.
  enum class When : std::uint8_t { Change, Restore, Alias };
  struct Expected {
    std::string_view what;
    model::MappingPage page;
    arch::Gva gva{};
    arch::Frame frame{};
    When when = When::Change;
    std::uint64_t word = 0;  ///< S5 of a store: gpa of the word. Else 0.
  };
  struct Open {
    protocol::Tampering claim{};
    std::uint64_t space = 0;
    std::uint64_t bits = 0;
    LaneTells tells;
    std::vector<Expected> expected;
    std::vector<Observation> found;
    std::vector<event::Event> writes;  ///< To words of the claim.
    std::string wrong;                 ///< compare_claim()
  };
  using Row = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;  // edit, shown, writer
  struct Tally {
    std::uint64_t made = 0;
    std::uint64_t right = 0;
  };

  /// The tampering under way is over: the first thing that is wrong with it, or "".
  [[nodiscard]] std::string close();
  [[nodiscard]] std::string compare(const Open& open);
  [[nodiscard]] std::string compare_words(const Open& open) const;
  [[nodiscard]] std::string compare_one(const Open& open, const Expected& expected,
                                        const Observation& found) const;
  [[nodiscard]] std::string compare_cause(const Open& open, const Expected& expected,
                                          const Observation& found) const;
  [[nodiscard]] std::string compare_rewritten(const Open& open,
                                              const protocol::TamperedWord& word) const;
  void expect(Open& open, const model::AddressSpace& space) const;
  /// What is wrong with a claim, held against the list that the seed stands for and against what
  /// is known of the address space; "": nothing.
  [[nodiscard]] std::string compare_claim(const protocol::Tampering& claim,
                                          const model::AddressSpace& space) const;

  arch::Arch arch_;
  const model::Identities& identities_;
  FunctionAt function_at_;
  seal::CompareFrames compare_;
  std::optional<CampaignOrder> order_;
  std::optional<protocol::Campaign> begun_;
  std::uint64_t space_ = 0;        ///< Of the process that tampers.
  scenario::Offer offer_;          ///< What its list is made from.
  std::vector<arch::Gva> places_;  ///< Its populated pages, those with code first.
  std::optional<std::uint64_t> other_space_;
  std::optional<Open> open_;
  bool ended_ = false;
  std::uint32_t next_ = 0;
  std::map<Row, Tally> rows_;
  std::set<std::string> user_ways_;
  std::set<std::string> kernel_ways_;
  std::uint64_t visible_ = 0;
  std::uint64_t reported_ = 0;
  std::uint64_t transient_ = 0;
  std::uint64_t recorded_ = 0;
  std::uint64_t harmless_ = 0;
  std::uint64_t to_other_ = 0;
  std::uint64_t false_alarms_ = 0;
};

}  // namespace sealvisor::run
