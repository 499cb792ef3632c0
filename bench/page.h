// What every page has: its style and its script.
#pragma once

namespace sealvisor::bench {

extern const char* const kPageStyle;
/// Sorts and filters tables. Without it the page shows everything.
extern const char* const kPageScript;

}  // namespace sealvisor::bench
