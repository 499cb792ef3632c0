#include "guest/agent/trace.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {
namespace {

using Long = unsigned long long;

void trace_touched(const protocol::Message& message) {
  constexpr char kLetters[] = {'-', 'r', 'S', 'B', 'w'};
  constexpr const char* kMoments[] = {"before", "after", "new-place", "stores", "child"};
  const protocol::Touched& touched = message.body.touched;
  char letters[protocol::kMaxPages + 1] = {};
  for (std::uint32_t i = 0; i < std::min(touched.pages, protocol::kMaxPages); ++i) {
    letters[i] = kLetters[static_cast<unsigned>(touched.outcome[i]) % sizeof kLetters];
  }
  trace("%llu touched %s 0x%llx %s", static_cast<Long>(message.token),
        kMoments[static_cast<unsigned>(touched.moment) % 5U], static_cast<Long>(touched.start),
        letters);
}

void trace_store_block(const protocol::StoreBlock& block) {
  if (block.end != 0) return;
  trace("stores %s: %u of %u bytes at 0x%llx+0x%x step %d next 0x%llx pattern %u",
        block.store_class, block.stores, block.width, static_cast<Long>(block.gpa), block.offset,
        block.step, static_cast<Long>(block.next_gpa), static_cast<unsigned>(block.pattern));
}

void trace_experiment(const protocol::Experiment& experiment) {
  if (experiment.end == 0) {
    trace("%s begins: %u samples of %u", experiment.name, experiment.samples, experiment.batch);
  } else {
    trace("%s ended: status %d, checked %llu", experiment.name, experiment.status,
          static_cast<Long>(experiment.checked));
  }
}

void trace_samples(const protocol::Samples& samples) {
  char text[160] = {};
  std::size_t used = 0;
  for (std::uint32_t i = 0; i < std::min(samples.count, protocol::kMaxSamples); ++i) {
    const int more = std::snprintf(text + used, sizeof text - used, " %llu",
                                   static_cast<Long>(samples.ticks[i]));
    if (more < 0 || static_cast<std::size_t>(more) >= sizeof text - used) break;
    used += static_cast<std::size_t>(more);
  }
  trace("samples from %u on:%s", samples.first, text);
}

}  // namespace

