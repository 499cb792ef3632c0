// Any bytes as a doorbell message, behind any tables: refused with a reason, or within the bounds
// that who handles it relies on.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "tests/fuzz/arch/formats.h"
#include "vmm/run/protocol_reader.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

using Bytes = std::array<std::byte, sizeof(protocol::Message)>;

/// Some frames. Each place for a message holds the same one, each entry one of a few words.
class Guest final : public memory::Memory {
 public:
  static constexpr std::uint64_t kFrames = 8;

  Guest(fuzz::Input& input, const Bytes& message) : message_(message) {
    for (std::uint64_t& word : words_) {
      word = input.take<std::uint64_t>();
      // Most lead on, so that most walks come to a page.
      if (word % 4 != 0) word = (word % 0x1000) | 0x7 | (word >> 12) % kFrames << 12;
    }
  }
  [[nodiscard]] bool is_ram(arch::Frame frame) const override { return frame.number < kFrames; }
  [[nodiscard]] bool read_entry(arch::Gpa slot, std::uint64_t& value) const override {
    if (!is_ram(arch::frame_of(slot))) return false;
    value = words_[(slot.value / 8 + arch::frame_of(slot).number) % words_.size()];
    return true;
  }
  [[nodiscard]] bool read_table(arch::Frame frame, arch::Table& copy) const override {
    for (std::size_t i = 0; i < copy.size(); ++i) {
      if (!read_entry(frame.slot(i), copy[i])) return false;
    }
    return true;
  }
  [[nodiscard]] bool read(arch::Gpa gpa, std::span<std::byte> out) const override {
    fuzz::require(gpa.value % protocol::kMessageSize == 0 && out.size() == message_.size());
    if (!is_ram(arch::frame_of(gpa))) return false;
    std::copy(message_.begin(), message_.end(), out.begin());
    return true;
  }

 private:
  const Bytes& message_;
  std::array<std::uint64_t, 8> words_{};
};

template <std::size_t N>
void check_name(const char (&field)[N]) {
  fuzz::require(std::memchr(field, '\0', N) != nullptr);
  const std::string text = run::text_of(field);
  fuzz::require(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

void check_bounds(const protocol::Message& message) {
  using protocol::Type;
  const auto& body = message.body;
  fuzz::require(message.magic == protocol::kMagic && message.version == protocol::kVersion);
  fuzz::require(message.length <= sizeof body);
  switch (message.type) {
    case Type::Hello:
      check_name(body.hello.release);
      break;
    case Type::Mapping:
      check_name(body.mapping.name);
      fuzz::require(body.mapping.index < protocol::kMaxMappings);
      fuzz::require(body.mapping.start < body.mapping.end);
      fuzz::require((body.mapping.end - body.mapping.start) / arch::kPageSize <=
                    protocol::kMaxPages);
      break;
    case Type::MappingsEnd:
      fuzz::require(body.mappings_end.count <= protocol::kMaxMappings);
      break;
    case Type::ScenarioBegin:
    case Type::ScenarioEnd:
      check_name(body.scenario.name);
      break;
    case Type::CellBegin:
      check_name(body.cell.mapping);
      check_name(body.cell.operation);
      check_name(body.cell.form);
      break;
    case Type::Touched:
      fuzz::require(body.touched.pages <= protocol::kMaxPages);
      break;
    case Type::Bystander:
      fuzz::require(body.bystander.pages <= protocol::kMaxBystanders);
      break;
    case Type::StoreBlock:
      check_name(body.store_block.store_class);
      break;
    case Type::Tamper:
      fuzz::require(body.tamper.gpa % 8 == 0);
      break;
    case Type::Entries:
      check_name(body.entries.name);
      break;
    case Type::Experiment:
      check_name(body.experiment.name);
      break;
    case Type::Samples:
      fuzz::require(body.samples.count >= 1 && body.samples.count <= protocol::kMaxSamples);
      break;
    case Type::Counter:
      check_name(body.counter.source);
      fuzz::require(body.counter.step != 0);
      break;
    default:
      break;
  }
}

void check_refusal(const Error& error) {
  fuzz::require(error.code == ExitCode::GuestFailed && !error.message.empty());
  // It goes into a report, and a guest chose what is in it.
  fuzz::require(std::all_of(error.message.begin(), error.message.end(),
                            [](char c) { return c >= ' ' && c <= '~'; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto bytes = input.take<Bytes>();
  protocol::Message message{};
  std::memcpy(&message, bytes.data(), sizeof message);
  const Status checked = run::check_message(message);
  if (checked) {
    check_bounds(message);
  } else {
    check_refusal(checked.error());
  }
  const auto format = fuzz::take_format(input);
  if (!format) return 0;
  auto gva = input.take<std::uint64_t>();
  if (gva % 4 != 0) gva -= gva % protocol::kMessageSize;
  const Guest guest(input, bytes);
  const auto read = run::read_message(*format, guest, arch::Frame{0}, arch::Gva{gva});
  if (!read) {
    check_refusal(read.error());
    return 0;
  }
  fuzz::require(checked.ok() && gva % protocol::kMessageSize == 0);
  fuzz::require(std::memcmp(&read.value(), &message, sizeof message) == 0);
  return 0;
}
