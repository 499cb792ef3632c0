#include "vmm/evidence/memory_view.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

namespace sealvisor::evidence {

using arch::Frame;
using arch::Gpa;

namespace {

constexpr std::uint64_t kWord = 8;

/// The words of one frame that hold the bytes from `gpa` on, at most `bytes` of them.
struct Piece {
  Gpa first;            ///< Of the first word.
  std::size_t words;    ///< How many.
  std::size_t skipped;  ///< Bytes of the first word in front of `gpa`.
  std::size_t bytes;    ///< Of those that were asked for.
};
Piece piece_at(Gpa gpa, std::size_t bytes) {
  const std::uint64_t room = arch::kPageSize - gpa.value % arch::kPageSize;
  Piece piece{};
  piece.skipped = gpa.value % kWord;
  piece.bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, room));
  piece.first = Gpa{gpa.value - piece.skipped};
  piece.words = (piece.skipped + piece.bytes + kWord - 1) / kWord;
  return piece;
}

/// Takes the bytes of [gpa, gpa + out.size()) out of whole words, one frame after another. False:
/// `get` did not give one.
template <typename Get>
bool read_pieces(Gpa gpa, std::span<std::byte> out, Get get) {
  arch::Table words;
  while (!out.empty()) {
    const Piece piece = piece_at(gpa, out.size());
    if (!get(piece.first, std::span(words).first(piece.words))) return false;
    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(words.data()) + piece.skipped,
                piece.bytes);
    out = out.subspan(piece.bytes);
    gpa.value += piece.bytes;
  }
  return true;
}

/// Whether [gpa, gpa + bytes) is RAM, all of it.
bool all_ram(const memory::Memory& ram, Gpa gpa, std::uint64_t bytes) {
  for (std::uint64_t at = 0; at < bytes; at += arch::kPageSize) {
    if (!ram.is_ram(arch::frame_of(Gpa{gpa.value + at}))) return false;
  }
  return bytes == 0 || ram.is_ram(arch::frame_of(Gpa{gpa.value + bytes - 1}));
}

}  // namespace

bool RecordingMemory::read(Gpa gpa, std::span<std::byte> out) const {
  if (trace_ == nullptr) return ram_.read(gpa, out);
  trace_->asked(gpa, out.size());
  // A replay refuses it as a whole too: no part of it may have come before that.
  if (!all_ram(ram_, gpa, out.size())) return false;
  return read_pieces(gpa, out, [this](Gpa first, std::span<std::uint64_t> words) {
    if (!ram_.read(first, std::as_writable_bytes(words))) return false;
    trace_->got(first, words);
    return true;
  });
}

bool RecordingMemory::read_entry(Gpa slot, std::uint64_t& value) const {
  if (trace_ == nullptr) return ram_.read_entry(slot, value);
  trace_->asked(slot, kWord);
  if (!ram_.read_entry(slot, value)) return false;
  trace_->got(slot, std::span(&value, 1));
  return true;
}

bool RecordingMemory::read_table(Frame frame, arch::Table& copy) const {
  if (trace_ == nullptr) return ram_.read_table(frame, copy);
  trace_->asked(frame.gpa(), arch::kPageSize);
  if (!ram_.read_table(frame, copy)) return false;
  trace_->got(frame.gpa(), copy);
  return true;
}

Reads RecordedMemory::take_reads() { return std::exchange(reads_, {}); }

const ShadowFrame* RecordedMemory::known(Gpa gpa) const {
  const ShadowFrame* const frame = shadow_.find(arch::frame_of(gpa));
  if (frame != nullptr && frame->known[arch::slot_index(gpa)]) return frame;
  if (!missing_) missing_ = gpa;
  return nullptr;
}

bool RecordedMemory::read(Gpa gpa, std::span<std::byte> out) const {
  reads_.ask(gpa, out.size());
  if (!bounds_.holds(gpa, out.size())) return false;
  return read_pieces(gpa, out, [this](Gpa first, std::span<std::uint64_t> words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      const Gpa at{first.value + i * kWord};
      const ShadowFrame* const frame = known(at);
      if (frame == nullptr) return false;
      words[i] = frame->words[arch::slot_index(at)];
    }
    reads_.get(first, words);
    return true;
  });
}

bool RecordedMemory::read_entry(Gpa slot, std::uint64_t& value) const {
  reads_.ask(slot, kWord);
  if (slot.value % kWord != 0 || !bounds_.holds(slot, kWord)) return false;
  const ShadowFrame* const frame = known(slot);
  if (frame == nullptr) return false;
  value = frame->words[arch::slot_index(slot)];
  reads_.get(slot, std::span(&value, 1));
  return true;
}

bool RecordedMemory::read_table(Frame frame, arch::Table& copy) const {
  reads_.ask(frame.gpa(), arch::kPageSize);
  if (!bounds_.holds(frame)) return false;
  const ShadowFrame* const held = shadow_.find(frame);
  if (held == nullptr || !held->known.all()) {
    if (!missing_) missing_ = frame.gpa();
    return false;
  }
  copy = held->words;
  reads_.get(frame.gpa(), copy);
  return true;
}

}  // namespace sealvisor::evidence
