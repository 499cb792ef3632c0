#include "vmm/seal/policy.h"

#include <string_view>

#include <fmt/format.h>

#include "arch/describe.h"
#include "arch/linux_entry.h"

namespace sealvisor::seal {

using arch::WalkEnd;
using model::Identities;

std::string name_page(const Identities& identities, model::MappingPage page, arch::Gva gva) {
  return fmt::format("{} page {} at {:#x}", identities.all()[page.mapping].name, page.page,
                     gva.value);
}

namespace {

bool widens(const arch::Permissions& reference, const arch::Permissions& now) {
  return (now.write && !reference.write) || (now.exec && !reference.exec);
}

std::string non_present_text(arch::Arch arch, std::uint64_t value) {
  const arch::NonPresent decoded = arch::decode_non_present(arch, value);
  return fmt::format("a non-present entry ({}, {:#x})", arch::name_of(decoded.kind), value);
}

}  // namespace

std::vector<Violation> judge_transition(arch::Arch arch, const Identities& identities,
                                        const model::AddressSpace& space,
                                        const model::PageTransition& transition) {
  std::vector<Violation> violations;
  const model::SystemMapping& mapping = identities.all()[transition.page.mapping];
  const model::PageView& after = transition.after;
  const arch::Frame frame = after.end == WalkEnd::Leaf
                                ? after.frame
                                : mapping.frames[transition.page.page].value_or(arch::Frame{});
  const auto add = [&](const char* invariant, std::string text) {
    violations.push_back(
        {invariant, space.id, transition.page, transition.gva,
         name_page(identities, transition.page, transition.gva) + ": " + std::move(text), frame});
  };
  switch (after.end) {
    case WalkEnd::Absent:
      return violations;
    case WalkEnd::NonPresent:
      add("S3", "holds " + non_present_text(arch, after.value) + ", user mode can no longer read");
      return violations;
    case WalkEnd::Malformed:
    case WalkEnd::Unreadable:
    case WalkEnd::NonCanonical:
      add("S6", fmt::format("its translation is broken at level {} (entry {:#x})", after.level,
                            after.value));
      return violations;
    case WalkEnd::Leaf:
      break;
  }
  const auto& expected = mapping.frames[transition.page.page];
  if (!expected) {
    add("S2", fmt::format("frame {:#x} appeared where the first process had none",
                          after.frame.gpa().value));
  } else if (*expected != after.frame) {
    add("S2", fmt::format("frame {:#x} instead of {:#x}", after.frame.gpa().value,
                          expected->gpa().value));
  }
  if (after.permissions != mapping.permissions) {
    add("S3",
        fmt::format("permissions {} instead of {}", arch::describe_permissions(after.permissions),
                    arch::describe_permissions(mapping.permissions)));
  }
  return violations;
}

Violation judge_elsewhere(const Identities& identities, const model::AddressSpace& space,
                          const model::Elsewhere& elsewhere) {
  const model::SystemMapping& mapping = identities.all()[elsewhere.page.mapping];
  const model::Placement* home = space.placement(elsewhere.page.mapping);
  const bool home_left =
      home != nullptr && home->pages[elsewhere.page.page].now.end != WalkEnd::Leaf;
  std::string text = fmt::format(
      "{} page {} is reachable at {:#x} with {}{}", mapping.name, elsewhere.page.page,
      elsewhere.gva.value, arch::describe_permissions(elsewhere.permissions),
      widens(mapping.permissions, elsewhere.permissions) ? ", wider than the mapping allows" : "");
  if (mapping.owner != 0 && mapping.owner != space.id) text += "; it is another process's";
  if (home != nullptr) {
    text += fmt::format("; its place is {:#x}{}", home->gva(elsewhere.page.page).value,
                        home_left ? ", where nothing is now" : "");
  }
  const auto& frame = mapping.frames[elsewhere.page.page];
  return {"S4",          space.id,        elsewhere.page,
          elsewhere.gva, std::move(text), frame.value_or(arch::Frame{})};
}

std::vector<Violation> judge_gone(const Identities& identities, const model::AddressSpace& space,
                                  const model::Placement& placement) {
  std::vector<Violation> violations;
  for (std::uint32_t i = 0; i < placement.pages.size(); ++i) {
    const model::PageRecord& page = placement.pages[i];
    if (!page.first || page.now.end != WalkEnd::Absent) continue;
    const model::MappingPage id{placement.mapping, i};
    violations.push_back({"S1", space.id, id, placement.gva(i),
                          name_page(identities, id, placement.gva(i)) +
                              ": was populated, touched again, and is gone",
                          page.first->frame});
  }
  return violations;
}

std::optional<Violation> judge_content(const Identities& identities, const event::Event& write) {
  const bool store =
      write.kind == event::Kind::ContentWrite || write.kind == event::Kind::SlotWrite;
  if (!store || write.old_value == write.new_value) return std::nullopt;
  const auto found = identities.find(arch::frame_of(arch::Gpa{write.gpa}));
  if (!found) return std::nullopt;
  const model::MappingPage page = *found;
  const model::SystemMapping& mapping = identities.all()[page.mapping];
  if (!mapping.code) return std::nullopt;
  return Violation{
      "S5",
      0,
      page,
      arch::Gva{0},
      fmt::format("{} page {}: a store changed its code at frame offset {:#x} from {:#x} to "
                  "{:#x} (pc {:#x})",
                  mapping.name, page.page, write.gpa & (arch::kPageSize - 1), write.old_value,
                  write.new_value, write.pc),
      arch::frame_of(arch::Gpa{write.gpa}),
      write};
}

Violation judge_copy(const Identities& identities, const model::AddressSpace& space,
                     const model::PageTransition& transition, std::uint32_t bytes) {
  return {"S5",
          space.id,
          transition.page,
          transition.gva,
          fmt::format("{}: {} bytes of its code are others in the copy that is shown, frame {:#x}",
                      name_page(identities, transition.page, transition.gva), bytes,
                      transition.after.frame.gpa().value),
          transition.after.frame};
}

std::vector<Violation> judge_inheritance(const Identities& identities,
                                         const model::AddressSpace& parent,
                                         const model::AddressSpace& child) {
  std::vector<Violation> violations;
  for (const model::Placement& had : parent.placements) {
    const model::SystemMapping& mapping = identities.all()[had.mapping];
    // The kernel does not copy this one to a child, by design (kernel/events/uprobes.c).
    if (mapping.name == "[uprobes]") continue;
    const model::Placement* has = child.placement(had.mapping);
    const model::MappingPage first{had.mapping, 0};
    if (has == nullptr) {
      bool populated = false;
      for (const model::PageRecord& page : had.pages) populated = populated || page.first;
      if (!populated) continue;
      violations.push_back({"S8", child.id, first, had.base,
                            mapping.name + " of the parent is not in its forked child"});
    } else if (has->base != had.base) {
      violations.push_back(
          {"S8", child.id, first, has->base,
           fmt::format("{} is at {:#x} in a forked child and at {:#x} in its parent", mapping.name,
                       has->base.value, had.base.value)});
    }
  }
  return violations;
}

std::optional<Violation> judge_vdso_address(const Identities& identities,
                                            const model::AddressSpace& space, std::size_t vdso,
                                            arch::Gva auxiliary) {
  const model::Placement* placement = space.placement(vdso);
  if (placement != nullptr && placement->base == auxiliary) return std::nullopt;
  const std::string place = placement == nullptr
                                ? std::string("are nowhere in this address space")
                                : fmt::format("are at {:#x}", placement->base.value);
  return Violation{"S8",
                   space.id,
                   {vdso, 0},
                   auxiliary,
                   fmt::format("the auxiliary vector says that {} is at {:#x}; its frames {}",
                               identities.all()[vdso].name, auxiliary.value, place)};
}

}  // namespace sealvisor::seal
