// The monitor with two vCPUs, in a stand-in for QEMU: whose root, whose cache, whose user mode.
#include "vmm/engine/tcg/plugin/monitor.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/plugin/fake_qemu.h"
#include "vmm/engine/tcg/plugin/entry.h"
#include "vmm/engine/tcg/plugin/which_vcpu.h"

namespace sealvisor::engine::tcg {
namespace {

using arch::Frame;
using event::Event;
using event::Kind;
using test::FakeQemu;

constexpr std::uint64_t kRamBytes = 4U << 20;
constexpr std::uint64_t kKernel = 0xffffffff81000000;
constexpr std::uint64_t kUser = 0x401000;
// Roots, and below each its tables down to the one with entries of pages.
constexpr Frame kRoots[] = {Frame{0x100}, Frame{0x200}};
constexpr Frame kPage{0x300};
constexpr std::uint64_t kOwnWords[] = {0xffff888000000000, 0xffff888000100000};
const std::vector<std::uint8_t> kLoadRoot = {0x0f, 0x22, 0xd8};         // mov cr3, rax
const std::vector<std::uint8_t> kLoadTtbr0 = {0x00, 0x20, 0x18, 0xd5};  // msr ttbr0_el1, x0
const std::vector<std::uint8_t> kEret = {0xe0, 0x03, 0x9f, 0xd6};
const std::vector<std::uint8_t> kLoadCr4 = {0x0f, 0x22, 0xe0};  // mov cr4, rax
const std::vector<std::uint8_t> kStore = {0x48, 0x89, 0x07};    // mov [rdi], rax
const std::vector<std::uint8_t> kNop = {0x90};

Frame leaf_table(unsigned which) { return Frame{kRoots[which].number + 3}; }

/// Two vCPUs, each with a root to load.
class Machine {
 public:
  explicit Machine(arch::Arch arch = arch::Arch::X86_64)
      : arch_(arch),
        ram_file_(memory_file("ram", kRamBytes, false).value()),
        ram_(map(ram_file_, kRamBytes)),
        ring_file_(memory_file("ring", event::kRingBytes, false).value()),
        ring_memory_(map(ring_file_, event::kRingBytes)),
        ring_(ring_memory_.bytes()) {
    ring_.initialise();
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    vmm_ = Fd(ends[0]);
    for (const Frame root : kRoots) {
      for (std::uint64_t below = 0; below < 3; ++below) {
        put(Frame{root.number + below}.gpa().value,
            Frame{root.number + below + 1}.gpa().value | (is_arm() ? 3 : 7));
      }
    }
    PluginOptions options;
    options.arch = arch_;
    options.vcpus = 2;
    Mapping again = map(ring_file_, event::kRingBytes);
    const event::Ring ring(again.bytes());
    monitor_ = std::make_unique<Monitor>(
        options, RamView(map(ram_file_, kRamBytes), Fd(::dup(ram_file_.get())), arch::Gpa{0}),
        Channel(std::move(again), ring, Fd(ends[1])));
    qemu_.set_ram(ram_.data());
    for (unsigned vcpu = 0; vcpu < 2; ++vcpu) {
      set_paging(vcpu, true);
      qemu_.on(vcpu, [&] { monitor_->on_vcpu_init(vcpu); });
    }
  }

