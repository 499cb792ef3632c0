// Any text as one of a bundle's: it is read or refused, and what was read comes out the same once
// it is written and read again.
#include <string>
#include <string_view>

#include "tests/fuzz/arch/input.h"
#include "vmm/evidence/manifest.h"
#include "vmm/evidence/names.h"
#include "vmm/report/compare.h"
#include "vmm/run/description.h"
#include "vmm/run/outcome.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto which = input.take<std::uint8_t>();
  const std::string_view text(reinterpret_cast<const char*>(input.rest().data()),
                              input.rest().size());
  switch (which % 5) {
    case 0:
      if (const auto manifest = evidence::parse_manifest(text)) {
        const std::string once = evidence::render(manifest.value());
        const auto again = evidence::parse_manifest(once);
        fuzz::require(again.ok() && evidence::render(again.value()) == once);
        for (const auto& file : manifest.value().files) {
          fuzz::require(file.path.find("..") == std::string::npos || file.path.front() != '.');
        }
      }
      break;
    case 1:
      if (const auto symbols = evidence::RecordedSymbols::parse(text)) {
        const std::string once = symbols.value().render();
        const auto again = evidence::RecordedSymbols::parse(once);
        fuzz::require(again.ok() && again.value().render() == once);
      }
      break;
    case 2:
      if (const auto outcome = run::parse_outcome(text)) {
        const std::string once = run::render_outcome(outcome.value());
        const auto again = run::parse_outcome(once);
        fuzz::require(again.ok() && run::render_outcome(again.value()) == once);
      }
      break;
    case 3:
      static_cast<void>(run::parse_description(text));
      break;
    default:
      static_cast<void>(report::compare(text, {}, true));
      static_cast<void>(report::not_run_of(text));
      break;
  }
  return 0;
}
