#include "guest/agent/campaign.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/facility.h"
#include "guest/agent/probes.h"
#include "guest/agent/raw.h"
#include "guest/agent/tampering.h"
#include "guest/agent/windows.h"

namespace sealvisor::agent {
namespace {

/// Far from the system mappings, in another entry of the root: with their tables gone the process
/// still runs.
constexpr std::uintptr_t kStack = 0x9'0000'0000;
constexpr std::size_t kStackSize = 256 * 1024;
constexpr std::uintptr_t kArena = 0x9'1000'0000;
constexpr std::uintptr_t kShared = 0x9'2000'0000;
/// A long campaign takes this many seconds of the guest's own time at most.
constexpr unsigned kChildSeconds = 3600;

/// Memory at a fixed place, all of it there.
void* memory_at(std::uintptr_t place, std::size_t size, int flags) {
  void* const at = ::mmap(reinterpret_cast<void*>(place), size, PROT_READ | PROT_WRITE,
                          flags | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
  if (at != MAP_FAILED) return at;
  say("memory at 0x%zx: %s", static_cast<std::size_t>(place), std::strerror(errno));
  return nullptr;
}

/// What the processes of a campaign tell each other.
struct Shared {
  volatile std::uint64_t other_root;
  volatile std::uint32_t done;
  volatile std::int32_t status;
};

/// One byte there and one back: the other process runs in between.
class Pipes {
 public:
  Pipes() : good_(::pipe(there_) == 0 && ::pipe(back_) == 0) {}
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;
  [[nodiscard]] bool good() const { return good_; }
  /// Once the other process is there: then its end shows in let_run().
  void keep_this_side() const {
    ::close(there_[0]);
    ::close(back_[1]);
  }
  /// Lets the other process run, and waits until it has.
  [[nodiscard]] bool let_run() const {
    char byte = 1;
    return ::write(there_[1], &byte, 1) == 1 && ::read(back_[0], &byte, 1) == 1;
  }
  void end() const {
    ::close(there_[1]);
    ::close(back_[0]);
  }
  /// In the other process: until end(), or until the process that tampers is gone.
  void answer() const {
    ::close(there_[1]);
    ::close(back_[0]);
    char byte = 0;
    while (raw_call(SYS_read, there_[0], arg(reinterpret_cast<std::uintptr_t>(&byte)), 1) == 1) {
      (void)raw_call(SYS_write, back_[1], arg(reinterpret_cast<std::uintptr_t>(&byte)), 1);
    }
  }

 private:
  int there_[2] = {-1, -1};
  int back_[2] = {-1, -1};
  bool good_;
};

/// What both processes of a campaign are given.
struct Orders {
  Agent* agent = nullptr;
  std::uint64_t token = 0;  ///< Of the process.
  std::uint64_t seed = 0;
  std::uint32_t count = 0;
  bool emulated = false;
  Shared* shared = nullptr;
  const Pipes* pipes = nullptr;
};

bool has_keys() {
#if defined(__x86_64__)
  // CPUID.(07H,0):ECX.OSPKE[bit 4].
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & 16) != 0;
#else
  return false;
#endif
}

/// Any entry to user mode will do: the kernel is asked for nothing.
void enter_user_mode() { (void)raw_call(SYS_getppid); }

class Campaigner {
 public:
  explicit Campaigner(const Orders& orders)
      : orders_(orders),
        memory_("/dev/mem", O_RDWR),
        pagemap_("/proc/self/pagemap", O_RDONLY),
        device_(Facility::kDevice, O_RDWR),
        windows_(memory_) {}

  int run() {
    if (!memory_.good() || !pagemap_.good() || !device_.good()) return EIO;
    if (!make_uprobes()) return EIO;
    if (!announce_mappings(orders_.agent->doorbell, orders_.token, table_)) return EIO;
    if (!prepare()) return EIO;
    announce();
    for (std::uint32_t i = 0; i < orders_.count; ++i) {
      if (const int error = tamper(i); error != 0) return error;
      orders_.shared->done = i + 1;
    }
    protocol::Tampering end{};
    end.number = orders_.count;
    end.end = 1;
    orders_.agent->doorbell.tampering(end);
    return 0;
  }

