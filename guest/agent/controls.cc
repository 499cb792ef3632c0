#include "guest/agent/controls.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include "guest/agent/announce.h"
#include "guest/agent/campaign.h"
#include "guest/agent/console.h"
#include "guest/agent/entries.h"
#include "guest/agent/stores.h"
#include "guest/agent/storms.h"
#include "guest/agent/tamper.h"
#include "guest/agent/tamper_entry.h"
#include "guest/agent/touch.h"
#include "guest/agent/vdso_copy.h"

namespace sealvisor::agent {
namespace {

using Item = scenario::PlanItem;

/// Runs `work(token)` in one forked child.
template <typename Work>
int in_child(Agent& agent, Work work) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child < 0) return EAGAIN;
  if (child == 0) ::_exit(work(token));
  return wait_for(child).status();
}

/// Runs `work(table, total)` in a forked child that has announced its mappings; `done`: its total.
template <typename Work>
int count_in_child(Agent& agent, std::uint32_t& done, Work work) {
  // Shared, so that the child's count comes back.
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return errno;
  auto& shared = *static_cast<volatile std::uint32_t*>(page);
  const int status = in_child(agent, [&](std::uint64_t token) {
    MappingTable table;
    if (!announce_mappings(agent.doorbell, token, table)) return EIO;
    std::uint32_t total = 0;
    const int error = work(table, total);
    shared = total;
    return error;
  });
  done = shared;
  ::munmap(page, 4096);
  return status;
}

int run_stores(Agent& agent, const Item& item, std::uint32_t& done) {
  return count_in_child(agent, done, [&](const MappingTable&, std::uint32_t& total) {
    return store_to_tables(agent.doorbell, item.count, total);
  });
}

int run_entries(Agent& agent, const Item& item, std::uint32_t& done) {
  return count_in_child(agent, done, [&](const MappingTable&, std::uint32_t& total) {
    return enter_user_mode(agent.doorbell, item.count, total);
  });
}

int run_tamper_entry(Agent& agent, const Item& item, std::uint32_t& done) {
  return count_in_child(agent, done, [&](const MappingTable& table, std::uint32_t& total) {
    total = item.count;
    return tamper_with_entry(agent.doorbell, table, item.count);
  });
}

/// The 32-bit program does it (main_helper.cc).
int run_tamper_compat(Agent& agent, const Item& item, std::uint32_t& done) {
  const int status = in_child(agent, [&](std::uint64_t token) {
    const std::array words = {std::to_string(token), std::to_string(item.count)};
    return exec_helper32(agent.doorbell, "tamper", words);
  });
  if (status == 0) done = item.count;
  return status;
}

int run_tamper_code(Agent& agent, const Item& item, std::uint32_t& done) {
  return count_in_child(agent, done, [&](const MappingTable& table, std::uint32_t& total) {
    total = item.count;
    return tamper_with_code(agent.doorbell, table, item.count);
  });
}

int run_stores_code(Agent& agent, const Item& item, std::uint32_t& done) {
  return count_in_child(agent, done, [&](const MappingTable& table, std::uint32_t& total) {
    return store_to_code(agent.doorbell, table, item.count, total);
  });
}

int campaign(Agent& agent, const Item& item, std::uint32_t& done) {
  return run_campaign(agent, item.seed, item.count, item.emulated, done);
}

/// A store to [vdso] itself, in a process of its own, for the fault ends it. On arm64 a `dc zva`,
/// which the monitor sees before it faults. 0 if each was refused.
int store_to_vdso(const MappingTable& table) {
  for (const SystemMapping& mapping : table) {
    if (mapping.name_view() != "[vdso]") continue;
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
      // A fork leaves the page out; only one that is there can refuse the store.
      (void)*reinterpret_cast<const volatile char*>(mapping.start);
#if defined(__aarch64__)
      asm volatile("dc zva, %0" : : "r"(mapping.start) : "memory");
#else
      asm volatile("movq $0, (%0)" : : "r"(mapping.start) : "memory");
#endif
      ::_exit(0);
    }
    if (wait_for(child).signal != SIGSEGV) return EPROTO;
  }
  return 0;
}

int run_copy(Agent& agent, const Item&, std::uint32_t& done) {
  const int status = in_child(agent, [&](std::uint64_t token) {
    MappingTable table;
    if (!announce_mappings(agent.doorbell, token, table)) return EIO;
    VdsoCopy copy;
    if (const int error = copy.make(table); error != 0) return error;
    if (const int error = copy.run(); error != 0) return error;
    if (const int error = store_to_vdso(table); error != 0) return error;
    touch_mappings(table);
    return 0;
  });
  if (status == 0) done = 1;
  return status;
}

int lie_about_mapping(Agent& agent, const Item&, std::uint32_t& done) {
  const int status = in_child(agent, [&](std::uint64_t token) {
    MappingTable table;
    if (!read_mappings(table)) return EIO;
    VdsoCopy copy;
    if (const int error = copy.make(table); error != 0) return error;
    std::uint32_t index = 0;
    for (SystemMapping mapping : table) {
      if (mapping.name_view() == "[vdso]") {
        const std::uint64_t size = mapping.end - mapping.start;
        mapping.start = copy.vdso();
        mapping.end = mapping.start + size;
      }
      agent.doorbell.mapping(token, index++, mapping);
    }
    agent.doorbell.mappings_end(token, index);
    return 0;
  });
  if (status == 0) done = 1;
  return status;
}

