#include "guest/agent/facility.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"

extern "C" const char store_ways_begin[];
extern "C" const char store_ways_end[];

namespace sealvisor::agent {
namespace {

/// As the patch has them.
struct SetUp {
  std::uint64_t code;
  std::uint64_t size;
  std::uint64_t kernel_code;
  std::uint64_t root;
  std::uint64_t upper_root;
  std::uint64_t linear;
};
struct Request {
  std::uint64_t steps;
  std::uint64_t count;
};
constexpr unsigned long kSetUp = _IOWR('T', 0, SetUp);
constexpr unsigned long kRun = _IOW('T', 1, Request);

}  // namespace

std::optional<Facility::Places> Facility::set_up(const File& device) {
  if (!device.good()) return std::nullopt;
  SetUp set{};
  set.code = reinterpret_cast<std::uintptr_t>(store_ways_begin);
  set.size = static_cast<std::uint64_t>(store_ways_end - store_ways_begin);
  if (::ioctl(device.get(), kSetUp, &set) != 0) {
    say("%s: setting up: %s", kDevice, std::strerror(errno));
    return std::nullopt;
  }
  return Places{set.kernel_code, set.root, set.upper_root, set.linear};
}

bool Facility::run(const File& device, std::span<const FacilityStep> steps) {
  const Request request{reinterpret_cast<std::uintptr_t>(steps.data()), steps.size()};
  if (::ioctl(device.get(), kRun, &request) == 0) return true;
  say("%s: %s", kDevice, std::strerror(errno));
  return false;
}

FacilityStep store_step(const StoreWay& way, std::uint64_t gpa, const void* bytes) {
  FacilityStep step;
  step.what = FacilityStep::kStore;
  step.way = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(way.run) -
                                        reinterpret_cast<std::uintptr_t>(store_ways_begin));
  step.address = gpa;
  std::memcpy(step.bytes.data(), bytes, way.shape.width);
  return step;
}

}  // namespace sealvisor::agent