  void set_paging(unsigned vcpu, bool on, std::uint64_t cr4 = 1U << 5) {
    auto& registers = qemu_.registers(vcpu);
    if (is_arm()) {
      // T0SZ = T1SZ = 16, TG0 = TG1 = 4 KiB; SCTLR_EL1.M.
      registers["TCR_EL1"] = 16 | (16ULL << 16) | (2ULL << 30);
      registers["SCTLR"] = on ? 1 : 0;
      return;
    }
    registers["cr0"] = on ? 1U << 31 : 0;
    registers["cr4"] = cr4;
    registers["efer"] = on ? 0xD00 : 0;
  }
  /// The vCPU loads a root in the kernel.
  void load_root(unsigned vcpu, Frame root) {
    qemu_.registers(vcpu)[is_arm() ? "x0" : "rax"] = root.gpa().value;
    in_kernel(vcpu);
    run(vcpu, kKernel, {{load_root_code()}});
    qemu_.registers(vcpu)[is_arm() ? "TTBR0_EL1" : "cr3"] = root.gpa().value;
  }
  /// The vCPU writes CR4, which is set_paging()'s already.
  void write_cr4(unsigned vcpu) {
    in_kernel(vcpu);
    run(vcpu, kKernel, {{kLoadCr4}});
  }
  /// A block of user mode.
  void run_user(unsigned vcpu) { run_user(vcpu, {{kNop}, {kNop}}); }
  /// User mode runs an instruction that it may not.
  void try_root(unsigned vcpu, Frame root) {
    qemu_.registers(vcpu)[is_arm() ? "x0" : "rax"] = root.gpa().value;
    run_user(vcpu, {{kNop}, {load_root_code()}});
  }
  /// arm64: the same of a process in AArch32 state, where QEMU shows what the kernel left.
  void try_root_32(unsigned vcpu, Frame root) {
    in_kernel(vcpu);
    qemu_.registers(vcpu)["x0"] = root.gpa().value;
    qemu_.registers(vcpu)["SPSR_EL1"] = 0x10;
    run(vcpu, kUser, {{kNop}, {load_root_code()}});
  }
  /// arm64: what TTBR0_EL1 and TTBR1_EL1 hold from now on.
  void hold_roots(unsigned vcpu, Frame lower, Frame upper) {
    qemu_.registers(vcpu)["TTBR0_EL1"] = lower.gpa().value;
    qemu_.registers(vcpu)["TTBR1_EL1"] = upper.gpa().value;
  }
  /// arm64: the kernel runs at a low address, as it does while it boots, and then returns to user
  /// mode.
  void run_low_kernel(unsigned vcpu) {
    in_kernel(vcpu);
    run(vcpu, kUser, {{kNop}});
    run(vcpu, kKernel, {{kEret}});
  }
  void store(unsigned vcpu, std::uint64_t vaddr, std::uint64_t gpa, std::uint64_t value) {
    in_kernel(vcpu);
    run(vcpu, kKernel + 0x100, {{kNop}, {kStore, test::FakeStore{vaddr, gpa, value}}});
  }
  /// Events since the last call, but for copies of tables.
  std::vector<Event> take() {
    std::vector<Event> taken;
    for (auto ready = ring_.ready(); !ready.empty(); ready = ring_.ready()) {
      for (const Event& event : ready) {
        if (event.kind == Kind::TableCopy) {
          ring_.take_copy();
        } else {
          taken.push_back(event);
        }
        EXPECT_GE(event.icount, last_icount_) << "one order for all vCPUs";
        last_icount_ = event.icount;
      }
      ring_.consume(ready.size());
    }
    return taken;
  }
  /// Those of one kind.
  std::vector<Event> take(Kind kind) {
    std::vector<Event> taken = take();
    std::erase_if(taken, [&](const Event& event) { return event.kind != kind; });
    return taken;
  }

