// The campaign of tamperings on real guests: everything is reported as it is, and what is reported
// wrong is found. Storms of honest work: nothing is reported.
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "guest/scenario/campaign.h"
#include "tests/integration/guest.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

/// Of a guest that works for minutes.
constexpr std::chrono::seconds kLongDeadline{1500};

run::RunRequest campaign_of(arch::Arch arch, std::uint64_t seed, std::uint32_t count) {
  run::RunRequest request = request_for(arch, "tampering", {"control/campaign"});
  for (scenario::PlanItem& item : request.plan) {
    item.seed = seed;
    item.count = count;
  }
  return request;
}

struct ArchName {
  std::string operator()(const testing::TestParamInfo<arch::Arch>& one) const {
    return arch::name_of(one.param);
  }
};

class Campaign : public testing::TestWithParam<arch::Arch> {
 protected:
  report::Run run_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Campaign, testing::ValuesIn(arch::kAllArchs), ArchName{});

void expect_all_right(const report::Run& run, std::uint32_t count) {
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.mismatches, 0U);
  ASSERT_TRUE(run.campaign.has_value());
  const report::Campaign& campaign = *run.campaign;
  EXPECT_EQ(campaign.asked, count);
  EXPECT_EQ(campaign.made, count);
  EXPECT_EQ(campaign.reported, campaign.visible);
  EXPECT_EQ(campaign.recorded, campaign.transient);
  EXPECT_EQ(campaign.visible + campaign.transient + campaign.harmless, count);
  EXPECT_EQ(campaign.false_alarms, 0U);
  EXPECT_GT(campaign.visible, count / 3);
  EXPECT_GT(campaign.transient, count / 40);
  EXPECT_GT(campaign.harmless, count / 40);
  EXPECT_GT(campaign.to_other, count / 40);
  // A probe was hit, so that this is among what was tampered with.
  EXPECT_TRUE(std::ranges::any_of(run.mappings, [](const report::MappingInfo& mapping) {
    return mapping.name == "[uprobes]";
  }));
  for (const report::Campaign::Row& row : campaign.rows) {
    EXPECT_EQ(row.right, row.made) << row.edit << " by " << row.writer;
  }
}

TEST_P(Campaign, EverythingIsReportedAsItIs) {
  constexpr std::uint32_t kCount = 500;
  run_guest(campaign_of(GetParam(), 1, kCount), run_);
  expect_all_right(run_, kCount);
  if (HasFatalFailure()) return;
  // Every kind of edit that this guest can have, and most instructions: all are for InFull.
  const std::size_t possible =
      protocol::kEditCount - (GetParam() == arch::Arch::Arm64 ? 2U : 0U);  // keys; LSE
  std::vector<std::string> edits;
  for (const report::Campaign::Row& row : run_.campaign->rows) edits.push_back(row.edit);
  edits.erase(std::unique(edits.begin(), edits.end()), edits.end());
  EXPECT_EQ(edits.size(), possible);
  EXPECT_GT(run_.campaign->user_ways_used * 2, run_.campaign->user_ways);
  EXPECT_GT(run_.campaign->kernel_ways_used * 2, run_.campaign->kernel_ways);
}

TEST_P(Campaign, TheSameSeedDoesTheSame) {
  const auto events_of = [](const run::RunRequest& request) {
    std::vector<Event> events;
    trace_guest(request, events);
    return events;
  };
  const auto same = [](const std::vector<Event>& one, const std::vector<Event>& other) {
    return one.size() == other.size() &&
           std::equal(one.begin(), one.end(), other.begin(), [](const Event& a, const Event& b) {
             return a.kind == b.kind && a.icount == b.icount && a.pc == b.pc && a.gpa == b.gpa &&
                    a.old_value == b.old_value && a.new_value == b.new_value;
           });
  };
  const std::vector<Event> first = events_of(campaign_of(GetParam(), 3, 60));
  EXPECT_TRUE(same(first, events_of(campaign_of(GetParam(), 3, 60))));
  EXPECT_FALSE(same(first, events_of(campaign_of(GetParam(), 4, 60))));
}

