#include "guest/agent/tampering.h"

#include <algorithm>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {
namespace {

using protocol::Edit;
using protocol::TamperedWord;
using protocol::Writer;
using scenario::Choice;
using scenario::Random;

using WordSpan = std::span<const TamperedWord>;
using Block = std::array<std::uint8_t, 64>;

/// Where this process can read the byte at `gpa`. A system mapping it reads where that is: a window
/// would be a second place of it, and a violation.
const std::uint8_t* place_to_read(const Ground& ground, std::uint64_t gpa) {
  for (const TargetPage& page : ground.pages) {
    if (gpa - page.gpa < kPage) {
      return reinterpret_cast<const std::uint8_t*>(page.gva + (gpa - page.gpa));
    }
  }
  return ground.windows->at(gpa);
}

/// Memory as it will be when `applied` are stored: `size` bytes from `gpa` on, in one frame.
Block memory_at(const Ground& ground, std::uint64_t gpa, std::uint32_t size, WordSpan applied) {
  Block block{};
  const std::uint8_t* const place = place_to_read(ground, gpa);
  if (place == nullptr) return block;
  std::memcpy(block.data(), place, size);
  for (const TamperedWord& word : applied) {
    for (std::uint32_t i = 0; i < sizeof word.after; ++i) {
      const std::uint64_t offset = word.gpa + i - gpa;
      if (offset < size) block[offset] = static_cast<std::uint8_t>(word.after >> 8 * i);
    }
  }
  return block;
}

/// The bytes of a word that change; all of them if none does.
void changed_bytes(const TamperedWord& word, std::uint32_t& first, std::uint32_t& last) {
  const std::uint64_t differs = word.before ^ word.after;
  const auto offset = static_cast<std::uint32_t>(word.gpa % kPage);
  if (differs == 0) {
    first = offset;
    last = offset + 8;
    return;
  }
  first = offset + static_cast<std::uint32_t>(__builtin_ctzll(differs)) / 8;
  last = offset + 8 - static_cast<std::uint32_t>(__builtin_clzll(differs)) / 8;
}

/// How `way` stores `word` once `applied` are stored; nothing: it can't.
std::optional<PlannedStore> store_by(const Ground& ground, const StoreWay& way,
                                     const TamperedWord& word, WordSpan applied) {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  changed_bytes(word, first, last);
  const auto place = place_of(way.shape, first, last, kPage);
  if (!place) return std::nullopt;
  PlannedStore store;
  store.way = &way;
  store.gpa = word.gpa / kPage * kPage + *place;
  const Block before = memory_at(ground, store.gpa, way.shape.width, applied);
  store.bytes = before;
  for (std::uint32_t i = 0; i < sizeof word.after; ++i) {
    const std::uint64_t offset = word.gpa + i - store.gpa;
    if (offset < way.shape.width)
      store.bytes[offset] = static_cast<std::uint8_t>(word.after >> 8 * i);
  }
  if (!can_make(way.shape, Bytes(before), Bytes(store.bytes))) return std::nullopt;
  return store;
}

bool usable(const StoreWay& way, const Ground& ground, Writer writer, bool code) {
  return way.there() && !(way.user_only && writer == Writer::Kernel) &&
         !(ground.emulated && code && !way.to_code);
}

/// The stores of `words`, one after the other, each by the same instruction: from `start` on the
/// first that can. `applied`: what is stored before. An empty result: there is none.
PlannedStores find_stores(const Ground& ground, Writer writer, std::uint64_t start, WordSpan words,
                          WordSpan applied, bool code = false, bool failing = false) {
  PlannedStores found;
  if (writer == Writer::DevMem) {
    for (const TamperedWord& word : words) {
      PlannedStore store;
      store.gpa = word.gpa;
      std::memcpy(store.bytes.data(), &word.after, sizeof word.after);
      found.add(store);
    }
    return found;
  }
  // Those that change nothing are few and stand together: from any other the first of them would be
  // the next.
  std::array<const StoreWay*, 256> ways{};
  std::size_t count = 0;
  for (const StoreWay& way : store_ways()) {
    if (!failing || way.shape.needs == Needs::NoChange) ways.at(count++) = &way;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const StoreWay& way = *ways[(start + i) % count];
    if (!usable(way, ground, writer, code) || way.straddles) continue;
    if ((way.shape.needs == Needs::NoChange) != failing) continue;
    std::array<TamperedWord, 4> done{};
    std::size_t done_count = 0;
    for (const TamperedWord& word : applied) done[done_count++] = word;
    found = {};
    for (const TamperedWord& word : words) {
      const auto store = store_by(ground, way, word, WordSpan(done.data(), done_count));
      if (!store) break;
      found.add(*store);
      done[done_count++] = word;
    }
    if (found.count == words.size()) return found;
  }
  return {};
}

/// The address of the instruction that `stores` are made by, for `writer`.
std::uint64_t pc_of(const Ground& ground, Writer writer, const PlannedStores& stores) {
  const StoreWay* const way = stores.stores[0].way;
  if (way == nullptr) return 0;
  const auto pc = reinterpret_cast<std::uintptr_t>(way->store);
  if (writer == Writer::User) return pc;
  const auto run = reinterpret_cast<std::uintptr_t>(way->run);
  return ground.places.code + store_step(*way, 0, stores.stores[0].bytes.data()).way + (pc - run);
}

/// Words in the reverse order, and the other way round.
std::array<TamperedWord, 2> undone(WordSpan words) {
  std::array<TamperedWord, 2> back{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const TamperedWord& word = words[words.size() - 1 - i];
    back[i] = {word.gpa, word.after, word.before};
  }
  return back;
}

/// A free slot of the table at `slot`, from a place of `random` on; 0: there is none.
std::uint64_t free_slot(Windows& windows, std::uint64_t slot, Random& random, std::size_t first,
                        std::size_t count) {
  const std::uint64_t table = slot / kPage * kPage;
  const std::uint32_t start = random.below(static_cast<std::uint32_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = first + (start + i) % count;
    const std::uint64_t gpa = table + index * sizeof(std::uint64_t);
    if (windows.word(gpa) == 0) return gpa;
  }
  return 0;
}

std::size_t slot_number(std::uint64_t gpa) { return gpa % kPage / sizeof(std::uint64_t); }

/// The address that slot `gpa` of the table of `level` translates, where `gva` is one of its table.
std::uint64_t address_at(std::uint64_t gva, std::uint64_t gpa, unsigned level) {
  const std::uint64_t table_reach = entry::reach_of(level + 1);
  return gva / table_reach * table_reach + slot_number(gpa) * entry::reach_of(level);
}

/// A leaf for a page, open to user mode, with permissions that `random` picks.
std::uint64_t random_leaf(std::uint64_t page_entry, Random& random) {
  std::uint64_t leaf = page_entry;
  if (random.chance(50)) leaf = entry::with_write(leaf);
  return random.chance(50) ? entry::with_execute(leaf) : entry::without_execute(leaf);
}

class Planner {
 public:
  Planner(const Ground& ground, const Choice& choice)
      : ground_(ground),
        choice_(choice),
        page_(ground.pages[choice.page]),
        root_(choice.other ? ground.other_root : ground.places.root),
        path_(ground.windows->path(root_, page_.gva)),
        random_(choice.place) {
    claim().edit = choice.edit;
    claim().writer = choice.writer;
    claim().shown = choice.shown;
    claim().other = choice.other ? 1 : 0;
    claim().level = choice.level;
    claim().left_to_kernel = choice.left_to_kernel ? 1 : 0;
    claim().gva = page_.gva;
  }

