// The permissions of our walk, compared with those of an arm64 CPU that is not ours: QEMU's, asked
// by code that runs in the guest (micro/permissions_arm64.S). For 64-bit arm QEMU has no command
// that lists permissions as `info tlb` does for x86-64 (oracle_test.cc).
//
// What it tells: for each way to set the permission bits of leaves, blocks and tables, in both
// halves of the address space, whether EL0 may load, store and fetch, and which frame it reaches.
// Loads and stores by the instruction that translates (AT), fetches by a jump there. What it cannot
// tell: anything about a clear access flag, on which a CPU faults first and which our walk leaves
// alone on purpose (a kernel sets it and goes on); about register state that only narrows what user
// mode may do; and whether QEMU itself reads the manual right.
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/engine/tcg/tcg_engine.h"
#include "vmm/model/paging.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

/// Where QEMU puts an Image whose text_offset is 0 (hw/arm/boot.c, load_aarch64_image).
constexpr std::uint64_t kLoaded = 0x4020'0000;
constexpr std::uint64_t kRamStart = 0x4000'0000;
constexpr std::uint64_t kRamBytes = 64ULL << 20;
constexpr std::uint64_t kAnswersAt = kRamStart + (32ULL << 20);

// Bits as the manual has them (Arm ARM D8.3), spelled out here: the oracle shares nothing with what
// it is to check.
constexpr std::uint64_t kTable = 3;
constexpr std::uint64_t kPage = 3;
constexpr std::uint64_t kBlock = 1;
constexpr std::uint64_t kAccessed = 1ULL << 10;
constexpr std::uint64_t kShared = 3ULL << 8;
constexpr std::uint64_t kDevice = 1ULL << 2;
constexpr std::uint64_t kPrivileged = 1ULL << 54;  // UXN
/// T0SZ and T1SZ 16, cacheable, 4 KiB granules, 40-bit output (D19.2, TCR_EL1).
constexpr std::uint64_t kTcr =
    0x10 | 0x3500 | 0x10ULL << 16 | 0x35ULL << 24 | 2ULL << 30 | 2ULL << 32;
constexpr std::uint64_t kIgnoreTables = 3ULL << 41;  // HPD0, HPD1

/// AP[2:1], PXN, UXN from the four bits of `combination`.
std::uint64_t leaf_bits(std::uint64_t combination) {
  return (combination & 3) << 6 | (combination & 4) << (53 - 2) | (combination & 8) << (54 - 3) |
         kAccessed | kShared;
}
/// PXNTable, UXNTable, APTable.
std::uint64_t table_bits(std::uint64_t combination) { return combination << 59 | kTable; }

// Where combination 0 is in each table; what lies before is the guest's own.
constexpr std::uint64_t kFirstRoot = 16;
constexpr std::uint64_t kFirstThird = 16;
constexpr std::uint64_t kSecondBlocks = 32;
constexpr std::uint64_t kThirdBlocks = 48;
constexpr std::uint64_t kUnmapped = 16;    // of the last level
constexpr std::uint64_t kNotPresent = 17;  // the same

/// What the guest writes for each address.
struct Answer {
  std::uint64_t load;   ///< PAR_EL1: bit 0 says that it would fault, else 47:12 is the frame.
  std::uint64_t store;  ///< The same.
  std::uint64_t esr;    ///< Of the exception that ended the jump there.
  std::uint64_t elr;
};