/// The comparison itself must be able to fail. Each row spoils what the engine tells, once, in the
/// midst of the campaign.
struct Spoilt {
  const char* name;
  /// Whether it was this event, and is spoilt now.
  bool (*spoil)(Event& event);
  const char* text;
};

bool is_tampering(const Event& event) {
  return event.kind == Kind::SlotWrite && (event.flags & event::kUserMode) != 0 &&
         event.level == 1 && event.old_value != event.new_value;
}

TEST_P(Campaign, WhatIsToldWrongIsFound) {
  const Spoilt rows[] = {
      {"another writer",
       [](Event& event) {
         if (!is_tampering(event)) return false;
         event.pc += 4;
         return true;
       },
       "is said to have done it"},
      {"too late",
       [](Event& event) {
         // As if one more instruction of user mode had run before it was judged.
         if (event.kind != Kind::UserEntry || (event.flags & event::kUserMode) == 0) return false;
         event.old_value += 1;
         return true;
       },
       "1 instructions of user mode ran before it was found"},
  };
  for (const Spoilt& row : rows) {
    SCOPED_TRACE(row.name);
    run::RunRequest request = campaign_of(GetParam(), 1, 60);
    std::uint64_t spoilt = 0;
    request.mutate = [&](Event& event) {
      if (row.spoil(event)) ++spoilt;
    };
    run_ = {};
    run_guest(request, run_);
    EXPECT_GT(spoilt, 0U);
    ASSERT_TRUE(run_.campaign.has_value());
    EXPECT_LT(run_.campaign->reported, run_.campaign->visible);
    const auto found = findings_of(run_, "monitor");
    EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const report::Finding& finding) {
      return finding.id.find("/control/campaign/") != std::string::npos &&
             finding.text.find(row.text) != std::string::npos;
    })) << text_of(run_.findings);
  }
}

/// A judgement that never came.
TEST_P(Campaign, WhatIsNeverJudgedIsMissed) {
  run::RunRequest request = campaign_of(GetParam(), 1, 60);
  std::uint64_t dropped = 0;
  request.mutate = [&](Event& event) {
    if (event.kind != Kind::UserEntry || (event.flags & event::kUserMode) == 0) return;
    ++dropped;
    event.kind = Kind::Limit;  // no entry
    event.aux = static_cast<std::uint64_t>(event::Limit::UnfollowedStore);
  };
  run_guest(request, run_);
  EXPECT_GT(dropped, 0U);
  ASSERT_TRUE(run_.campaign.has_value());
  EXPECT_LT(run_.campaign->reported, run_.campaign->visible);
}

TEST(CampaignOfAtomics, EverythingIsReportedAsItIs) {
  run::RunRequest request = campaign_of(arch::Arch::Arm64, 2, 300);
  request.cpu_model = "cortex-a76";
  report::Run run;
  run_guest(request, run);
  expect_all_right(run, 300);
  if (HasFatalFailure()) return;
  EXPECT_GT(run.campaign->user_ways, 85U);
}

TEST(CampaignWithoutItsKernel, IsAFinding) {
  run::RunRequest request = request_for(arch::Arch::X86_64, "lts-sealed", {"control/campaign"});
  report::Run run;
  run_guest(request, run);
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  EXPECT_FALSE(findings_of(run, "monitor").empty());
}

class Storm : public testing::TestWithParam<arch::Arch> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, Storm, testing::ValuesIn(arch::kAllArchs), ArchName{});

void expect_no_alarm(const run::RunRequest& request, std::uint64_t least_writes) {
  ASSERT_EQ(request.plan.size(), 1U);
  report::Run run;
  run_guest(request, run);
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.violations, 0U);
  EXPECT_EQ(run.counts.mismatches, 0U);
  EXPECT_GE(run.counts.table_writes, least_writes);
  ASSERT_EQ(run.lives.size(), 1U);
  EXPECT_EQ(run.lives[0].count, request.plan[0].count);
}

