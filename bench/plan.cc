#include "bench/plan.h"

#include "guest/scenario/words.h"

namespace sealvisor::bench {
namespace {

using scenario::next_word;
using scenario::number;

/// Takes one line off `text`, without its '\n'. False: it has none.
bool cut_line(std::string_view& text, std::string_view& line) {
  const std::size_t end = text.find('\n');
  line = text.substr(0, end);
  if (end == std::string_view::npos) return false;
  text = text.substr(end + 1);
  return true;
}

/// Takes the next line off `text` into `plan`; empty, or what is wrong with it.
std::string_view read_line(std::string_view& text, Plan& plan) {
  ++plan.line;
  if (!cut_line(text, plan.text)) return "cut short: the last line does not end";
  if (plan.line == 1) {
    return plan.text == kPlanHeader ? std::string_view{} : "not a plan of this version";
  }
  const ParsedItem parsed = parse_plan_line(plan.text);
  if (!parsed.error.empty()) return parsed.error;
  if (plan.size == kMaxPlanItems) return "more than 512 items";
  plan.items[plan.size++] = parsed.item;
  return {};
}

}  // namespace

ParsedItem parse_plan_line(std::string_view line) {
  std::string_view rest = line;
  ParsedItem parsed;
  PlanItem& item = parsed.item;
  item.experiment = find_experiment(next_word(rest));
  if (item.experiment == nullptr) return {{}, "no such experiment"};
  item.samples = number(next_word(rest), kMaxSamplesOf);
  if (item.samples == 0) return {{}, "samples are a number of 1 to 256"};
  const std::string_view warm_up = next_word(rest);
  item.warm_up = number(warm_up, kMaxSamplesOf);
  if (item.warm_up == 0 && warm_up != "0") return {{}, "a warm-up is a number of 0 to 256"};
  item.batch = number(next_word(rest), kMaxBatch);
  if (item.batch == 0) return {{}, "a batch is a number of 1 to 1000000"};
  if (item.batch != 1 && item.experiment->clock_batch == 1) {
    return {{}, "this experiment has no batch but 1"};
  }
  // To the end of the line, so that blanks behind it show.
  if (rest != "marks" && rest != "clock") return {{}, "the last word is marks or clock"};
  item.timing = rest == "clock" ? Timing::Clock : Timing::Marks;
  return parsed;
}

bool parse_plan(std::string_view text, Plan& plan) {
  plan.size = 0;
  plan.line = 0;
  plan.text = {};
  plan.error = {};
  if (text.size() > kMaxPlanSize) plan.error = "longer than 65536 bytes";
  if (text.empty()) plan.error = "empty";
  while (plan.error.empty() && !text.empty()) plan.error = read_line(text, plan);
  return plan.error.empty();
}

}  // namespace sealvisor::bench
