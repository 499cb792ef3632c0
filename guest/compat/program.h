// /helpers/compat, /helpers/compat-low: makes the system calls of one sequence on its own system
// mappings and rings for each. It needs nothing outside of one window of its address space, where
// its code, data, stack and the doorbell page are: the stub of the sequences, around which
// everything is unmapped.
//
//   argv: <path> <doorbell gpa, hexadecimal> <token, decimal> <name of the sequence>
//
// No C library: its thread's own memory and the first stack are outside of the window.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/agent/smaps.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::compat {

inline constexpr std::uintptr_t kPage = 4096;

/// Most pages of mappings that can be parked in the window.
inline constexpr std::size_t kParkPages = 32;

/// A system mapping of this process, and where it is now as far as the calls tell.
struct Place {
  const agent::SystemMapping* mapping = nullptr;
  std::uintptr_t now = 0;

  [[nodiscard]] std::uintptr_t start() const { return static_cast<std::uintptr_t>(mapping->start); }
  [[nodiscard]] std::size_t size() const {
    return static_cast<std::size_t>(mapping->end - mapping->start);
  }
};

/// What the software does about a call that fails.
enum class Failure : std::uint8_t {
  Ends,     ///< It gives up.
  Ignored,  ///< It does not look at the answer, or goes on for now.
};

/// A range of addresses: [start, end).
struct Range {
  std::uintptr_t start = 0;
  std::uintptr_t end = 0;
};

/// A mapping of this process, whoever made it.
struct Mapped {
  Range range;
  std::array<char, 48> text{};  ///< As /proc/self/maps calls it, cut; empty: it has no name.
  std::size_t size = 0;

  [[nodiscard]] std::string_view name() const {
    return size == 0 ? std::string_view("memory without a name")
                     : std::string_view(text.data(), size);
  }
};

/// This process as a sequence sees it.
class Program {
 public:
  /// Maps the doorbell and announces the mappings. False: nothing can be told.
  [[nodiscard]] bool open(std::uint64_t gpa, std::uint64_t token);
  void begin(std::string_view scenario);
  void end();

  /// System mappings of the lower half, by rising address.
  [[nodiscard]] std::span<Place> places() { return std::span(places_).first(count_); }
  /// The mapping called `name`; nullptr if there is none.
  [[nodiscard]] Place* find(std::string_view name);
  /// Everything that this program needs.
  [[nodiscard]] Range window() const;
  /// A part of the window in which mappings can be parked: kParkPages.
  [[nodiscard]] std::uintptr_t park() const;
  /// Every mapping by rising address, at most as many as there is room for; how many.
  [[nodiscard]] static std::size_t all_mappings(std::span<Mapped> room);
  /// One past the last address that a process of this architecture can have.
  [[nodiscard]] static std::uintptr_t task_size();

  // The calls. Each touches every page of every mapping afterwards, where it was and where it is
  // said to be, and rings. True if the kernel did it. `what` says it in words.
  bool munmap(std::string_view what, Range range, Failure failure = Failure::Ends);
  /// Moves `place`, all of it, to `to`.
  bool move(std::string_view what, Place& place, std::uintptr_t to,
            Failure failure = Failure::Ends);
  bool mprotect(std::string_view what, Range range, int protection, Failure failure);
  /// arch_prctl(2), x86-64; ENOSYS elsewhere.
  bool arch_prctl(std::string_view what, int code, std::uintptr_t address);

  /// Whether a call failed without which the software can't go on.
  [[nodiscard]] bool gave_up() const { return gave_up_; }
  /// Stores to a byte of a page, or not if that faults.
  void store(std::uintptr_t address);

 private:
  protocol::Message& fresh(protocol::Type type, std::size_t length);
  void ring();
  void announce();
  void touch_all();
  bool told(std::string_view call, std::string_view what, Range range, long result,
            Failure failure);

  agent::MappingTable table_{};
  std::array<Place, protocol::kMaxMappings> places_{};
  std::size_t count_ = 0;
  std::uint64_t token_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint32_t calls_ = 0;
  bool gave_up_ = false;
};

/// The sequences, one file each. Returns when the software would be done, or would give up.
using Run = void (*)(Program&);
void criu_park(Program& program);
void criu_proxy(Program& program);
void criu_start(Program& program);
void criu_map(Program& program);
void uml_stub(Program& program);
void uml_flush(Program& program);
void gvisor_stub(Program& program);
void gvisor_ptrace(Program& program);
void rr_record(Program& program);
void rr_replay(Program& program);
void rr_move(Program& program);

}  // namespace sealvisor::compat