TEST_P(Storm, RaisesNoAlarm) {
  expect_no_alarm(request_for(GetParam(), "lts-sealed", {"life/storm"}), 50'000);
}

/// Each edit by each writer that can make it, and undone at once where that can be: `shown` and
/// `at_once` times at least.
void expect_each_kind(const report::Run& run, arch::Arch arch, bool compares, std::uint64_t shown,
                      std::uint64_t at_once) {
  const bool arm = arch == arch::Arch::Arm64;
  const scenario::Offer offer{.x86 = !arm, .keys = !arm};
  const auto made = [&](protocol::Edit edit, protocol::Writer writer, bool undone) {
    std::uint64_t sum = 0;
    for (const report::Campaign::Row& row : run.campaign->rows) {
      if (row.edit == name_of(edit) && row.writer == name_of(writer) &&
          row.undone_at_once == undone) {
        sum += row.made;
      }
    }
    return sum;
  };
  for (const scenario::EditTraits& traits : scenario::kEdits) {
    if (!possible(traits, offer)) continue;
    if (traits.edit == protocol::Edit::FailedCompare && !compares) continue;
    for (std::uint32_t i = 0; i < protocol::kWriterCount; ++i) {
      if ((traits.writers >> i & 1) == 0) continue;
      const auto writer = static_cast<protocol::Writer>(i);
      SCOPED_TRACE(std::string(name_of(traits.edit)) + " by " + std::string(name_of(writer)));
      EXPECT_GE(made(traits.edit, writer, false), shown);
      if (writer == protocol::Writer::Kernel && traits.to_nobody) {
        EXPECT_GE(made(traits.edit, writer, true), at_once);
      }
    }
  }
}

/// What is promised (docs/trust.md), of 10,000 and more: so many that each kind and each
/// instruction is drawn from seed 1.
constexpr std::uint32_t kPromised = 12'000;

class Promised : public testing::TestWithParam<arch::Arch> {};
INSTANTIATE_TEST_SUITE_P(InFull, Promised, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(Promised, TenThousandTamperingsAreReportedAsTheyAre) {
  constexpr std::uint32_t kCount = kPromised;
  run::RunRequest request = campaign_of(GetParam(), 1, kCount);
  request.deadline = kLongDeadline;
  report::Run run;
  run_guest(request, run);
  expect_all_right(run, kCount);
  if (HasFatalFailure()) return;
  // The default CPU model of arm64 has no LSE atomics, the only ones there that compare.
  expect_each_kind(run, GetParam(), GetParam() == arch::Arch::X86_64, 40, 10);
  EXPECT_EQ(run.campaign->user_ways_used, run.campaign->user_ways);
  EXPECT_EQ(run.campaign->kernel_ways_used, run.campaign->kernel_ways);
}

/// The store instructions that the default CPU model of arm64 lacks.
class PromisedOfAtomics : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(InFull, PromisedOfAtomics, testing::Values("cortex-a76"));

TEST_P(PromisedOfAtomics, TenThousandTamperingsAreReportedAsTheyAre) {
  constexpr std::uint32_t kCount = kPromised;
  run::RunRequest request = campaign_of(arch::Arch::Arm64, 1, kCount);
  request.cpu_model = GetParam();
  request.deadline = kLongDeadline;
  report::Run run;
  run_guest(request, run);
  expect_all_right(run, kCount);
  if (HasFatalFailure()) return;
  expect_each_kind(run, arch::Arch::Arm64, true, 40, 10);
  EXPECT_EQ(run.campaign->user_ways_used, run.campaign->user_ways);
  EXPECT_EQ(run.campaign->kernel_ways_used, run.campaign->kernel_ways);
}

TEST_P(Promised, AMillionHonestWritesRaiseNoAlarm) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/storm"});
  for (scenario::PlanItem& item : request.plan) item.count = 200;
  request.deadline = kLongDeadline;
  expect_no_alarm(request, 1'000'000);
}

}  // namespace
}  // namespace sealvisor::test