 private:
  [[nodiscard]] bool is_arm() const { return arch_ == arch::Arch::Arm64; }
  [[nodiscard]] const std::vector<std::uint8_t>& load_root_code() const {
    return is_arm() ? kLoadTtbr0 : kLoadRoot;
  }
  void run_user(unsigned vcpu, std::vector<test::FakeInstruction> instructions) {
    auto& registers = qemu_.registers(vcpu);
    registers["cs"] = 0x33;
    registers["gs_base"] = 0x7f0000000000;
    registers["k_gs_base"] = kOwnWords[vcpu];
    registers["cpsr"] = 0;
    run(vcpu, kUser, std::move(instructions));
  }
  void in_kernel(unsigned vcpu) {
    auto& registers = qemu_.registers(vcpu);
    // PSTATE and SPSR_EL1: EL1h, and what a 64-bit process left.
    registers["cpsr"] = 0x3C5;
    registers["SPSR_EL1"] = 0;
    registers["TPIDR_EL1"] = kOwnWords[vcpu];
    registers["cs"] = 0x10;
    registers["gs_base"] = kOwnWords[vcpu];
    registers["k_gs_base"] = 0;
  }
  static Mapping map(const Fd& file, std::uint64_t bytes) {
    return Mapping::map(file, bytes, PROT_READ | PROT_WRITE, "test").value();
  }
  void put(std::uint64_t gpa, std::uint64_t value) {
    std::memcpy(ram_.data() + gpa, &value, sizeof value);
  }
  void run(unsigned vcpu, std::uint64_t vaddr, std::vector<test::FakeInstruction> instructions) {
    qemu_.run(vcpu, vaddr, std::move(instructions),
              [&](qemu_plugin_tb* block) { monitor_->on_translate(block); });
  }

