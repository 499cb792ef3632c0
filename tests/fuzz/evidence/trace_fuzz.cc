// Any bytes as the records of a trace: they are read to their end or refused, and what was read
// comes out the same once it is written and read again.
#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/fuzz/arch/input.h"
#include "tests/fuzz/evidence/records.h"
#include "vmm/evidence/trace_codec.h"
#include "vmm/evidence/trace_reader.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

using evidence::Record;

/// A record, with what the decoder's memory holds behind it.
struct Read {
  Record record;
  std::vector<std::uint64_t> words;  ///< Memory: the words that were read.
};

/// All records up to the first that is refused.
std::vector<Read> records_of(std::span<const std::byte> bytes) {
  evidence::WireReader wire(bytes);
  evidence::TraceDecoder decoder;
  std::vector<Read> all;
  while (!wire.empty()) {
    auto next = decoder.next(wire);
    if (!next) {
      fuzz::require(!next.error().message.empty());
      break;
    }
    Read read{std::move(next).value(), {}};
    if (read.record.kind == Record::Kind::Memory) {
      const auto* const frame = decoder.shadow().find(arch::frame_of(read.record.gpa));
      const std::size_t first = arch::slot_index(read.record.gpa);
      fuzz::require(frame != nullptr && read.record.words != 0);
      fuzz::require(read.record.words <= frame->words.size() - first);
      for (std::size_t i = first; i < first + read.record.words; ++i) {
        fuzz::require(frame->known[i]);
        read.words.push_back(frame->words[i]);
      }
    }
    all.push_back(std::move(read));
  }
  return all;
}

/// False: a trace may not hold it.
bool encode(const Read& read, evidence::TraceEncoder& encoder, std::vector<std::byte>& to) {
  switch (read.record.kind) {
    case Record::Kind::Event:
      return encoder.event(read.record.event, to);
    case Record::Kind::Stopped:
      encoder.stopped(to);
      return true;
    case Record::Kind::Reads:
      encoder.reads(read.record.reads, to);
      return true;
    case Record::Kind::Memory:
      return encoder.words(read.record.gpa, read.words, to);
    case Record::Kind::Ended:
      encoder.ended(read.record.ended, to);
      return true;
  }
  return false;
}

bool same(const Read& one, const Read& other) {
  if (one.record.kind != other.record.kind) return false;
  switch (one.record.kind) {
    case Record::Kind::Event:
      return std::memcmp(&one.record.event, &other.record.event, sizeof(event::Event)) == 0;
    case Record::Kind::Stopped:
      return true;
    case Record::Kind::Reads:
      return one.record.reads == other.record.reads;
    case Record::Kind::Memory:
      return one.record.gpa == other.record.gpa && one.words == other.words;
    case Record::Kind::Ended:
      return one.record.ended == other.record.ended;
  }
  return false;
}

/// Written, and read again: the same, but that memory which is as it was expected is not written,
/// and what is new and what changed of one record are two.
void check_again(const std::vector<Read>& all) {
  evidence::TraceEncoder encoder;
  std::vector<std::byte> bytes;
  std::size_t written = 0;
  for (const Read& read : all) {
    if (!encode(read, encoder, bytes)) break;
    ++written;
  }
  if (written != all.size()) return;
  const std::vector<Read> again = records_of(bytes);
  const auto is_other = [](const Read& read) { return read.record.kind != Record::Kind::Memory; };
  std::vector<const Read*> before;
  std::vector<const Read*> behind;
  for (const Read& read : all) {
    if (is_other(read)) before.push_back(&read);
  }
  for (const Read& read : again) {
    if (is_other(read)) behind.push_back(&read);
  }
  fuzz::require(std::equal(before.begin(), before.end(), behind.begin(), behind.end(),
                           [](const Read* one, const Read* other) { return same(*one, *other); }));
  // What was written in the shortest way has no other.
  evidence::TraceEncoder encoder_again;
  std::vector<std::byte> bytes_again;
  for (const Read& read : again) fuzz::require(encode(read, encoder_again, bytes_again));
  fuzz::require(bytes_again == bytes);
}

/// The steps that an audit takes.
void step_through(std::span<const std::uint8_t> bytes) {
  fuzz::Records records(bytes);
  evidence::TraceReader reader(records);
  for (;;) {
    const auto step = reader.next();
    if (!step) {
      fuzz::require(!step.error().message.empty());
      return;
    }
    if (step.value().kind == evidence::Step::Kind::Ended) return;
    if (step.value().kind == evidence::Step::Kind::Copy) {
      fuzz::require(step.value().table != nullptr);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  step_through({data, size});
  check_again(records_of(std::as_bytes(std::span(data, size))));
  return 0;
}
