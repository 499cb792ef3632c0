#include "vmm/model/identity.h"

#include <algorithm>

namespace sealvisor::model {

std::size_t Identities::add(SystemMapping mapping) {
  // One for each process that has one: what ended makes room for the next of that name.
  const auto ended =
      std::find_if(mappings_.begin(), mappings_.end(),
                   [&](const SystemMapping& old) { return old.ended && old.name == mapping.name; });
  const auto index = static_cast<std::size_t>(ended - mappings_.begin());
  mapping.turn = ++turns_;
  if (mapping.owner != 0) mapping.code = false;  // What it holds changes by design.
  for (std::uint32_t page = 0; page < mapping.frames.size(); ++page) {
    auto& frame = mapping.frames[page];
    if (frame && !by_frame_.emplace(*frame, MappingPage{index, page}).second) frame.reset();
  }
  if (ended == mappings_.end()) {
    mappings_.push_back(std::move(mapping));
  } else {
    *ended = std::move(mapping);
  }
  return index;
}

bool Identities::learn(MappingPage page, arch::Frame frame) {
  if (!by_frame_.emplace(frame, page).second) return false;
  mappings_[page.mapping].frames[page.page] = frame;
  return true;
}

std::optional<MappingPage> Identities::find(arch::Frame frame) const {
  const auto found = by_frame_.find(frame);
  if (found == by_frame_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::size_t> Identities::named(const std::string& name) const {
  std::optional<std::size_t> newest;
  for (std::size_t i = 0; i < mappings_.size(); ++i) {
    const SystemMapping& mapping = mappings_[i];
    if (mapping.name != name || mapping.ended) continue;
    if (!newest || mapping.turn > mappings_[*newest].turn) newest = i;
  }
  if (newest) return newest;
  const auto other = other_names_.find(name);
  if (other == other_names_.end()) return std::nullopt;
  return other->second;
}

void Identities::also_called(const std::string& name, std::size_t index) {
  other_names_.emplace(name, index);
}

void Identities::end_of(std::uint64_t owner) {
  if (owner == 0) return;
  for (std::size_t i = 0; i < mappings_.size(); ++i) {
    SystemMapping& mapping = mappings_[i];
    if (mapping.owner != owner) continue;
    mapping.ended = true;
    std::erase_if(by_frame_, [i](const auto& item) { return item.second.mapping == i; });
  }
}

bool Identities::intersects(arch::Gpa gpa, std::uint64_t size) const {
  if (size <= arch::kPageSize) return by_frame_.contains(arch::frame_of(gpa));
  return std::any_of(by_frame_.begin(), by_frame_.end(),
                     [&](const auto& item) { return item.first.gpa().value - gpa.value < size; });
}

std::vector<arch::Frame> Identities::code_frames() const {
  std::vector<arch::Frame> frames;
  for (const SystemMapping& mapping : mappings_) {
    if (!mapping.code) continue;
    for (const auto& frame : mapping.frames) {
      if (frame) frames.push_back(*frame);
    }
  }
  return frames;
}

}  // namespace sealvisor::model