 private:
  static constexpr std::size_t kMostPages = protocol::kMostTamperedPages;

  /// [uprobes] is there once a probe was hit, which steps an instruction. On arm64 KVM suppresses
  /// that while it watches (docs/lanes.md).
  [[nodiscard]] bool make_uprobes() const {
    if (!kX86 && orders_.emulated) return true;
    long error = set_probes(1);
    if (error == 0) error = hit_probes(1, 1);
    if (error != 0) say("hitting a probe: %s", std::strerror(static_cast<int>(-error)));
    return error == 0;
  }

  void find_pages_of(scenario::PageGroup group) {
    for (const SystemMapping& mapping : table_) {
      if (scenario::page_group_of(mapping.name_view()) != group) continue;
      for (std::uint64_t gva = mapping.start; gva < mapping.end; gva += kPage) {
        // Not from pagemap, which passes over what has no struct page behind it, as [vvar]
        // (fs/proc/task_mmu.c, mm/pagewalk.c: VM_PFNMAP).
        const Step leaf = windows_.path(ground_.places.root, gva)[1];
        if ((leaf.value & entry::kValid) == 0 || page_count_ == kMostPages) continue;
        pages_[page_count_++] = {gva, entry::address_of(leaf.value),
                                 group == scenario::PageGroup::Code, false};
      }
    }
  }

  bool find_pages() {
    find_pages_of(scenario::PageGroup::Code);
    code_pages_ = page_count_;
    find_pages_of(scenario::PageGroup::Shared);
    const std::size_t shared = page_count_;
    find_pages_of(scenario::PageGroup::Own);
    own_pages_ = page_count_ - shared;
    for (std::size_t i = 0; i + 1 < code_pages_; ++i) {
      pages_[i].code_goes_on =
          pages_[i + 1].gva == pages_[i].gva + kPage && pages_[i + 1].gpa == pages_[i].gpa + kPage;
    }
    if (code_pages_ != 0 && shared >= 2) return true;
    say("this process has %zu populated pages of shared system mappings, %zu with code", shared,
        code_pages_);
    return false;
  }

  bool prepare() {
    const auto places = Facility::set_up(device_);
    const auto ram = read_ram_ranges();
    if (!places || !ram) return false;
    ground_.windows = &windows_;
    ground_.places = *places;
    if (!find_pages()) return false;
    ground_.pages = {pages_.data(), page_count_};
    ground_.mappings = &table_;
    ground_.emulated = orders_.emulated;
    ground_.other_root = orders_.shared->other_root;
    for (const RamRange& range : *ram) {
      if (range.end - range.start <= ground_.ram_end - ground_.ram_start) continue;
      ground_.ram_start = range.start;
      ground_.ram_end = range.end;
    }
    ground_.arena.start = kArena;
    if (memory_at(kArena, Arena::kPages * kPage, MAP_PRIVATE) == nullptr) return false;
    for (std::size_t i = 0; i < Arena::kPages; ++i) {
      *ground_.arena.page(i) = 1;  // its own frame, not the one of all zeroes
      ground_.arena.gpas[i] = gpa_of(pagemap_, kArena + i * kPage);
      if (ground_.arena.gpas[i] == 0) return false;
    }
    offer_.x86 = kX86;
    offer_.keys = has_keys();
    offer_.emulated = orders_.emulated;
    offer_.pages = static_cast<std::uint32_t>(page_count_);
    offer_.code_pages = static_cast<std::uint32_t>(code_pages_);
    offer_.own_pages = static_cast<std::uint32_t>(own_pages_);
    return true;
  }

