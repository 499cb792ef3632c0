// Text in HTML and XML.
#pragma once

#include <string>
#include <string_view>

namespace sealvisor::report::html {

/// `text` for element content and attribute values of HTML and of XML 1.0: & < > " ' as references,
/// a line feed or tab as a space, other control characters and those that turn the direction of
/// text as U+FFFD, and so is what is no UTF-8 and what XML has no place for (U+FFFE, U+FFFF).
[[nodiscard]] std::string escape(std::string_view text);

}  // namespace sealvisor::report::html