  std::optional<PlannedTampering> plan() {
    if (path_[1].gpa == 0 || !leads_to(path_[1].value, page_.gpa)) {
      say("the entry of 0x%llx is not where it should be",
          static_cast<unsigned long long>(page_.gva));
      return std::nullopt;
    }
    switch (choice_.edit) {
      case Edit::Code:
        if (!plan_code()) return std::nullopt;
        break;
      case Edit::CodeByAlias:
        if (!plan_code_by_alias()) return std::nullopt;
        break;
      default:
        if (!plan_entries()) return std::nullopt;
    }
    return planned_;
  }

 private:
  protocol::Tampering& claim() { return planned_.claim; }
  [[nodiscard]] std::uint64_t leaf() const { return path_[1].value; }
  [[nodiscard]] const Step& upper() const { return path_[choice_.level]; }
  [[nodiscard]] std::uint64_t foreign() const { return ground_.arena.gpas[Arena::kForeign]; }

  void word(std::uint64_t gpa, std::uint64_t before, std::uint64_t after) {
    claim().words[words_++] = {gpa, before, after};
  }
  void leaf_becomes(std::uint64_t value) { word(path_[1].gpa, leaf(), value); }
  void upper_becomes(std::uint64_t value) { word(upper().gpa, upper().value, value); }
  [[nodiscard]] WordSpan words() { return {claim().words, words_}; }