int lie_about_claims(Agent& agent, const Item&, std::uint32_t& done) {
  constexpr std::uintptr_t kNowhere = 0x1000;  // Below vm.mmap_min_addr: never mapped.
  const int status = in_child(agent, [&](std::uint64_t token) {
    MappingTable table;
    if (!read_mappings(table)) return EIO;
    touch_mappings(table);
    std::uint32_t index = 0;
    for (SystemMapping mapping : table) {
      mapping.sealed = !mapping.sealed;
      agent.doorbell.mapping(token, index++, mapping);
    }
    agent.doorbell.mappings_end(token, index + 1, kNowhere);
    const std::array touch = {protocol::Touch::Read};
    agent.doorbell.touched(token, protocol::Moment::BeforeOperation, kNowhere, touch);
    return 0;
  });
  if (status == 0) done = 1;
  return status;
}

int own_calls(Agent& agent, const Item& item, std::uint32_t& done) {
  return run_own_calls(agent, item.count, done);
}

/// What it asks for happened before any scenario: see init.cc.
int lie_from_boot(Agent&, const Item&, std::uint32_t& done) {
  done = 1;
  return 0;
}

int run_panic(Agent&, const Item&, std::uint32_t&) {
  say("init ends on purpose");
  ::_exit(1);
}

int run_hang(Agent&, const Item&, std::uint32_t&) {
  for (;;) ::pause();
}

int run_flood_console(Agent&, const Item&, std::uint32_t&) {
  for (;;) say("flood: one of very many lines that nobody asked for");
}

int run_flood_doorbell(Agent& agent, const Item&, std::uint32_t&) {
  for (;;) agent.doorbell.mappings_end(0, 0);
}

int run_bad_message(Agent& agent, const Item&, std::uint32_t& done) {
  agent.doorbell.bad_message();
  done = 1;
  return 0;
}

int run_bad_pointer(Agent& agent, const Item&, std::uint32_t& done) {
  agent.doorbell.bad_pointer(0x10);  // Below vm.mmap_min_addr: never mapped.
  done = 1;
  return 0;
}

struct Control {
  std::string_view name;
  int (*run)(Agent&, const Item&, std::uint32_t&);
};

constexpr auto kControls = std::to_array<Control>({
    {"control/stores", run_stores},
    {"control/entries", run_entries},
    {"control/tamper-entry", run_tamper_entry},
    {"control/tamper-compat", run_tamper_compat},
    {"control/tamper-code", run_tamper_code},
    {"control/stores-code", run_stores_code},
    {"control/campaign", campaign},
    {"control/copy-vdso", run_copy},
    {"control/own-calls", own_calls},
    {"control/panic", run_panic},
    {"control/hang", run_hang},
    {"control/flood-console", run_flood_console},
    {"control/flood-doorbell", run_flood_doorbell},
    {"control/bad-message", run_bad_message},
    {"control/bad-pointer", run_bad_pointer},
    {"lie/mapping", lie_about_mapping},
    {"lie/claims", lie_about_claims},
    {"lie/vvar-from-boot", lie_from_boot},
    {"lie/omit-vdso", lie_from_boot},
    {"lie/skip", lie_from_boot},
});

/// Every scenario of these kinds has its function: checked when this is compiled.
static_assert(std::ranges::all_of(scenario::kScenarios, [](const scenario::Scenario& scenario) {
  return (scenario.kind != scenario::Kind::Control && scenario.kind != scenario::Kind::Lie) ||
         std::ranges::any_of(kControls,
                             [&](const Control& control) { return control.name == scenario.name; });
}));

}  // namespace

bool announce_false_vvar(Doorbell& doorbell, MappingTable& table) {
  if (!read_mappings(table)) return false;
  for (SystemMapping& mapping : table.mappings) {
    if (mapping.name_view() != "[vvar]") continue;
    const std::uint64_t size = mapping.end - mapping.start;
    void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    mapping.start = reinterpret_cast<std::uintptr_t>(memory);
    mapping.end = mapping.start + size;
  }
  announce_table(doorbell, 0, table);
  return true;
}

bool announce_without_vdso(Doorbell& doorbell, MappingTable& table) {
  if (!read_mappings(table)) return false;
  MappingTable rest;
  for (const SystemMapping& mapping : table) {
    if (mapping.name_view() != "[vdso]") rest.mappings[rest.count++] = mapping;
  }
  touch_mappings(table);
  announce_table(doorbell, 0, rest);
  return true;
}

int run_control(Agent& agent, const scenario::PlanItem& item, std::uint32_t& done) {
  for (const Control& control : kControls) {
    if (control.name == item.scenario->name) return control.run(agent, item, done);
  }
  return EINVAL;
}

}  // namespace sealvisor::agent
