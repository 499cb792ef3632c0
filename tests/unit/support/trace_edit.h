// Writes a trace, or a bundle, anew as somebody would who wants it to say something else: digests
// and all.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "vmm/evidence/block_file.h"
#include "vmm/evidence/manifest.h"
#include "vmm/evidence/trace_codec.h"

namespace sealvisor::test {

/// Copies `from` to `to`, record by record; `edit` may change each event, and false leaves it out.
inline void edit_trace(const std::filesystem::path& from, const std::filesystem::path& to,
                       const evidence::Digest& seed, const std::function<bool(event::Event&)>& edit,
                       evidence::BlockSeal& seal) {
  using Kind = evidence::Record::Kind;
  auto reader = evidence::BlockReader::open(from, seed);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  auto writer = evidence::BlockWriter::create(to, seed);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  evidence::TraceDecoder decoder;
  evidence::TraceEncoder encoder;
  auto& out = writer.value().plain();
  for (;;) {
    const auto block = reader.value().next();
    ASSERT_TRUE(block.ok()) << block.error().message;
    if (block.value().empty()) break;
    evidence::WireReader wire(block.value());
    while (!wire.empty()) {
      auto next = decoder.next(wire);
      ASSERT_TRUE(next.ok()) << next.error().message;
      evidence::Record& record = next.value();
      switch (record.kind) {
        case Kind::Event:
          if (edit(record.event)) {
            ASSERT_TRUE(encoder.event(record.event, out));
          }
          break;
        case Kind::Stopped:
          encoder.stopped(out);
          break;
        case Kind::Reads:
          encoder.reads(record.reads, out);
          break;
        case Kind::Memory: {
          const auto* frame = decoder.shadow().find(arch::frame_of(record.gpa));
          ASSERT_NE(frame, nullptr);
          ASSERT_TRUE(encoder.words(
              record.gpa,
              std::span(frame->words).subspan(arch::slot_index(record.gpa), record.words), out));
          break;
        }
        case Kind::Ended:
          encoder.ended(record.ended, out);
          break;
      }
      writer.value().written();
    }
  }
  auto closed = writer.value().close();
  ASSERT_TRUE(closed.ok()) << closed.error().message;
  seal = closed.value();
}

/// Makes the chain of `trace` anew, as one of another description.
inline void rechain(const std::filesystem::path& trace, const evidence::Digest& was,
                    const evidence::Digest& seed, evidence::BlockSeal& seal) {
  const std::filesystem::path forged = trace.string() + ".forged";
  auto reader = evidence::BlockReader::open(trace, was);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  auto writer = evidence::BlockWriter::create(forged, seed);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (;;) {
    const auto block = reader.value().next();
    ASSERT_TRUE(block.ok()) << block.error().message;
    if (block.value().empty()) break;
    auto& out = writer.value().plain();
    out.insert(out.end(), block.value().begin(), block.value().end());
    writer.value().written();
  }
  auto closed = writer.value().close();
  ASSERT_TRUE(closed.ok()) << closed.error().message;
  seal = closed.value();
  std::filesystem::rename(forged, trace);
}

/// Makes manifest and seal of the bundle in `folder` anew, of its files as they are now.
inline void seal_again(const std::filesystem::path& folder,
                       const std::function<void(evidence::Manifest&)>& change = {}) {
  const auto text = evidence::read_whole(folder / evidence::kManifestName);
  ASSERT_TRUE(text.ok()) << text.error().message;
  auto manifest = evidence::parse_manifest(text.value());
  ASSERT_TRUE(manifest.ok()) << manifest.error().message;
  if (change) change(manifest.value());
  for (evidence::FileEntry& entry : manifest.value().files) {
    auto now = evidence::describe(folder, entry.path);
    ASSERT_TRUE(now.ok()) << now.error().message;
    entry = std::move(now).value();
  }
  const std::string now = evidence::render(manifest.value());
  std::ofstream(folder / evidence::kManifestName, std::ios::binary) << now;
  std::ofstream(folder / evidence::kSealName, std::ios::binary) << evidence::seal_of(now).text;
}

/// Changes the events of one run of the bundle in `folder`, and seals it again.
inline void forge(const std::filesystem::path& folder, const std::string& run,
                  const std::function<bool(event::Event&)>& edit) {
  const auto description = evidence::read_whole(folder / run / evidence::kRunName);
  ASSERT_TRUE(description.ok()) << description.error().message;
  const std::filesystem::path trace = folder / run / evidence::kTraceName;
  const std::filesystem::path forged = trace.string() + ".forged";
  evidence::BlockSeal end;
  edit_trace(trace, forged, evidence::digest_of(description.value()), edit, end);
  std::filesystem::rename(forged, trace);
  seal_again(folder, [&](evidence::Manifest& manifest) {
    for (evidence::RunEntry& entry : manifest.runs) {
      if (entry.folder != run) continue;
      entry.trace_blocks = end.blocks;
      entry.trace_end = end.digest;
    }
  });
}

}  // namespace sealvisor::test
