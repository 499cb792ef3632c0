#include "vmm/run/code_watch.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "vmm/evidence/manifest.h"

namespace sealvisor::run {

void CodeWatch::on_stopped(const memory::Memory& memory, std::span<const arch::Frame> frames) {
  for (const arch::Frame frame : frames) {
    if (frames_.size() >= kMost || frames_.contains(frame)) continue;
    CodeFrame code;
    if (!memory.read(frame.gpa(), code.first)) continue;
    code.told = code.first;
    frames_.emplace(frame, code);
  }
}

void CodeWatch::on_write(const event::Event& event) {
  const auto found = frames_.find(arch::frame_of(arch::Gpa{event.gpa}));
  if (found == frames_.end()) return;
  const std::size_t at = arch::slot_index(arch::Gpa{event.gpa}) * sizeof event.new_value;
  std::memcpy(found->second.told.data() + at, &event.new_value, sizeof event.new_value);
}

void CodeWatch::on_end(const memory::Memory& memory) {
  for (auto& [frame, code] : frames_) {
    if (!memory.read(frame.gpa(), code.last.emplace())) code.last.reset();
  }
}

std::string CodeWatch::difference() const {
  for (const auto& [frame, code] : frames_) {
    if (!code.last) return fmt::format("{:#x} can't be read", frame.gpa().value);
    const auto [is, told] = std::mismatch(code.last->begin(), code.last->end(), code.told.begin());
    if (is == code.last->end()) continue;
    return fmt::format("memory holds {:#04x} at {:#x}, the events told {:#04x}",
                       std::to_integer<unsigned>(*is),
                       frame.gpa().value + static_cast<std::uint64_t>(is - code.last->begin()),
                       std::to_integer<unsigned>(*told));
  }
  return "";
}

std::map<std::string, PageBytes> snapshot_files(const CodeWatch& code) {
  std::map<std::string, PageBytes> files;
  for (const auto& [frame, bytes] : code.frames()) {
    const std::string name = fmt::format("{}/{:#x}", evidence::kCodeFolder, frame.gpa().value);
    files.emplace(name + ".first", bytes.first);
    if (bytes.last) files.emplace(name + ".last", *bytes.last);
  }
  return files;
}

}  // namespace sealvisor::run
