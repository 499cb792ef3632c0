// /helpers/helper32: a program image of the other word size, and the victim of cells there.
//
//   argv: <path> victim <doorbell gpa> <cell> <mapping> <operation> <form> [verbose]
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/touch.h"
#include "guest/agent/victim.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): the main file of a program.

int victim_main(int argc, char** argv) {
  const auto* const operation = argc >= 7 ? scenario::operation_named(argv[5]) : nullptr;
  const auto form = argc >= 7 ? scenario::form_named(argv[6]) : std::nullopt;
  const auto* const mapping = argc >= 7 ? scenario::find_mapping(argv[4], true) : nullptr;
  scenario::PlanItem item;
  if (operation != nullptr && form) item.scenario = scenario::find_cells(*operation, *form);
  if (item.scenario == nullptr || mapping == nullptr) {
    agent::say("%s: expected the words of a cell", argv[0]);
    return EINVAL;
  }
  item.mapping = mapping;
  item.cell = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  static agent::Doorbell doorbell;
  if (!doorbell.open(std::strtoull(argv[2], nullptr, 10), argc > 7) || !agent::install_guard()) {
    return EIO;
  }
  agent::run_victim(doorbell, item);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "victim") return victim_main(argc, argv);
  return agent::image_main(argc, argv);
}