/// The image: the guest's code, one table for each level, a page with `svc #0`, the addresses.
class Image {
 public:
  explicit Image(std::uint64_t tcr) {
    std::ifstream file(SEALVISOR_BUILD_DIR "/tests/permissions_arm64.image", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(bytes_.size() >= 2 * 4096 && bytes_.size() % 4096 == 0) << bytes_.size();
    const std::size_t parameters = bytes_.size() - 4096;
    user_page_ = add_page();
    put(user_page_, 0xd4000001);  // svc #0
    make_tables();
    choose_addresses();
    const std::uint64_t list = add_page();
    bytes_.resize(offset(list) + addresses_.size() * 8);
    std::memcpy(bytes_.data() + offset(list), addresses_.data(), addresses_.size() * 8);
    const std::array<std::uint64_t, 6> words = {tcr,       lower_, upper_, list, addresses_.size(),
                                                kAnswersAt};
    std::memcpy(bytes_.data() + parameters, words.data(), sizeof words);
  }

  void write(const std::filesystem::path& path) const {
    std::ofstream(path, std::ios::binary)
        .write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }
  [[nodiscard]] const std::vector<std::uint64_t>& addresses() const { return addresses_; }

 private:
  static std::size_t offset(std::uint64_t gpa) { return gpa - kLoaded; }
  std::uint64_t add_page() {
    bytes_.resize((bytes_.size() + 4095) / 4096 * 4096 + 4096);
    return kLoaded + bytes_.size() - 4096;
  }
  void put(std::uint64_t gpa, std::uint64_t value) {
    std::memcpy(bytes_.data() + offset(gpa), &value, sizeof value);
  }

  void make_tables() {
    const std::uint64_t own = add_page();  // the guest itself and its devices, privileged
    const std::uint64_t third = add_page();
    const std::uint64_t second = add_page();
    const std::uint64_t first = add_page();
    lower_ = add_page();
    upper_ = add_page();
    put(lower_, own | kTable);
    put(own, kBlock | kAccessed | kDevice | kPrivileged);
    put(own + 8, kRamStart | kBlock | kAccessed | kShared | kPrivileged);
    for (std::uint64_t i = 0; i < 16; ++i) {
      put(lower_ + (kFirstRoot + i) * 8, third | table_bits(i));
      put(upper_ + (kFirstRoot + i) * 8, third | table_bits(i));
      put(third + (kFirstThird + i) * 8, second | table_bits(i));
      put(third + (kThirdBlocks + i) * 8, kRamStart | kBlock | leaf_bits(i));
      put(second + i * 8, first | table_bits(i));
      put(second + (kSecondBlocks + i) * 8, kLoaded | kBlock | leaf_bits(i));
      put(first + i * 8, user_page_ | kPage | leaf_bits(i));
    }
    put(first + kNotPresent * 8, user_page_ | leaf_bits(1));
  }

  void add(std::uint64_t root, std::uint64_t third, std::uint64_t second, std::uint64_t rest) {
    const std::uint64_t address = (kFirstRoot + root) << 39 | third << 30 | second << 21 | rest;
    addresses_.push_back(address);
    addresses_.push_back(address | 0xffffULL << 48);
  }

  /// Each combination of a leaf and one table, and of all levels those that a step picks.
  void choose_addresses() {
    constexpr std::uint64_t kStep = 13;
    const std::uint64_t in_block = user_page_ & ((1ULL << 21) - 1);
    const std::uint64_t in_large_block = user_page_ - kRamStart;
    for (std::uint64_t all = 0; all < 1U << 16; ++all) {
      const std::uint64_t root = all >> 12;
      const std::uint64_t third = all >> 8 & 15;
      const std::uint64_t second = all >> 4 & 15;
      const std::uint64_t leaf = all & 15;
      const bool one = (root == 0) + (third == 0) + (second == 0) >= 2;
      if (one || all % kStep == 0) add(root, kFirstThird + third, second, leaf << 12);
      if (second != 0) continue;
      add(root, kFirstThird + third, kSecondBlocks + leaf, in_block);
      if (third == 0) addresses_large(root, leaf, in_large_block);
    }
    for (const std::uint64_t leaf : {kUnmapped, kNotPresent}) add(0, kFirstThird, 0, leaf << 12);
  }
  void addresses_large(std::uint64_t root, std::uint64_t leaf, std::uint64_t rest) {
    const std::uint64_t address = (kFirstRoot + root) << 39 | (kThirdBlocks + leaf) << 30 | rest;
    addresses_.push_back(address);
    addresses_.push_back(address | 0xffffULL << 48);
  }

  std::string bytes_;
  std::vector<std::uint64_t> addresses_;
  std::uint64_t user_page_ = 0;
  std::uint64_t lower_ = 0;
  std::uint64_t upper_ = 0;
};

/// What user mode can do at an address, by one of the two.
struct Can {
  bool load = false;
  bool store = false;
  bool fetch = false;
  std::uint64_t frame = 0;  ///< gpa; 0 where it can't load.
  friend bool operator==(const Can&, const Can&) = default;
};

std::string words_of(const Can& can) {
  return fmt::format("{}{}{} frame {:#x}", can.load ? 'r' : '-', can.store ? 'w' : '-',
                     can.fetch ? 'x' : '-', can.frame);
}

class PermissionComparer final : public engine::Observer {
 public:
  PermissionComparer(const Image& image, const engine::Engine& engine)
      : image_(image), engine_(engine) {}

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      if (event.kind == Kind::Registers) {
        const auto format =
            model::format_of(arch::Arch::Arm64, {event.old_value, event.new_value, event.aux});
        if (format) format_ = format.value();
      }
      if (event.kind != Kind::RootLoad) continue;
      auto& root = (event.flags & event::kUpperHalf) != 0 ? upper_ : lower_;
      root = arch::frame_of(arch::Gpa{event.gpa});
    }
  }
  void on_table_copy(const Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const Event& event) override {
    if (event.kind == Kind::Doorbell) compare(event.new_value);
    return {};
  }
  void on_console(std::span<const char> /*bytes*/) override {}

  std::size_t compared = 0;
  std::array<std::size_t, 3> allowed{};  ///< Of loads, stores and fetches.

 private:
  void compare(std::uint64_t answers) {
    ASSERT_TRUE(format_.has_value());
    ASSERT_EQ(answers, kAnswersAt);
    std::size_t wrong = 0;
    for (const std::uint64_t address : image_.addresses()) {
      Answer answer{};
      ASSERT_TRUE(engine_.memory().read(arch::Gpa{answers + compared * sizeof answer},
                                        std::as_writable_bytes(std::span(&answer, 1))));
      const Can theirs = said(answer, address);
      const Can ours = walked(address);
      EXPECT_EQ(ours, theirs) << fmt::format("{:#x}: our walk says {}, the CPU {} (ESR {:#x})",
                                             address, words_of(ours), words_of(theirs), answer.esr);
      ++compared;
      allowed[0] += theirs.load;
      allowed[1] += theirs.store;
      allowed[2] += theirs.fetch;
      if (!(ours == theirs) && ++wrong == 20) break;  // enough to see what is wrong
    }
  }

  static Can said(const Answer& answer, std::uint64_t address) {
    // ESR_EL1.EC (D19.2): 0x15 is SVC, 0x20 an instruction abort from EL0.
    const std::uint64_t why = answer.esr >> 26;
    EXPECT_TRUE((why == 0x15 && answer.elr == address + 4) ||
                (why == 0x20 && answer.elr == address))
        << fmt::format("{:#x}: ESR {:#x}, ELR {:#x}", address, answer.esr, answer.elr);
    Can can;
    can.load = (answer.load & 1) == 0;
    can.store = (answer.store & 1) == 0;
    can.fetch = why == 0x15;
    if (can.load) can.frame = answer.load & 0xffff'ffff'f000;
    return can;
  }

  [[nodiscard]] Can walked(std::uint64_t address) const {
    const arch::Frame root = (address >> 63) != 0 ? upper_ : lower_;
    const arch::Walk walk = arch::walk(*format_, engine_.memory(), root, arch::Gva{address});
    if (walk.end != arch::WalkEnd::Leaf) return {};
    Can can{walk.permissions.read, walk.permissions.write, walk.permissions.exec, 0};
    if (can.load) can.frame = arch::frame_of(walk.output).gpa().value;
    return can;
  }

  const Image& image_;
  const engine::Engine& engine_;
  std::optional<arch::AnyFormat> format_;
  arch::Frame lower_{};
  arch::Frame upper_{};
};

