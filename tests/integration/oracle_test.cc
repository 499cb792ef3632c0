// The walk of guest memory, compared with QEMU's own page-table code: `info tlb` (x86-64) lists
// every translation with the bits of its leaf, `gva2gpa` (both) translates one address: on arm64 as
// user mode's loads would. The other permissions of arm64 are compared in permissions_test.cc.
#include <charconv>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "vmm/engine/tcg/tcg_engine.h"
#include "vmm/model/paging.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

class Leaves final : public arch::Visitor {
 public:
  void leaf(const arch::LeafMapping& mapping) override { found.push_back(mapping); }
  std::vector<arch::LeafMapping> found;
};

std::uint64_t hex(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

/// Compares at a few doorbells of a real run.
class WalkComparer final : public engine::Observer {
 public:
  WalkComparer(arch::Arch arch, engine::tcg::TcgEngine& engine) : arch_(arch), engine_(engine) {}

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      if (event.kind == Kind::Registers) {
        auto format = model::format_of(arch_, {event.old_value, event.new_value, event.aux});
        if (format) format_ = format.value();
      }
      if (event.kind == Kind::RootLoad) {
        auto& root = (event.flags & event::kUpperHalf) != 0 ? upper_ : lower_;
        root = arch::frame_of(arch::Gpa{event.gpa});
      }
    }
  }
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const Event& event) override {
    if (event.kind == Kind::Doorbell && format_) expect_fetched(event.pc);
    if (event.kind == Kind::Doorbell && format_ && ++doorbells_ % 9 == 1 && snapshots < 6) {
      ++snapshots;
      if (arch_ == arch::Arch::X86_64) compare_all();
      compare_single();
    }
    return {};
  }
  void on_console(std::span<const char> /*bytes*/) override {}

  int snapshots = 0;
  std::size_t translations = 0;
  std::size_t singles = 0;
  std::size_t unmapped = 0;
  std::size_t fetched = 0;

 private:
  /// User mode runs the instruction at `pc`: what a CPU has fetched can be executed.
  void expect_fetched(std::uint64_t pc) {
    const arch::Walk walk = arch::walk(*format_, engine_.memory(), lower_, arch::Gva{pc});
    EXPECT_TRUE(walk.end == arch::WalkEnd::Leaf && walk.permissions.exec)
        << fmt::format("{:#x}", pc);
    ++fetched;
  }

  std::vector<arch::LeafMapping> walk_all() {
    Leaves leaves;
    arch::visit(*format_, engine_.memory(), lower_, arch::Half::Lower, leaves, {});
    if (arch_ == arch::Arch::Arm64) {
      arch::visit(*format_, engine_.memory(), upper_, arch::Half::Upper, leaves, {});
    }
    return std::move(leaves.found);
  }

  void compare_all() {
    auto text = engine_.monitor("info tlb");
    ASSERT_TRUE(text.ok()) << text.error().message;
    // Lines of "<gva>: <gpa> XGPDACTUW", a letter or '-' for each bit of the leaf.
    std::map<std::uint64_t, std::pair<std::uint64_t, std::string>> theirs;
    std::istringstream lines(text.value());
    for (std::string line; std::getline(lines, line);) {
      const std::size_t colon = line.find(": ");
      if (colon == std::string::npos || line.size() < colon + 20) continue;
      theirs[hex(std::string_view(line).substr(0, colon))] = {
          hex(std::string_view(line).substr(colon + 2, 16)), line.substr(colon + 19, 9)};
    }
    const auto ours = walk_all();
    EXPECT_EQ(theirs.size(), ours.size());
    for (const arch::LeafMapping& leaf : ours) {
      const auto found = theirs.find(leaf.gva.value);
      ASSERT_NE(found, theirs.end()) << fmt::format("{:#x} is ours alone", leaf.gva.value);
      EXPECT_EQ(found->second.first, leaf.gpa.value) << fmt::format("{:#x}", leaf.gva.value);
      const std::string& flags = found->second.second;
      EXPECT_EQ(flags[0] == 'X', (leaf.value & arch::x86_64::kExecuteDisable) != 0) << flags;
      EXPECT_EQ(flags[7] == 'U', (leaf.value & arch::x86_64::kUser) != 0) << flags;
      EXPECT_EQ(flags[8] == 'W', (leaf.value & arch::x86_64::kWritable) != 0) << flags;
      ++translations;
    }
  }

  void expect_single(std::uint64_t gva, std::optional<std::uint64_t> gpa) {
    auto text = engine_.monitor(fmt::format("gva2gpa {:#x}", gva));
    ASSERT_TRUE(text.ok()) << text.error().message;
    if (!gpa) {
      EXPECT_NE(text.value().find("Unmapped"), std::string::npos)
          << fmt::format("{:#x}: {}", gva, text.value());
      ++unmapped;
      return;
    }
    EXPECT_NE(text.value().find(fmt::format("gpa: {:#x}", *gpa)), std::string::npos)
        << fmt::format("{:#x}: ours {:#x}, QEMU {}", gva, *gpa, text.value());
    ++singles;
  }

  void compare_single() {
    const auto ours = walk_all();
    // Every translation of the lower half, a spread of the upper, and addresses that have none.
    const std::size_t step = std::max<std::size_t>(1, ours.size() / 60);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const arch::LeafMapping& leaf = ours[i];
      if (arch::is_upper(*format_, leaf.gva) && i % step != 0) continue;
      // On arm64 QEMU answers as the vCPU would at its present level, which is EL0: a translation
      // that user mode may not read is none.
      const bool visible = arch_ == arch::Arch::X86_64 || leaf.permissions.read;
      expect_single(leaf.gva.value + 0x123,
                    visible ? std::optional(leaf.gpa.value + 0x123) : std::nullopt);
    }
    for (std::uint64_t gva = 0x1000; gva < 0x7000'0000'0000; gva += 0x0400'0123'4000) {
      const arch::Walk walk = arch::walk(*format_, engine_.memory(), lower_, arch::Gva{gva});
      if (walk.end != arch::WalkEnd::Leaf) expect_single(gva, std::nullopt);
    }
  }

  arch::Arch arch_;
  engine::tcg::TcgEngine& engine_;
  std::optional<arch::AnyFormat> format_;
  arch::Frame lower_{};
  arch::Frame upper_{};
  int doorbells_ = 0;
};

