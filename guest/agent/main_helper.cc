// /helpers/helper32: a program image of the other word size, the victim of cells there, and the
// control that changes an entry of such a process.
//
//   argv: <path> victim <doorbell gpa> <cell> <mapping> <operation> <form> [verbose]
//         <path> tamper <doorbell gpa> <token> <pairs> [verbose]
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "guest/agent/announce.h"
#include "guest/agent/console.h"
#include "guest/agent/image.h"
#include "guest/agent/tamper_entry.h"
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

int tamper_main(int argc, char** argv) {
  if (argc < 5) {
    agent::say("%s: expected a doorbell, a token and a count", argv[0]);
    return EINVAL;
  }
  static agent::Doorbell doorbell;
  agent::MappingTable table;
  if (!doorbell.open(std::strtoull(argv[2], nullptr, 10), argc > 5) || !agent::install_guard() ||
      !agent::announce_mappings(doorbell, std::strtoull(argv[3], nullptr, 10), table)) {
    return EIO;
  }
  return agent::tamper_with_entry(doorbell, table,
                                  static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10)));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "victim") return victim_main(argc, argv);
  if (argc > 1 && std::string_view(argv[1]) == "tamper") return tamper_main(argc, argv);
  return agent::image_main(argc, argv);
}