struct Case {
  const char* name;
  const char* cpu;
  std::uint64_t tcr;
};

class Permissions : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Arm64, Permissions,
                         testing::Values(Case{"OfTablesAndLeaves", "cortex-a72", kTcr},
                                         // FEAT_HPDS: what tables say is ignored.
                                         Case{"OfLeavesAlone", "max", kTcr | kIgnoreTables}),
                         [](const testing::TestParamInfo<Case>& one) {
                           return std::string(one.param.name);
                         });

TEST_P(Permissions, OurWalkSaysWhatTheCpuDoes) {
  const Folder folder;
  const Image image(GetParam().tcr);
  engine::EngineConfig config;
  config.arch = arch::Arch::Arm64;
  config.kernel = folder.path() / "image";
  config.initramfs = config.kernel;  // QEMU wants one; nobody looks at it
  config.cpu_model = GetParam().cpu;
  config.plugin = request_for(config.arch, "lts-sealed", {"life/fork"}).plugin;
  config.deadline = std::chrono::seconds(120);
  image.write(config.kernel);
  auto engine = engine::tcg::TcgEngine::create(config, kRamBytes);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  PermissionComparer comparer(image, *engine.value());
  const auto outcome = engine.value()->run(comparer);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome.value().end, engine::End::GuestReset) << outcome.value().text;
  EXPECT_EQ(comparer.compared, image.addresses().size());
  EXPECT_GT(comparer.compared, 10'000U);
  // Neither answer is the only one.
  for (const std::size_t count : comparer.allowed) {
    EXPECT_GT(count, 200U);
    EXPECT_LT(count, comparer.compared - 200);
  }
}

}  // namespace
}  // namespace sealvisor::test
