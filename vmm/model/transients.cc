#include "vmm/model/transients.h"

#include <algorithm>

namespace sealvisor::model {

void Transients::note(const arch::AnyFormat& format, const MappingChange& change) {
  const Key key{change.space, change.page.mapping, change.page.page, change.write.gpa};
  auto found = followed_.find(key);
  if (found == followed_.end()) {
    if (followed_.size() >= kMostFollowed) return;
    Followed fresh;
    fresh.before = change.write.old_value;  // 0 where the entry came with its table.
    fresh.judged = ~arch::hardware_bits(format, change.level);
    found = followed_.emplace(key, fresh).first;
  }
  Followed& followed = found->second;
  if (((change.write.new_value ^ followed.before) & followed.judged) != 0) followed.changed = true;
}

bool Transients::holds_again(std::uint64_t slot, const Followed& followed) const {
  std::uint64_t now = 0;  // It stays that if the table went with its entries: they are no more.
  (void)mirror_.read_entry(arch::Gpa{slot}, now);
  return ((now ^ followed.before) & followed.judged) == 0;
}

std::vector<MappingPage> Transients::settle(std::uint64_t space, const Look& look) {
  std::vector<MappingPage> pages;
  const auto first = followed_.lower_bound(Key{space, 0, 0, 0});
  auto last = first;
  for (; last != followed_.end() && last->first.space == space; ++last) {
    const MappingPage page{last->first.mapping, last->first.page};
    if (!last->second.changed || !holds_again(last->first.slot, last->second)) continue;
    const bool shows =
        std::any_of(look.transitions.begin(), look.transitions.end(),
                    [&](const PageTransition& transition) { return transition.page == page; });
    // The keys are sorted by page.
    if (!shows && (pages.empty() || pages.back() != page)) pages.push_back(page);
  }
  followed_.erase(first, last);
  return pages;
}

void Transients::forget(std::uint64_t space) {
  const auto first = followed_.lower_bound(Key{space, 0, 0, 0});
  auto last = first;
  while (last != followed_.end() && last->first.space == space) ++last;
  followed_.erase(first, last);
}

}  // namespace sealvisor::model
