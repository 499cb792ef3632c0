#include "vmm/run/call_paths.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::run {

using arch::FrameRule;
using arch::Symbolic;

namespace {

// 6.12: arch/x86/entry/entry_64.S, entry_64_compat.S; arch/arm64/kernel/entry.S.
constexpr auto kEntries = std::to_array<std::string_view>(
    {"entry_SYSCALL", "entry_SYSENTER", "entry_INT80", "asm_", "ret_from_fork_asm",
     "common_interrupt_return", "error_return", "el0t_", "el1t_", "el0_", "el1h_", "ret_to_user",
     "ret_from_fork",
     // These never return, so their code does not say where to; nor does it matter who called them.
     "x86_64_start_kernel", "start_kernel", "do_exit", "oom_reaper"});

/// "foo" of "foo.cold" and "foo.part.0": the compiler's splits of one function.
std::string_view stem(std::string_view name) { return name.substr(0, name.find('.')); }

/// What one stack copy shows, while it is climbed.
struct Climb {
  std::uint64_t sp;
  std::optional<std::uint64_t> fp;
  std::optional<std::uint64_t> lr;
  std::uint64_t base;  ///< Address of the first word of the copy.
  const arch::Table& stack;

  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t address) const {
    const std::uint64_t offset = address - base;
    if (offset % 8 != 0 || offset / 8 >= stack.size()) return std::nullopt;
    return stack[static_cast<std::size_t>(offset / 8)];
  }

  [[nodiscard]] std::optional<std::uint64_t> value(Symbolic symbolic) const {
    const auto offset = static_cast<std::uint64_t>(symbolic.offset);
    switch (symbolic.kind) {
      case Symbolic::Kind::Sp:
        return sp + offset;
      case Symbolic::Kind::SpWord:
        return word(sp + offset);
      case Symbolic::Kind::Fp:
        return fp ? std::optional(*fp + offset) : std::nullopt;
      case Symbolic::Kind::FpWord:
        return fp ? word(*fp + offset) : std::nullopt;
      case Symbolic::Kind::Lr:
        return lr;
      case Symbolic::Kind::Unknown:
        break;
    }
    return std::nullopt;
  }
};

}  // namespace

bool is_entry(const std::string& function) {
  return std::any_of(kEntries.begin(), kEntries.end(),
                     [&](std::string_view entry) { return function.starts_with(entry); });
}

bool CallPaths::Reader::same_function(std::uint64_t from, std::uint64_t to) const {
  return stem(paths_.name(from)) == stem(paths_.name(to));
}

const FrameRule& CallPaths::rule(std::uint64_t pc) {
  const auto known = rules_.find(pc);
  if (known != rules_.end()) return known->second;
  return rules_.emplace(pc, arch::frame_rule(arch_, reader_, pc)).first->second;
}

const std::string& CallPaths::name(std::uint64_t pc) {
  const auto known = names_.find(pc);
  if (known != names_.end()) return known->second;
  std::string name = code_.function(pc).value_or(fmt::format("{:#x}", pc));
  return names_.emplace(pc, std::move(name)).first->second;
}

bool CallPaths::can_return_to(std::uint64_t address) {
  const auto known = return_places_.find(address);
  if (known != return_places_.end()) return known->second;
  // The kernel's text lies in the upper half; the place in front of a return is in a function.
  const bool good = address >> 63 != 0 && code_.function(address - 1).has_value() &&
                    arch::follows_call(arch_, reader_, address);
  return_places_.emplace(address, good);
  return good;
}

void CallPaths::forget_much() {
  if (rules_.size() > kMostKept) rules_.clear();
  if (names_.size() > kMostKept) names_.clear();
  if (return_places_.size() > kMostKept) return_places_.clear();
}

std::size_t CallPaths::number_of(CallPath path) {
  if (paths_.size() >= kMostPaths && !numbers_.contains(path)) {
    path = {{"more call paths than are kept"}, false};
  }
  const auto [place, fresh] = numbers_.emplace(path, paths_.size());
  if (fresh) paths_.push_back(std::move(path));
  return place->second;
}

std::size_t CallPaths::of_pc(std::uint64_t pc) {
  forget_much();
  return number_of({{name(pc)}, false});
}

std::size_t CallPaths::of(const event::Event& copy, const arch::Table& stack) {
  Climb climb{copy.old_value, copy.new_value, copy.gpa, copy.old_value, stack};
  if (arch_ == arch::Arch::X86_64) climb.lr.reset();
  // First by addresses: most stores come the same way as another before.
  forget_much();
  std::vector<std::uint64_t> places{copy.pc};
  const auto inside = [&](std::size_t i) { return i == 0 ? places[i] : places[i] - 1; };
  bool complete = false;
  std::uint64_t pc = copy.pc;
  while (places.size() < kMostFunctions) {
    // Where the kernel is entered there is no caller: what lies behind on the stack are the
    // registers of who was interrupted, and user mode may have put anything into its own.
    if (is_entry(name(inside(places.size() - 1)))) {
      complete = true;
      break;
    }
    const FrameRule& how = rule(pc);
    if (how.end == FrameRule::End::Leaves) complete = true;
    if (how.end != FrameRule::End::Returns) break;
    const auto back = climb.value(how.returns_to);
    const auto sp = climb.value(how.sp);
    if (!back || !sp || *sp < climb.sp || !can_return_to(*back)) break;
    climb.fp = climb.value(how.fp);
    climb.sp = *sp;
    climb.lr.reset();  // A call has overwritten it: what counts is on the stack.
    pc = *back;
    places.push_back(pc);
  }
  complete = complete || is_entry(name(inside(places.size() - 1)));
  const auto known = by_places_.find(places);
  if (known != by_places_.end()) return known->second;
  CallPath path;
  path.complete = complete;
  for (std::size_t i = 0; i < places.size(); ++i) path.functions.push_back(name(inside(i)));
  const std::size_t number = number_of(std::move(path));
  if (by_places_.size() < kMostKept) by_places_.emplace(std::move(places), number);
  return number;
}

}  // namespace sealvisor::run
