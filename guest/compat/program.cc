#include "guest/compat/program.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>

#include "guest/agent/hex.h"
#include "guest/agent/raw.h"
#include "guest/compat/guarded.h"
#include "guest/compat/own.h"

// From the linker: where this program begins and ends.
#pragma GCC visibility push(hidden)
extern "C" {
extern const char __executable_start[];
extern const char _end[];
}
#pragma GCC visibility pop

namespace sealvisor::compat {
namespace {

using agent::arg;
using agent::raw_call;

/// Pages of the window that are given away. In it, so that they are this program's own.
alignas(kPage) std::byte doorbell_page[kPage];
alignas(kPage) std::byte park_pages[kParkPages * kPage];

alignas(protocol::kMessageSize) protocol::Message message;

constexpr std::uintptr_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

template <std::size_t N>
void copy_name(char (&to)[N], std::string_view from) {
  from.copy(to, std::min(from.size(), N - 1));
}

/// Calls `take(line)` with each line of a file of the kernel's; longer ones than 1024 bytes are
/// cut.
template <typename Take>
bool each_line(const char* path, const Take& take) {
  static char buffer[1024];
  const long fd = raw_call(SYS_openat, AT_FDCWD, arg(address_of(path)), O_RDONLY | O_CLOEXEC);
  if (agent::is_error(fd)) return false;
  std::size_t held = 0;
  for (;;) {
    const long got =
        raw_call(SYS_read, fd, arg(address_of(buffer) + held), arg(sizeof buffer - held));
    if (got <= 0) break;
    held += static_cast<std::size_t>(got);
    std::string_view rest(buffer, held);
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      take(rest.substr(0, end));
      rest = rest.substr(end + 1);
    }
    if (rest.size() == sizeof buffer) rest = {};
    held = rest.size();
    move_bytes(buffer, rest.data(), held);
  }
  (void)raw_call(SYS_close, fd);
  return true;
}

std::uint32_t count_mappings() {
  std::uint32_t count = 0;
  (void)each_line("/proc/self/maps", [&](std::string_view) { ++count; });
  return count;
}

/// One store, as guest/agent/doorbell.cc makes it.
void store_doorbell(std::byte* at, std::uintptr_t value) {
#if defined(__x86_64__)
  asm volatile("movq %1, (%0)" : : "r"(at), "r"(value) : "memory");
#else
  asm volatile("str %1, [%0]" : : "r"(at), "r"(value) : "memory");
#endif
}

}  // namespace

std::uintptr_t Program::task_size() {
#if defined(__x86_64__)
  return 0x7FFF'FFFF'F000;  // 6.12: arch/x86/include/asm/page_64.h, TASK_SIZE_MAX
#else
  return std::uintptr_t{1} << 48;      // arch/arm64/include/asm/processor.h, TASK_SIZE_64
#endif
}

Range Program::window() const {
  return {address_of(__executable_start) & ~(kPage - 1),
          (address_of(_end) + kPage - 1) & ~(kPage - 1)};
}

std::uintptr_t Program::park() const { return address_of(park_pages); }

Place* Program::find(std::string_view name) {
  for (Place& place : places()) {
    if (place.mapping->name_view() == name) return &place;
  }
  return nullptr;
}

std::size_t Program::all_mappings(std::span<Mapped> room) {
  std::size_t count = 0;
  // "start-end perms offset device inode   name": Documentation/filesystems/proc.rst, 3.2 maps.
  (void)each_line("/proc/self/maps", [&](std::string_view line) {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    if (count == room.size() || !agent::cut_hex(line, '-', start) ||
        !agent::cut_hex(line, ' ', end)) {
      return;
    }
    Mapped& one = room[count++];
    one.range = {static_cast<std::uintptr_t>(start), static_cast<std::uintptr_t>(end)};
    const std::size_t name = line.find_first_of("[/");
    if (name != std::string_view::npos) {
      one.size = line.copy(one.text.data(), one.text.size(), name);
    }
  });
  return count;
}

protocol::Message& Program::fresh(protocol::Type type, std::size_t length) {
  fill_bytes(&message, 0, sizeof message);
  message.magic = protocol::kMagic;
  message.version = protocol::kVersion;
  message.type = type;
  message.token = token_;
  message.pid = static_cast<std::uint32_t>(raw_call(SYS_getpid));
  message.length = static_cast<std::uint32_t>(length);
  return message;
}

void Program::ring() {
  message.sequence = sequence_++;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  store_doorbell(doorbell_page + protocol::kRegister64, address_of(&message));
}

