// The program with each guest: exit code, message, evidence.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/nested/faults/checks.h"
#include "tests/nested/faults/child.h"
#include "tests/nested/faults/guests.h"
#include "vmm/engine/kvm/host.h"
#include "vmm/evidence/manifest.h"
#include "vmm/evidence/trace_reader.h"

namespace sealvisor::test {

namespace {

namespace fs = std::filesystem;
using engine::End;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr const char* kProgram = "/bin/sealvisor";
constexpr const char* kImage = "/tmp/guest";
constexpr const char* kInitramfs = "/tmp/initramfs";
constexpr std::chrono::milliseconds kAtIt{200};
/// From SIGTERM to the end of the process, report written.
constexpr Milliseconds kMostToEnd{2000};

const std::vector<std::string> kBoot = {kProgram,      "boot",    "--engine", "kvm",
                                        "--memory",    "64",      "--kernel", kImage,
                                        "--initramfs", kInitramfs};

void write_image(const Guest& guest) {
  std::ofstream(kImage, std::ios::binary | std::ios::trunc) << image_of(guest.code);
  std::ofstream(kInitramfs, std::ios::trunc) << "none";
}

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text.substr(text.size() > 300 ? text.size() - 300 : 0)) {
    line += c >= ' ' && c <= '~' ? c : ' ';
  }
  return line;
}

/// What is wrong with the child's end; empty: nothing.
std::string judge(const Child& child, int code, int expected, std::string_view words) {
  if (code != expected) {
    return fmt::format("exit code {}, expected {}: {}", code, expected, one_line(child.text()));
  }
  if (child.text().find(words) == std::string::npos) {
    return fmt::format("no '{}' in: {}", words, one_line(child.text()));
  }
  if (!child.settings_are_restored()) return "the terminal's settings are not restored";
  return "";
}

void try_boot(Checks& checks, const Guest& guest) {
  const std::string name = fmt::format("boot {}", guest.name);
  Child boot(kBoot);
  if (!boot.wait_for("!")) return checks.fail(name, one_line(boot.text()));
  if (guest.end && guest.ends_in_boot) {
    const int code = boot.finish();
    const std::string_view words = guest.boot_code == 0 ? "the guest reset after" : guest.words;
    return checks.result(name, fmt::format("exit code {}, {}", code, words),
                         judge(boot, code, guest.boot_code, words));
  }
  const bool raw = boot.is_raw();
  // Nothing of its output is read meanwhile: a flood fills the terminal.
  if (!boot.runs_for(kAtIt)) {
    static_cast<void>(boot.finish());
    return checks.fail(name, "ended by itself: " + one_line(boot.text()));
  }
  ::kill(boot.pid(), SIGTERM);
  Milliseconds took{};
  const int code = boot.await_end(took);
  std::string why = judge(boot, code, 4, "interrupted: signal 15 (Terminated) (pc 0x");
  if (!raw) why = "the terminal was not raw";
  if (why.empty() && took > kMostToEnd) why = "too late";
  checks.result(name, fmt::format("SIGTERM, exit code {} after {:.1f} ms", code, took.count()),
                why);
}

/// What it was started with beside its standard streams is closed while a guest runs.
void try_inherited(Checks& checks) {
  constexpr int kInherited = 77;
  write_image(guest_named("loop"));
  Child boot(std::function<void()>([] {
    const Fd fd(::open("/tmp/inherited", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (::dup2(fd.get(), kInherited) == kInherited) become(kBoot);
  }));
  const bool runs = boot.wait_for("!");
  std::string open;
  bool closed = true;
  std::error_code error;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fmt::format("/proc/{}/fd", boot.pid()), error)) {
    const std::string to = fs::read_symlink(entry.path(), error);
    open += fmt::format(" {}:{}", entry.path().filename().string(), to);
    closed = closed && to != "/tmp/inherited";
  }
  std::string why;
  if (!runs) why = one_line(boot.text());
  if (open.find("kvm-vcpu") == std::string::npos) why = "no vCPU in:" + open;
  if (!closed) why = "open still:" + open;
  checks.result("boot with an inherited file", "open:" + open, why);
}

/// Events of a trace; -1: it is not whole.
long trace_events(const fs::path& folder) {
  const auto description = evidence::read_whole(folder / evidence::kRunName);
  if (!description) return -1;
  auto source = evidence::FileSource::open(folder / evidence::kTraceName,
                                           evidence::digest_of(description.value()));
  if (!source) return -1;
  evidence::TraceReader reader(source.value());
  for (long events = 0;;) {
    const auto step = reader.next();
    if (!step) return -1;
    if (step.value().kind == evidence::Step::Kind::Ended) return events;
    if (step.value().kind == evidence::Step::Kind::Event) ++events;
  }
}

