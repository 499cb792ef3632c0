// What a program image that the agent execs does: announce its own system mappings, use the vdso as
// programs do, end. /init itself (when it is not process 1), /helpers/dynamic and /helpers/helper32
// all run this.
//
//   argv: <path> image <doorbell gpa, hexadecimal> <token, decimal> [verbose]
//         <path> nothing                     exits at once and rings no doorbell
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// Owns the strings of one exec.
class ImageArguments {
 public:
  ImageArguments(const char* path, const Doorbell& doorbell, std::uint64_t token);
  ImageArguments(const ImageArguments&) = delete;
  ImageArguments& operator=(const ImageArguments&) = delete;

  [[nodiscard]] char* const* argv() { return argv_; }

 private:
  char gpa_[24];
  char token_[24];
  char* argv_[6];
};

/// main() of an image. The exit code: 0, or the errno of what went wrong (said on the console).
[[nodiscard]] int image_main(int argc, char** argv);

/// Calls what the vdso provides, from user mode, the way programs do.
void use_vdso();

}  // namespace sealvisor::agent