class Oracle : public testing::TestWithParam<arch::Arch> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, Oracle, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

TEST_P(Oracle, OurWalkIsQemusWalk) {
  const run::RunRequest request =
      request_for(GetParam(), "lts-unsealed", {"life/fork", "mprotect/none", "mremap/move"});
  ASSERT_FALSE(request.kernel_image.empty());
  auto initramfs = run::initramfs_for(request);
  ASSERT_TRUE(initramfs.ok()) << initramfs.error().message;
  engine::EngineConfig config;
  config.arch = GetParam();
  config.kernel = request.kernel_image;
  config.initramfs = initramfs.value().path();
  config.plugin = request.plugin;
  config.deadline = std::chrono::seconds(180);
  auto engine = engine::tcg::TcgEngine::create(config, request.memory_bytes);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  WalkComparer comparer(GetParam(), *engine.value());
  const auto outcome = engine.value()->run(comparer);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().end, engine::End::GuestReset) << outcome.value().text;
  EXPECT_EQ(comparer.snapshots, 6);
  EXPECT_GT(comparer.singles, 150U);
  EXPECT_GT(comparer.unmapped, 50U);
  EXPECT_GT(comparer.fetched, 50U);
  if (GetParam() == arch::Arch::X86_64) {
    EXPECT_GT(comparer.translations, 5000U);
  }
}

}  // namespace
}  // namespace sealvisor::test
