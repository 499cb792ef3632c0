// The records of a trace, as bytes. docs/evidence.md has the format.
//
// A trace holds what a session was given: events, copies of tables, the moments at which the vCPU
// stood still, and what was read of guest memory meanwhile. Encoder and decoder keep the same state
// (TraceState), and each record is written as the difference to what that says: an old value that
// the earlier events told, or a table that a re-walk read and found as it was expected, costs
// nothing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/evidence/shadow.h"
#include "vmm/evidence/wire.h"

namespace sealvisor::evidence {

/// What was read of guest memory between two moments: how often, and a sum over what was asked for
/// and what came. Records say nothing of memory that was as it was expected; by the sum a replay
/// knows that it was, and that it asks for the same. No cryptography: the blocks have that.
struct Reads {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;  ///< The order does not matter.
  friend bool operator==(const Reads&, const Reads&) = default;

  /// `bytes` bytes at `gpa` were asked for.
  void ask(arch::Gpa gpa, std::uint64_t bytes);
  /// These words, from `gpa` on, came.
  void get(arch::Gpa gpa, std::span<const std::uint64_t> words);
};

/// Numbers of the records; from kFirstShape on it is an event whose first eight bytes (Event::kind
/// to Event::flags) are that entry of the list of shapes.
enum class RecordKind : std::uint8_t {
  NewShape = 0,  ///< An event with eight bytes that are new: they become the next shape.
  Stopped = 1,   ///< The vCPU waits behind the last event; Reads follow.
  Reads = 2,
  Changed = 3,  ///< Words of memory that were read and were not what was known; as differences.
  Read = 4,     ///< Words of memory of which nothing was known, as they are.
  Ended = 5,    ///< The last one: how the run ended, as JSON.
};
inline constexpr std::uint64_t kFirstShape = 16;

/// Most entries of a list of numbers that are named by their place in it. Past it they are written
/// out.
inline constexpr std::size_t kMostListed = 65'536;
/// Most bytes of Ended.
inline constexpr std::size_t kMostEnded = 64U << 10;

/// Numbers that come again and again, each written out once.
class NumberList {
 public:
  /// The place of `value`; the list's size if it is not there: then it was added, if there was
  /// room.
  [[nodiscard]] std::uint64_t place(std::uint64_t value);
  /// The number at `place`; nullopt: none.
  [[nodiscard]] std::optional<std::uint64_t> at(std::uint64_t place) const;
  void add(std::uint64_t value);
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  std::vector<std::uint64_t> values_;
  std::unordered_map<std::uint64_t, std::uint64_t> places_;
};

/// What both sides know behind each record.
struct TraceState {
  /// Of the last event of a kind.
  struct Last {
    std::uint64_t gpa = 0;
    std::uint64_t old_value = 0;
    std::uint64_t new_value = 0;
    std::uint64_t aux = 0;
  };
  /// What an event's old value is if it is what the trace told before.
  [[nodiscard]] std::uint64_t expected_old(const event::Event& event) const;
  /// What an event's aux is written as the difference to.
  [[nodiscard]] std::uint64_t expected_aux(event::Kind kind) const;
  /// Takes `event` in. False: it tells of more frames than a trace may hold.
  [[nodiscard]] bool take(const event::Event& event);

  Shadow shadow;
  std::array<Last, 256> last{};
  std::uint64_t icount = 0;
  std::uint64_t user = 0;  ///< event::user_instructions() of the last event that tells it.
  std::uint64_t read_gpa = 0;
  NumberList shapes;
  NumberList pcs;
  NumberList roots;
};

/// Appends records to a vector.
class TraceEncoder {
 public:
  /// False: the trace may not hold more frames; nothing more may be appended.
  [[nodiscard]] bool event(const event::Event& event, std::vector<std::byte>& to);
  void stopped(std::vector<std::byte>& to);
  void reads(const Reads& reads, std::vector<std::byte>& to);
  /// `words` of memory from `gpa` on (a multiple of 8) were read, within one frame.
  [[nodiscard]] bool words(arch::Gpa gpa, std::span<const std::uint64_t> words,
                           std::vector<std::byte>& to);
  /// Precondition: at most kMostEnded bytes.
  void ended(const std::string& json, std::vector<std::byte>& to);

 private:
  TraceState state_;
};

/// One record.
struct Record {
  enum class Kind : std::uint8_t { Event, Stopped, Reads, Memory, Ended };
  Kind kind = Kind::Event;
  event::Event event{};
  Reads reads;
  arch::Gpa gpa{};        ///< Memory: the first word; what it holds is in shadow().
  std::size_t words = 0;  ///< Memory: how many, within one frame.
  std::string ended;
};

/// Reads them back. Takes anything; errors (Failed) say what is wrong.
class TraceDecoder {
 public:
  [[nodiscard]] Result<Record> next(WireReader& from);
  /// Memory as it is known behind the last record.
  [[nodiscard]] const Shadow& shadow() const { return state_.shadow; }

 private:
  [[nodiscard]] Result<Record> event(std::uint64_t shape, WireReader& from);
  [[nodiscard]] Result<Record> memory(RecordKind kind, WireReader& from);

  TraceState state_;
};

}  // namespace sealvisor::evidence
