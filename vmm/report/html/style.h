// What every page has: its style and its script.
#pragma once

namespace sealvisor::report::html {

/// Light and dark by what the reader's system prefers. Classes for words that judge: `good`, `bad`,
/// `open` (nothing is known), `other` (known, and neither).
extern const char* const kPageStyle;
/// Sorts tables of the class `sortable` and filters those that a form `controls` names in its
/// data-for. A field of the form names what it looks at in its data-filter: `text`, `minor` (rows
/// that have data-minor are hidden unless it is checked), or else one of the rows' data; the value
/// "!x" is all but x. Without the script the page shows everything.
extern const char* const kPageScript;

}  // namespace sealvisor::report::html