  void announce() const {
    protocol::Campaign campaign{};
    campaign.what = protocol::Campaign::kBegins;
    campaign.count = orders_.count;
    campaign.seed = orders_.seed;
    campaign.pages = offer_.pages;
    campaign.code_pages = offer_.code_pages;
    // Only over the end of a page of code that goes on in the next frame.
    const bool goes_on = std::any_of(pages_.begin(), pages_.end(),
                                     [](const TargetPage& page) { return page.code_goes_on; });
    for (const StoreWay& way : store_ways()) {
      if (!way.there()) continue;
      if (!way.straddles) ++campaign.user_ways;
      if (!way.user_only && (goes_on || !way.straddles)) ++campaign.kernel_ways;
    }
    orders_.agent->doorbell.campaign(campaign);
  }

  int tamper(std::uint32_t number) {
    const scenario::Choice choice = scenario::choose(offer_, orders_.seed, number);
    auto planned = plan_tampering(ground_, choice);
    if (!planned) return EPROTO;
    planned->claim.number = number;
    orders_.agent->doorbell.tampering(planned->claim);
    const bool made = planned->new_root != 0                              ? replace_root(*planned)
                      : planned->claim.shown == protocol::Shown::ToNobody ? show_nobody(*planned)
                                                                          : show_user(*planned);
    if (!made || !let_other_run(*planned) || !is_undone(*planned)) {
      const auto name = name_of(planned->claim.edit);
      say("tampering %u, %.*s, went wrong", number, static_cast<int>(name.size()), name.data());
      return EPROTO;
    }
    return 0;
  }

  [[nodiscard]] bool let_other_run(const PlannedTampering& planned) const {
    return planned.claim.other == 0 || orders_.pipes->let_run();
  }

  bool show_user(const PlannedTampering& planned) {
    const protocol::Tampering& claim = planned.claim;
    const bool alias = planned.alias.count != 0;
    if (alias && !store_all(protocol::Writer::User, planned.alias)) return false;
    // Code is stored to where the second place is.
    if (!(alias ? store_through_alias(planned, planned.change)
                : store_all(claim.writer, planned.change))) {
      return false;
    }
    enter_user_mode();
    if (!let_other_run(planned)) return false;
    if (claim.left_to_kernel != 0) {
      if (!flush()) return false;
      (void)*reinterpret_cast<const volatile unsigned char*>(claim.gva);
      return true;
    }
    if (!(alias ? store_through_alias(planned, planned.restore)
                : store_all(claim.writer, planned.restore))) {
      return false;
    }
    if (alias && !store_all(protocol::Writer::User, planned.unalias)) return false;
    enter_user_mode();
    return !planned.flush_after || flush();
  }

  bool show_nobody(const PlannedTampering& planned) {
    Steps steps(*this);
    steps.open(planned.change);
    steps.add(planned.change);
    steps.add(planned.restore);
    steps.close();
    return steps.run();
  }

  bool replace_root(const PlannedTampering& planned) {
    Steps there(*this);
    there.root(planned.new_root);
    if (!there.run()) return false;
    enter_user_mode();
    Steps back(*this);
    back.root(ground_.places.root);
    if (!back.run()) return false;
    enter_user_mode();
    // As a process that ends leaves its root: what it linked is free for other use.
    std::uint64_t* const root = ground_.arena.page(Arena::kRoot);
    constexpr std::size_t kUserSlots = kX86 ? Words::extent / 2 : Words::extent;
    for (std::size_t i = 0; i < kUserSlots; ++i) {
      if (root[i] != 0) const_cast<volatile std::uint64_t*>(root)[i] = 0;
    }
    return true;
  }

  bool store_all(protocol::Writer writer, const PlannedStores& stores) {
    if (stores.count == 0) return true;  // What changed nothing is not undone.
    if (writer == protocol::Writer::Kernel) {
      Steps steps(*this);
      steps.open(stores);
      steps.add(stores);
      steps.close();
      return steps.run();
    }
    for (const PlannedStore& store : stores.all()) {
      if (store.way != nullptr) {
        std::uint8_t* const at = windows_.at(store.gpa);
        if (at == nullptr) return false;
        store.way->run(at, store.bytes.data());
      } else if (raw_call(SYS_pwrite64, memory_.get(),
                          arg(reinterpret_cast<std::uintptr_t>(store.bytes.data())), 8,
                          arg(store.gpa)) != 8) {
        say("storing to 0x%llx through /dev/mem did not work",
            static_cast<unsigned long long>(store.gpa));
        return false;
      }
    }
    return true;
  }

