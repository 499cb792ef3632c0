#include "vmm/engine/tcg/plugin/witness.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace sealvisor::engine::tcg {

namespace {
// A signal handler has no user data; there is one witness in a process.
Witness* the_witness = nullptr;
}  // namespace

Witness::Witness(int ram_fd, const Mapping& own, arch::Gpa base)
    : ram_fd_(ram_fd), own_(own), base_(base) {}

Status Witness::start() {
  struct stat status {};
  if (::fstat(ram_fd_, &status) != 0) return errno_error(ExitCode::HostLacks, "fstat of guest RAM");
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint64_t offset = 0;
    std::uint64_t inode = 0;
    unsigned device_major = 0;
    unsigned device_minor = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's own format; the count of fields is checked.
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &first,
                    &last, &offset, &device_major, &device_minor, &inode) != 6) {
      continue;
    }
    const bool same = inode == status.st_ino && device_major == major(status.st_dev) &&
                      device_minor == minor(status.st_dev);
    auto* start = reinterpret_cast<std::byte*>(first);  // NOLINT(performance-no-int-to-ptr)
    if (!same || start == own_.data() || offset != 0) continue;
    qemu_ = start;
    qemu_size_ = static_cast<std::size_t>(last - first);
  }
  if (qemu_ == nullptr) {
    return Error{ExitCode::HostLacks, "witness: found no mapping of guest RAM but our own"};
  }
  the_witness = this;
  struct sigaction action {};
  action.sa_sigaction = &Witness::on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGSEGV, &action, &previous_) != 0) {
    return errno_error(ExitCode::HostLacks, "witness: installing its SIGSEGV handler");
  }
  return {};
}

void Witness::protect(arch::Frame frame, int protection) {
  const std::uint64_t offset = frame.gpa().value - base_.value;
  if (qemu_ == nullptr || offset >= qemu_size_) return;
  // A failure shows itself: a page that stays open catches nothing and reported() finds that.
  (void)::mprotect(qemu_ + offset, arch::kPageSize, protection);
}

void Witness::close(arch::Frame frame) { protect(frame, PROT_READ); }

bool Witness::handle_fault(std::uintptr_t address) {
  const auto start = reinterpret_cast<std::uintptr_t>(qemu_);
  if (address < start || address >= start + qemu_size_) return false;
  const std::size_t count = opened_count_;
  if (count == kMostOpened) return false;
  const arch::Frame frame = arch::frame_of(arch::Gpa{base_.value + (address - start)});
  opened_[count] = frame;
  opened_count_ = count + 1;
  protect(frame, PROT_READ | PROT_WRITE);
  for (volatile std::uint64_t* word : wanted_) {
    if (word != nullptr && *word == 0) *word = kWanted;
  }
  return true;
}

void Witness::on_fault(int number, siginfo_t* info, void* context) {
  if (the_witness != nullptr) {
    if (the_witness->handle_fault(reinterpret_cast<std::uintptr_t>(info->si_addr))) return;
    const struct sigaction& previous = the_witness->previous_;
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
      previous.sa_sigaction(number, info, context);
      return;
    }
  }
  // Not ours: let it strike again with the default action.
  ::signal(SIGSEGV, SIG_DFL);
}

void Witness::reported(arch::Frame frame) {
  if (std::find(reported_.begin(), reported_.end(), frame) == reported_.end()) {
    reported_.push_back(frame);
  }
}

void Witness::check(const model::TableTracker& tracker, const arch::TableReader& memory) {
  const std::size_t count = opened_count_;
  for (std::size_t i = 0; i < count; ++i) {
    const arch::Frame frame = opened_[i];
    ++stores_;
    if (!tracker.is_watched(frame)) continue;  // unlinked by the very store
    arch::Table now{};
    if (!memory.read_table(frame, now)) continue;
    differences_ += tracker.differing_slots(frame, now);
    close(frame);
  }
  for (const arch::Frame frame : reported_) {
    const auto* end = opened_.begin() + count;
    const bool caught = std::find(opened_.begin(), opened_.begin() + count, frame) != end;
    if (!caught && tracker.is_watched(frame)) ++differences_;
  }
  opened_count_ = 0;
  reported_.clear();
}

}  // namespace sealvisor::engine::tcg
