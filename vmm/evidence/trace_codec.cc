#include "vmm/evidence/trace_codec.h"

#include <bit>
#include <utility>

#include <fmt/format.h>

#include "vmm/base/mixed.h"

namespace sealvisor::evidence {

using arch::Gpa;
using event::Event;
using event::Kind;

namespace {

constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ULL;

/// Kind to flags: the eight bytes that nearly all events share with others.
std::uint64_t shape_of(const Event& event) {
  const std::uint8_t bytes[] = {static_cast<std::uint8_t>(event.kind),
                                event.level,
                                event.size,
                                event.offset,
                                event.part,
                                event.parts,
                                event.vcpu,
                                event.flags};
  std::uint64_t shape = 0;
  for (unsigned i = 0; i < 8; ++i) shape |= std::uint64_t{bytes[i]} << 8 * i;
  return shape;
}

void set_shape(std::uint64_t shape, Event& event) {
  const auto byte = [shape](unsigned i) { return static_cast<std::uint8_t>(shape >> 8 * i); };
  event.kind = static_cast<Kind>(byte(0));
  event.level = byte(1);
  event.size = byte(2);
  event.offset = byte(3);
  event.part = byte(4);
  event.parts = byte(5);
  event.vcpu = byte(6);
  event.flags = byte(7);
}

void put_listed(NumberList& list, std::uint64_t value, WireWriter& to) {
  const std::size_t size = list.size();
  const std::uint64_t place = list.place(value);
  to.number(place);
  if (place == size) to.word(value);
}

/// False: no such place.
bool get_listed(NumberList& list, WireReader& from, std::uint64_t& value) {
  const std::uint64_t place = from.number();
  if (const auto known = list.at(place)) {
    value = *known;
    return true;
  }
  if (place != list.size()) return false;
  value = from.word();
  list.add(value);
  return true;
}

/// Whether what only an engine can say is one that an engine says: the session relies on it.
bool is_sound(const Event& event) {
  const bool entry = event.kind == Kind::SlotWrite || event.kind == Kind::EntryFound;
  if (event.level > arch::kMaxLevels || (entry && event.level == 0)) return false;
  if (event.vcpu >= event::kMostVcpus) return false;
  // Copies of stacks are of `lifetime`, which keeps no evidence: a trace would have each without
  // its bytes.
  if (event.kind == Kind::StackCopy) return false;
  if (event.kind != Kind::Limit) return true;
  return event.aux >= static_cast<std::uint64_t>(event::Limit::TableFrames) &&
         event.aux <= static_cast<std::uint64_t>(event::Limit::OtherPaging);
}

/// Whether the old value is event::user_instructions().
bool in_old_value(Kind kind) { return kind == Kind::UserEntry || kind == Kind::Doorbell; }

/// Whether event::user_instructions() says anything of such an event.
bool tells_user(Kind kind) {
  return in_old_value(kind) || kind == Kind::RootLoad || kind == Kind::SlotWrite ||
         kind == Kind::ContentWrite;
}

Error bad(std::string text) { return Error{ExitCode::Failed, std::move(text)}; }

Error too_many_frames() {
  return bad(fmt::format("more than {} frames of memory", Shadow::kMostFrames));
}

}  // namespace

void Reads::ask(Gpa gpa, std::uint64_t bytes) {
  ++count;
  sum += mixed(gpa.value * kOdd + bytes);
}

void Reads::get(Gpa gpa, std::span<const std::uint64_t> words) {
  std::uint64_t mark = gpa.value;
  for (const std::uint64_t word : words) mark = (std::rotl(mark, 5) ^ word) * kOdd;
  sum += mixed(mark);
}

std::optional<std::uint64_t> NumberList::at(std::uint64_t place) const {
  if (place >= values_.size()) return std::nullopt;
  return values_[static_cast<std::size_t>(place)];
}

void NumberList::add(std::uint64_t value) {
  if (values_.size() < kMostListed) values_.push_back(value);
}

std::uint64_t NumberList::place(std::uint64_t value) {
  const auto found = places_.find(value);
  if (found != places_.end()) return found->second;
  const std::uint64_t place = values_.size();
  add(value);
  if (values_.size() != place) places_.emplace(value, place);
  return place;
}

std::uint64_t TraceState::expected_old(const Event& event) const {
  if (in_old_value(event.kind)) return user;
  const bool memory = event.kind == Kind::SlotWrite || event.kind == Kind::ContentWrite;
  return memory ? shadow.word(Gpa{event.gpa})
                : last[static_cast<std::uint8_t>(event.kind)].old_value;
}

std::uint64_t TraceState::expected_aux(Kind kind) const {
  return tells_user(kind) && !in_old_value(kind) ? user : last[static_cast<std::uint8_t>(kind)].aux;
}

bool TraceState::take(const Event& event) {
  last[static_cast<std::uint8_t>(event.kind)] = {event.gpa, event.old_value, event.new_value,
                                                 event.aux};
  icount = event.icount;
  if (tells_user(event.kind)) user = event::user_instructions(event);
  return shadow.apply(event);
}

bool TraceEncoder::event(const Event& event, std::vector<std::byte>& to) {
  WireWriter out(to);
  const std::uint64_t shape = shape_of(event);
  const std::size_t shapes = state_.shapes.size();
  // A list of shapes that is full takes no more: they are then written out each time.
  if (const std::uint64_t place = state_.shapes.place(shape); place < shapes) {
    out.number(kFirstShape + place);
  } else {
    out.number(static_cast<std::uint64_t>(RecordKind::NewShape));
    out.word(shape);
  }
  const TraceState::Last& last = state_.last[static_cast<std::uint8_t>(event.kind)];
  out.number(folded(event.icount - state_.icount));
  put_listed(state_.pcs, event.pc, out);
  put_listed(state_.roots, event.root, out);
  out.number(folded(event.gpa - last.gpa));
  out.number(event.old_value ^ state_.expected_old(event));
  out.number(event.new_value);
  out.number(folded(event.aux - state_.expected_aux(event.kind)));
  return state_.take(event);
}

void TraceEncoder::stopped(std::vector<std::byte>& to) {
  WireWriter(to).number(static_cast<std::uint64_t>(RecordKind::Stopped));
}

void TraceEncoder::reads(const Reads& reads, std::vector<std::byte>& to) {
  WireWriter out(to);
  out.number(static_cast<std::uint64_t>(RecordKind::Reads));
  out.number(reads.count);
  out.word(reads.sum);
}

bool TraceEncoder::words(Gpa gpa, std::span<const std::uint64_t> words,
                         std::vector<std::byte>& to) {
  ShadowFrame* const frame = state_.shadow.at(arch::frame_of(gpa));
  if (frame == nullptr) return false;
  const std::size_t first = arch::slot_index(gpa);
  const auto same = [&](std::size_t i) {
    return frame->known[first + i] && frame->words[first + i] == words[i];
  };
  WireWriter out(to);
  for (std::size_t i = 0; i < words.size();) {
    if (same(i)) {
      ++i;
      continue;
    }
    // A run of words that are all new, or all known and different.
    const bool known = frame->known[first + i];
    std::size_t end = i + 1;
    while (end < words.size() && frame->known[first + end] == known && !same(end)) ++end;
    out.number(static_cast<std::uint64_t>(known ? RecordKind::Changed : RecordKind::Read));
    const std::uint64_t at = gpa.value + 8 * i;
    out.number(folded((at >> 3) - (state_.read_gpa >> 3)));
    out.number(end - i);
    for (; i < end; ++i) {
      if (known) {
        out.number(words[i] ^ frame->words[first + i]);
      } else {
        out.word(words[i]);
      }
      frame->words[first + i] = words[i];
      frame->known.set(first + i);
    }
    state_.read_gpa = at;
  }
  return true;
}

void TraceEncoder::ended(const std::string& json, std::vector<std::byte>& to) {
  WireWriter out(to);
  out.number(static_cast<std::uint64_t>(RecordKind::Ended));
  out.text(json);
}

Result<Record> TraceDecoder::event(std::uint64_t shape, WireReader& from) {
  Record record;
  Event& event = record.event;
  set_shape(shape, event);
  const TraceState::Last& last = state_.last[static_cast<std::uint8_t>(event.kind)];
  event.icount = state_.icount + unfolded(from.number());
  if (!get_listed(state_.pcs, from, event.pc)) return bad("no such place in the list of pcs");
  if (!get_listed(state_.roots, from, event.root)) return bad("no such place in the list of roots");
  event.gpa = last.gpa + unfolded(from.number());
  event.old_value = from.number() ^ state_.expected_old(event);
  event.new_value = from.number();
  event.aux = state_.expected_aux(event.kind) + unfolded(from.number());
  if (!from.good()) return bad("cut off within an event");
  if (!is_sound(event)) {
    return bad(fmt::format("an event of kind {}, level {} and number {:#x}, which no engine has",
                           static_cast<unsigned>(event.kind), event.level, event.aux));
  }
  if (!state_.take(event)) return too_many_frames();
  return record;
}

Result<Record> TraceDecoder::memory(RecordKind kind, WireReader& from) {
  const std::uint64_t word = (state_.read_gpa >> 3) + unfolded(from.number());
  const std::uint64_t count = from.number();
  if (!from.good()) return bad("cut off within what was read of memory");
  const Gpa gpa{word << 3};
  const std::size_t first = arch::slot_index(gpa);
  if (word >> 61 != 0 || count == 0 || count > arch::kTableEntries - first) {
    return bad(fmt::format("{} words of memory at {:#x}, expected 1 to {}", count, gpa.value,
                           arch::kTableEntries - first));
  }
  ShadowFrame* const frame = state_.shadow.at(arch::frame_of(gpa));
  if (frame == nullptr) return too_many_frames();
  for (std::size_t i = first; i < first + count; ++i) {
    frame->words[i] = kind == RecordKind::Changed ? frame->words[i] ^ from.number() : from.word();
    frame->known.set(i);
  }
  state_.read_gpa = gpa.value;
  if (!from.good()) return bad("cut off within what was read of memory");
  Record record;
  record.kind = Record::Kind::Memory;
  record.gpa = gpa;
  record.words = static_cast<std::size_t>(count);
  return record;
}

Result<Record> TraceDecoder::next(WireReader& from) {
  const std::uint64_t number = from.number();
  if (number >= kFirstShape) {
    const auto shape = state_.shapes.at(number - kFirstShape);
    if (!shape) return bad(fmt::format("no shape {} of events", number - kFirstShape));
    return event(*shape, from);
  }
  Record record;
  const auto kind = static_cast<RecordKind>(number);
  switch (kind) {
    case RecordKind::NewShape: {
      const std::uint64_t shape = from.word();
      state_.shapes.add(shape);
      return event(shape, from);
    }
    case RecordKind::Stopped:
      record.kind = Record::Kind::Stopped;
      break;
    case RecordKind::Reads:
      record.kind = Record::Kind::Reads;
      record.reads.count = from.number();
      record.reads.sum = from.word();
      break;
    case RecordKind::Changed:
    case RecordKind::Read:
      return memory(kind, from);
    case RecordKind::Ended:
      record.kind = Record::Kind::Ended;
      record.ended = std::string(from.text(kMostEnded));
      break;
    default:
      return bad(fmt::format("a record of kind {}, which there is not", number));
  }
  if (!from.good()) return bad("cut off within a record");
  return record;
}

}  // namespace sealvisor::evidence
