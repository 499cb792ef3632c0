#include "vmm/seal/observe.h"

#include <algorithm>

#include <fmt/format.h>

#include "arch/describe.h"

namespace sealvisor::seal {

using arch::WalkEnd;
using report::Change;

std::optional<std::uint32_t> copied_bytes(const model::Identities& identities,
                                          model::MappingPage page, arch::Frame frame,
                                          const CompareFrames& compare) {
  const model::SystemMapping& mapping = identities.all()[page.mapping];
  const auto& own = mapping.frames[page.page];
  if (!compare || !mapping.code || !own || *own == frame) return std::nullopt;
  const auto differing = compare(*own, frame);
  return differing && *differing <= kMostForcedBytes ? differing : std::nullopt;
}

Snapshot snapshot(const model::AddressSpace& space, std::size_t mapping,
                  const model::Identities& identities, const CompareFrames& compare) {
  Snapshot result;
  if (const model::Placement* placement = space.placement(mapping)) {
    result.placement = *placement;
    for (std::uint32_t i = 0; i < placement->pages.size(); ++i) {
      const model::PageView& now = placement->pages[i].now;
      result.copied.push_back(kNoCopy);
      if (now.end != WalkEnd::Leaf) continue;
      const auto differing = copied_bytes(identities, {mapping, i}, now.frame, compare);
      if (differing) result.copied.back() = *differing;
    }
  }
  for (const model::Elsewhere& elsewhere : space.elsewhere) {
    if (elsewhere.page.mapping == mapping) result.elsewhere.push_back(elsewhere);
  }
  return result;
}

namespace {

Change page_change(const model::PageRecord& before, const model::PageRecord& after, bool copied) {
  switch (after.now.end) {
    case WalkEnd::Leaf:
      if (after.now.frame != before.now.frame) {
        return copied && after.now.permissions == before.now.permissions ? Change::Privatised
                                                                         : Change::Replaced;
      }
      if (after.now.permissions != before.now.permissions) return Change::PermissionChanged;
      return after.zaps > before.zaps || after.refaults > before.refaults ? Change::Refaulted
                                                                          : Change::Unchanged;
    case WalkEnd::NonPresent:
      return Change::PermissionChanged;
    default:
      return Change::Gone;
  }
}

std::string page_text(const model::PageRecord& before, const model::PageRecord& after,
                      Change change, std::uint32_t bytes) {
  switch (change) {
    case Change::Privatised:
      return fmt::format("frame {:#x} -> {:#x}, a copy but for {} bytes",
                         before.now.frame.gpa().value, after.now.frame.gpa().value, bytes);
    case Change::Replaced:
      return fmt::format("frame {:#x} -> {:#x}", before.now.frame.gpa().value,
                         after.now.frame.gpa().value);
    case Change::PermissionChanged:
      return fmt::format("{} -> {}", arch::describe_permissions(before.now.permissions),
                         after.now.end == WalkEnd::Leaf
                             ? arch::describe_permissions(after.now.permissions)
                             : std::string("non-present"));
    default:
      return "";
  }
}

}  // namespace

report::Observation observe(const Snapshot& before, const Snapshot& after, PageRange target) {
  report::Observation result;
  const auto& pages = before.placement.pages;
  result.pages.total = static_cast<std::uint32_t>(pages.size());
  Change worst = Change::Unobserved;
  std::string detail;
  bool target_seen = false;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (pages[i].now.end != WalkEnd::Leaf) continue;  // never populated: unobserved
    ++result.pages.observed;
    target_seen = target_seen || (i >= target.first && i < target.last);
    const model::PageRecord& now =
        i < after.placement.pages.size() ? after.placement.pages[i] : model::PageRecord{};
    const std::uint32_t copied = i < after.copied.size() ? after.copied[i] : kNoCopy;
    const Change change = page_change(pages[i], now, copied != kNoCopy);
    if (change == Change::Unchanged) ++result.pages.kept;
    if (change == Change::Refaulted) ++result.pages.refaulted;
    if (change > Change::Refaulted) ++result.pages.changed;
    if (change > worst) {
      worst = change;
      detail = page_text(pages[i], now, change, copied);
      if (change == Change::PermissionChanged) {
        result.permissions = now.now.end == WalkEnd::Leaf
                                 ? arch::describe_permissions(now.now.permissions)
                                 : "non-present";
      }
    }
  }
  const auto is_new = [&](const model::Elsewhere& place) {
    return std::find(before.elsewhere.begin(), before.elsewhere.end(), place) ==
           before.elsewhere.end();
  };
  const auto moved = std::find_if(after.elsewhere.begin(), after.elsewhere.end(), is_new);
  if (moved != after.elsewhere.end()) {
    const bool left = worst == Change::Gone || worst == Change::Replaced;
    worst = left ? Change::Moved : std::max(worst, Change::Added);
    detail = fmt::format("at {:#x} {}", moved->gva.value,
                         arch::describe_permissions(moved->permissions));
  }
  if (worst != Change::Unobserved && worst <= Change::Refaulted && !target_seen) {
    result.text = "unobserved: no page that it was to change was ever populated";
    return result;
  }
  result.change = worst;
  if (worst == Change::Unobserved) {
    result.text = "unobserved: no page of it was ever populated";
    return result;
  }
  result.text = report::name_of(worst);
  if (!detail.empty()) result.text += " (" + detail + ")";
  if (result.pages.observed < result.pages.total) {
    result.text += fmt::format(", {} of {} pages seen", result.pages.observed, result.pages.total);
  }
  return result;
}

report::Observation worse(report::Observation own, report::Observation child) {
  if (child.change <= own.change) return own;
  child.text = "in the forked child: " + child.text;
  return child;
}

}  // namespace sealvisor::seal
