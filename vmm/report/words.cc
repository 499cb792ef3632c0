#include "vmm/report/words.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::report {

std::string name_of(const Run& run) {
  return fmt::format("{} {}", arch::name_of(run.arch), run.recipe);
}

std::string title_of(const Report& report) {
  const bool observed = std::any_of(report.runs.begin(), report.runs.end(),
                                    [](const Run& run) { return !run.programs.empty(); });
  return observed ? "sealvisor observe" : "sealvisor verify";
}

std::string name_of_errno(int number) {
  if (number == 0) return "ok";
  const char* name = ::strerrorname_np(number);
  return name != nullptr ? name : fmt::format("errno {}", number);
}

std::string name_of_result(std::int64_t result) {
  return name_of_errno(result < 0 && result >= -4095 ? static_cast<int>(-result) : 0);
}

std::string words_of(const Claim& claim) {
  std::string text = claim.made ? claim.text : "none";
  if (claim.sealed) text += *claim.sealed ? ", sl" : ", no sl";
  return text;
}

std::string words_of(const std::optional<Expected>& expected) {
  if (!expected) return "-";
  std::string text;
  for (const int number : expected->errnos) {
    text += (text.empty() ? "" : "/") + name_of_errno(number);
  }
  if (text.empty()) text = "any answer";
  if (expected->change) text += fmt::format(", {}", name_of(*expected->change));
  return text;
}

bool is_good(const Life& life) {
  return life.violations == 0 && life.status == 0 && life.complete && life.user_entries != 0;
}

std::string words_of(const Life& life) {
  if (life.unsupported) return life.complete ? "not on this kernel" : "not on this kernel, cut off";
  std::string outcome = life.violations == 0 && life.user_entries == 0 ? "nothing judged"
                        : life.violations == 0                         ? "0 violations"
                        : life.violations == 1
                            ? "1 violation"
                            : fmt::format("{} violations", grouped(life.violations));
  if (!life.complete) outcome += ", cut off";
  if (life.status != 0) outcome += fmt::format(", stopped by {}", name_of_errno(life.status));
  return outcome;
}

std::string machine_words(const Run& run) {
  return fmt::format("{}{}; {:.1f} s, init after {:.1f} s",
                     run.engine_version.empty() ? "unknown version" : run.engine_version,
                     run.cpu_model.empty() ? "" : ", cpu " + run.cpu_model, run.seconds,
                     run.start_to_init);
}