  arch::Arch arch_;
  FakeQemu& qemu_ = FakeQemu::get();
  Fd ram_file_;
  Mapping ram_;
  Fd ring_file_;
  Mapping ring_memory_;
  event::Ring ring_;
  Fd vmm_;
  std::unique_ptr<Monitor> monitor_;
  std::uint64_t last_icount_ = 0;
};

/// Runs `body` in a process of its own: there is one monitor in a process.
void with_machine(const std::function<void(Machine&)>& body, arch::Arch arch = arch::Arch::X86_64) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Machine machine(arch);
    body(machine);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "what failed is above";
}

/// Both vCPUs run user mode, each on its root.
void start_both(Machine& machine) {
  for (unsigned vcpu = 0; vcpu < 2; ++vcpu) machine.load_root(vcpu, kRoots[vcpu]);
  for (unsigned vcpu = 0; vcpu < 2; ++vcpu) machine.run_user(vcpu);
}

TEST(Monitor, EachVcpuHasItsRoot) {
  with_machine([](Machine& machine) {
    start_both(machine);
    std::vector<Event> loads = machine.take();
    std::vector<Event> entries = loads;
    std::erase_if(loads, [](const Event& event) { return event.kind != Kind::RootLoad; });
    std::erase_if(entries, [](const Event& event) { return event.kind != Kind::UserEntry; });
    ASSERT_EQ(loads.size(), 2U) << "a change to the other's root is no load";
    ASSERT_EQ(entries.size(), 2U);
    for (std::uint8_t vcpu = 0; vcpu < 2; ++vcpu) {
      EXPECT_EQ(loads[vcpu].vcpu, vcpu);
      EXPECT_EQ(loads[vcpu].gpa, kRoots[vcpu].gpa().value);
      EXPECT_EQ(entries[vcpu].vcpu, vcpu);
      EXPECT_EQ(entries[vcpu].root, kRoots[vcpu].gpa().value);
    }
    for (unsigned vcpu = 0; vcpu < 2; ++vcpu) machine.run_user(vcpu);
    EXPECT_TRUE(machine.take().empty()) << "nothing changed since";
  });
}

TEST(Monitor, AStoreIsOfTheVcpuThatMadeItAndIsJudgedOnBoth) {
  with_machine([](Machine& machine) {
    start_both(machine);
    machine.take();
    machine.store(0, kKernel + 0x1000, leaf_table(1).slot(5).value, kPage.gpa().value | 5);
    const auto stores = machine.take();
    ASSERT_EQ(stores.size(), 1U);
    EXPECT_EQ(stores[0].kind, Kind::SlotWrite);
    EXPECT_EQ(stores[0].vcpu, 0U);
    EXPECT_EQ(stores[0].root, kRoots[0].gpa().value) << "the storing vCPU's, whosever table it is";
    machine.run_user(1);
    const auto other = machine.take();
    ASSERT_EQ(other.size(), 1U);
    EXPECT_EQ(other[0].kind, Kind::UserEntry);
    EXPECT_EQ(other[0].vcpu, 1U);
    EXPECT_EQ(other[0].root, kRoots[1].gpa().value);
    machine.run_user(0);
    EXPECT_EQ(machine.take(Kind::UserEntry).size(), 1U);
  });
}

/// What one vCPU knows of a page says nothing of the other's page at that address.
TEST(Monitor, EachVcpuHasItsPages) {
  with_machine([](Machine& machine) {
    start_both(machine);
    machine.take();
    constexpr std::uint64_t kPlace = 0x7000'0000'0000;
    machine.store(1, kPlace, kPage.slot(0).value, 1);
    machine.store(1, kPlace, kPage.slot(0).value, 2);
    EXPECT_TRUE(machine.take().empty());
    machine.store(0, kPlace, leaf_table(1).slot(6).value, kPage.gpa().value | 5);
    EXPECT_EQ(machine.take(Kind::SlotWrite).size(), 1U);
    // One links the other's page as a table: what the other knew of it no longer holds.
    machine.store(1, kPlace, kPage.slot(0).value, 3);
    EXPECT_TRUE(machine.take().empty());
    machine.store(0, kPlace + 0x1000, Frame{kRoots[0].number + 2}.slot(9).value,
                  kPage.gpa().value | 7);
    machine.take();
    machine.store(1, kPlace, kPage.slot(0).value, 4);
    const auto stores = machine.take(Kind::SlotWrite);
    ASSERT_EQ(stores.size(), 1U);
    EXPECT_EQ(stores[0].vcpu, 1U);
    EXPECT_EQ(stores[0].old_value, 3U);
  });
}

/// As the second CPU of x86-64 does: its first root is loaded before paging is on.
TEST(Monitor, AVcpuThatComesUpIsFollowedOnceItsPagingIsTheFirsts) {
  with_machine([](Machine& machine) {
    machine.load_root(0, kRoots[0]);
    machine.run_user(0);
    machine.take();
    machine.set_paging(1, false);
    machine.load_root(1, Frame{0x90});
    machine.load_root(1, kRoots[1]);
    EXPECT_TRUE(machine.take().empty()) << "neither a root nor another format for all";
    machine.set_paging(1, true);
    machine.load_root(1, kRoots[1]);
    machine.run_user(1);
    const auto events = machine.take();
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.front().kind, Kind::RootLoad);
    EXPECT_EQ(events.front().vcpu, 1U);
    EXPECT_EQ(events.back().kind, Kind::UserEntry);
    EXPECT_EQ(events.back().vcpu, 1U);
    // The first vCPU's tables are still followed.
    machine.store(1, kKernel + 0x1000, leaf_table(0).slot(5).value, kPage.gpa().value | 5);
    EXPECT_EQ(machine.take(Kind::SlotWrite).size(), 1U);
  });
}

/// As on x86-64: the first turned protection keys on while it booted, on a root that it keeps; the
/// second one runs user mode before it does.
TEST(Monitor, UserModeOfTheSecondMayComeFirst) {
  static constexpr std::uint64_t kKeys = 1U << 5 | 1U << 22;  // CR4.PAE, PKE
  with_machine([](Machine& machine) {
    machine.load_root(0, kRoots[0]);
    machine.set_paging(0, true, kKeys);
    machine.write_cr4(0);
    machine.set_paging(1, true, kKeys);
    machine.load_root(1, kRoots[1]);
    machine.take();
    machine.run_user(1);
    const auto events = machine.take();
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.front().kind, Kind::Registers);
    EXPECT_EQ(events.front().new_value, kKeys);
    const auto load = std::find_if(events.begin(), events.end(),
                                   [](const Event& event) { return event.kind == Kind::RootLoad; });
    ASSERT_NE(load, events.end());
    EXPECT_EQ(load->gpa, kRoots[1].gpa().value);
    EXPECT_EQ(events.back().kind, Kind::UserEntry);
    EXPECT_EQ(events.back().vcpu, 1U);
    machine.load_root(0, kRoots[0]);
    machine.run_user(0);
    const auto entries = machine.take(Kind::UserEntry);
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(entries[0].vcpu, 0U);
  });
}

