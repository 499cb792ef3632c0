// Any bytes as the records of a trace: they are read to their end or refused, and what was read
// comes out the same once it is written and read again.
#include <cstring>
#include <vector>

#include "tests/fuzz/arch/input.h"
#include "tests/fuzz/evidence/records.h"
#include "vmm/evidence/trace_codec.h"
#include "vmm/evidence/trace_reader.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

std::vector<event::Event> events_of(std::span<const std::uint8_t> bytes) {
  fuzz::Records records(bytes);
  evidence::TraceReader reader(records);
  std::vector<event::Event> events;
  for (;;) {
    const auto step = reader.next();
    if (!step) {
      fuzz::require(!step.error().message.empty());
      return events;
    }
    switch (step.value().kind) {
      case evidence::Step::Kind::Ended:
        return events;
      case evidence::Step::Kind::Event:
        events.push_back(step.value().event);
        break;
      case evidence::Step::Kind::Copy:
        fuzz::require(step.value().table != nullptr);
        break;
      case evidence::Step::Kind::Stopped:
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<event::Event> events = events_of({data, size});
  std::vector<std::byte> bytes;
  evidence::TraceEncoder encoder;
  for (const event::Event& event : events) {
    if (!encoder.event(event, bytes)) return 0;
  }
  const std::vector<event::Event> again =
      events_of({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  fuzz::require(again.size() == events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    fuzz::require(std::memcmp(&again[i], &events[i], sizeof(event::Event)) == 0);
  }
  return 0;
}
