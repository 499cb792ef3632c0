#include "vmm/report/layout.h"

#include <algorithm>

#include <fmt/format.h>

namespace sealvisor::report {

namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastWidth = 8;

/// Characters of the first line of `text`, which is longer than `width`.
std::size_t break_at(std::string_view text, std::size_t width) {
  const std::size_t space = text.substr(0, width + 1).rfind(' ');
  if (space != std::string_view::npos && space > 0) return space;
  const std::size_t mark = text.substr(0, width).find_last_of(",/");
  if (mark != std::string_view::npos && mark > 0) return mark + 1;
  return width;
}

void trim_end(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

std::vector<std::size_t> widths_of(const std::vector<Column>& columns, const std::vector<Row>& rows,
                                   std::size_t width) {
  std::vector<std::size_t> widths;
  std::size_t total = kGap * (columns.size() - 1);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t need = columns[i].title.size();
    for (const Row& row : rows) need = std::max(need, row.fields[i].size());
    widths.push_back(std::min(need, columns[i].most));
    total += widths.back();
  }
  while (total > width) {
    auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kLeastWidth) break;
    --*widest;
    --total;
  }
  return widths;
}

}  // namespace

std::string paint(std::string_view text, Colour colour) {
  switch (colour) {
    case Colour::None:
      break;
    case Colour::Red:
      return fmt::format("\x1b[31m{}\x1b[0m", text);
    case Colour::Green:
      return fmt::format("\x1b[32m{}\x1b[0m", text);
    case Colour::Yellow:
      return fmt::format("\x1b[33m{}\x1b[0m", text);
    case Colour::Bold:
      return fmt::format("\x1b[1m{}\x1b[0m", text);
    case Colour::Dim:
      return fmt::format("\x1b[2m{}\x1b[0m", text);
  }
  return std::string(text);
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7E) {
      result += c;
    } else {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return result;
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (text.size() > width) {
    const std::size_t end = break_at(text, width);
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  lines.emplace_back(text);
  return lines;
}

std::string paragraph(std::string_view first, std::string_view text, std::size_t width) {
  const std::size_t room = width > first.size() + kLeastWidth ? width - first.size() : kLeastWidth;
  std::string result;
  std::string lead(first);
  for (const std::string& line : wrap(text, room)) {
    std::string whole = lead + line;
    trim_end(whole);
    result += whole + "\n";
    lead.assign(first.size(), ' ');
  }
  return result;
}

std::string table(const std::vector<Column>& columns, const std::vector<Row>& rows,
                  std::size_t width, std::size_t indent, bool colours) {
  const std::vector<std::size_t> widths =
      widths_of(columns, rows, width > indent ? width - indent : 0);
  std::string result;
  const auto add = [&](const std::vector<std::string>& fields, Colour first, Colour last) {
    std::vector<std::vector<std::string>> wrapped;
    std::size_t lines = 1;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      wrapped.push_back(wrap(fields[i], std::max<std::size_t>(widths[i], 1)));
      lines = std::max(lines, wrapped.back().size());
    }
    for (std::size_t n = 0; n < lines; ++n) {
      std::string line(indent, ' ');
      for (std::size_t i = 0; i < fields.size(); ++i) {
        const std::string text = n < wrapped[i].size() ? wrapped[i][n] : "";
        const std::string padded = columns[i].right ? fmt::format("{:>{}}", text, widths[i])
                                                    : fmt::format("{:<{}}", text, widths[i]);
        const bool is_last = i + 1 == fields.size();
        if (is_last) {
          line += colours && !text.empty() ? paint(columns[i].right ? padded : text, last) : padded;
        } else {
          line += (colours ? paint(padded, first) : padded) + std::string(kGap, ' ');
        }
      }
      trim_end(line);
      result += line + "\n";
    }
  };
  std::vector<std::string> titles;
  titles.reserve(columns.size());
  for (const Column& column : columns) titles.push_back(column.title);
  add(titles, Colour::Dim, Colour::Dim);
  for (const Row& row : rows) add(row.fields, Colour::None, row.colour);
  return result;
}

}  // namespace sealvisor::report
