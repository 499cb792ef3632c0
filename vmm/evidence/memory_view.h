// Guest memory on its way into a trace, and out of one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmm/evidence/shadow.h"
#include "vmm/evidence/trace_codec.h"
#include "vmm/evidence/trace_writer.h"
#include "vmm/memory/memory.h"

namespace sealvisor::evidence {

/// Reads what is behind it, and keeps what came.
class RecordingMemory final : public memory::Memory {
 public:
  /// Both must outlive it. `trace` may be nullptr: nothing is kept.
  RecordingMemory(const memory::Memory& ram, TraceWriter* trace) : ram_(ram), trace_(trace) {}

  [[nodiscard]] bool is_ram(arch::Frame frame) const override { return ram_.is_ram(frame); }
  [[nodiscard]] bool read(arch::Gpa gpa, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;

 private:
  const memory::Memory& ram_;
  TraceWriter* trace_;
};

/// Memory as a trace knows it. Refuses what is no RAM, as the guest's memory did, and what nobody
/// read, which then is missing().
class RecordedMemory final : public memory::Memory {
 public:
  /// `shadow` must outlive it.
  RecordedMemory(const Shadow& shadow, memory::RamBounds bounds)
      : shadow_(shadow), bounds_(bounds) {}

  [[nodiscard]] bool is_ram(arch::Frame frame) const override { return bounds_.holds(frame); }
  [[nodiscard]] bool read(arch::Gpa gpa, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override;
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override;

  /// A copy of a table that the session gets without asking.
  void got(arch::Gpa gpa, std::span<const std::uint64_t> words) { reads_.get(gpa, words); }
  /// What was asked for and what came since the last call, as TraceWriter counts it.
  [[nodiscard]] Reads take_reads();
  /// The first word that was asked for and that the trace does not know.
  [[nodiscard]] std::optional<arch::Gpa> missing() const { return missing_; }

 private:
  /// nullptr, and missing() is set: not known.
  [[nodiscard]] const ShadowFrame* known(arch::Gpa gpa) const;

  const Shadow& shadow_;
  memory::RamBounds bounds_;
  mutable Reads reads_;
  mutable std::optional<arch::Gpa> missing_;
};

}  // namespace sealvisor::evidence
