#include "vmm/evidence/shadow.h"

namespace sealvisor::evidence {

using arch::Frame;
using arch::Gpa;
using event::Kind;

const ShadowFrame* Shadow::find(Frame frame) const {
  const auto found = frames_.find(frame);
  return found == frames_.end() ? nullptr : found->second.get();
}

std::uint64_t Shadow::word(Gpa gpa) const {
  const ShadowFrame* frame = find(arch::frame_of(gpa));
  return frame == nullptr ? 0 : frame->words[arch::slot_index(gpa)];
}

ShadowFrame* Shadow::at(Frame frame) {
  const auto found = frames_.find(frame);
  if (found != frames_.end()) return found->second.get();
  if (frames_.size() >= kMostFrames) return nullptr;
  return frames_.emplace(frame, std::make_unique<ShadowFrame>()).first->second.get();
}

bool Shadow::apply(const event::Event& event) {
  const Gpa gpa{event.gpa};
  switch (event.kind) {
    case Kind::TableAdded: {
      ShadowFrame* frame = at(arch::frame_of(gpa));
      if (frame == nullptr) return false;
      // Its entries that are not zero follow (EntryFound).
      frame->words.fill(0);
      frame->known.set();
      return true;
    }
    case Kind::TableRemoved:
      // Soon of something else. Where it is still linked elsewhere, it is only less well known.
      frames_.erase(arch::frame_of(gpa));
      return true;
    case Kind::EntryFound:
    case Kind::SlotWrite:
    case Kind::ContentWrite: {
      ShadowFrame* frame = at(arch::frame_of(gpa));
      if (frame == nullptr) return false;
      frame->words[arch::slot_index(gpa)] = event.new_value;
      frame->known.set(arch::slot_index(gpa));
      return true;
    }
    default:
      return true;
  }
}

}  // namespace sealvisor::evidence
