// The ring that the plugin fills: what it puts there comes out as it was, in order and once; and
// whatever else stands in the shared memory is survived.
#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include "tests/fuzz/arch/input.h"
#include "vmm/engine/tcg/event_pump.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

using event::Event;
using event::Kind;

/// As event_pump.h has it.
bool waits(const Event& event) {
  return event.kind == Kind::Doorbell || event.kind == Kind::RunEnd;
}

class Consumer final : public engine::Observer {
 public:
  struct Record {
    Event event{};
    std::uint64_t word = 0;  ///< Of its table.
  };

  void on_events(std::span<const Event> events) override {
    fuzz::require(!events.empty());
    for (const Event& event : events) {
      fuzz::require(!event::has_copy(event.kind));
      take(event, 0);
    }
  }
  void on_table_copy(const Event& event, const arch::Table& table) override {
    fuzz::require(event.kind == Kind::TableCopy);
    take(event, table[7]);
  }
  void on_stack_copy(const Event& event, const arch::Table& stack) override {
    fuzz::require(event.kind == Kind::StackCopy);
    take(event, stack[7]);
  }
  engine::StopReply on_stopped(const Event& event) override {
    fuzz::require(waits(event) && std::memcmp(&event, &last_, sizeof event) == 0);
    engine::StopReply reply;
    reply.watch_content.resize(asks);
    return reply;
  }
  void on_console(std::span<const char> /*bytes*/) override {}

  std::deque<Record> expected;
  bool honest = true;  ///< Nobody but the producer wrote.
  std::size_t asks = 0;

 private:
  void take(const Event& event, std::uint64_t word) {
    last_ = event;
    if (!honest) return;
    fuzz::require(!expected.empty());
    fuzz::require(std::memcmp(&event, &expected.front().event, sizeof event) == 0);
    fuzz::require(word == expected.front().word);
    expected.pop_front();
  }
  Event last_{};
};

struct alignas(4096) Shared {
  std::array<std::byte, event::kRingBytes> bytes{};
};

/// False: the engine would end here.
bool pump(engine::tcg::EventPump& pump, engine::tcg::PumpResult result, const Consumer& consumer) {
  for (int turns = 0; result.more; ++turns) {
    fuzz::require(turns < 10'000);
    result = pump.go_on();
  }
  // What is left where it gives up is take_rest()'s.
  if (consumer.honest && !result.broken && !result.give_up) {
    fuzz::require(consumer.expected.empty());
  }
  fuzz::require(!result.give_up || consumer.asks > event::kMaxContentFrames);
  return !result.broken && !result.give_up;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Shared shared;
  fuzz::Input input(data, size);
  event::Ring ring(shared.bytes);
  ring.initialise();
  event::RingHeader& header = ring.header();
  // It may have gone round any number of times.
  const auto rounds = input.take<std::uint64_t>();
  header.head = header.tail = rounds;
  header.copies_given = header.copies_taken = input.take<std::uint64_t>();
  fuzz::require(ring.compatible() && !ring.broken() && ring.ready().empty());
  Consumer consumer;
  engine::tcg::EventPump pumped(ring, consumer);
  while (!input.empty()) {
    const auto what = input.take<std::uint8_t>();
    switch (what % 8) {
      case 0:
      case 1: {
        Event event{};
        event.kind = static_cast<Kind>(input.take<std::uint8_t>() % 17);
        event.new_value = input.take<std::uint16_t>();
        const bool copies = event::has_copy(event.kind);
        if (ring.full() || (copies && ring.copies_full())) break;
        if (!copies) {
          ring.push(event);
          consumer.expected.push_back({event, 0});
          break;
        }
        arch::Table table{};
        table[7] = event.new_value;
        Event numbered = event;
        numbered.aux = header.copies_given;
        ring.push_copy(event, table);
        consumer.expected.push_back({numbered, table[7]});
        break;
      }
      case 2: {
        // A burst, up to a ring that is full.
        Event event{};
        event.kind = Kind::SlotWrite;
        for (auto left = input.take<std::uint16_t>(); left != 0 && !ring.full(); --left) {
          event.icount = left;
          ring.push(event);
          consumer.expected.push_back({event, 0});
        }
        break;
      }
      case 3: {
        consumer.asks = input.take<std::uint8_t>() * 2U;
        const bool known = (what & 0xC0) != 0xC0;
        const char byte = known ? ((what & 0x40) != 0 ? event::kStop : event::kDrain)
                                : static_cast<char>(input.take<std::uint8_t>());
        if (!pump(pumped, pumped.on_byte(byte), consumer)) return 0;
        fuzz::require(header.content_count <= event::kMaxContentFrames);
        break;
      }
      case 4:
        if (!pump(pumped, pumped.take_rest(), consumer)) return 0;
        break;
      case 5:
        // What a crash may leave.
        consumer.honest = false;
        header.head += input.take<std::uint32_t>() - std::uint64_t{1U << 31};
        break;
      case 6:
        consumer.honest = false;
        header.copies_given = input.take<std::uint64_t>();
        break;
      case 7: {
        consumer.honest = false;
        const std::size_t at = input.take<std::uint16_t>() % event::kRingCapacity;
        const auto event = input.take<Event>();
        std::memcpy(shared.bytes.data() + event::kRingRecordsOffset + at * sizeof event, &event,
                    sizeof event);
        break;
      }
    }
  }
  return 0;
}