  /// A copy of the table of `level` on the way, in the arena.
  std::uint64_t* copy_of(unsigned level) const {
    std::uint64_t* const copy = ground_.arena.page(level);
    const std::uint64_t table = path_[level].gpa / kPage * kPage;
    const std::uint8_t* const from = ground_.windows->at(table);
    if (from != nullptr) std::memcpy(copy, from, kPage);
    return copy;
  }

  /// Copies of all tables on the way below `level`, linked, the last with `value` in the page's
  /// place.
  void copy_below(unsigned level, std::uint64_t value) const {
    for (unsigned below = 1; below < level; ++below) {
      std::uint64_t* const copy = copy_of(below);
      std::uint64_t& slot = copy[slot_number(path_[below].gpa)];
      slot = below == 1 ? value : entry::showing(slot, ground_.arena.gpas[below - 1]);
    }
  }

  void replace_tables(std::uint64_t value) {
    copy_below(choice_.level, value);
    upper_becomes(entry::showing(upper().value, ground_.arena.gpas[choice_.level - 1]));
  }

  void replace_root(std::uint64_t value) {
    constexpr unsigned kTop = entry::kRootLevel;
    std::uint64_t* const copy = copy_of(kTop);
    if (value != leaf()) {
      copy_below(kTop, value);
      std::uint64_t& slot = copy[slot_number(path_[kTop].gpa)];
      slot = entry::showing(slot, ground_.arena.gpas[kTop - 1]);
    }
    planned_.new_root = ground_.arena.gpas[Arena::kRoot];
    claim().frame = planned_.new_root;
  }

  /// A free slot of the page's own table. Pages of system mappings that are not populated are not
  /// free: they have a place.
  std::uint64_t free_leaf_slot() {
    for (unsigned attempt = 0; attempt < 64; ++attempt) {
      const std::uint64_t slot =
          free_slot(*ground_.windows, path_[1].gpa, random_, 0, Words::extent);
      const std::uint64_t gva = address_at(page_.gva, slot, 1);
      const bool taken =
          std::any_of(ground_.mappings->begin(), ground_.mappings->end(),
                      [&](const SystemMapping& one) { return gva >= one.start && gva < one.end; });
      if (slot == 0 || !taken) return slot;
    }
    return 0;
  }

  bool alias_page() {
    const std::uint64_t slot = free_leaf_slot();
    if (slot == 0) return false;
    claim().gva2 = address_at(page_.gva, slot, 1);
    word(slot, 0, random_leaf(leaf(), random_));
    return true;
  }

  bool alias_large() {
    const std::uint64_t slot = free_slot(*ground_.windows, path_[2].gpa, random_, 0, Words::extent);
    if (slot == 0) return false;
    const std::uint64_t base = page_.gpa / kTableReach * kTableReach;
    claim().frame = base;
    claim().gva2 = address_at(page_.gva, slot, 2) + page_.gpa % kTableReach;
    word(slot, 0, entry::large_leaf(random_leaf(leaf(), random_), base));
    return true;
  }