/// What the report and the bundle lack; empty: nothing.
std::string judge_evidence(const fs::path& json, const fs::path& bundle, std::string_view words,
                           std::string_view finding) {
  std::ifstream in(json);
  const auto report = nlohmann::json::parse(in, nullptr, false);
  if (report.is_discarded()) return "no JSON report";
  if (report.at("exit_code") != 4) return "exit code in the report: " + report["exit_code"].dump();
  if (report.at("runs").size() != 1) return "no run in the report";
  const std::string ending = report["runs"][0].at("ending").dump();
  if (ending.find(words) == std::string::npos) {
    return fmt::format("no '{}' in the report: {}", words, ending);
  }
  if (report["runs"][0].dump().find(finding) == std::string::npos) {
    return fmt::format("no '{}' in the report", finding);
  }
  const fs::path folder =
      bundle / fmt::format("runs/{}-guest", arch::name_of(engine::kvm::native_arch().value()));
  const long events = trace_events(folder);
  if (events < 0) return folder.string() + " has no trace that is whole";
  if (!finding.empty() && events < 2) return folder.string() + " has an empty trace";
  const auto checked = evidence::check_bundle(bundle);
  if (!checked) return checked.error().message;
  if (!checked.value().faults.empty()) return checked.value().faults.front().text;
  return "";
}

struct Verify {
  fs::path json = "/tmp/report.json";
  fs::path bundle = "/tmp/bundle";
  std::unique_ptr<Child> child;
};

/// `bundle`: a folder that is there and empty; none: one of its own.
Verify start_verify(const char* deadline, const fs::path& bundle = "") {
  Verify verify;
  fs::remove(verify.json);
  if (!bundle.empty()) {
    verify.bundle = bundle;
  } else {
    fs::remove_all(verify.bundle);
  }
  verify.child = std::make_unique<Child>(std::vector<std::string>{
      kProgram, "verify", "--engine", "kvm", "--memory", "64", "--kernel", kImage, "--scenario",
      "munmap/whole", "--json", verify.json, "--bundle", verify.bundle, "--deadline", deadline});
  return verify;
}

void try_verify(Checks& checks, const Guest& guest) {
  const std::string name = fmt::format("verify {}", guest.name);
  const Verify verify = start_verify(guest.end ? "60" : "2");
  const int code = verify.child->finish();
  const char* words = !guest.end                     ? "had not ended after 2 s (pc 0x"
                      : guest.end == End::GuestReset ? "the machine reset before the agent was done"
                                                     : guest.words;
  std::string why = judge(*verify.child, code, 4, "");
  if (why.empty()) why = judge_evidence(verify.json, verify.bundle, words, guest.finding);
  checks.result(name, fmt::format("exit code {}, {}", code, words), why);
}

/// A disk that gets full while the evidence is written: it is said, and the run is whole all the
/// same. It has room for two pages, and they are of the first two files that are written to: the
/// head of the trace, and what was asked for. The console, where the guest says something, has
/// none.
void try_full_disk(Checks& checks) {
  constexpr const char* kName = "verify with a full disk";
  write_image(guest_named("doorbell-flood"));
  const fs::path full = "/tmp/full";
  fs::create_directory(full);
  if (::mount("tmpfs", full.c_str(), "tmpfs", 0, "size=8k") != 0) {
    return checks.fail(kName, fmt::format("mounting {}: errno {}", full.string(), errno));
  }
  const Verify verify = start_verify("2", full);
  const int code = verify.child->finish();
  std::string why = judge(*verify.child, code, 4, "--bundle: /tmp/full is not sealed");
  std::ifstream in(verify.json);
  const auto report = nlohmann::json::parse(in, nullptr, false);
  if (why.empty() && report.is_discarded()) why = "no JSON report";
  for (const char* words : {"had not ended after 2 s", "No space left on device"}) {
    if (why.empty() && report["runs"][0].dump().find(words) == std::string::npos) {
      why = fmt::format("no '{}' in the report", words);
    }
  }
  if (why.empty() && fs::exists(full / "seal")) why = "a bundle that is not whole has a seal";
  if (::umount(full.c_str()) != 0 && why.empty()) why = "the disk is still in use";
  fs::remove_all(full);
  checks.result(kName, "exit code 4, No space left on device, no seal", why);
}

