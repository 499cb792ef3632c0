#include "vmm/engine/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>

#include "vmm/base/pipe.h"

namespace sealvisor::engine {
namespace {

using namespace std::chrono_literals;

TEST(ReadyWatch, SeesATextThatComesInPiecesOnce) {
  ReadyWatch watch("sealvisor> ");
  EXPECT_FALSE(watch.shown("boot\nseal"));
  EXPECT_FALSE(watch.shown("visor>"));
  EXPECT_TRUE(watch.shown(" and more"));
  EXPECT_FALSE(watch.shown("sealvisor> "));
}

TEST(EscapeFilter, PassesOrdinaryKeysOn) {
  EscapeFilter filter;
  EXPECT_EQ(filter.filter("ls -l\r\x03\x04x"), "ls -l\r\x03\x04x");
  EXPECT_FALSE(filter.quit());
}

TEST(EscapeFilter, QuitsOnCtrlAX) {
  EscapeFilter filter;
  EXPECT_EQ(filter.filter("ab\x01xcd"), "ab");
  EXPECT_TRUE(filter.quit());
}

TEST(EscapeFilter, SeesAnEscapeThatArrivesInTwoPieces) {
  EscapeFilter filter;
  EXPECT_EQ(filter.filter("\x01"), "");
  EXPECT_FALSE(filter.quit());
  EXPECT_EQ(filter.filter("x"), "");
  EXPECT_TRUE(filter.quit());
}

TEST(EscapeFilter, SendsCtrlAWhenItWasDoubled) {
  EscapeFilter filter;
  EXPECT_EQ(filter.filter("\x01"
                          "a"
                          "\x01\x01"
                          "\x01"
                          "b"),
            "\x01\x01\x01"
            "b");
  EXPECT_FALSE(filter.quit());
}

struct Pty {
  Fd ours;
  Fd theirs;
};

Pty open_pty() {
  int ours = -1;
  int theirs = -1;
  EXPECT_EQ(::openpty(&ours, &theirs, nullptr, nullptr, nullptr), 0);
  return {Fd(ours), Fd(theirs)};
}

termios mode_of(const Fd& fd) {
  termios mode{};
  EXPECT_EQ(::tcgetattr(fd.get(), &mode), 0);
  return mode;
}

TEST(Terminal, IsRawOnlyWhileItLives) {
  const Pty pty = open_pty();
  const termios before = mode_of(pty.theirs);
  ASSERT_NE(before.c_lflag & (ICANON | ECHO | ISIG), 0U);
  {
    const auto terminal = Terminal::open(pty.theirs.get(), pty.theirs.get());
    ASSERT_TRUE(terminal.ok());
    EXPECT_EQ(mode_of(pty.theirs).c_lflag & (ICANON | ECHO | ISIG), 0U);
  }
  const termios after = mode_of(pty.theirs);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

/// What a signal does to a process that has a raw terminal.
void expect_restored(int signal, const std::function<void()>& end) {
  const Pty pty = open_pty();
  const termios before = mode_of(pty.theirs);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto terminal = Terminal::open(pty.theirs.get(), pty.theirs.get());
    if (!terminal || (mode_of(pty.theirs).c_lflag & ICANON) != 0) ::_exit(99);
    end();
    ::_exit(98);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), signal);
  const termios after = mode_of(pty.theirs);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST(Terminal, IsRestoredByASignalThatEndsTheProcess) {
  for (const int signal : {SIGHUP, SIGQUIT, SIGABRT}) {
    expect_restored(signal, [signal] { ::raise(signal); });
  }
}

#if !defined(SEALVISOR_SANITIZED)  // which takes these over and ends the process itself
TEST(Terminal, IsRestoredByAFault) {
  for (const int signal : {SIGILL, SIGBUS, SIGFPE, SIGSEGV}) {
    expect_restored(signal, [signal] { ::raise(signal); });
  }
  expect_restored(SIGSEGV, [] {
    volatile int* nowhere = nullptr;
    *nowhere = 1;
  });
}
#endif

TEST(Terminal, LeavesTheHandlersOfOthersAlone) {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGHUP, &ignore, &before), 0);
  {
    const Pty pty = open_pty();
    const auto terminal = Terminal::open(pty.theirs.get(), pty.theirs.get());
    ASSERT_TRUE(terminal.ok());
    ::raise(SIGHUP);  // nohup(1) would have done so
    struct sigaction now {};
    ::sigaction(SIGQUIT, nullptr, &now);
    EXPECT_NE(now.sa_handler, SIG_DFL);
  }
  struct sigaction now {};
  ::sigaction(SIGQUIT, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
  ::sigaction(SIGHUP, &before, nullptr);
}

TEST(Terminal, OneAtATimeIsRaw) {
  const Pty pty = open_pty();
  const Pty other = open_pty();
  const auto first = Terminal::open(pty.theirs.get(), pty.theirs.get());
  ASSERT_TRUE(first.ok());
  const auto second = Terminal::open(other.theirs.get(), other.theirs.get());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ExitCode::HostLacks);
  EXPECT_NE(mode_of(other.theirs).c_lflag & ICANON, 0U);
  EXPECT_EQ(mode_of(pty.theirs).c_lflag & ICANON, 0U);
}