  static bool store_through_alias(const PlannedTampering& planned, const PlannedStores& stores) {
    for (const PlannedStore& store : stores.all()) {
      store.way->run(reinterpret_cast<void*>(planned.claim.gva2 + store.gpa % kPage),
                     store.bytes.data());
    }
    return true;
  }

  bool flush() {
    Steps steps(*this);
    steps.flush();
    return steps.run();
  }

  /// True if each word is what it was, but for what the table walker sets by itself.
  bool is_undone(const PlannedTampering& planned) {
    constexpr std::uint64_t kOwnBits = kX86 ? 0x60 : 0;
    for (const protocol::TamperedWord& word : planned.claim.words) {
      if (word.gpa == 0) continue;
      std::uint64_t now = 0;
      std::uint64_t judged = ~std::uint64_t{0};
      if (planned.claim.level == 0) {
        now = word_of_code(planned, word.gpa);
      } else {
        now = windows_.word(word.gpa);
        judged = ~kOwnBits;
      }
      if (((now ^ word.before) & judged) == 0) continue;
      say("0x%llx holds 0x%llx, and held 0x%llx", static_cast<unsigned long long>(word.gpa),
          static_cast<unsigned long long>(now), static_cast<unsigned long long>(word.before));
      return false;
    }
    return true;
  }

  [[nodiscard]] std::uint64_t word_of_code(const PlannedTampering& planned,
                                           std::uint64_t gpa) const {
    for (const TargetPage& page : pages_) {
      if (page.gva != planned.claim.gva) continue;
      std::uint64_t value = 0;
      std::memcpy(&value, reinterpret_cast<const void*>(page.gva + (gpa - page.gpa)), sizeof value);
      return value;
    }
    return 0;
  }

  /// What the kernel is asked for in one system call.
  class Steps {
   public:
    explicit Steps(Campaigner& campaigner) : campaigner_(campaigner) {}

    void flush() { put({}); }
    void root(std::uint64_t gpa) {
      FacilityStep step;
      step.what = FacilityStep::kRoot;
      step.address = gpa;
      put(step);
    }
    void add(const PlannedStores& stores) {
      for (const PlannedStore& store : stores.all()) {
        put(store_step(*store.way, store.gpa, store.bytes.data()));
      }
    }
    /// Makes the kernel's own mapping of what is stored to writable, where it is not.
    void open(const PlannedStores& stores) {
      for (const PlannedStore& store : stores.all()) {
        open(store.gpa);
        open(store.gpa + store.way->shape.width - 1);
      }
      if (opened_count_ != 0) flush();
    }
    /// Takes that back.
    void close() {
      for (std::size_t i = 0; i < opened_count_; ++i) put_word(opened_[i].gpa, opened_[i].before);
      if (opened_count_ != 0) flush();
    }
    bool run() {
      if (count_ <= steps_.size())
        return Facility::run(campaigner_.device_, {steps_.data(), count_});
      say("more steps than one system call takes");
      return false;
    }

   private:
    void put(const FacilityStep& step) {
      if (count_ < steps_.size()) steps_[count_] = step;
      ++count_;
    }
    void put_word(std::uint64_t gpa, std::uint64_t value) {
      const std::span<const StoreWay> ways = store_ways();
      const auto plain = std::find_if(ways.begin(), ways.end(), [](const StoreWay& way) {
        return way.shape.width == 8 && way.shape.align == 8 && way.shape.phase == 0 &&
               way.shape.needs == Needs::Nothing;
      });
      put(store_step(*plain, gpa, &value));
    }
    void open(std::uint64_t gpa) {
      const Ground& ground = campaigner_.ground_;
      const Path path =
          campaigner_.windows_.path(ground.places.upper_root, ground.places.linear + gpa);
      unsigned level = 1;
      while (level < entry::kRootLevel && path[level].gpa == 0) ++level;
      const Step& leaf = path[level];
      const bool again =
          std::any_of(opened_.begin(), opened_.begin() + static_cast<std::ptrdiff_t>(opened_count_),
                      [&](const protocol::TamperedWord& one) { return one.gpa == leaf.gpa; });
      if (entry::is_writable(leaf.value) || again) return;
      opened_[opened_count_++] = {leaf.gpa, leaf.value, entry::with_write(leaf.value)};
      put_word(leaf.gpa, entry::with_write(leaf.value));
    }