bool Program::open(std::uint64_t gpa, std::uint64_t token) {
  token_ = token;
  const long fd = raw_call(SYS_openat, AT_FDCWD, arg(address_of("/dev/mem")), O_RDWR | O_SYNC);
  if (agent::is_error(fd)) return false;
  const long page = raw_call(SYS_mmap, arg(address_of(doorbell_page)), arg(kPage),
                             PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, arg(gpa));
  (void)raw_call(SYS_close, fd);
  if (agent::is_error(page) || !install_guard()) return false;
  agent::SmapsReader reader;
  if (!each_line("/proc/self/smaps", [&](std::string_view line) { reader.line(line); })) {
    return false;
  }
  table_ = reader.table();
  if (table_.broken) return false;
  for (const agent::SystemMapping& mapping : table_) {
    // [vsyscall] lies in the kernel's half and is no memory of the process.
    if (mapping.start >> 63 != 0) continue;
    places_[count_++] = {&mapping, static_cast<std::uintptr_t>(mapping.start)};
  }
  announce();
  return true;
}

void Program::announce() {
  touch_all();
  std::uint32_t index = 0;
  for (const agent::SystemMapping& mapping : table_) {
    auto& claim = fresh(protocol::Type::Mapping, sizeof(protocol::MappingClaim)).body.mapping;
    claim.start = mapping.start;
    claim.end = mapping.end;
    claim.index = index++;
    claim.readable = mapping.readable;
    claim.writable = mapping.writable;
    claim.executable = mapping.executable;
    claim.sealed = mapping.sealed;
    copy_name(claim.name, mapping.name_view());
    ring();
  }
  auto& end = fresh(protocol::Type::MappingsEnd, sizeof(protocol::MappingsEnd)).body.mappings_end;
  end.count = index;
  end.vdso = auxiliary_vdso();
  ring();
}

void Program::touch_all() {
  for (const Place& place : places()) {
    for (std::size_t at = 0; at < place.size(); at += kPage) {
      (void)guarded_load(place.start() + at);
      if (place.now != place.start()) (void)guarded_load(place.now + at);
    }
  }
}

void Program::begin(std::string_view scenario) {
  auto& begin =
      fresh(protocol::Type::SequenceBegin, sizeof(protocol::SequenceBegin)).body.sequence_begin;
  copy_name(begin.name, scenario);
  begin.mappings = count_mappings();
  ring();
}

void Program::end() {
  const std::uint32_t left = count_mappings();
  auto& end = fresh(protocol::Type::SequenceEnd, sizeof(protocol::SequenceEnd)).body.sequence_end;
  end.calls = calls_;
  end.gave_up = gave_up_;
  end.mappings = left;
  ring();
}

bool Program::told(std::string_view call, std::string_view what, Range range, long result,
                   Failure failure) {
  const bool failed = agent::is_error(result);
  if (failed && failure == Failure::Ends) gave_up_ = true;
  touch_all();
  if (calls_ == protocol::kMaxCalls) return !failed;
  auto& told =
      fresh(protocol::Type::SequenceCall, sizeof(protocol::SequenceCall)).body.sequence_call;
  copy_name(told.call, call);
  copy_name(told.what, what);
  told.index = calls_++;
  told.ends = failure == Failure::Ends;
  told.result = result;
  told.start = range.start;
  told.end = range.end;
  if (call == "mremap" && !failed) told.new_start = static_cast<std::uint64_t>(result);
  ring();
  return !failed;
}

bool Program::munmap(std::string_view what, Range range, Failure failure) {
  const long result = raw_call(SYS_munmap, arg(range.start), arg(range.end - range.start));
  return told("munmap", what, range, result, failure);
}

bool Program::move(std::string_view what, Place& place, std::uintptr_t to, Failure failure) {
  const Range range{place.now, place.now + place.size()};
  const long result = raw_call(SYS_mremap, arg(place.now), arg(place.size()), arg(place.size()),
                               MREMAP_MAYMOVE | MREMAP_FIXED, arg(to));
  if (!agent::is_error(result)) place.now = static_cast<std::uintptr_t>(result);
  return told("mremap", what, range, result, failure);
}

bool Program::mprotect(std::string_view what, Range range, int protection, Failure failure) {
  const long result =
      raw_call(SYS_mprotect, arg(range.start), arg(range.end - range.start), protection);
  return told("mprotect", what, range, result, failure);
}

bool Program::arch_prctl(std::string_view what, int code, std::uintptr_t address) {
#if defined(SYS_arch_prctl)
  const long result = raw_call(SYS_arch_prctl, code, arg(address));
#else
  const long result = -38 + 0 * code;  // ENOSYS
#endif
  // It answers with the size of what it mapped (6.12: arch/x86/entry/vdso/vma.c, map_vdso_once).
  return told("arch_prctl", what, {address, address}, result, Failure::Ends);
}

void Program::store(std::uintptr_t address) {
  const int value = guarded_load(address);
  if (value >= 0) (void)guarded_store(address, static_cast<std::uint8_t>(value));
}

}  // namespace sealvisor::compat