/// MiB, of a line of /proc/meminfo.
long memory_of(const std::string& line) {
  std::ifstream file("/proc/meminfo");
  std::string word;
  long value = 0;
  while (file >> word) {
    if (word == line) {
      file >> value;
      return value >> 10;
    }
  }
  return -1;
}

unsigned programs_running() {
  unsigned count = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    if (fs::read_symlink(entry.path() / "exe", error) == kProgram) ++count;
  }
  return count;
}

/// `boot` as it is now does not start a guest.
void try_no_guest(Checks& checks, const char* name, Child&& boot, int expected,
                  std::string_view words) {
  const int code = boot.finish();
  checks.result(fmt::format("boot {}", name), fmt::format("exit code {}, {}", code, words),
                judge(boot, code, expected, words));
}

/// The device is not there, not KVM, not for this user.
void try_device(Checks& checks) {
  constexpr const char* kDevice = "/dev/kvm";
  constexpr const char* kAway = "/dev/kvm.away";
  write_image(guests().front());
  fs::rename(kDevice, kAway);
  try_no_guest(checks, "without /dev/kvm", Child(kBoot), 3, "the host's kernel has no KVM");
  fs::create_symlink("/dev/null", kDevice);
  try_no_guest(checks, "with another device", Child(kBoot), 3, "/dev/kvm is not KVM");
  fs::remove(kDevice);
  fs::rename(kAway, kDevice);
  try_no_guest(checks, "without permission", Child([] {
                 constexpr uid_t kNobody = 65534;
                 if (::setresuid(kNobody, kNobody, kNobody) == 0) become(kBoot);
               }),
               3, "Permission denied; the user must be root or in the group that owns it (kvm)");
}

}  // namespace

void try_program(Checks& checks) {
  write_too_large(kImage, kInitramfs, TooLarge::Kernel);
  try_no_guest(checks, "kernel larger than memory", Child(kBoot), 2, kKernelTooLarge);
  write_too_large(kImage, kInitramfs, TooLarge::Initramfs);
  try_no_guest(checks, "initramfs that does not fit", Child(kBoot), 2, kInitramfsTooLarge);
  try_device(checks);
  try_inherited(checks);
  try_full_disk(checks);

  for (const Guest& guest : guests()) {
    write_image(guest);
    try_boot(checks, guest);
    if (guest.in_verify) try_verify(checks, guest);
  }
}

void try_kill(Checks& checks) {
  constexpr long kFilled =
      40;                      // MiB, by the guest; the VMM's file of guest memory is shared memory
  constexpr long kSlack = 32;  // MiB, of the host's caches
  write_image(guest_named("fill"));
  const long shared_before = memory_of("Shmem:");
  const long before = memory_of("MemAvailable:");
  for (int round = 0; round < 3; ++round) {
    Child boot(kBoot);
    const bool there = boot.wait_for("!");
    const long shared_during = memory_of("Shmem:");
    const unsigned running = programs_running();
    ::kill(boot.pid(), SIGKILL);
    const int code = boot.finish();
    const long shared_after = memory_of("Shmem:");
    const long after = memory_of("MemAvailable:");
    std::string why;
    if (!there || running != 1 || shared_during - shared_before < kFilled) {
      why = "no guest was there";
    }
    if (code != 1000 + SIGKILL) why = fmt::format("ended with {}", code);
    if (programs_running() != 0) why = "a process is left";
    if (shared_after > shared_before || before - after > kSlack) why = "memory is missing";
    checks.result(fmt::format("kill {}", round + 1),
                  fmt::format("shared memory {} MiB before, {} with the guest, {} after SIGKILL; "
                              "available {} MiB before, {} after",
                              shared_before, shared_during, shared_after, before, after),
                  why);
  }

  write_image(guest_named("doorbell-flood"));
  const Verify verify = start_verify("60");
  bool runs = verify.child->wait_for("booting");
  runs = runs && verify.child->runs_for(std::chrono::milliseconds(1000));
  ::kill(verify.child->pid(), SIGTERM);
  Milliseconds took{};
  const int code = verify.child->await_end(took);
  std::string why = judge(*verify.child, code, 4, "interrupted");
  if (why.empty()) {
    why = judge_evidence(verify.json, verify.bundle, "interrupted: signal 15 (Terminated)",
                         "doorbell");
  }
  if (!runs) why = "ended by itself: " + one_line(verify.child->text());
  if (why.empty() && took > kMostToEnd) why = "too late";
  checks.result(
      "verify and SIGTERM",
      fmt::format("exit code {} after {:.1f} ms, report and trace kept", code, took.count()), why);
}

}  // namespace sealvisor::test