  bool alias_upper_half() {
#if defined(__aarch64__)
    constexpr std::size_t kFirst = 0;
    constexpr std::uint64_t kBase = 0xffff'0000'0000'0000;  // 48 bits (D8.2)
#else
    constexpr std::size_t kFirst = 256;
    constexpr std::uint64_t kBase = 0xffff'0000'0000'0000;  // sign-extended from bit 47
#endif
    const std::uint64_t slot = free_slot(*ground_.windows, ground_.places.upper_root, random_,
                                         kFirst, Words::extent - kFirst);
    if (slot == 0) return false;
    std::uint64_t gva = kBase + slot_number(slot) * entry::reach_of(entry::kRootLevel);
    std::uint64_t value = random_leaf(leaf(), random_);
    for (unsigned level = 1; level < entry::kRootLevel; ++level) {
      std::uint64_t* const table = ground_.arena.page(Arena::kAlias + level);
      std::memset(table, 0, kPage);
      const std::uint32_t index = random_.below(Words::extent);
      table[index] = value;
      gva += index * entry::reach_of(level);
      value = entry::table_at(ground_.arena.gpas[Arena::kAlias + level]);
    }
    claim().gva2 = gva;
    word(slot, 0, value);
    return true;
  }

  bool move_page() {
    if (!alias_page()) return false;
    claim().words[0].after = leaf();
    leaf_becomes(0);
    return true;
  }

  bool swap_frames() {
    const TargetPage& other = ground_.pages[choice_.page2];
    const Path way = ground_.windows->path(root_, other.gva);
    if (!leads_to(way[1].value, other.gpa)) return false;
    claim().gva2 = other.gva;
    leaf_becomes(entry::showing(leaf(), other.gpa));
    word(way[1].gpa, way[1].value, entry::showing(way[1].value, page_.gpa));
    return true;
  }

  void collapse() {
    const std::uint64_t size = entry::reach_of(choice_.level);
    const std::uint64_t first = ground_.ram_start / size;
    const std::uint64_t last = std::max(first + 1, ground_.ram_end / size);
    const std::uint64_t base =
        (first + random_.below(static_cast<std::uint32_t>(last - first))) * size;
    claim().frame = base;
    upper_becomes(entry::large_leaf(leaf(), base));
  }

  /// Of everything but code: the words, and what is linked by them.
  bool lay_out() {
    switch (choice_.edit) {
      case Edit::WriteBit:
        leaf_becomes(entry::with_write(leaf()));
        return true;
      case Edit::ExecuteBit:
        leaf_becomes(entry::execute_turned(leaf()));
        return true;
      case Edit::UserBit:
        leaf_becomes(entry::without_user(leaf()));
        return true;
      case Edit::ProtectionKey:
#if defined(__x86_64__)
        leaf_becomes(entry::with_key(leaf(), 1 + random_.below(15)));
#endif
        return words_ != 0;
      case Edit::ForeignFrame:
        claim().frame = foreign();
        leaf_becomes(entry::showing(leaf(), foreign()));
        return true;
      case Edit::SwapFrames:
        return swap_frames();
      case Edit::UnmapPage:
        leaf_becomes(0);
        return true;
      case Edit::NonPresent:
        leaf_becomes(entry::not_present(leaf()));
        return true;
      case Edit::MovePage:
        return move_page();
      case Edit::AliasPage:
        return alias_page();
      case Edit::AliasUpperHalf:
        return alias_upper_half();
      case Edit::AliasLarge:
        return alias_large();
      case Edit::ReservedBit:
        upper_becomes(entry::reserved(upper().value));
        return true;
      case Edit::CopyTable:
        replace_tables(leaf());
        return true;
      case Edit::CopyTableWritable:
        replace_tables(entry::with_write(leaf()));
        return true;
      case Edit::CopyTableForeign:
        claim().frame = foreign();
        replace_tables(entry::showing(leaf(), foreign()));
        return true;
      case Edit::CopyTableUnmapped:
        replace_tables(0);
        return true;
      case Edit::UpperUser:
        upper_becomes(entry::table_without_user(upper().value));
        return true;
      case Edit::UpperExecute:
        upper_becomes(entry::table_without_execute(upper().value));
        return true;
      case Edit::UpperUnmap:
        upper_becomes(0);
        return true;
      case Edit::UpperNonPresent:
        upper_becomes(entry::not_present(upper().value));
        return true;
      case Edit::UpperOutside:
        // Within what the CPU's addresses reach, and far from any RAM of a guest of ours.
        upper_becomes(entry::showing(upper().value, std::uint64_t{1} << 39));
        return true;
      case Edit::Collapse:
        collapse();
        return true;
      case Edit::ReplaceRoot:
        replace_root(leaf());
        return true;
      case Edit::ReplaceRootWritable:
        replace_root(entry::with_write(leaf()));
        return true;
      case Edit::ReplaceRootForeign:
        claim().frame2 = foreign();
        replace_root(entry::showing(leaf(), foreign()));
        return true;
      case Edit::ReplaceRootUnmapped:
        replace_root(0);
        return true;
      case Edit::SoftwareBit:
        leaf_becomes(leaf() ^ entry::kSoftware);
        return true;
      case Edit::SameValue:
      case Edit::FailedCompare:
        leaf_becomes(leaf());
        return true;
      case Edit::Code:
      case Edit::CodeByAlias:
        break;
    }
    return false;
  }