TEST(Monitor, UserModeOnAVcpuOfOtherPagingIsNamedOnce) {
  with_machine([](Machine& machine) {
    machine.load_root(0, kRoots[0]);
    machine.run_user(0);
    machine.take();
    machine.set_paging(1, true, 1U << 5 | 1U << 12);  // CR4.LA57
    machine.load_root(1, kRoots[1]);
    for (int time = 0; time < 2; ++time) {
      machine.store(0, kKernel + 0x1000, leaf_table(0).slot(5).value, 0);
      machine.run_user(1);
    }
    std::vector<Event> limits = machine.take();
    std::erase_if(limits, [](const Event& event) { return event.kind == Kind::SlotWrite; });
    ASSERT_EQ(limits.size(), 1U);
    EXPECT_EQ(limits[0].kind, Kind::Limit);
    EXPECT_EQ(limits[0].aux, static_cast<std::uint64_t>(event::Limit::OtherPaging));
  });
}

/// Threads of one process: only what their kernel keeps for each CPU tells them apart.
TEST(Monitor, VcpusOfOneRootAreToldApart) {
  with_machine([](Machine& machine) {
    start_both(machine);
    machine.load_root(1, kRoots[0]);
    machine.run_user(1);
    machine.run_user(0);
    machine.take();
    machine.store(1, kKernel + 0x1000, leaf_table(0).slot(5).value, kPage.gpa().value | 5);
    const auto stores = machine.take();
    ASSERT_EQ(stores.size(), 1U);
    EXPECT_EQ(stores[0].vcpu, 1U);
    for (const unsigned vcpu : {0U, 1U}) {
      machine.run_user(vcpu);
      const auto entries = machine.take();
      ASSERT_EQ(entries.size(), 1U);
      EXPECT_EQ(entries[0].kind, Kind::UserEntry);
      EXPECT_EQ(entries[0].vcpu, vcpu);
      EXPECT_EQ(entries[0].root, kRoots[0].gpa().value);
    }
  });
}

/// What user mode tries faults, and loads nothing.
TEST(Monitor, UserModeLoadsNoRoot) {
  for (const arch::Arch arch : arch::kAllArchs) {
    SCOPED_TRACE(arch::name_of(arch));
    with_machine(
        [](Machine& machine) {
          start_both(machine);
          machine.run_user(0);
          machine.take();
          machine.try_root(0, Frame{0x90});
          EXPECT_TRUE(machine.take().empty());
          machine.load_root(0, kRoots[1]);
          EXPECT_EQ(machine.take(Kind::RootLoad).size(), 1U) << "the kernel does";
        },
        arch);
  }
}

/// QEMU goes on to show EL1's PSTATE. The word is `ldrle r2, [r8, #-0]` there (Arm ARM F5.1.76).
TEST(Monitor, UserModeInAArch32StateIsToldAndLoadsNoRoot) {
  with_machine(
      [](Machine& machine) {
        machine.load_root(0, kRoots[0]);
        machine.run_low_kernel(0);
        EXPECT_TRUE(machine.take(Kind::UserEntry).empty()) << "the kernel is no user mode";
        machine.run_user(0);
        machine.load_root(0, kRoots[1]);
        machine.take();
        machine.try_root_32(0, Frame{0x90});
        const auto events = machine.take();
        ASSERT_EQ(events.size(), 1U);
        EXPECT_EQ(events[0].kind, Kind::UserEntry);
        EXPECT_EQ(events[0].root, kRoots[1].gpa().value);
      },
      arch::Arch::Arm64);
}

