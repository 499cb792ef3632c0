#include "vmm/evidence/trace_writer.h"

#include <utility>

#include <fmt/format.h>

namespace sealvisor::evidence {

Result<TraceWriter> TraceWriter::create(const std::filesystem::path& file, const Digest& seed) {
  auto blocks = BlockWriter::create(file, seed);
  if (!blocks) return blocks.error();
  return TraceWriter(file.string(), std::move(blocks).value());
}

void TraceWriter::overflow() {
  failed_ =
      Error{ExitCode::HostLacks, fmt::format("trace file {}: the guest has more than {} frames "
                                             "of tables and memory that was read",
                                             path_, Shadow::kMostFrames)};
}

void TraceWriter::append(std::span<const event::Event> events) {
  for (const event::Event& event : events) {
    if (failed_) return;
    ++events_;
    if (!encoder_.event(event, blocks_.plain())) overflow();
    blocks_.written();
  }
}

void TraceWriter::append_copy(const event::Event& event, const arch::Table& table) {
  append(std::span(&event, 1));
  got(arch::frame_of(arch::Gpa{event.gpa}).gpa(), table);
}

void TraceWriter::stopped() {
  if (failed_) return;
  encoder_.stopped(blocks_.plain());
}

void TraceWriter::got(arch::Gpa gpa, std::span<const std::uint64_t> words) {
  if (failed_) return;
  reads_.get(gpa, words);
  if (!encoder_.words(gpa, words, blocks_.plain())) overflow();
  blocks_.written();
}

void TraceWriter::reads_done() {
  if (failed_) return;
  encoder_.reads(std::exchange(reads_, {}), blocks_.plain());
  blocks_.written();
}

Result<TraceSummary> TraceWriter::close(const std::string& ended) {
  if (!failed_ && ended.size() > kMostEnded) {
    failed_ = Error{ExitCode::HostLacks,
                    fmt::format("trace file {}: {} bytes about the end of the run, at most {} fit",
                                path_, ended.size(), kMostEnded)};
  }
  if (!failed_) {
    reads_done();
    encoder_.ended(ended, blocks_.plain());
  }
  const auto seal = blocks_.close();
  if (failed_) return *failed_;
  if (!seal) return seal.error();
  return TraceSummary{seal.value(), events_};
}

}  // namespace sealvisor::evidence
