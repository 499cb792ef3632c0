// The functions of the kernel that led to a store: its call path, from a copy of the stack.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch/any_format.h"
#include "arch/arch.h"
#include "arch/frame_rule.h"
#include "arch/walk.h"
#include "vmm/event/event.h"
#include "vmm/image/symbols.h"

namespace sealvisor::run {

/// Functions, the one that stored first, up to where the kernel was entered.
struct CallPath {
  std::vector<std::string> functions{};
  /// It leads to where the kernel was entered. False: `functions` is what could be told.
  bool complete = false;
  friend bool operator==(const CallPath&, const CallPath&) = default;
  friend auto operator<=>(const CallPath&, const CallPath&) = default;
};

/// Names and text of the kernel, as the unwinder needs them; replaced in tests.
struct KernelCode {
  /// Bytes of live text; how many were read.
  std::function<std::size_t(std::uint64_t address, std::span<std::uint8_t> room)> read;
  /// The function that holds an address.
  std::function<std::optional<std::string>(std::uint64_t address)> function;
};

/// Tells paths, and keeps each one once. What was found out about a place in the text is kept too:
/// a kernel's text does not change but for a few patched instructions, which move no stack.
class CallPaths {
 public:
  /// Most functions of one path; a longer one is not complete.
  static constexpr std::size_t kMostFunctions = 64;
  /// Most paths that are told apart. All others are one, which is not complete and names no
  /// function: what came by it has no known cause.
  static constexpr std::size_t kMostPaths = 16'384;
  /// Most of anything else that is kept, between two paths: a guest that calls in ever new ways, or
  /// has ever new words on its stack, costs time and no memory.
  static constexpr std::size_t kMostKept = 65'536;

  CallPaths(arch::Arch arch, KernelCode code)
      : arch_(arch), code_(std::move(code)), reader_(*this) {}
  CallPaths(const CallPaths&) = delete;
  CallPaths& operator=(const CallPaths&) = delete;

  /// The path of the store that `copy`, a StackCopy with `stack`, is of: its number.
  [[nodiscard]] std::size_t of(const event::Event& copy, const arch::Table& stack);
  /// A path of which only the storing function is known.
  [[nodiscard]] std::size_t of_pc(std::uint64_t pc);
  [[nodiscard]] const CallPath& path(std::size_t number) const { return paths_[number]; }
  [[nodiscard]] std::size_t size() const { return paths_.size(); }

 private:
  class Reader final : public arch::CodeReader {
   public:
    explicit Reader(CallPaths& paths) : paths_(paths) {}
    [[nodiscard]] std::size_t read(std::uint64_t address,
                                   std::span<std::uint8_t> room) const override {
      return paths_.code_.read(address, room);
    }
    [[nodiscard]] bool same_function(std::uint64_t from, std::uint64_t to) const override;

   private:
    CallPaths& paths_;
  };
  [[nodiscard]] const arch::FrameRule& rule(std::uint64_t pc);
  [[nodiscard]] const std::string& name(std::uint64_t pc);
  [[nodiscard]] bool can_return_to(std::uint64_t address);
  [[nodiscard]] std::size_t number_of(CallPath path);
  /// Makes room. References that rule() and name() gave are void then.
  void forget_much();

  arch::Arch arch_;
  KernelCode code_;
  Reader reader_;
  std::unordered_map<std::uint64_t, arch::FrameRule> rules_;
  std::unordered_map<std::uint64_t, std::string> names_;
  std::unordered_map<std::uint64_t, bool> return_places_;
  std::map<std::vector<std::uint64_t>, std::size_t> by_places_;
  std::map<CallPath, std::size_t> numbers_;
  std::vector<CallPath> paths_;
};

/// Whether `function` is one in which the kernel is entered: nothing calls it.
[[nodiscard]] bool is_entry(const std::string& function);

}  // namespace sealvisor::run
