#include "bench/guest/random.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sealvisor::bench {

int make_generator_ready() {
  std::uint8_t byte = 0;
  if (::getrandom(&byte, 1, GRND_NONBLOCK) == 1) return 0;
  if (errno != EAGAIN) return errno;
  // random(4), RNDADDENTROPY: struct rand_pool_info, which ends in an array without a size.
  struct {
    int entropy_bits;
    int bytes;
    std::uint32_t words[16];
  } seed{};
  seed.entropy_bits = sizeof seed.words * 8;
  seed.bytes = sizeof seed.words;
  const int fd = ::open("/dev/random", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::ioctl(fd, RNDADDENTROPY, &seed) != 0 ? errno : 0;
  ::close(fd);
  return error;
}

}  // namespace sealvisor::bench
