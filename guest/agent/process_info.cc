#include "guest/agent/process_info.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "guest/agent/hex.h"
#include "guest/agent/lines.h"
#include "guest/agent/physical.h"

namespace sealvisor::agent {
namespace {

/// A file of /proc that belongs to a process.
class ProcPath {
 public:
  ProcPath(pid_t pid, const char* name) {
    std::snprintf(text_, sizeof text_, "/proc/%d/%s", static_cast<int>(pid), name);
  }
  [[nodiscard]] const char* text() const { return text_; }

 private:
  char text_[48];
};

/// General registers as ptrace gives them, of a process of either word size.
struct Registers {
  std::uint32_t bits = 0;
  std::uint64_t stack = 0;
};

/// Linux, arch/x86/include/asm/user_64.h and user_32.h, arch/arm64/include/uapi/asm/ptrace.h and
/// arch/arm/include/uapi/asm/ptrace.h: how many there are, and which is the stack pointer.
Registers registers_of(pid_t pid) {
#if defined(__x86_64__)
  constexpr std::size_t kBytes64 = 27 * 8;
  constexpr std::size_t kStack64 = 19;
  constexpr std::size_t kStack32 = 15;
#else
  constexpr std::size_t kBytes64 = 34 * 8;
  constexpr std::size_t kStack64 = 31;
  constexpr std::size_t kStack32 = 13;
#endif
  std::array<std::uint64_t, 64> bytes{};
  iovec part{bytes.data(), sizeof bytes};
  if (::ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &part) != 0) return {};
  if (part.iov_len == kBytes64) return {64, bytes[kStack64]};
  std::uint32_t stack = 0;
  std::memcpy(&stack, reinterpret_cast<const char*>(bytes.data()) + 4 * kStack32, sizeof stack);
  return {32, stack};
}

/// Reads smaps, and finds out whether `address` lies in memory that the process may write and that
/// is its own.
class MappingsReader {
 public:
  explicit MappingsReader(std::uint64_t address) : address_(address) {}

  void line(std::string_view text) {
    reader_.line(text);
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::string_view rest = text;
    if (!cut_hex(rest, '-', start) || !cut_hex(rest, ' ', end)) return;
    if (address_ >= start && address_ < end)
      own_ = rest.starts_with("rw") && rest.size() > 3 && rest[3] == 'p';
  }
  [[nodiscard]] const MappingTable& table() const { return reader_.table(); }
  [[nodiscard]] bool writable_and_own() const { return own_; }

 private:
  std::uint64_t address_;
  SmapsReader reader_;
  bool own_ = false;
};

void touch_from_outside(pid_t pid, const MappingTable& table) {
  const File memory(ProcPath(pid, "mem").text(), O_RDONLY);
  if (!memory.good()) return;
  for (const SystemMapping& mapping : table) {
    if (mapping.start >> 63 != 0) continue;  // [vsyscall]
    for (std::uint64_t at = mapping.start; at < mapping.end; at += kPage) {
      char byte = 0;
      // What can't be read is seen in the tables, or not at all.
      [[maybe_unused]] const ssize_t got =
          ::pread64(memory.get(), &byte, 1, static_cast<off64_t>(at));
    }
  }
}

/// Stores the word at `stack` again. The kernel gives the process a page of its own for that, if it
/// shared one with a parent.
void write_again(pid_t pid, std::uint64_t stack) {
  void* const at = reinterpret_cast<void*>(stack & ~std::uint64_t{7});  // NOLINT
  errno = 0;
  const long word = ::ptrace(PTRACE_PEEKDATA, pid, at, nullptr);
  if (errno == 0) ::ptrace(PTRACE_POKEDATA, pid, at, word);
}

void read_name(pid_t pid, const char* root, char (&name)[protocol::kNameSize * 2]) {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink(ProcPath(pid, "exe").text(), path.data(), path.size());
  std::string_view text(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  if (text.starts_with(root)) text.remove_prefix(std::strlen(root));
  // The end says more than the beginning.
  constexpr std::size_t kMost = sizeof name - 1;
  if (text.size() > kMost) text.remove_prefix(text.size() - kMost);
  std::transform(text.begin(), text.end(), name,
                 [](char c) { return c > 0x1f && c < 0x7f ? c : '?'; });
}

}  // namespace

pid_t process_of(pid_t tid) {
  // The thread may be gone, which is no error: so the file is opened here.
  char bytes[1024];
  const int fd = ::open(ProcPath(tid, "status").text(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t size = ::read(fd, bytes, sizeof bytes - 1);
  ::close(fd);
  if (size <= 0) return 0;
  bytes[size] = '\0';
  const char* const at = std::strstr(bytes, "\nTgid:\t");
  return at == nullptr ? 0 : static_cast<pid_t>(std::strtol(at + 7, nullptr, 10));
}

void tell_process(Doorbell& doorbell, pid_t tid, protocol::Process& process, const char* root,
                  bool write_stack) {
  const Registers registers = registers_of(tid);
  MappingsReader reader(registers.stack);
  const bool read = each_line(ProcPath(tid, "smaps").text(), [&](std::string_view line) {
    reader.line(line);
    return true;
  });
  if (read) {
    touch_from_outside(tid, reader.table());
    for (const SystemMapping& mapping : reader.table()) {
      doorbell.process_mapping(process.pid, process.mappings++, mapping);
    }
  }
  process.bits = registers.bits;
  if (reader.writable_and_own()) {
    if (write_stack) write_again(tid, registers.stack);
    const File pagemap(ProcPath(tid, "pagemap").text(), O_RDONLY);
    process.marker_gva = registers.stack & ~(kPage - 1);
    if (pagemap.good()) {
      process.marker_gpa = gpa_of(pagemap, static_cast<std::uintptr_t>(process.marker_gva));
    }
  }
  if (process.event == protocol::ProcessEvent::Exec) read_name(tid, root, process.name);
  doorbell.process(process);
}

}  // namespace sealvisor::agent
