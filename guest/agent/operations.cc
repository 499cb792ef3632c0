#include "guest/agent/operations.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>

#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

using protocol::Skip;
using scenario::Form;
using scenario::Operation;

const Ways& all_ways() {
  static const Ways ways = [] {
    Ways made{};
    add_map_ways(made);
    add_advise_ways(made);
    add_fault_ways(made);
    add_force_ways(made);
    add_process_ways(made);
    add_pressure_ways(made);
    add_race_ways(made);
    add_uring_ways(made);
    return made;
  }();
  return ways;
}

const Way& way_of(const Operation& operation) {
  return all_ways()[static_cast<std::size_t>(operation.call)];
}

/// Puts a page of our own at `page` if that place is free.
bool fill_free_page(std::uintptr_t page) {
  void* const got = ::mmap(reinterpret_cast<void*>(page), kPage, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == MAP_FAILED) return false;
  *reinterpret_cast<volatile unsigned char*>(page) = 1;
  return true;
}

Skip choose_range(const SystemMapping& mapping, Form form, Target& target) {
  const auto start = static_cast<std::uintptr_t>(mapping.start);
  const auto end = static_cast<std::uintptr_t>(mapping.end);
  target = {};
  target.start = target.mapping_start = start;
  target.end = target.mapping_end = end;
  target.protection = (mapping.readable ? PROT_READ : 0) | (mapping.writable ? PROT_WRITE : 0) |
                      (mapping.executable ? PROT_EXEC : 0);
  const bool one_page = end - start == kPage;
  switch (form) {
    case Form::Whole:
      break;
    case Form::FirstPage:
      if (one_page) return Skip::TooFewPages;
      target.end = start + kPage;
      break;
    case Form::LastPage:
      if (one_page) return Skip::TooFewPages;
      target.start = end - kPage;
      break;
    case Form::Neighbour:
      if (fill_free_page(end)) {
        target.start = end - kPage;
        target.end = end + kPage;
      } else if (fill_free_page(start - kPage)) {
        target.start = start - kPage;
        target.end = start + kPage;
      } else {
        return Skip::NoRoom;
      }
      break;
    case Form::Empty:
      target.end = start;
      break;
  }
  return Skip::No;
}

}  // namespace

Skip prepare(const SystemMapping& mapping, const Operation& operation, Form form, Target& target) {
  const Skip skip = choose_range(mapping, form, target);
  const Way& way = way_of(operation);
  if (skip != Skip::No || way.prepare == nullptr) return skip;
  return way.prepare(target, operation.argument);
}

long perform(const Operation& operation, Target& target) {
  const Way& way = way_of(operation);
  return way.act == nullptr ? -ENOSYS : way.act(target, operation.argument);
}

void finish(const Operation& operation, Target& target) {
  const Way& way = way_of(operation);
  if (way.finish != nullptr) way.finish(target, operation.argument);
}

}  // namespace sealvisor::agent
