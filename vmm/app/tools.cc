#include "vmm/app/tools.h"

#include <fstream>
#include <string>

#include <fmt/format.h>

#include "vmm/app/script_folder.h"

namespace sealvisor::app {

Result<Tools> find_tools(const Places& places, arch::Arch arch) {
  const auto folder = folder_from(places.tools_script(), {"path", arch::name_of(arch)});
  if (!folder) {
    Error error = folder.error();
    error.message += "; --cross-check runs them";
    return error;
  }
  Tools tools;
  tools.root = folder.value() / "root";
  const auto list = folder.value() / "packages";
  std::ifstream file(list);
  std::string name;
  std::string version;
  while (file >> name >> version) {
    // All packages make the tool, its libraries too; which tool it is is said by these.
    if (name != "stress-ng" && name != "linux-perf") continue;
    tools.versions.push_back({fmt::format("{} {}", name, arch::name_of(arch)), version});
  }
  if (tools.versions.size() != 2) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{}: expected stress-ng and linux-perf with their "
                             "versions; `guest/tools/fetch --update` makes it "
                             "anew",
                             list.string())};
  }
  return tools;
}

}  // namespace sealvisor::app
