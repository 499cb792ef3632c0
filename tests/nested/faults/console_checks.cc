// A person at the console: what is typed gets there, and the terminal is as it was when it is over.
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/nested/faults/checks.h"
#include "tests/nested/faults/child.h"
#include "tests/nested/faults/guests.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/host.h"

namespace sealvisor::test {

namespace {

constexpr const char* kProgram = "/bin/sealvisor";
constexpr const char* kPrompt = "sealvisor> ";

std::string end_of(const std::string& text) {
  std::string line;
  for (const char c : text.substr(text.size() > 300 ? text.size() - 300 : 0)) {
    line += c >= ' ' && c <= '~' ? c : ' ';
  }
  return line;
}

struct Ending {
  int code = 0;
  const char* words = "";
};

void judge(Checks& checks, const char* name, Child& child, bool typed, bool raw, Ending expected) {
  const int code = child.finish();
  std::string why;
  if (!typed) why = "no answer: " + end_of(child.text());
  if (why.empty() && !raw) why = "the terminal was not raw";
  if (why.empty() && code != expected.code) {
    why = fmt::format("expected {}: {}", expected.code, end_of(child.text()));
  }
  if (why.empty() && child.text().find(expected.words) == std::string::npos) {
    why = fmt::format("no '{}' in: {}", expected.words, end_of(child.text()));
  }
  if (why.empty() && !child.settings_are_restored()) why = "the settings are not restored";
  checks.result(name, fmt::format("exit code {}, {}, settings restored", code, expected.words),
                why);
}

void try_real_guest(Checks& checks) {
  {
    Child boot({kProgram, "boot", "--engine", "kvm"});
    bool typed = boot.wait_for(kPrompt);
    const bool raw = boot.is_raw();
    // Ctrl-A a is one Ctrl-A, which the guest's terminal shows as ^A; Ctrl-U takes it back.
    boot.type(
        "\x01"
        "a");
    typed = typed && boot.wait_for("^A");
    boot.type(
        "\x15"
        "cat /proc/sys/kernel/ostype\r");
    typed = typed && boot.wait_for("\nLinux") && boot.wait_for(kPrompt);
    // Ctrl-C is the guest's, not the VMM's.
    boot.type("\x03");
    typed = typed && boot.wait_for("^C");
    boot.type("\rmappings\r");
    typed = typed && boot.wait_for("r-x sl [vdso]") && boot.wait_for(kPrompt);
    boot.type("exit\r");
    judge(checks, "console answers", boot, typed, raw, {0, "the guest reset after"});
  }
  {
    Child boot({kProgram, "boot", "--engine", "kvm"});
    const bool there = boot.wait_for(kPrompt);
    const bool raw = boot.is_raw();
    boot.type("\x01x");
    judge(checks, "console Ctrl-A x", boot, there, raw, {0, "Ctrl-A x was typed"});
  }
  {
    Child boot({kProgram, "boot", "--engine", "kvm", "--scenario", "control/panic"});
    const bool there = boot.wait_for("Kernel panic");
    judge(checks, "console panic", boot, there, true, {4, "kernel panic after"});
  }
}

/// Does something once the guest has written to its console, in the confined thread.
class Acting final : public engine::Observer {
 public:
  explicit Acting(std::function<void()> act) : act_(std::move(act)) {}
  void on_events(std::span<const event::Event> /*events*/) override {}
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const event::Event& /*event*/) override { return {}; }
  void on_console(std::span<const char> /*bytes*/) override { act_(); }

 private:
  std::function<void()> act_;
};

/// A VMM of our own, for what the program never does by itself.
[[noreturn]] void boot_and(const std::function<void()>& act) {
  engine::EngineConfig config;
  config.arch = engine::kvm::native_arch().value();
  config.kernel = "/tmp/guest";
  config.initramfs = "/tmp/initramfs";
  config.interactive = true;
  config.watch = false;
  auto engine = engine::make_kvm_engine(config, 64ULL << 20);
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message.c_str());
    ::_exit(90);
  }
  Acting observer(act);
  const auto outcome = engine.value()->run(observer);
  std::fprintf(stderr, "%s\n",
               outcome ? outcome.value().text.c_str() : outcome.error().message.c_str());
  std::exit(outcome ? 91 : 92);
}

void try_sudden_end(Checks& checks, const char* name, const std::function<void()>& act,
                    Ending expected) {
  // So that a raw terminal has been there is in the output.
  Child child([&] {
    boot_and([&] {
      termios now{};
      if (::tcgetattr(STDIN_FILENO, &now) == 0 && (now.c_lflag & ICANON) == 0) {
        std::fputs("raw\n", stderr);
      }
      act();
    });
  });
  const bool raw = child.wait_for("raw");
  judge(checks, name, child, true, raw, expected);
}

/// A signal from outside to `sealvisor boot`.
void try_signal(Checks& checks, const char* name, int number) {
  Child boot({kProgram, "boot", "--engine", "kvm", "--memory", "64", "--kernel", "/tmp/guest",
              "--initramfs", "/tmp/initramfs"});
  const bool there = boot.wait_for("!");
  const bool raw = boot.is_raw();
  ::kill(boot.pid(), number);
  judge(checks, name, boot, there, raw, {1000 + number, ""});
}

}  // namespace

void try_console(Checks& checks) {
  try_real_guest(checks);
  std::ofstream("/tmp/guest", std::ios::binary | std::ios::trunc)
      << image_of(guest_named("loop").code);
  std::ofstream("/tmp/initramfs") << "none";
  try_sudden_end(checks, "console forbidden call", [] { ::socket(AF_UNIX, SOCK_STREAM, 0); },
                 {3, "the sandbox does not allow the system call socket"});
  try_sudden_end(checks, "console crash", [] { ::raise(SIGSEGV); }, {1000 + SIGSEGV, "raw"});
  try_sudden_end(checks, "console abort", [] { std::abort(); }, {1000 + SIGABRT, "raw"});
  try_signal(checks, "console SIGHUP", SIGHUP);
  try_signal(checks, "console SIGQUIT", SIGQUIT);
}

}  // namespace sealvisor::test
