#include "vmm/evidence/trace_reader.h"

#include <utility>

#include <fmt/format.h>

namespace sealvisor::evidence {

using arch::Gpa;
using event::Kind;

namespace {

/// Whether a record that begins with this byte is of memory. No record is decoded to find out: the
/// next event would change shadow() while the session still has the one before it.
bool is_memory(std::uint8_t first) {
  return first == static_cast<std::uint8_t>(RecordKind::Changed) ||
         first == static_cast<std::uint8_t>(RecordKind::Read);
}

}  // namespace

Result<FileSource> FileSource::open(const std::filesystem::path& file, const Digest& seed) {
  auto blocks = BlockReader::open(file, seed);
  if (!blocks) return blocks.error();
  return FileSource(file.string(), std::move(blocks).value());
}

std::string FileSource::place() const {
  return fmt::format("{}: block {}, at byte {}", name_, blocks_.block(), blocks_.offset());
}

Error TraceReader::fail(const std::string& text) const {
  return Error{ExitCode::Failed,
               fmt::format("{}: behind step {}: {}", source_.place(), steps_, text)};
}

Result<bool> TraceReader::more() {
  while (!done_ && wire_.empty()) {
    auto block = source_.next();
    if (!block) return block.error();
    done_ = block.value().empty();
    wire_ = WireReader(block.value());
  }
  return !done_;
}

Result<std::optional<Record>> TraceReader::record() {
  const auto there = more();
  if (!there) return there.error();
  if (!there.value()) return std::optional<Record>();
  auto next = decoder_.next(wire_);
  if (!next) return fail(next.error().message);
  return std::optional<Record>(std::move(next).value());
}

Status TraceReader::absorb() {
  for (;;) {
    const auto there = more();
    if (!there) return there.error();
    if (!there.value() || !is_memory(wire_.peek())) return {};
    if (auto read = record(); !read) return read.error();
  }
}

Status TraceReader::count(const event::Event& event) {
  const arch::Frame frame = arch::frame_of(Gpa{event.gpa});
  switch (event.kind) {
    case Kind::TableCopy:
      if (bounds_ && !bounds_->holds(frame)) {
        return fail(fmt::format("a copy of a table at {:#x}, which is no RAM", event.gpa));
      }
      if (++copies_ > kMostCopies) {
        return fail(fmt::format("more than {} copies of tables at once", kMostCopies));
      }
      return {};
    case Kind::Sync:
      copies_ = 0;
      return {};
    case Kind::TableAdded:
      // shadow() forgets one that is removed once; a session, only when it is linked nowhere.
      if (++tables_[frame] == 1 && tables_.size() > kMostTables) {
        return fail(fmt::format("more than {} tables at once", kMostTables));
      }
      return {};
    case Kind::TableRemoved:
      if (const auto found = tables_.find(frame); found != tables_.end() && --found->second == 0) {
        tables_.erase(found);
      }
      return {};
    default:
      return {};
  }
}

Result<Step> TraceReader::next() {
  Step step;
  auto next = record();
  if (!next) return next.error();
  if (!next.value()) return fail("the trace ends without its last record");
  ++steps_;
  if (next.value()->kind == Record::Kind::Memory) {
    // Behind the last stop: what was looked at once the guest was gone.
    if (auto read = absorb(); !read) return read.error();
    next = record();
    if (!next) return next.error();
    if (!next.value() || next.value()->kind != Record::Kind::Reads) {
      return fail("memory that was read, and the run goes on");
    }
  }
  Record& first = *next.value();
  if (first.kind == Record::Kind::Event) {
    if (auto read = absorb(); !read) return read.error();
    step.event = last_ = first.event;
    if (auto good = count(step.event); !good) return good.error();
    if (step.event.kind != Kind::TableCopy) return step;
    step.kind = Step::Kind::Copy;
    const ShadowFrame* const frame = shadow().find(arch::frame_of(Gpa{step.event.gpa}));
    if (frame == nullptr || !frame->known.all())
      return fail("a table was copied that is not there");
    step.table = &frame->words;
    return step;
  }
  if (first.kind == Record::Kind::Stopped) {
    if (last_.kind != Kind::Doorbell && last_.kind != Kind::RunEnd) {
      return fail("the vCPU stood still behind an event at which it does not");
    }
    last_ = {};
    step.kind = Step::Kind::Stopped;
    if (auto read = absorb(); !read) return read.error();
    next = record();
    if (!next) return next.error();
    if (!next.value() || next.value()->kind != Record::Kind::Reads) {
      return fail("a stop without what was read in it");
    }
    step.reads = next.value()->reads;
    return step;
  }
  if (first.kind != Record::Kind::Reads) return fail("an end without what was read before it");
  step.kind = Step::Kind::Ended;
  step.reads = first.reads;
  next = record();
  if (!next) return next.error();
  if (!next.value() || next.value()->kind != Record::Kind::Ended) {
    return fail("what was read, and neither a stop before it nor the end behind it");
  }
  step.ended = std::move(next.value()->ended);
  const auto behind = more();
  if (!behind) return behind.error();
  if (behind.value()) return fail("records behind the last one");
  return step;
}

}  // namespace sealvisor::evidence