TEST(Terminal, GivesUpAFullOutputWhenAskedTo) {
  auto pipe = make_pipe("a test");
  ASSERT_TRUE(pipe.ok());
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto terminal = Terminal::open(null.get(), pipe.value().writing.get());
  ASSERT_TRUE(terminal.ok());
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_FALSE(terminal.value().write(std::string(1 << 20, 'x'), [] { return true; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
}

TEST(Terminal, DoesNotMakeTheSharedDescriptorNonBlocking) {
  const Pty pty = open_pty();
  const auto terminal = Terminal::open(pty.theirs.get(), pty.theirs.get());
  ASSERT_TRUE(terminal.ok());
  ASSERT_TRUE(terminal.value().input().valid());
  EXPECT_NE(::fcntl(terminal.value().input().get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(pty.theirs.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(Terminal, ReadsWhatIsTypedAndWritesWhatIsShown) {
  const Pty pty = open_pty();
  const auto terminal = Terminal::open(pty.theirs.get(), pty.theirs.get());
  ASSERT_TRUE(terminal.ok());
  ASSERT_EQ(::write(pty.ours.get(), "\x03q", 2), 2);
  const auto until = std::chrono::steady_clock::now() + 10s;
  ASSERT_TRUE(wait_readable(terminal.value().input().get(), until));
  char typed[8] = {};
  EXPECT_EQ(::read(terminal.value().input().get(), typed, sizeof typed), 2);
  EXPECT_STREQ(typed, "\x03q") << "Ctrl-C must reach the guest as a character";
  EXPECT_TRUE(terminal.value().write("line\n"));
  ASSERT_TRUE(wait_readable(pty.ours.get(), until));
  char shown[8] = {};
  EXPECT_EQ(::read(pty.ours.get(), shown, sizeof shown), 5);
  EXPECT_STREQ(shown, "line\n");
}

TEST(Terminal, GivesNoInputFromAPlainFile) {
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto terminal = Terminal::open(null.get(), null.get());
  ASSERT_TRUE(terminal.ok());
  EXPECT_FALSE(terminal.value().input().valid());
  EXPECT_TRUE(terminal.value().write("into nothing"));
}

TEST(Terminal, NoticesThatItsOutputIsGone) {
  auto pipe = make_pipe("a test");
  ASSERT_TRUE(pipe.ok());
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto terminal = Terminal::open(null.get(), pipe.value().writing.get());
  ASSERT_TRUE(terminal.ok());
  EXPECT_TRUE(terminal.value().write("x"));
  pipe.value().reading.reset();
  EXPECT_FALSE(terminal.value().write("x"));
}

}  // namespace
}  // namespace sealvisor::engine
