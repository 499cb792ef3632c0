// Which frames are system mappings: identity by frame, not by name or address.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch/address.h"
#include "arch/format.h"

namespace sealvisor::model {

/// One system mapping of the kernel under test.
struct SystemMapping {
  std::string name;   ///< "[vdso]"; with " (32-bit)" behind it for one of compat processes.
  bool code = false;  ///< Its frames hold code: their content must not change (S5).
  /// One a page; nullopt = never seen populated, so never judged.
  std::vector<std::optional<arch::Frame>> frames;
  /// What user mode may do with it in the first process that had it: the reference for S3 and S4.
  arch::Permissions permissions{};
  std::optional<bool> claims_sealed;
  std::vector<std::string> identified_by;
  /// Address space (AddressSpace::id) whose process has it for itself, as [uprobes], whose frames
  /// the kernel allocates for each; 0: all processes show the same frames.
  std::uint64_t owner = 0;
  bool ended = false;      ///< Its owner is gone: no frame is its any more.
  std::uint64_t turn = 0;  ///< Set by Identities::add: later ones have higher ones.
};

/// A page of a system mapping.
struct MappingPage {
  std::size_t mapping = 0;
  std::uint32_t page = 0;
  friend bool operator==(const MappingPage&, const MappingPage&) = default;
};

/// All that are known. A frame belongs to the first mapping that claimed it, for good, or until the
/// owner of that mapping is gone.
class Identities {
 public:
  /// Adds a mapping with its populated frames; frames that another one has are left to that one.
  /// Returns its index.
  std::size_t add(SystemMapping mapping);
  /// Learns the frame of a page that was not populated before. False if the frame is taken.
  bool learn(MappingPage page, arch::Frame frame);

  /// `name` is what a process calls mapping `index`, which has been learned under another name: the
  /// data pages of a 32-bit process are those of all others.
  void also_called(const std::string& name, std::size_t index);
  /// The address space `owner` ended: what was its alone is no more.
  void end_of(std::uint64_t owner);

  [[nodiscard]] const std::vector<SystemMapping>& all() const { return mappings_; }
  [[nodiscard]] std::optional<MappingPage> find(arch::Frame frame) const;
  /// The index of the mapping called `name`; of several, whose owners have one each, the newest.
  [[nodiscard]] std::optional<std::size_t> named(const std::string& name) const;
  /// Whether [gpa, gpa + size) holds a frame of any system mapping. O(frames), for large leaves;
  /// O(1) for one page.
  [[nodiscard]] bool intersects(arch::Gpa gpa, std::uint64_t size) const;
  [[nodiscard]] bool empty() const { return by_frame_.empty(); }
  /// Frames of code mappings, for the engine to watch their content.
  [[nodiscard]] std::vector<arch::Frame> code_frames() const;
  /// Every known frame.
  [[nodiscard]] const std::unordered_map<arch::Frame, MappingPage>& frames() const {
    return by_frame_;
  }

 private:
  std::vector<SystemMapping> mappings_;
  std::uint64_t turns_ = 0;
  std::unordered_map<std::string, std::size_t> other_names_;
  std::unordered_map<arch::Frame, MappingPage> by_frame_;
};

}  // namespace sealvisor::model