    Campaigner& campaigner_;
    std::array<FacilityStep, Facility::kMostSteps> steps_{};
    std::size_t count_ = 0;
    std::array<protocol::TamperedWord, 4> opened_{};
    std::size_t opened_count_ = 0;
  };

#if defined(__x86_64__)
  static constexpr bool kX86 = true;
#else
  static constexpr bool kX86 = false;
#endif

  const Orders& orders_;
  File memory_;
  File pagemap_;
  File device_;
  Windows windows_;
  MappingTable table_;
  std::array<TargetPage, kMostPages> pages_{};
  std::size_t page_count_ = 0;
  std::size_t code_pages_ = 0;
  std::size_t own_pages_ = 0;
  Ground ground_;
  scenario::Offer offer_;
};

/// Static: it is too large for a stack.
void tamper_with_all(void* argument) {
  const Orders& orders = *static_cast<Orders*>(argument);
  static Campaigner campaigner(orders);
  orders.shared->status = campaigner.run();
}

void be_tampered_with(void* argument) {
  const Orders& orders = *static_cast<Orders*>(argument);
  MappingTable table;
  const File device(Facility::kDevice, O_RDWR);
  const auto places = Facility::set_up(device);
  if (!places || !announce_mappings(orders.agent->doorbell, orders.token, table)) return;
  protocol::Campaign here{};
  here.what = protocol::Campaign::kOther;
  orders.agent->doorbell.campaign(here);
  orders.shared->other_root = places->root;
  orders.pipes->answer();
}

/// A child of init that runs `work` on a stack at a low address. Its pid; -1: said on the console.
pid_t child_on_low_stack(Orders& orders, void (*work)(void*), void* top) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(*orders.agent, token);
  if (child != 0) return child;
  ::alarm(kChildSeconds);
  orders.token = token;
  call_on_stack(work, &orders, top);
  ::_exit(0);
}

}  // namespace

int run_campaign(Agent& agent, std::uint64_t seed, std::uint32_t count, bool emulated,
                 std::uint32_t& done) {
  // Both are there in each child, in memory of its own where that is private.
  void* const stack = memory_at(kStack, kStackSize, MAP_PRIVATE);
  void* const page = memory_at(kShared, kPage, MAP_SHARED);
  if (stack == nullptr || page == nullptr) return ENOMEM;
  // Not on this stack, which is among what is tampered with.
  static Orders orders;
  static std::optional<Pipes> both_ways;
  const Pipes& pipes = both_ways.emplace();
  if (!pipes.good()) return errno;
  orders = {&agent, 0, seed, count, emulated, static_cast<Shared*>(page), &pipes};
  Shared& shared = *orders.shared;
  shared.status = EIO;
  void* const top = static_cast<std::byte*>(stack) + kStackSize;

  const pid_t other = child_on_low_stack(orders, be_tampered_with, top);
  if (other < 0) return EAGAIN;
  pipes.keep_this_side();
  // Its answer says that it has announced itself, and where its root is.
  int status = pipes.let_run() ? 0 : EPIPE;
  if (status == 0) {
    const pid_t child = child_on_low_stack(orders, tamper_with_all, top);
    if (child < 0) return EAGAIN;
    status = wait_for(child).status();
    if (status == 0) status = shared.status;
  }
  pipes.end();
  const int ended = wait_for(other).status();
  done = shared.done;
  ::munmap(stack, kStackSize);
  ::munmap(page, kPage);
  return status != 0 ? status : ended;
}

}  // namespace sealvisor::agent