/// A kernel can look like that: what it loaded is told when user mode is judged next.
TEST(Monitor, AKernelThatLooksLikeAArch32HidesNoRoot) {
  with_machine(
      [](Machine& machine) {
        machine.load_root(0, kRoots[0]);
        machine.run_user(0);
        machine.take();
        machine.try_root_32(0, kRoots[1]);
        EXPECT_TRUE(machine.take(Kind::RootLoad).empty());
        machine.hold_roots(0, kRoots[1], kPage);
        machine.run_user(0);
        const auto loads = machine.take(Kind::RootLoad);
        ASSERT_EQ(loads.size(), 2U);
        EXPECT_EQ(loads[0].gpa, kRoots[1].gpa().value);
        EXPECT_EQ(loads[1].gpa, kPage.gpa().value);
        EXPECT_EQ(loads[1].flags, event::kUpperHalf);
      },
      arch::Arch::Arm64);
}

TEST(WhichVcpu, IsTheOnlyOneWithTheRoot) {
  const VcpuMarks marks[] = {{0x1000, 7, false}, {0x2000, 8, true}};
  EXPECT_EQ(which_vcpu(marks, 0x1000, 8), 0U) << "whatever the kernel keeps for itself";
  EXPECT_EQ(which_vcpu(marks, 0x2000, 7), 1U);
}

TEST(WhichVcpu, OfOneRootIsWhoHasTheWord) {
  const VcpuMarks marks[] = {{0x1000, 7, true}, {0x1000, 8, false}};
  EXPECT_EQ(which_vcpu(marks, 0x1000, 8), 1U);
  EXPECT_EQ(which_vcpu(marks, 0x1000, 7), 0U);
  EXPECT_EQ(which_vcpu(marks, 0x1000, 9), 0U) << "the armed one: it is judged";
  const VcpuMarks coming[] = {{0x1000, 7, true}, {0x1000, 0, true}};
  EXPECT_EQ(which_vcpu(coming, 0x1000, 0), 1U) << "it comes up";
  EXPECT_EQ(which_vcpu(coming, 0x1000, 9), 1U) << "and gets its word";
}

TEST(WhichVcpu, WithAnUnknownRootIsWhoHasTheWord) {
  const VcpuMarks marks[] = {{0x1000, 7, false}, {0x2000, 8, false}};
  EXPECT_EQ(which_vcpu(marks, 0x3000, 8), 1U);
  EXPECT_EQ(which_vcpu(marks, 0x3000, 9), 0U);
  EXPECT_EQ(which_vcpu(std::span(marks).first(1), 0x3000, 9), 0U);
}

TEST(PluginEntry, TakesAsManyVcpusAsItCanTellApart) {
  std::vector<std::string> words = {"arch=x86_64", "ring-fd=3",     "channel-fd=4",
                                    "ram-fd=5",    "ram-size=4096", "doorbell=0"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  const auto vcpus = [&](int count, unsigned most) {
    qemu_info_t info{};
    info.target_name = "x86_64";
    info.system_emulation = true;
    info.system.smp_vcpus = 1;
    info.system.max_vcpus = count;
    const auto options =
        options_for(info, static_cast<int>(arguments.size()), arguments.data(), most);
    return options ? static_cast<int>(options.value().vcpus) : -1;
  };
  EXPECT_EQ(vcpus(1, event::kMostVcpus), 1);
  EXPECT_EQ(vcpus(2, event::kMostVcpus), 2);
  EXPECT_EQ(vcpus(static_cast<int>(event::kMostVcpus) + 1, event::kMostVcpus), -1);
  EXPECT_EQ(vcpus(2, 1), -1) << "the counting plugin";
}

}  // namespace
}  // namespace sealvisor::engine::tcg
