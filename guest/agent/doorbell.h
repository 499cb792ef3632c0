// The agent's side of guest/protocol/doorbell.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/agent/smaps.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {

/// Rings the doorbell of one process. It is part of a process's memory: a forked child has its own
/// copy at once, an exec'd image opens it anew. Calls are not for several threads at a time.
class Doorbell {
 public:
  Doorbell() = default;
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  ~Doorbell();

  /// Maps the page at `gpa` of /dev/mem. `verbose`: also trace each message to the console.
  /// False: the reason is on the console. Messages are dropped while it is not open.
  [[nodiscard]] bool open(std::uint64_t gpa, bool verbose);
  [[nodiscard]] std::uint64_t gpa() const { return gpa_; }
  [[nodiscard]] bool verbose() const { return verbose_; }
  /// Where the page is mapped; nullptr while it is not open. For marks.
  [[nodiscard]] std::byte* page() const { return page_; }

  /// A forked child calls this first: its messages are numbered from 0.
  void restart() { sequence_ = 0; }
  /// A vforked child uses its parent's memory; the parent puts its own number back afterwards.
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  void resume(std::uint64_t sequence) { sequence_ = sequence; }

  void hello();
  void mapping(std::uint64_t token, std::uint32_t index, const SystemMapping& mapping);
  void mappings_end(std::uint64_t token, std::uint32_t count);
  /// The same with a place of the vdso that need not be true.
  void mappings_end(std::uint64_t token, std::uint32_t count, std::uint64_t vdso);
  void scenario_begin(std::string_view name);
  void scenario_end(std::string_view name, int status, std::uint32_t count);
  void cell_begin(std::uint64_t token, std::string_view mapping, std::string_view operation,
                  std::string_view form, std::uint64_t start, std::uint64_t end);
  /// `outcomes`: at most kMaxPages, one for each page from `start` on.
  void touched(std::uint64_t token, protocol::Moment moment, std::uint64_t start,
               std::span<const protocol::Touch> outcomes);
  void before(std::uint64_t token);
  void after(std::uint64_t token, std::int64_t result, std::uint64_t new_start);
  void cell_end(std::uint64_t token, int signal, protocol::Skip skipped);
  /// At most kMaxBystanders pages.
  void bystander(std::uint64_t token, std::uint64_t start, std::uint32_t pages, bool end);
  void fork_parent(std::uint64_t token, bool vfork);
  void fork_child(std::uint64_t token, bool vfork);
  void store_block(const protocol::StoreBlock& block);
  void tamper(const protocol::Tamper& tamper);
  void campaign(const protocol::Campaign& campaign);
  void tampering(const protocol::Tampering& tampering);
  void entries(const protocol::Entries& entries);
  void layout(const protocol::Layout& layout);
  void experiment(const protocol::Experiment& experiment);
  void counter(const protocol::Counter& counter);
  /// At most kMaxSamples of them.
  void samples(const protocol::Samples& samples);
  /// A process that was to make a sequence of calls was killed.
  void sequence_killed(std::uint64_t token, int signal);
  void piece(const protocol::Piece& piece);
  void program_begin(const protocol::ProgramBegin& begin);
  void program_end(const protocol::ProgramEnd& end);
  /// A mapping of the process `pid`, whose Process message follows.
  void process_mapping(std::uint32_t pid, std::uint32_t index, const SystemMapping& mapping);
  void process(const protocol::Process& process);
  void bye();

  /// Rings with a message of no known type (control/bad-message).
  void bad_message();
  /// Rings with an address that no message is at (control/bad-pointer).
  void bad_pointer(std::uint64_t address);

 private:
  void claim(protocol::Type type, std::uint64_t token, std::uint32_t index,
             const SystemMapping& mapping);
  /// Clears the message and fills in its head.
  protocol::Message& fresh(protocol::Type type, std::uint64_t token, std::size_t length);
  void ring();

  alignas(protocol::kMessageSize) protocol::Message message_{};
  std::byte* page_ = nullptr;
  std::uint64_t gpa_ = 0;
  std::uint64_t sequence_ = 0;
  bool verbose_ = false;
};

}  // namespace sealvisor::agent