void trace_message(const protocol::Message& message) {
  const Long token = message.token;
  const auto& body = message.body;
  switch (message.type) {
    case protocol::Type::Hello:
      trace("hello %u bits, page %u, vdso 0x%llx, %u CPUs, %s", body.hello.bits,
            body.hello.page_size, static_cast<Long>(body.hello.vdso), body.hello.cpus,
            body.hello.release);
      return;
    case protocol::Type::Mapping:
      trace("%llu pid %u mapping %u 0x%llx-0x%llx %c%c%c%s %s", token, message.pid,
            body.mapping.index, static_cast<Long>(body.mapping.start),
            static_cast<Long>(body.mapping.end), body.mapping.readable ? 'r' : '-',
            body.mapping.writable ? 'w' : '-', body.mapping.executable ? 'x' : '-',
            body.mapping.sealed ? " sl" : "", body.mapping.name);
      return;
    case protocol::Type::MappingsEnd:
      trace("%llu pid %u mappings end %u, vdso 0x%llx", token, message.pid, body.mappings_end.count,
            static_cast<Long>(body.mappings_end.vdso));
      return;
    case protocol::Type::ScenarioBegin:
      trace("scenario %s begins", body.scenario.name);
      return;
    case protocol::Type::ScenarioEnd:
      trace("scenario %s ends: status %d count %u", body.scenario.name, body.scenario.status,
            body.scenario.count);
      return;
    case protocol::Type::CellBegin:
      trace("%llu cell %s %s %s 0x%llx-0x%llx", token, body.cell.mapping, body.cell.operation,
            body.cell.form, static_cast<Long>(body.cell.start), static_cast<Long>(body.cell.end));
      return;
    case protocol::Type::Touched:
      trace_touched(message);
      return;
    case protocol::Type::Before:
      trace("%llu before", token);
      return;
    case protocol::Type::After:
      trace("%llu after: %lld (%s) new 0x%llx", token, static_cast<long long>(body.after.result),
            body.after.result < 0 ? std::strerror(static_cast<int>(-body.after.result)) : "done",
            static_cast<Long>(body.after.new_start));
      return;
    case protocol::Type::CellEnd:
      trace("%llu cell end: signal %d skipped %u", token, body.cell_end.signal,
            static_cast<unsigned>(body.cell_end.skipped));
      return;
    case protocol::Type::ForkParent:
      trace("%llu fork parent%s", token, body.fork.vfork ? " (vfork)" : "");
      return;
    case protocol::Type::ForkChild:
      trace("%llu fork child%s, pid %u", token, body.fork.vfork ? " (vfork)" : "", message.pid);
      return;
    case protocol::Type::Bystander:
      trace("%llu bystander 0x%llx, %u pages, %s", token, static_cast<Long>(body.bystander.start),
            body.bystander.pages, body.bystander.end != 0 ? "after" : "before");
      return;
    case protocol::Type::StoreBlock:
      trace_store_block(body.store_block);
      return;
    case protocol::Type::Campaign:
      trace("campaign: %u tamperings of seed %llu", body.campaign.count,
            static_cast<Long>(body.campaign.seed));
      break;
    case protocol::Type::Tampering: {
      const auto& one = body.tampering;
      const auto name = protocol::name_of(one.edit);
      const auto writer = protocol::name_of(one.writer);
      trace("tampering %u: %.*s of 0x%llx at level %u by %.*s, %s", one.number,
            static_cast<int>(name.size()), name.data(), static_cast<Long>(one.gva), one.level,
            static_cast<int>(writer.size()), writer.data(), one.way);
      break;
    }
    case protocol::Type::Tamper:
      if (body.tamper.target == protocol::Target::CodeStores) {
        trace("stores to code of 0x%llx %s", static_cast<Long>(body.tamper.gpa),
              body.tamper.end != 0 ? "end" : "begin");
        return;
      }
      trace("tamper %s: %u times at 0x%llx 0x%llx -> 0x%llx and back",
            body.tamper.end != 0 ? "ends" : "begins", body.tamper.pairs,
            static_cast<Long>(body.tamper.gpa), static_cast<Long>(body.tamper.original),
            static_cast<Long>(body.tamper.changed));
      return;
    case protocol::Type::Entries:
      trace("entries by %s %s: %u", body.entries.name, body.entries.end != 0 ? "end" : "begin",
            body.entries.entries);
      return;
    case protocol::Type::SequenceBegin:
      trace("%llu sequence %s begins", token, body.sequence_begin.name);
      return;
    case protocol::Type::SequenceCall:
      trace("%llu %s %s: %lld", token, body.sequence_call.call, body.sequence_call.what,
            static_cast<long long>(body.sequence_call.result));
      return;
    case protocol::Type::SequenceEnd:
      trace("%llu sequence end: signal %d", token, body.sequence_end.signal);
      return;
    case protocol::Type::Bye:
      trace("bye");
      return;
    case protocol::Type::Layout:
      trace("kernel text 0x%llx vdso 0x%llx", static_cast<Long>(body.layout.text),
            static_cast<Long>(body.layout.vdso));
      return;
    case protocol::Type::Experiment:
      trace_experiment(body.experiment);
      return;
    case protocol::Type::Samples:
      trace_samples(body.samples);
      return;
    case protocol::Type::Counter:
      trace("the counter counts %llu a second (%s), in steps of %llu",
            static_cast<Long>(body.counter.frequency), body.counter.source,
            static_cast<Long>(body.counter.step));
      return;
    case protocol::Type::Piece:
      trace("%u bytes of content %u%s", body.piece.bytes, static_cast<unsigned>(body.piece.content),
            body.piece.last != 0 ? ", the last" : "");
      return;
    case protocol::Type::ProgramBegin:
      trace("program %u begins%s", body.program_begin.index,
            body.program_begin.traced != 0 ? "" : ", not traced");
      return;
    case protocol::Type::ProgramEnd:
      trace("program %u ends: outcome %u value %d, %u left", body.program_end.index,
            static_cast<unsigned>(body.program_end.outcome), body.program_end.value,
            body.program_end.left_running);
      return;
    case protocol::Type::ProcessMapping:
      trace("process %llu mapping 0x%llx-0x%llx%s %s", token, static_cast<Long>(body.mapping.start),
            static_cast<Long>(body.mapping.end), body.mapping.sealed ? " sl" : "",
            body.mapping.name);
      return;
    case protocol::Type::Process:
      trace("process %u event %u value %d, marker 0x%llx %s", body.process.pid,
            static_cast<unsigned>(body.process.event), body.process.value,
            static_cast<Long>(body.process.marker_gpa), body.process.name);
      return;
  }
  trace("message of type %u", static_cast<unsigned>(message.type));
}

}  // namespace sealvisor::agent
