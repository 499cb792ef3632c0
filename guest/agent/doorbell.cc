#include "guest/agent/doorbell.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"
#include "guest/agent/cpus.h"
#include "guest/agent/trace.h"

namespace sealvisor::agent {
namespace {

constexpr std::uint64_t kPage = 4096;

template <std::size_t N>
void copy_name(char (&to)[N], std::string_view from) {
  from.copy(to, std::min(from.size(), N - 1));
}

/// The one store. Written out so that no compiler splits it, merges it, or picks an addressing mode
/// with write-back, which KVM can't decode on arm64 (Arm ARM, ESR_EL2.ISV).
void store(std::byte* at, std::uintptr_t value) {
#if defined(__x86_64__)
  asm volatile("movq %1, (%0)" : : "r"(at), "r"(value) : "memory");
#elif defined(__aarch64__)
  asm volatile("str %1, [%0]" : : "r"(at), "r"(value) : "memory");
#elif defined(__i386__)
  asm volatile("movl %1, (%0)" : : "r"(at), "r"(value) : "memory");
#elif defined(__arm__)
  asm volatile("str %1, [%0]" : : "r"(at), "r"(value) : "memory");
#else
#error "no doorbell for this architecture"
#endif
}

/// Where to map the doorbell: away from the system mappings, under which the kernel would put it.
/// The page next to them must stay free for the form `neighbour`.
constexpr std::uintptr_t kPlace =
    sizeof(void*) == 8 ? static_cast<std::uintptr_t>(0xF'0000'0000) : 0x6000'0000;

constexpr std::uint64_t kRegister =
    sizeof(void*) == 8 ? protocol::kRegister64 : protocol::kRegister32;

}  // namespace

Doorbell::~Doorbell() {
  if (page_ != nullptr) ::munmap(page_, kPage);
}

bool Doorbell::open(std::uint64_t gpa, bool verbose) {
  gpa_ = gpa;
  verbose_ = verbose;
  if (gpa == 0 || gpa % kPage != 0) {
    say("doorbell at 0x%llx: expected the address of a page", static_cast<unsigned long long>(gpa));
    return false;
  }
  const int fd = ::open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
  if (fd < 0) {
    say("opening /dev/mem: %s", std::strerror(errno));
    return false;
  }
  void* page = ::mmap64(reinterpret_cast<void*>(kPlace), kPage, PROT_READ | PROT_WRITE, MAP_SHARED,
                        fd, static_cast<off64_t>(gpa));
  const int error = errno;
  ::close(fd);
  if (page == MAP_FAILED) {
    say("mapping the doorbell at 0x%llx: %s", static_cast<unsigned long long>(gpa),
        std::strerror(error));
    return false;
  }
  page_ = static_cast<std::byte*>(page);
  return true;
}

protocol::Message& Doorbell::fresh(protocol::Type type, std::uint64_t token, std::size_t length) {
  std::memset(&message_, 0, sizeof message_);
  message_.magic = protocol::kMagic;
  message_.version = protocol::kVersion;
  message_.type = type;
  message_.token = token;
  message_.pid = static_cast<std::uint32_t>(::getpid());
  message_.length = static_cast<std::uint32_t>(length);
  return message_;
}

void Doorbell::ring() {
  message_.sequence = sequence_++;
  if (verbose_) trace_message(message_);
  if (page_ == nullptr) return;
  // The message must be in memory before the store that tells of it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  store(page_ + kRegister, reinterpret_cast<std::uintptr_t>(&message_));
}

void Doorbell::hello() {
  protocol::Hello& hello = fresh(protocol::Type::Hello, 0, sizeof(protocol::Hello)).body.hello;
  hello.bits = sizeof(void*) * 8;
  hello.page_size = static_cast<std::uint32_t>(::getauxval(AT_PAGESZ));
  hello.vdso = ::getauxval(AT_SYSINFO_EHDR);
  hello.cpus = usable_cpus();
  utsname names{};
  if (::uname(&names) == 0) copy_name(hello.release, names.release);
  ring();
}

void Doorbell::mapping(std::uint64_t token, std::uint32_t index, const SystemMapping& mapping) {
  claim(protocol::Type::Mapping, token, index, mapping);
}

void Doorbell::claim(protocol::Type type, std::uint64_t token, std::uint32_t index,
                     const SystemMapping& mapping) {
  protocol::MappingClaim& claim = fresh(type, token, sizeof(protocol::MappingClaim)).body.mapping;
  claim.start = mapping.start;
  claim.end = mapping.end;
  claim.index = index;
  claim.readable = mapping.readable;
  claim.writable = mapping.writable;
  claim.executable = mapping.executable;
  claim.sealed = mapping.sealed;
  copy_name(claim.name, mapping.name_view());
  ring();
}

void Doorbell::mappings_end(std::uint64_t token, std::uint32_t count) {
  mappings_end(token, count, ::getauxval(AT_SYSINFO_EHDR));
}

void Doorbell::mappings_end(std::uint64_t token, std::uint32_t count, std::uint64_t vdso) {
  protocol::MappingsEnd& end =
      fresh(protocol::Type::MappingsEnd, token, sizeof(protocol::MappingsEnd)).body.mappings_end;
  end.count = count;
  end.vdso = vdso;
  ring();
}

void Doorbell::scenario_begin(std::string_view name) {
  protocol::Scenario& scenario =
      fresh(protocol::Type::ScenarioBegin, 0, sizeof(protocol::Scenario)).body.scenario;
  copy_name(scenario.name, name);
  ring();
}

void Doorbell::scenario_end(std::string_view name, int status, std::uint32_t count) {
  protocol::Scenario& scenario =
      fresh(protocol::Type::ScenarioEnd, 0, sizeof(protocol::Scenario)).body.scenario;
  copy_name(scenario.name, name);
  scenario.status = status;
  scenario.count = count;
  ring();
}

void Doorbell::cell_begin(std::uint64_t token, std::string_view mapping, std::string_view operation,
                          std::string_view form, std::uint64_t start, std::uint64_t end) {
  protocol::Cell& cell = fresh(protocol::Type::CellBegin, token, sizeof(protocol::Cell)).body.cell;
  copy_name(cell.mapping, mapping);
  copy_name(cell.operation, operation);
  copy_name(cell.form, form);
  cell.start = start;
  cell.end = end;
  ring();
}

void Doorbell::touched(std::uint64_t token, protocol::Moment moment, std::uint64_t start,
                       std::span<const protocol::Touch> outcomes) {
  protocol::Touched& touched =
      fresh(protocol::Type::Touched, token, sizeof(protocol::Touched)).body.touched;
  touched.start = start;
  touched.pages =
      static_cast<std::uint32_t>(std::min<std::size_t>(outcomes.size(), protocol::kMaxPages));
  touched.moment = moment;
  std::copy_n(outcomes.begin(), touched.pages, touched.outcome);
  ring();
}

void Doorbell::before(std::uint64_t token) {
  fresh(protocol::Type::Before, token, 0);
  ring();
}

void Doorbell::after(std::uint64_t token, std::int64_t result, std::uint64_t new_start) {
  protocol::After& after = fresh(protocol::Type::After, token, sizeof(protocol::After)).body.after;
  after.result = result;
  after.new_start = new_start;
  ring();
}

void Doorbell::cell_end(std::uint64_t token, int signal, protocol::Skip skipped) {
  protocol::CellEnd& end =
      fresh(protocol::Type::CellEnd, token, sizeof(protocol::CellEnd)).body.cell_end;
  end.signal = signal;
  end.skipped = static_cast<std::uint32_t>(skipped);
  ring();
}

void Doorbell::bystander(std::uint64_t token, std::uint64_t start, std::uint32_t pages, bool end) {
  fresh(protocol::Type::Bystander, token, sizeof(protocol::Bystander)).body.bystander = {
      start, pages, end ? 1U : 0U};
  ring();
}

void Doorbell::fork_parent(std::uint64_t token, bool vfork) {
  fresh(protocol::Type::ForkParent, token, sizeof(protocol::Fork)).body.fork.vfork = vfork;
  ring();
}

void Doorbell::fork_child(std::uint64_t token, bool vfork) {
  fresh(protocol::Type::ForkChild, token, sizeof(protocol::Fork)).body.fork.vfork = vfork;
  ring();
}

void Doorbell::store_block(const protocol::StoreBlock& block) {
  fresh(protocol::Type::StoreBlock, 0, sizeof(protocol::StoreBlock)).body.store_block = block;
  ring();
}

void Doorbell::tamper(const protocol::Tamper& tamper) {
  fresh(protocol::Type::Tamper, 0, sizeof(protocol::Tamper)).body.tamper = tamper;
  ring();
}

void Doorbell::campaign(const protocol::Campaign& campaign) {
  fresh(protocol::Type::Campaign, 0, sizeof(protocol::Campaign)).body.campaign = campaign;
  ring();
}

void Doorbell::tampering(const protocol::Tampering& tampering) {
  fresh(protocol::Type::Tampering, 0, sizeof(protocol::Tampering)).body.tampering = tampering;
  ring();
}

void Doorbell::entries(const protocol::Entries& entries) {
  fresh(protocol::Type::Entries, 0, sizeof(protocol::Entries)).body.entries = entries;
  ring();
}

void Doorbell::layout(const protocol::Layout& layout) {
  fresh(protocol::Type::Layout, 0, sizeof(protocol::Layout)).body.layout = layout;
  ring();
}

void Doorbell::experiment(const protocol::Experiment& experiment) {
  fresh(protocol::Type::Experiment, 0, sizeof(protocol::Experiment)).body.experiment = experiment;
  ring();
}

void Doorbell::counter(const protocol::Counter& counter) {
  fresh(protocol::Type::Counter, 0, sizeof(protocol::Counter)).body.counter = counter;
  ring();
}

void Doorbell::samples(const protocol::Samples& samples) {
  fresh(protocol::Type::Samples, 0, sizeof(protocol::Samples)).body.samples = samples;
  ring();
}

void Doorbell::sequence_killed(std::uint64_t token, int signal) {
  fresh(protocol::Type::SequenceEnd, token, sizeof(protocol::SequenceEnd))
      .body.sequence_end.signal = signal;
  ring();
}

void Doorbell::piece(const protocol::Piece& piece) {
  fresh(protocol::Type::Piece, 0, sizeof(protocol::Piece)).body.piece = piece;
  ring();
}

void Doorbell::program_begin(const protocol::ProgramBegin& begin) {
  fresh(protocol::Type::ProgramBegin, 0, sizeof(protocol::ProgramBegin)).body.program_begin = begin;
  ring();
}

void Doorbell::program_end(const protocol::ProgramEnd& end) {
  fresh(protocol::Type::ProgramEnd, 0, sizeof(protocol::ProgramEnd)).body.program_end = end;
  ring();
}

void Doorbell::process_mapping(std::uint32_t pid, std::uint32_t index,
                               const SystemMapping& mapping) {
  claim(protocol::Type::ProcessMapping, pid, index, mapping);
}

void Doorbell::process(const protocol::Process& process) {
  fresh(protocol::Type::Process, process.pid, sizeof(protocol::Process)).body.process = process;
  ring();
}

void Doorbell::bye() {
  fresh(protocol::Type::Bye, 0, 0);
  ring();
}

void Doorbell::bad_message() {
  fresh(static_cast<protocol::Type>(0x7fff), 0, 0);
  ring();
}

void Doorbell::bad_pointer(std::uint64_t address) {
  if (page_ != nullptr) store(page_ + kRegister, static_cast<std::uintptr_t>(address));
}

}  // namespace sealvisor::agent
