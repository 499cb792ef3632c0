// What CRIU checkpoints and restores: a process of its own session, with no terminal, that sleeps
// and asks its vdso for the time. A static program, so that little is in it.
#include <fcntl.h>
#include <unistd.h>

#include <ctime>

int main() {
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0) return 1;
  for (int stream = 0; stream <= 2; ++stream) ::dup2(null, stream);
  if (null > 2) ::close(null);
  for (;;) {
    std::timespec now{};
    if (::clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 2;
    constexpr std::timespec kNap{0, 50'000'000};
    ::nanosleep(&kNap, nullptr);
  }
}
