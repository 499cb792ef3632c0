#include "vmm/base/result.h"

#include <cerrno>
#include <system_error>

namespace sealvisor {

Error errno_error(ExitCode code, std::string what) {
  const int number = errno;
  what += ": " + std::generic_category().message(number);
  return Error{code, std::move(what), number};
}

}  // namespace sealvisor