  bool plan_entries() {
    if (!lay_out()) {
      say("%.*s can't be laid out", static_cast<int>(name_of(choice_.edit).size()),
          name_of(choice_.edit).data());
      return false;
    }
    planned_.flush_after = choice_.left_to_kernel;
    if (words_ == 0) return true;
    const bool failing = choice_.edit == Edit::FailedCompare;
    planned_.change =
        find_stores(ground_, choice_.writer, choice_.way, words(), {}, false, failing);
    if (planned_.change.count == 0 && failing) {
      claim().edit = Edit::SameValue;
      planned_.change = find_stores(ground_, choice_.writer, choice_.way, words(), {});
    } else if (failing) {
      // What it would store, were it to succeed.
      for (PlannedStore& store : planned_.change.stores) {
        const std::uint64_t tampered = entry::with_write(leaf());
        std::memcpy(store.bytes.data(), &tampered, sizeof tampered);
      }
    }
    const bool changes = claim().words[0].before != claim().words[0].after;
    if (changes && !choice_.left_to_kernel) {
      const auto back = undone(words());
      planned_.restore =
          find_stores(ground_, choice_.writer, choice_.way2, {back.data(), words_}, words());
    }
    return finish(changes && !choice_.left_to_kernel);
  }

  /// Names and addresses of the instructions. False: there was none.
  bool finish(bool restores) {
    if (planned_.change.count == 0 || (restores && planned_.restore.count == 0)) {
      say("no instruction can do %.*s", static_cast<int>(name_of(choice_.edit).size()),
          name_of(choice_.edit).data());
      return false;
    }
    claim().store_pc = pc_of(ground_, choice_.writer, planned_.change);
    if (restores) claim().restore_pc = pc_of(ground_, choice_.writer, planned_.restore);
    if (const StoreWay* const way = planned_.change.stores[0].way) {
      std::strncpy(claim().way, way->name, sizeof claim().way - 1);
    }
    return true;
  }

  /// A change of code that suits an instruction: from `way` on the first of which one is found.
  bool craft_code() {
    const std::span<const StoreWay> ways = store_ways();
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const StoreWay& way = ways[(choice_.way + i) % ways.size()];
      const bool by_user = choice_.writer == Writer::User;
      if (!usable(way, ground_, choice_.writer, true) || way.shape.needs == Needs::NoChange ||
          way.shape.needs == Needs::Zeroes || (way.straddles && (by_user || !page_.code_goes_on))) {
        continue;
      }
      for (unsigned attempt = 0; attempt < 16; ++attempt) {
        if (craft_code_by(way)) return true;
      }
    }
    return false;
  }

