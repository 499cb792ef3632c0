#include "vmm/run/campaign.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "vmm/run/protocol_reader.h"

namespace sealvisor::run {

using arch::Frame;
using arch::Gpa;
using arch::Gva;
using event::Event;
using event::Kind;
using model::MappingPage;
using protocol::Edit;
using protocol::Shown;
using protocol::Writer;
using scenario::PageGroup;

namespace {

constexpr std::string_view kTransient = "transient";
constexpr std::string_view kRemoval = "removal";

/// A page of a system mapping at its place.
struct Placed {
  MappingPage page;
  Gva gva{};
};

/// Every page of every mapping whose place is in [first, first + size).
std::vector<Placed> pages_in(const model::AddressSpace& space, Gva first, std::uint64_t size) {
  std::vector<Placed> pages;
  for (const model::Placement& placement : space.placements) {
    for (std::uint32_t i = 0; i < placement.pages.size(); ++i) {
      const Gva gva = placement.gva(i);
      if (gva.value - first.value < size) pages.push_back({{placement.mapping, i}, gva});
    }
  }
  return pages;
}

/// Those that the entry of `level` on the way to `gva` translates.
std::vector<Placed> pages_in_reach(const model::AddressSpace& space, Gva gva, unsigned level) {
  const std::uint64_t size = arch::level_size(level);
  return pages_in(space, Gva{gva.value / size * size}, size);
}

/// Where an address space has populated pages of a group: in the order in which the agent finds
/// them (guest/agent/campaign.cc).
std::vector<Gva> populated_pages(const model::Identities& identities,
                                 const model::AddressSpace& space, PageGroup group) {
  std::vector<Gva> places;
  for (const model::Placement& placement : space.placements) {
    if (scenario::page_group_of(identities.all()[placement.mapping].name) != group) continue;
    for (std::uint32_t i = 0; i < placement.pages.size(); ++i) {
      if (placement.pages[i].now.end == arch::WalkEnd::Leaf) places.push_back(placement.gva(i));
    }
  }
  std::sort(places.begin(), places.end(),
            [](Gva one, Gva other) { return one.value < other.value; });
  return places;
}

/// The kernel's functions that store what user mode gave write(): lib/iov_iter.c and what it calls.
bool copies_from_user(arch::Arch arch, std::string_view function) {
  if (arch == arch::Arch::Arm64) return function == "__arch_copy_from_user";
  // Where the CPU has fast short strings, the copy is in line (arch/x86/include/asm/uaccess_64.h).
  return function == "rep_movs_alternative" || function == "_copy_from_user" ||
         function == "write_mem";
}

/// The function of the facility that loads a root (guest/kernel/patches/tampering).
constexpr std::string_view kRootLoader = "tamper_load_root";

bool is_code(Edit edit) { return edit == Edit::Code || edit == Edit::CodeByAlias; }

bool loads_root(Edit edit) {
  return edit == Edit::ReplaceRoot || edit == Edit::ReplaceRootWritable ||
         edit == Edit::ReplaceRootForeign || edit == Edit::ReplaceRootUnmapped;
}

std::string name_of(const protocol::Tampering& claim) {
  std::string text = fmt::format("tampering {} ({} at {:#x}", claim.number,
                                 protocol::name_of(claim.edit), claim.gva);
  if (claim.level > 1) text += fmt::format(", level {}", claim.level);
  if (claim.other != 0) text += " of the other process";
  text += fmt::format(", by {}", protocol::name_of(claim.writer));
  if (claim.way[0] != '\0') text += fmt::format(" with {}", text_of(claim.way));
  return text + (claim.shown == Shown::ToNobody ? ", undone at once)" : ")");
}

}  // namespace

void CampaignControl::expect(Open& open, const model::AddressSpace& space) const {
  const protocol::Tampering& claim = open.claim;
  const Gva gva{claim.gva};
  const Gva gva2{claim.gva2};
  const auto known = [&](MappingPage page) {
    return identities_.all()[page.mapping].frames[page.page];
  };
  const auto permissions = [&](MappingPage page) {
    return identities_.all()[page.mapping].permissions;
  };
  const auto add = [&](std::string_view what, MappingPage page, Gva at, Frame frame,
                       When when = When::Change, std::uint64_t word = 0) {
    open.expected.push_back({what, page, at, frame, when, word});
  };
  // The page shows `shown` in place of its own frame: of code, that may be a copy with other bytes.
  // Where other things may be done with it, it is no copy, whatever it holds (Session::judge).
  const auto replaced = [&](MappingPage of, Gva at, Frame shown, bool as_before = true) {
    add("S2", of, at, shown);
    if (!as_before) return;
    const auto copied = seal::copied_bytes(identities_, of, shown, compare_);
    if (copied && *copied != 0) add("S5", of, at, shown);
  };
  const auto here = pages_in(space, gva, 1);
  if (here.empty() || !known(here[0].page)) return;
  const MappingPage page = here[0].page;
  const Frame frame = *known(page);
  const auto reach =
      claim.level == 0 ? std::vector<Placed>{} : pages_in_reach(space, gva, claim.level);
  const bool leaf = claim.level <= 1;
  if (claim.shown == Shown::ToNobody && !is_code(claim.edit)) {
    switch (claim.edit) {
      case Edit::AliasPage:
      case Edit::AliasUpperHalf:
        add(kTransient, page, Gva{}, Frame{});
        return;
      case Edit::AliasLarge:
        for (const auto& [other, of] : identities_.frames()) {
          if (other.gpa().value - claim.frame < arch::level_size(2))
            add(kTransient, of, Gva{}, Frame{});
        }
        return;
      default:
        for (const Placed& one : leaf ? here : reach) add(kTransient, one.page, Gva{}, Frame{});
        if (claim.edit == Edit::SwapFrames) {
          for (const Placed& one : pages_in(space, gva2, 1))
            add(kTransient, one.page, Gva{}, Frame{});
        }
        return;
    }
  }
  switch (claim.edit) {
    case Edit::WriteBit:
    case Edit::ExecuteBit:
    case Edit::UserBit:
    case Edit::ProtectionKey:
    case Edit::NonPresent:
    case Edit::CopyTableWritable:
    case Edit::ReplaceRootWritable:
      add("S3", page, gva, frame);
      return;
    case Edit::ForeignFrame:
    case Edit::CopyTableForeign:
      replaced(page, gva, arch::frame_of(Gpa{claim.frame}));
      return;
    case Edit::ReplaceRootForeign:
      replaced(page, gva, arch::frame_of(Gpa{claim.frame2}));
      return;
    case Edit::SwapFrames: {
      const auto there = pages_in(space, gva2, 1);
      if (there.empty() || !known(there[0].page)) return;
      const MappingPage page2 = there[0].page;
      replaced(page, gva, *known(page2));
      replaced(page2, gva2, frame);
      // Each frame is now where the other one belongs.
      add("S4", page2, gva, *known(page2));
      add("S4", page, gva2, frame);
      return;
    }
    case Edit::UnmapPage:
    case Edit::CopyTableUnmapped:
    case Edit::ReplaceRootUnmapped:
      add(kRemoval, page, gva, frame);
      return;
    case Edit::MovePage:
      add("S4", page, gva2, frame);
      add(kRemoval, page, gva, frame);
      return;
    case Edit::AliasPage:
    case Edit::AliasUpperHalf:
      add("S4", page, gva2, frame);
      return;
    case Edit::AliasLarge: {
      const std::uint64_t start = claim.gva2 / arch::level_size(2) * arch::level_size(2);
      for (const auto& [other, of] : identities_.frames()) {
        const std::uint64_t offset = other.gpa().value - claim.frame;
        if (offset < arch::level_size(2)) add("S4", of, Gva{start + offset}, other);
      }
      return;
    }
    case Edit::ReservedBit:
    case Edit::UpperOutside:
      for (const Placed& one : reach)
        add("S6", one.page, one.gva, known(one.page).value_or(Frame{}));
      return;
    case Edit::UpperNonPresent:
      for (const Placed& one : reach)
        add("S3", one.page, one.gva, known(one.page).value_or(Frame{}));
      return;
    case Edit::UpperUser:
      for (const Placed& one : reach) {
        if (known(one.page)) add("S3", one.page, one.gva, *known(one.page));
      }
      return;
    case Edit::UpperExecute:
      for (const Placed& one : reach) {
        if (known(one.page) && permissions(one.page).exec)
          add("S3", one.page, one.gva, *known(one.page));
      }
      return;
    case Edit::UpperUnmap:
      for (const Placed& one : reach) {
        if (known(one.page)) add(kRemoval, one.page, one.gva, *known(one.page));
      }
      return;
    case Edit::Collapse: {
      const std::uint64_t size = arch::level_size(claim.level);
      const std::uint64_t start = gva.value / size * size;
      for (const Placed& one : reach) {
        const Frame shown = arch::frame_of(Gpa{claim.frame + (one.gva.value - start)});
        const bool as_before = permissions(one.page) == permissions(page);
        if (known(one.page) != shown) replaced(one.page, one.gva, shown, as_before);
        if (!as_before) add("S3", one.page, one.gva, shown);
        // It was never there before, and goes again.
        if (!known(one.page)) add(kRemoval, one.page, one.gva, shown, When::Restore);
      }
      for (const auto& [other, of] : identities_.frames()) {
        const std::uint64_t offset = other.gpa().value - claim.frame;
        if (offset >= size) continue;
        const model::Placement* const home = space.placement(of.mapping);
        if (home != nullptr && home->gva(of.page).value == start + offset) continue;
        add("S4", of, Gva{start + offset}, other);
      }
      return;
    }
    case Edit::Code:
    case Edit::CodeByAlias:
      for (const protocol::TamperedWord& word : claim.words) {
        if (word.gpa == 0) continue;
        const Frame changed = arch::frame_of(Gpa{word.gpa});
        const auto of = identities_.find(changed);
        if (!of) continue;
        // Putting code back changes code.
        add("S5", *of, Gva{}, changed, When::Change, word.gpa);
        add("S5", *of, Gva{}, changed, When::Restore, word.gpa);
      }
      if (claim.edit == Edit::CodeByAlias) add("S4", page, gva2, frame, When::Alias);
      return;
    case Edit::CopyTable:
    case Edit::ReplaceRoot:
    case Edit::SoftwareBit:
    case Edit::SameValue:
    case Edit::FailedCompare:
      return;
  }
}

std::vector<std::string> CampaignControl::on_campaign(const protocol::Campaign& message,
                                                      const model::AddressSpace& space, bool keys) {
  if (message.what == protocol::Campaign::kOther) {
    if (begun_ || other_space_) return {"another process is to be tampered with, too late"};
    other_space_ = space.id;
    return {};
  }
  if (begun_) return {"a campaign began twice"};
  begun_ = message;
  space_ = space.id;
  // The agent has room for so many, and passes over the rest.
  const auto add = [&](PageGroup group) {
    const std::size_t before = places_.size();
    const std::vector<Gva> found = populated_pages(identities_, space, group);
    places_.insert(places_.end(), found.begin(), found.end());
    places_.resize(std::min(places_.size(), std::size_t{protocol::kMostTamperedPages}));
    return places_.size() - before;
  };
  const std::size_t with_code = add(PageGroup::Code);
  add(PageGroup::Shared);
  const std::size_t own = add(PageGroup::Own);
  if (!order_) return {};
  std::vector<std::string> wrong;
  if (message.seed != order_->seed || message.count != order_->count) {
    wrong.push_back(fmt::format("the guest makes {} tamperings of seed {}, asked for {} of {}",
                                message.count, message.seed, order_->count, order_->seed));
  }
  if (message.pages != places_.size() || message.code_pages != with_code) {
    wrong.push_back(
        fmt::format("the guest chooses from {} pages, {} with code, and has {}, {} with code",
                    message.pages, message.code_pages, places_.size(), with_code));
  }
  if (with_code == 0 || places_.size() - own < 2) {
    wrong.push_back(
        fmt::format("the guest has {} populated pages of shared system mappings, {} with code: "
                    "expected 2, and 1 with code",
                    places_.size() - own, with_code));
  }
  offer_ = {.x86 = arch_ == arch::Arch::X86_64,
            .keys = keys,
            .emulated = order_->emulated,
            .pages = message.pages,
            .code_pages = message.code_pages,
            .own_pages = static_cast<std::uint32_t>(own)};
  return wrong;
}

std::string CampaignControl::compare_claim(const protocol::Tampering& claim,
                                           const model::AddressSpace& space) const {
  const auto here = pages_in(space, Gva{claim.gva}, 1);
  if (here.empty() || !identities_.all()[here[0].page.mapping].frames[here[0].page.page]) {
    return fmt::format("no page of a system mapping is known at {:#x}", claim.gva);
  }
  // Only a root is exchanged without a store.
  const bool no_word =
      std::all_of(std::begin(claim.words), std::end(claim.words),
                  [](const protocol::TamperedWord& word) { return word.gpa == 0; });
  if (no_word != loads_root(claim.edit)) {
    return no_word ? "no word of memory is said to change" : "a word is said to change";
  }
  // Without pages there is nothing to choose from, which is a finding already.
  if (!order_ || offer_.pages < offer_.own_pages + 2) return "";
  const scenario::Choice choice = scenario::choose(offer_, order_->seed, claim.number);
  // An arm64 CPU without atomics has no compare that fails, and stores the same value instead.
  const bool instead = arch_ == arch::Arch::Arm64 && choice.edit == Edit::FailedCompare &&
                       claim.edit == Edit::SameValue;
  const bool edit = claim.edit == choice.edit || instead;
  const bool place = choice.page < places_.size() && places_[choice.page] == Gva{claim.gva};
  if (edit && place && claim.writer == choice.writer && claim.shown == choice.shown &&
      (claim.other != 0) == choice.other && claim.level == choice.level &&
      (claim.left_to_kernel != 0) == choice.left_to_kernel) {
    return "";
  }
  protocol::Tampering listed = claim;
  listed.edit = choice.edit;
  listed.writer = choice.writer;
  listed.shown = choice.shown;
  listed.other = choice.other ? 1 : 0;
  listed.level = choice.level;
  listed.left_to_kernel = choice.left_to_kernel ? 1 : 0;
  listed.gva = choice.page < places_.size() ? places_[choice.page].value : 0;
  listed.way[0] = '\0';
  return fmt::format("seed {} has {}", order_->seed, name_of(listed));
}

std::vector<std::pair<std::string, std::string>> CampaignControl::on_tampering(
    const protocol::Tampering& message, const model::AddressSpace& space,
    const model::AddressSpace* other, std::uint64_t bits, const LaneTells& tells) {
  std::vector<std::pair<std::string, std::string>> wrong;
  if (open_) {
    const auto edit = std::string(protocol::name_of(open_->claim.edit));
    if (auto text = close(); !text.empty()) wrong.emplace_back(edit, std::move(text));
  }
  if (!begun_ || ended_ || message.number != next_) {
    wrong.emplace_back(
        "order", fmt::format("tampering {} was announced, expected {}", message.number, next_));
    return wrong;
  }
  if (space.id != space_) {
    wrong.emplace_back("order", "a tampering was announced by a process that makes no campaign");
    return wrong;
  }
  if (message.end != 0) {
    ended_ = true;
    return wrong;
  }
  ++next_;
  Open open;
  open.claim = message;
  open.space = space.id;
  open.bits = bits;
  open.tells = tells;
  if (message.other != 0) {
    if (other == nullptr) {
      wrong.emplace_back("order", "there is no other process to tamper with");
      return wrong;
    }
    open.space = other->id;
  }
  if (is_code(message.edit)) open.bits = 0;
  const model::AddressSpace& tampered = message.other != 0 ? *other : space;
  open.wrong = compare_claim(message, tampered);
  expect(open, tampered);
  if (!tells.transients) {
    std::erase_if(open.expected, [](const Expected& one) { return one.what == kTransient; });
  }
  open_ = std::move(open);
  return wrong;
}

void CampaignControl::on_write(const Event& event) {
  if (!open_ || open_->writes.size() >= 4096) return;
  for (const protocol::TamperedWord& word : open_->claim.words) {
    if (word.gpa != 0 && word.gpa == event.gpa) open_->writes.push_back(event);
  }
}

bool CampaignControl::takes(const Observation& observation) {
  if (!open_) return false;
  constexpr std::size_t kMost = 4096;
  if (open_->found.size() < kMost) open_->found.push_back(observation);
  return true;
}

/// A store that changes nothing is told all the same, where each store is.
std::string CampaignControl::compare_rewritten(const Open& open,
                                               const protocol::TamperedWord& word) const {
  if (!open.tells.instructions) return "";
  const protocol::Tampering& claim = open.claim;
  const auto is_it = [&](const Event& write) {
    const bool user = (write.flags & event::kUserMode) != 0;
    if (write.gpa != word.gpa || user != (claim.writer == Writer::User)) return false;
    return claim.store_pc != 0 ? write.pc == claim.store_pc
                               : copies_from_user(arch_, function_at_(write.pc));
  };
  if (std::any_of(open.writes.begin(), open.writes.end(), is_it)) return "";
  return fmt::format("no store to {:#x} was told", word.gpa);
}

/// Each word went from what it was to what was announced, and back.
std::string CampaignControl::compare_words(const Open& open) const {
  if (!open.tells.writers && !is_code(open.claim.edit)) return "";
  const bool nobody_tells = !open.tells.writers && open.claim.shown == Shown::ToNobody;
  for (const protocol::TamperedWord& word : open.claim.words) {
    if (word.gpa == 0 || nobody_tells) continue;
    if (word.before == word.after) {
      if (auto text = compare_rewritten(open, word); !text.empty()) return text;
      continue;
    }
    if (((word.before ^ word.after) & ~open.bits) == 0) continue;
    const auto is = [&](std::uint64_t value, std::uint64_t wanted) {
      return ((value ^ wanted) & ~open.bits) == 0;
    };
    bool there = false;
    bool back = false;
    std::optional<std::uint64_t> last;
    for (const Event& write : open.writes) {
      if (write.gpa != word.gpa) continue;
      if (!last && !is(write.old_value, word.before)) {
        return fmt::format("{:#x} held {:#x}, expected {:#x}", word.gpa, write.old_value,
                           word.before);
      }
      last = write.new_value;
      there = there || is(*last, word.after);
      back = there && is(*last, word.before);
    }
    if (!there) return fmt::format("no store of {:#x} to {:#x} was told", word.after, word.gpa);
    if (!back)
      return fmt::format("no store of {:#x} back to {:#x} was told", word.before, word.gpa);
  }
  return "";
}

std::string CampaignControl::compare_cause(const Open& open, const Expected& expected,
                                           const Observation& found) const {
  const protocol::Tampering& claim = open.claim;
  const bool code = expected.word != 0;
  if (!open.tells.writers && !code) return "";
  if (!found.cause) return "nobody is said to have done it";
  const Event& cause = *found.cause;
  if (loads_root(claim.edit)) {
    const std::string function = function_at_(cause.pc);
    const bool loader = !open.tells.root_loads || function == kRootLoader;
    if (cause.kind == Kind::RootLoad && cause.gpa == claim.frame && loader) return "";
    return fmt::format(
        "{} at {:#x} is said to have done it, expected a load of the root {:#x} by {}", function,
        cause.pc, claim.frame, kRootLoader);
  }
  const auto is_word = [&](const protocol::TamperedWord& word) {
    return word.gpa == cause.gpa && (expected.word == 0 || expected.word == word.gpa);
  };
  const bool alias = expected.when == When::Alias;
  const bool place = alias ? cause.gpa == claim.alias_word
                           : std::any_of(std::begin(claim.words), std::end(claim.words), is_word);
  if (!place) return fmt::format("a store to {:#x} is said to have done it", cause.gpa);
  if (!open.tells.exact_pcs && code) return "";
  const std::uint64_t pc = alias                           ? claim.alias_pc
                           : expected.when == When::Change ? claim.store_pc
                                                           : claim.restore_pc;
  const bool user = (cause.flags & event::kUserMode) != 0;
  if (user != (claim.writer == Writer::User)) {
    return fmt::format("{} is said to have done it", user ? "user mode" : "the kernel");
  }
  if (pc == 0) {
    const std::string function = function_at_(cause.pc);
    if (copies_from_user(arch_, function)) return "";
    return fmt::format("{} is said to have done it, expected a copy for write()", function);
  }
  if (cause.pc == pc) return "";
  return fmt::format("the instruction at {:#x} is said to have done it, expected {:#x}", cause.pc,
                     pc);
}

std::string CampaignControl::compare_one(const Open& open, const Expected& expected,
                                         const Observation& found) const {
  if (expected.what == kTransient) return "";
  if (found.frame != expected.frame) {
    return fmt::format("frame {:#x}, expected {:#x}", found.frame.gpa().value,
                       expected.frame.gpa().value);
  }
  if (auto text = compare_cause(open, expected, found); !text.empty()) return text;
  if (!open.tells.instructions) return "";
  if (found.late == std::uint64_t{0}) return "";
  return found.late
             ? fmt::format("{} instructions of user mode ran before it was found", *found.late)
             : "nobody knows when it was found";
}

std::string CampaignControl::compare(const Open& open) {
  std::vector<const Observation*> left;
  left.reserve(open.found.size());
  for (const Observation& one : open.found) left.push_back(&one);
  std::string wrong = open.wrong.empty() ? compare_words(open) : open.wrong;
  const auto name = [&](std::string_view what, MappingPage page, Gva gva) {
    return fmt::format("{} of {}", what, seal::name_page(identities_, page, gva));
  };
  const auto in_space = [&](const Observation& one) {
    if (one.what == "S5" && one.gva == Gva{}) return true;
    return loads_root(open.claim.edit) ? one.root.gpa().value == open.claim.frame
                                       : one.space == open.space;
  };
  for (const Expected& expected : open.expected) {
    const auto fits = [&](const Observation* one) {
      // Of two stores to one word, which is which is told by who made them.
      const bool word = expected.word == 0 || (one->cause && one->cause->gpa == expected.word);
      return one->what == expected.what && one->page == expected.page && one->gva == expected.gva &&
             word && in_space(*one);
    };
    // In the order in which they came.
    const auto found = std::find_if(left.begin(), left.end(), fits);
    if (found == left.end()) {
      if (wrong.empty())
        wrong = name(expected.what, expected.page, expected.gva) + " was not reported";
      continue;
    }
    const std::string text = compare_one(open, expected, **found);
    if (!text.empty() && wrong.empty()) {
      wrong = name(expected.what, expected.page, expected.gva) + ": " + text;
    }
    left.erase(found);
  }
  if (left.empty()) return wrong;
  false_alarms_ += left.size();
  const std::string alarm =
      name(left[0]->what, left[0]->page, left[0]->gva) + " was reported, and is not so";
  return wrong.empty() ? alarm : wrong + "; " + alarm;
}

std::string CampaignControl::close() {
  const Open open = *std::exchange(open_, std::nullopt);
  const std::string wrong = compare(open);
  const protocol::Tampering& claim = open.claim;
  Tally& row =
      rows_[{static_cast<std::uint32_t>(claim.edit), static_cast<std::uint32_t>(claim.shown),
             static_cast<std::uint32_t>(claim.writer)}];
  ++row.made;
  if (wrong.empty()) ++row.right;
  if (claim.other != 0) ++to_other_;
  const std::string way = text_of(claim.way);
  if (!way.empty() && wrong.empty()) {
    (claim.writer == Writer::User ? user_ways_ : kernel_ways_).insert(way);
  }
  const bool transient = claim.shown == Shown::ToNobody && !is_code(claim.edit);
  std::uint64_t& made = open.expected.empty() && !transient ? harmless_
                        : transient                         ? transient_
                                                            : visible_;
  ++made;
  if (wrong.empty() && !open.expected.empty()) ++(transient ? recorded_ : reported_);
  return wrong.empty() ? "" : name_of(claim) + ": " + wrong;
}

std::vector<std::string> CampaignControl::unfinished() const {
  if (!begun_) {
    if (order_) return {"no campaign began"};
    return {};
  }
  if (!ended_) return {"a campaign never ended"};
  if (next_ != begun_->count) {
    return {fmt::format("{} tamperings were made of {}", next_, begun_->count)};
  }
  return {};
}

report::Campaign CampaignControl::result() const {
  report::Campaign result;
  if (begun_) {
    result.seed = begun_->seed;
    result.asked = begun_->count;
    result.user_ways = begun_->user_ways;
    result.kernel_ways = begun_->kernel_ways;
  }
  result.made = next_;
  result.visible = visible_;
  result.reported = reported_;
  result.transient = transient_;
  result.recorded = recorded_;
  result.harmless = harmless_;
  result.to_other = to_other_;
  result.false_alarms = false_alarms_;
  result.user_ways_used = static_cast<std::uint32_t>(user_ways_.size());
  result.kernel_ways_used = static_cast<std::uint32_t>(kernel_ways_.size());
  for (const auto& [row, tally] : rows_) {
    const auto& [edit, shown, writer] = row;
    result.rows.push_back({std::string(protocol::name_of(static_cast<Edit>(edit))),
                           std::string(protocol::name_of(static_cast<Writer>(writer))),
                           shown == static_cast<std::uint32_t>(Shown::ToNobody), tally.made,
                           tally.right});
  }
  return result;
}

}  // namespace sealvisor::run
