// The bytes of system mappings' code: as they were, as the events make them, as they are at the
// end.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "arch/address.h"
#include "vmm/event/event.h"
#include "vmm/event/ring.h"
#include "vmm/memory/memory.h"

namespace sealvisor::run {

using PageBytes = std::array<std::byte, arch::kPageSize>;

/// A frame of code.
struct CodeFrame {
  PageBytes first{};              ///< When it was first known to be of a system mapping.
  PageBytes told{};               ///< The same, with each store that an event told of.
  std::optional<PageBytes> last;  ///< Once the guest was gone; nullopt: it can't be read.
};

/// What re-walks are for tables this is for code: a store that no event told of shows at the end.
class CodeWatch {
 public:
  /// At a stop: `frames` are of code, from now on if they are new.
  void on_stopped(const memory::Memory& memory, std::span<const arch::Frame> frames);
  /// A ContentWrite.
  void on_write(const event::Event& event);
  /// Once the guest is gone.
  void on_end(const memory::Memory& memory);

  [[nodiscard]] const std::map<arch::Frame, CodeFrame>& frames() const { return frames_; }
  /// The first byte that is not what the events make of it, for people; empty: there is none.
  /// Precondition: on_end(), and every event was told.
  [[nodiscard]] std::string difference() const;

 private:
  /// More are never watched.
  static constexpr std::size_t kMost = event::kMaxContentFrames;
  std::map<arch::Frame, CodeFrame> frames_;
};

/// The files that these are kept in, by their name in the folder of a run: "code/0x16dc000.first"
/// and "code/0x16dc000.last", a page each.
[[nodiscard]] std::map<std::string, PageBytes> snapshot_files(const CodeWatch& code);

}  // namespace sealvisor::run
