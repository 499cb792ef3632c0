#include "vmm/run/protocol_reader.h"

#include <array>
#include <cstring>
#include <span>

#include <fmt/format.h>

namespace sealvisor::run {

using protocol::Message;
using protocol::Type;

namespace {

Error bad(std::string text) {
  return Error{ExitCode::GuestFailed, "doorbell message: " + std::move(text)};
}

/// Bytes of the body of `type`; -1 if there is no such type.
int body_size(Type type) {
  switch (type) {
    case Type::Hello:
      return sizeof(protocol::Hello);
    case Type::Mapping:
    case Type::ProcessMapping:
      return sizeof(protocol::MappingClaim);
    case Type::MappingsEnd:
      return sizeof(protocol::MappingsEnd);
    case Type::ScenarioBegin:
    case Type::ScenarioEnd:
      return sizeof(protocol::Scenario);
    case Type::CellBegin:
      return sizeof(protocol::Cell);
    case Type::Touched:
      return sizeof(protocol::Touched);
    case Type::Before:
    case Type::Bye:
      return 0;
    case Type::After:
      return sizeof(protocol::After);
    case Type::CellEnd:
      return sizeof(protocol::CellEnd);
    case Type::ForkParent:
    case Type::ForkChild:
      return sizeof(protocol::Fork);
    case Type::Bystander:
      return sizeof(protocol::Bystander);
    case Type::StoreBlock:
      return sizeof(protocol::StoreBlock);
    case Type::Tamper:
      return sizeof(protocol::Tamper);
    case Type::Entries:
      return sizeof(protocol::Entries);
    case Type::Layout:
      return sizeof(protocol::Layout);
    case Type::Experiment:
      return sizeof(protocol::Experiment);
    case Type::Samples:
      return sizeof(protocol::Samples);
    case Type::Counter:
      return sizeof(protocol::Counter);
    case Type::Campaign:
      return sizeof(protocol::Campaign);
    case Type::Tampering:
      return sizeof(protocol::Tampering);
    case Type::SequenceBegin:
      return sizeof(protocol::SequenceBegin);
    case Type::SequenceCall:
      return sizeof(protocol::SequenceCall);
    case Type::SequenceEnd:
      return sizeof(protocol::SequenceEnd);
    case Type::Piece:
      return sizeof(protocol::Piece);
    case Type::ProgramBegin:
      return sizeof(protocol::ProgramBegin);
    case Type::ProgramEnd:
      return sizeof(protocol::ProgramEnd);
    case Type::Process:
      return sizeof(protocol::Process);
  }
  return -1;
}

/// Printable and NUL-terminated: names go into reports as they are.
bool good_name(std::span<const char> field) {
  for (const char c : field) {
    if (c == '\0') return true;
    if (c < 0x20 || c > 0x7E) return false;
  }
  return false;
}

bool good_names(const Message& message) {
  const auto& body = message.body;
  switch (message.type) {
    case Type::Hello:
      return good_name(body.hello.release);
    case Type::Mapping:
    case Type::ProcessMapping:
      return good_name(body.mapping.name);
    case Type::Process:
      return good_name(body.process.name);
    case Type::ScenarioBegin:
    case Type::ScenarioEnd:
      return good_name(body.scenario.name);
    case Type::CellBegin:
      return good_name(body.cell.mapping) && good_name(body.cell.operation) &&
             good_name(body.cell.form);
    case Type::StoreBlock:
      return good_name(body.store_block.store_class);
    case Type::Entries:
      return good_name(body.entries.name);
    case Type::Experiment:
      return good_name(body.experiment.name);
    case Type::Counter:
      return good_name(body.counter.source);
    case Type::Tampering:
      return good_name(body.tampering.way);
    case Type::SequenceBegin:
      return good_name(body.sequence_begin.name);
    case Type::SequenceCall:
      return good_name(body.sequence_call.call) && good_name(body.sequence_call.what);
    default:
      return true;
  }
}

Status check_campaign(const protocol::Campaign& campaign) {
  if (campaign.what > protocol::Campaign::kOther) {
    return bad(fmt::format("campaign message {}, expected one that is known", campaign.what));
  }
  if (campaign.what == protocol::Campaign::kOther) return {};
  if (campaign.pages >= 2 && campaign.pages <= protocol::kMostTamperedPages &&
      campaign.code_pages >= 1 && campaign.code_pages <= campaign.pages) {
    return {};
  }
  return bad(fmt::format("campaign on {} pages, {} with code, expected 2 to {}, 1 with code",
                         campaign.pages, campaign.code_pages, protocol::kMostTamperedPages));
}

Status check_tampering(const protocol::Tampering& tampering) {
  const auto edit = static_cast<std::uint32_t>(tampering.edit);
  const auto writer = static_cast<std::uint32_t>(tampering.writer);
  if (edit >= protocol::kEditCount || writer >= protocol::kWriterCount ||
      tampering.shown > protocol::Shown::ToNobody || tampering.level > 4) {
    return bad(fmt::format("tampering {} by {} at level {}, expected one that is known", edit,
                           writer, tampering.level));
  }
  for (const protocol::TamperedWord& word : tampering.words) {
    if (word.gpa % 8 == 0) continue;
    return bad(fmt::format("tampering with a word at {:#x}, expected a multiple of 8", word.gpa));
  }
  return {};
}

/// Messages about the user's programs.
Status check_program_bounds(const Message& message) {
  const auto& body = message.body;
  if (message.type == Type::Piece) {
    const auto& piece = body.piece;
    if (piece.bytes > protocol::kMaxPiece || piece.content > protocol::Content::Errors) {
      return bad(
          fmt::format("a piece of {} bytes of content {}, expected at most {} of a known one",
                      piece.bytes, static_cast<unsigned>(piece.content), protocol::kMaxPiece));
    }
  }
  const bool begin = message.type == Type::ProgramBegin;
  if (begin || message.type == Type::ProgramEnd) {
    const std::uint32_t index = begin ? body.program_begin.index : body.program_end.index;
    if (index >= protocol::kMaxPrograms) {
      return bad(fmt::format("program {}, expected below {}", index, protocol::kMaxPrograms));
    }
    if (!begin && body.program_end.outcome > protocol::ProgramOutcome::NotTraced) {
      return bad(fmt::format("program outcome {}, expected a known one",
                             static_cast<unsigned>(body.program_end.outcome)));
    }
  }
  if (message.type == Type::Process && (body.process.event > protocol::ProcessEvent::Ended ||
                                        body.process.mappings > protocol::kMaxMappings)) {
    return bad(fmt::format("process event {} with {} mappings, expected a known one and at most {}",
                           static_cast<unsigned>(body.process.event), body.process.mappings,
                           protocol::kMaxMappings));
  }
  return {};
}

Status check_bounds(const Message& message) {
  const auto& body = message.body;
  if (auto checked = check_program_bounds(message); !checked) return checked;
  if (message.type == Type::Mapping || message.type == Type::ProcessMapping) {
    const auto& mapping = body.mapping;
    if (mapping.index >= protocol::kMaxMappings) {
      return bad(fmt::format("mapping index {}, expected below {}", mapping.index,
                             protocol::kMaxMappings));
    }
    if (mapping.start >= mapping.end || ((mapping.start | mapping.end) & 0xFFF) != 0 ||
        (mapping.end - mapping.start) >> 12 > protocol::kMaxPages) {
      return bad(fmt::format("mapping {:#x}-{:#x}, expected 1 to {} whole pages", mapping.start,
                             mapping.end, protocol::kMaxPages));
    }
  }
  if (message.type == Type::MappingsEnd && body.mappings_end.count > protocol::kMaxMappings) {
    return bad(fmt::format("{} mappings, expected at most {}", body.mappings_end.count,
                           protocol::kMaxMappings));
  }
  if (message.type == Type::Bystander && body.bystander.pages > protocol::kMaxBystanders) {
    return bad(fmt::format("{} bystanding pages, expected at most {}", body.bystander.pages,
                           protocol::kMaxBystanders));
  }
  if (message.type == Type::Tamper) {
    const auto& tamper = body.tamper;
    if (tamper.gpa % 8 != 0 || tamper.target > protocol::Target::CodeStores) {
      return bad(
          fmt::format("tampering at {:#x} with target {}, expected a multiple of 8 and a "
                      "known target",
                      tamper.gpa, static_cast<unsigned>(tamper.target)));
    }
  }
  if (message.type == Type::Campaign) {
    if (auto checked = check_campaign(body.campaign); !checked) return checked;
  }
  if (message.type == Type::Tampering) {
    if (auto checked = check_tampering(body.tampering); !checked) return checked;
  }
  if (message.type == Type::Samples &&
      (body.samples.count == 0 || body.samples.count > protocol::kMaxSamples)) {
    return bad(
        fmt::format("{} samples, expected 1 to {}", body.samples.count, protocol::kMaxSamples));
  }
  if (message.type == Type::Counter) {
    const auto& counter = body.counter;
    if (counter.step == 0 || counter.reads == 0 || counter.nops == 0) {
      return bad(
          fmt::format("a counter with a step of {} after {} readings and {} nops, expected "
                      "more than 0 of each",
                      counter.step, counter.reads, counter.nops));
    }
  }
  if (message.type == Type::SequenceCall && body.sequence_call.index >= protocol::kMaxCalls) {
    return bad(fmt::format("call {} of a sequence, expected below {}", body.sequence_call.index,
                           protocol::kMaxCalls));
  }
  if (message.type == Type::Touched && body.touched.pages > protocol::kMaxPages) {
    return bad(fmt::format("{} touched pages, expected at most {}", body.touched.pages,
                           protocol::kMaxPages));
  }
  return {};
}

}  // namespace

Status check_message(const Message& message) {
  if (message.magic != protocol::kMagic) {
    return bad(fmt::format("magic {:#x}, expected {:#x}", message.magic, protocol::kMagic));
  }
  if (message.version != protocol::kVersion) {
    return bad(fmt::format("protocol version {}, this sealvisor speaks {}", message.version,
                           protocol::kVersion));
  }
  const int expected = body_size(message.type);
  if (expected < 0) {
    return bad(fmt::format("type {}, expected a known one", static_cast<unsigned>(message.type)));
  }
  if (message.length != static_cast<std::uint32_t>(expected)) {
    return bad(fmt::format("length {} for type {}, expected {}", message.length,
                           static_cast<unsigned>(message.type), expected));
  }
  if (!good_names(message)) {
    return bad(fmt::format("type {} has a name that is not NUL-terminated printable ASCII",
                           static_cast<unsigned>(message.type)));
  }
  return check_bounds(message);
}

Result<Message> read_message(const arch::AnyFormat& format, const memory::Memory& memory,
                             arch::Frame root, arch::Gva gva) {
  if (gva.value % protocol::kMessageSize != 0) {
    return bad(
        fmt::format("address {:#x}, expected a multiple of {}", gva.value, protocol::kMessageSize));
  }
  const arch::Walk walk = arch::walk(format, memory, root, gva);
  if (walk.end != arch::WalkEnd::Leaf || !walk.permissions.read) {
    return bad(fmt::format("address {:#x} is not mapped for user mode", gva.value));
  }
  std::array<std::byte, sizeof(Message)> copy{};
  if (!memory.read(walk.output, copy)) {
    return bad(fmt::format("address {:#x} (gpa {:#x}) is not in guest memory", gva.value,
                           walk.output.value));
  }
  Message message{};
  std::memcpy(&message, copy.data(), sizeof(message));
  if (auto checked = check_message(message); !checked) return checked.error();
  return message;
}

}  // namespace sealvisor::run