  bool craft_code_by(const StoreWay& way) {
    const Shape& shape = way.shape;
    const std::uint32_t last =
        way.straddles
            ? 0
            : (static_cast<std::uint32_t>(kPage) - shape.width - shape.phase) / shape.align;
    const std::uint32_t at =
        way.straddles ? shape.phase : shape.phase + shape.align * random_.below(last + 1);
    Block before{};
    std::memcpy(before.data(), reinterpret_cast<const void*>(page_.gva + at), shape.width);
    PlannedStore store{&way, page_.gpa + at, before};
    change_bytes(shape, way.straddles ? static_cast<std::uint32_t>(kPage) - at : 0, store.bytes);
    if (store.bytes == before || !can_make(shape, Bytes(before), Bytes(store.bytes))) return false;
    // The words that change, two at most.
    std::size_t found = 0;
    const std::uint64_t first = store.gpa / 8 * 8;
    for (std::uint64_t gpa = first; gpa < store.gpa + shape.width; gpa += 8) {
      std::uint64_t was = 0;
      std::memcpy(&was, reinterpret_cast<const void*>(page_.gva + (gpa - page_.gpa)), sizeof was);
      std::uint64_t is = was;
      for (std::uint32_t i = 0; i < 8; ++i) {
        const std::uint64_t offset = gpa + i - store.gpa;
        if (offset >= shape.width) continue;
        is = (is & ~(std::uint64_t{0xff} << 8 * i)) | std::uint64_t{store.bytes[offset]} << 8 * i;
      }
      if (was == is) continue;
      if (found == 2) return false;
      claim().words[found++] = {gpa, was, is};
    }
    words_ = found;
    planned_.change = {};
    planned_.change.add(store);
    return true;
  }

  /// Other bytes, of a kind that the instruction can make. `split`: one on each side of it.
  void change_bytes(const Shape& shape, std::uint32_t split, Block& bytes) {
    const auto turn = [&](std::uint32_t i) {
      const auto mask = static_cast<std::uint8_t>(1 + random_.below(255));
      switch (shape.needs) {
        case Needs::Flag:
          bytes[i] = bytes[i] == 0 ? 1 : 0;
          break;
        case Needs::Sets:
          bytes[i] |= mask;
          break;
        case Needs::Clears:
          bytes[i] &= static_cast<std::uint8_t>(~mask);
          break;
        case Needs::OneBit:
        case Needs::OneBitSet:
        case Needs::OneBitCleared:
          bytes[i] = static_cast<std::uint8_t>(bytes[i] ^ 1U << random_.below(8));
          break;
        default:
          bytes[i] ^= mask;
      }
    };
    if (split != 0) {
      turn(random_.below(split));
      turn(split + random_.below(shape.width - split));
      return;
    }
    turn(random_.below(shape.width));
  }

  bool plan_code() {
    if (!craft_code()) {
      say("no instruction can change the code");
      return false;
    }
    const auto back = undone(words());
    planned_.restore =
        find_stores(ground_, choice_.writer, choice_.way2, {back.data(), words_}, words(), true);
    return finish(true);
  }

  bool plan_code_by_alias() {
    const std::uint64_t slot = free_leaf_slot();
    if (slot == 0 || !plan_code()) return false;
    claim().gva2 = address_at(page_.gva, slot, 1);
    claim().alias_word = slot;
    const TamperedWord there{slot, 0, entry::with_write(leaf())};
    const TamperedWord gone{slot, there.after, 0};
    planned_.alias = find_stores(ground_, Writer::User, choice_.place, {&there, 1}, {});
    planned_.unalias = find_stores(ground_, Writer::User, choice_.place, {&gone, 1}, {&there, 1});
    planned_.flush_after = true;
    claim().alias_pc = pc_of(ground_, Writer::User, planned_.alias);
    return planned_.alias.count != 0 && planned_.unalias.count != 0;
  }

  const Ground& ground_;
  const Choice& choice_;
  const TargetPage& page_;
  std::uint64_t root_;
  Path path_;
  Random random_;
  PlannedTampering planned_;
  std::size_t words_ = 0;
};

}  // namespace

std::optional<PlannedTampering> plan_tampering(const Ground& ground, const Choice& choice) {
  return Planner(ground, choice).plan();
}

}  // namespace sealvisor::agent