std::string start_words(const Run& run) {
  std::vector<std::string> parts;
  if (run.start.cpu_ms) {
    parts.push_back(
        fmt::format("{:.1f} ms of the VMM's CPU to the first instruction", *run.start.cpu_ms));
  }
  if (run.start.exits) {
    std::uint64_t exits = 0;
    for (const Cost& exit : *run.start.exits) exits += exit.count;
    parts.push_back(fmt::format("{} exits to init", grouped(exits)));
  }
  if (run.start.instructions) {
    parts.push_back(fmt::format("{} instructions to init", grouped(*run.start.instructions)));
  }
  if (run.resident_bytes) {
    parts.push_back(fmt::format("VMM: {:.1f} MiB beside guest memory",
                                static_cast<double>(*run.resident_bytes) / (1 << 20)));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

namespace {

std::string mapping_words(const MappingInfo& mapping) {
  const std::string seal = !mapping.claims_sealed   ? ""
                           : *mapping.claims_sealed ? ", sl"
                                                    : ", no sl";
  if (mapping.pages == 0) {
    return fmt::format("{}{} (user mode reaches no page of it)", mapping.name, seal);
  }
  return fmt::format(
      "{} {} of {} pages populated{} ({})", mapping.name, mapping.populated, mapping.pages, seal,
      mapping.identified_by.empty() ? "not identified"
                                    : fmt::format("{}", fmt::join(mapping.identified_by, " + ")));
}

}  // namespace

std::string mappings_words(const Run& run) {
  std::vector<std::string> parts;
  for (const MappingInfo& mapping : run.mappings) parts.push_back(mapping_words(mapping));
  if (parts.empty()) parts.emplace_back("none found");
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string counts_words(const Run& run) {
  const Counts& counts = run.counts;
  std::string text = fmt::format(
      "{} table {} seen, {} content writes; {} address spaces, {} table frames watched at "
      "most; "
      "user mode judged {} times; {} re-walks of {} tables: {} mismatches; {} doorbell messages; "
      "{} transient changes; {} teardowns; {} violations",
      grouped(counts.table_writes), run.lane == "exact" ? "writes" : "changes",
      grouped(counts.content_writes), grouped(counts.roots), grouped(counts.frames),
      grouped(counts.user_entries), grouped(counts.rewalks), grouped(counts.rewalked_tables),
      grouped(counts.mismatches), grouped(counts.doorbells), grouped(counts.transient),
      grouped(counts.teardowns), grouped(counts.violations));
  if (counts.witness_stores || counts.witness_differences) {
    text += fmt::format("; second witness: {} stores, {} differences",
                        grouped(counts.witness_stores.value_or(0)),
                        grouped(counts.witness_differences.value_or(0)));
  }
  if (counts.known_stores) {
    text +=
        fmt::format("; {} known stores of {} classes compared one by one",
                    grouped(*counts.known_stores), grouped(counts.known_store_classes.value_or(0)));
  }
  if (counts.known_code_stores) {
    text += fmt::format("; {} known stores to code of {} classes compared one by one",
                        grouped(*counts.known_code_stores),
                        grouped(counts.known_code_store_classes.value_or(0)));
  }
  if (counts.known_changes) {
    text += fmt::format("; of {} known violations {} were judged", grouped(*counts.known_changes),
                        grouped(counts.known_changes_judged.value_or(0)));
  }
  if (counts.known_entries) {
    text += fmt::format("; {} known entries to user mode, {} counted meanwhile",
                        grouped(*counts.known_entries),
                        grouped(counts.known_entries_counted.value_or(0)));
  }
  if (counts.stepped_instructions) {
    text += fmt::format("; {} entries to user mode in {} stepped instructions, {} without a trap",
                        grouped(counts.stepped_entries.value_or(0)),
                        grouped(*counts.stepped_instructions),
                        grouped(counts.stepped_untrapped.value_or(0)));
  }
  return text;
}

std::string campaign_words(const Run& run) {
  if (!run.campaign) return "";
  const Campaign& campaign = *run.campaign;
  const std::string undone =
      run.lane == "audited" ? fmt::format("{} were undone at once, which this lane does not see",
                                          grouped(campaign.transient))
                            : fmt::format("of {} that were undone at once {} were recorded",
                                          grouped(campaign.transient), grouped(campaign.recorded));
  return fmt::format(
      "seed {}: {} of {} tamperings made, {} of them to another process; of {} that user "
      "mode can see {} were reported, {}, "
      "{} were harmless; {} false alarms; store instructions used: {} of {} by user "
      "mode, {} of {} by the kernel",
      campaign.seed, grouped(campaign.made), grouped(campaign.asked), grouped(campaign.to_other),
      grouped(campaign.visible), grouped(campaign.reported), undone, grouped(campaign.harmless),
      grouped(campaign.false_alarms), campaign.user_ways_used, campaign.user_ways,
      campaign.kernel_ways_used, campaign.kernel_ways);
}

std::string promise_words(const Run& run) {
  if (run.mechanism.empty()) return "";
  if (run.lane != "exact") {
    return "every state of the user half that user mode enters through those returns is judged "
           "first; what was undone before, and who wrote, is not seen";
  }
  std::string text =
      "every write to a followed table, with old and new value, instruction and root; a table is "
      "followed from the first return to user mode of its address space on";
  if (run.arch == arch::Arch::X86_64) {
    text += ". Never run on hardware, nor in an emulated host: tests/hardware/sign-off tries it";
  }
  return text;
}

std::string costs_words(const Run& run) {
  std::vector<std::string> parts;
  for (const Cost& cost : run.costs) {
    std::string part = fmt::format("{} {}", grouped(cost.count), cost.name);
    if (cost.microseconds > 0 && cost.count > 0) {
      part += fmt::format(" ({:.1f} us each)", cost.microseconds / static_cast<double>(cost.count));
    }
    parts.push_back(std::move(part));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::vector<std::string> blind_spots_of(const Report& report) {
  std::vector<std::pair<std::string, std::vector<const Run*>>> spots;
  for (const Run& run : report.runs) {
    for (const std::string& spot : run.blind_spots) {
      auto found = std::find_if(spots.begin(), spots.end(),
                                [&](const auto& one) { return one.first == spot; });
      if (found == spots.end()) found = spots.insert(found, {spot, {}});
      found->second.push_back(&run);
    }
  }
  std::vector<std::string> lines;
  for (const auto& [spot, runs] : spots) {
    const bool all = runs.size() == report.runs.size();
    const auto same_arch = [arch = runs.front()->arch](const auto& run) {
      return run.arch == arch;
    };
    const auto of_arch =
        static_cast<std::size_t>(std::count_if(report.runs.begin(), report.runs.end(), same_arch));
    const bool whole_arch =
        runs.size() == of_arch &&
        std::all_of(runs.begin(), runs.end(), [&](const Run* run) { return same_arch(*run); });
    std::vector<std::string> labels;
    labels.reserve(runs.size());
    for (const Run* run : runs) labels.push_back(name_of(*run));
    const std::string whom = all          ? std::string()
                             : whole_arch ? fmt::format("{}: ", arch::name_of(runs.front()->arch))
                                          : fmt::format("{}: ", fmt::join(labels, ", "));
    lines.push_back(whom + spot);
  }
  return lines;
}

}  // namespace sealvisor::report
