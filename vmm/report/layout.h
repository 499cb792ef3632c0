// Plain text in columns: what the text report and the command line's lists are laid out with. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sealvisor::report {

enum class Colour : std::uint8_t { None, Red, Green, Yellow, Bold, Dim };

/// `text` between the escape sequences of `colour` (ECMA-48 SGR); as it is if there is none.
[[nodiscard]] std::string paint(std::string_view text, Colour colour);

/// `text` with everything that is not printable ASCII as \xNN: what a guest wrote must not reach a
/// terminal as it is.
[[nodiscard]] std::string printable(std::string_view text);

/// 1234567 -> "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t number);

/// Breaks `text` into lines of at most `width` characters: at spaces, else behind commas and
/// slashes, else anywhere. At least one line. Precondition: width > 0.
[[nodiscard]] std::vector<std::string> wrap(std::string_view text, std::size_t width);

/// `text` wrapped to `width`, its first line behind `first`, the others indented as far.
[[nodiscard]] std::string paragraph(std::string_view first, std::string_view text,
                                    std::size_t width);

struct Column {
  std::string title;
  std::size_t most = 120;  ///< Widest it may be; longer text is wrapped.
  bool right = false;      ///< Numbers.
};

struct Row {
  std::vector<std::string> fields;  ///< As many as there are columns.
  Colour colour = Colour::None;     ///< Of the last field.
};

/// A table: a line of titles, then the rows, columns two spaces apart, `indent` spaces in front.
/// Columns take what they need up to `most`; if that is more than `width` characters in all, the
/// widest give way. Colours are used if `colours` is set. No space at the end of a line.
[[nodiscard]] std::string table(const std::vector<Column>& columns, const std::vector<Row>& rows,
                                std::size_t width, std::size_t indent, bool colours);

}  // namespace sealvisor::report
