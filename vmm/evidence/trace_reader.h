// Gives back what a trace holds, step by step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "arch/walk.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/evidence/block_file.h"
#include "vmm/evidence/trace_codec.h"
#include "vmm/memory/memory.h"

namespace sealvisor::evidence {

/// One thing that a session was given. What was read of memory while it had it is in
/// TraceReader::shadow() already.
struct Step {
  enum class Kind : std::uint8_t {
    Event,    ///< Any but a copy of a table.
    Copy,     ///< event is a TableCopy, of *table.
    Stopped,  ///< The vCPU waited behind `event`, the last Doorbell or RunEnd.
    Ended,    ///< The last step. `ended` is JSON.
  };
  Kind kind = Kind::Event;
  event::Event event{};
  const arch::Table* table = nullptr;  ///< Copy only; valid until the next step.
  Reads reads;                         ///< Stopped, Ended: since the last of these.
  std::string ended;
};

/// Where records come from: one block after another. Empty: there are no more.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  [[nodiscard]] virtual Result<std::span<const std::byte>> next() = 0;
  /// Where the block that next() gave last is, for people: "trace.slv: block 3, at byte 1000".
  [[nodiscard]] virtual std::string place() const = 0;

 protected:
  RecordSource() = default;
  RecordSource(const RecordSource&) = default;
  RecordSource(RecordSource&&) = default;
  RecordSource& operator=(const RecordSource&) = default;
  RecordSource& operator=(RecordSource&&) = default;
};

/// The blocks of a trace file.
class FileSource final : public RecordSource {
 public:
  FileSource(std::string name, BlockReader blocks)
      : name_(std::move(name)), blocks_(std::move(blocks)) {}
  /// Errors as BlockReader::open().
  [[nodiscard]] static Result<FileSource> open(const std::filesystem::path& file,
                                               const Digest& seed);
  [[nodiscard]] Result<std::span<const std::byte>> next() override { return blocks_.next(); }
  [[nodiscard]] std::string place() const override;
  [[nodiscard]] const BlockReader& blocks() const { return blocks_; }

 private:
  std::string name_;
  BlockReader blocks_;
};

/// Most copies of tables between two Syncs, which a session keeps all at once: an engine follows
/// 8,192 tables, and copies some of them at each load of a root.
inline constexpr std::size_t kMostCopies = 16'384;
/// Most tables that are added and not removed again, however often each is linked.
inline constexpr std::size_t kMostTables = Shadow::kMostFrames;

/// Reads whatever it is given; errors (Failed) name the block and what is wrong.
class TraceReader {
 public:
  /// `source` must outlive it.
  explicit TraceReader(RecordSource& source) : source_(source) {}

  /// Copies of tables are of these frames only; others are refused.
  void bound_to(memory::RamBounds bounds) { bounds_ = bounds; }
  /// The next step. An Error if the trace ends without Ended, or has something behind it.
  /// Precondition: none gave Ended yet.
  [[nodiscard]] Result<Step> next();
  /// Memory as it was known to the session during the last step.
  [[nodiscard]] const Shadow& shadow() const { return decoder_.shadow(); }
  /// Steps so far, from 1.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  [[nodiscard]] std::string place() const { return source_.place(); }

 private:
  /// Whether there is another record; then wire_ has its first byte.
  [[nodiscard]] Result<bool> more();
  /// The next record; nullopt behind the last one.
  [[nodiscard]] Result<std::optional<Record>> record();
  /// Takes what was read of memory; then the next record is of another kind.
  [[nodiscard]] Status absorb();
  /// Sees to it that what a session keeps of tables stays within bounds, as an engine's does.
  [[nodiscard]] Status count(const event::Event& event);
  [[nodiscard]] Error fail(const std::string& text) const;

  RecordSource& source_;
  TraceDecoder decoder_;
  WireReader wire_{{}};
  bool done_ = false;
  event::Event last_{};
  std::optional<memory::RamBounds> bounds_;
  std::size_t copies_ = 0;                                 ///< Since the last Sync.
  std::unordered_map<arch::Frame, std::uint64_t> tables_;  ///< Added and not removed, how often.
  std::uint64_t steps_ = 0;
};

}  // namespace sealvisor::evidence
